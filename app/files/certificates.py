"""Bundles of certificates as CSV and JSON, with the field names of EnergyTag's API.

Energy is in Wh, capacity in W, emissions in mg of CO2 per kWh, times UTC; a factor is a decimal.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from typing import Final

from app.bankfiles.csvfile import harmless
from app.files.rows import Source, TableFileError, content_of, name_of, rows_of
from market.certificate import Status
from market.money import PPM
from metering.interval import Interval, IntervalError

FACE_VALUE_WH: Final = 1
CARRIER: Final = "electricity"
MAX_BYTES: Final = 4 * 2**20
_LONGEST: Final = 2**53 - 1
# No plant and no quarter-hour has more; with these, sums of CO2 fit into their columns.
_MOST_WH: Final = 10**12
_MOST_W: Final = 2 * 10**9
_MOST_MG: Final = 10**9


@dataclass(frozen=True, slots=True)
class Item:
    """A bundle as it is handed on. None (an empty CSV cell) is what the reader may not know."""

    issuance_id: str
    hash: str
    certificate_bundle_status: str
    account_id: str | None
    certificate_bundle_id_range_start: int
    certificate_bundle_id_range_end: int
    bundle_quantity: int
    face_value: int
    beneficiary: str | None
    energy_carrier: str
    energy_source: str
    device_id: str
    device_name: str | None
    device_technology_type: str
    device_capacity: int | None
    device_location: str | None
    production_starting_interval: str
    production_ending_interval: str
    expiry_datestamp: str
    is_storage: bool
    storage_efficiency_factor: str | None
    emissions_factor: int
    issue_market_zone: str


NAMES: Final = tuple(field.name for field in fields(Item))
_REQUIRED: Final = (
    "issuance_id",
    "certificate_bundle_status",
    "certificate_bundle_id_range_start",
    "certificate_bundle_id_range_end",
    "energy_source",
    "device_id",
    "device_technology_type",
    "production_starting_interval",
    "production_ending_interval",
    "expiry_datestamp",
    "issue_market_zone",
)


def factor_text(ppm: int | None) -> str | None:
    """Return an efficiency as a decimal, such as 0.9."""
    if ppm is None:
        return None
    return f"{ppm // PPM}.{ppm % PPM:06}".rstrip("0").rstrip(".")


def as_csv(items: Iterable[Item]) -> bytes:
    """Return bundles as CSV, UTF-8, one row each; purposes and names that no spreadsheet runs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(NAMES)
    for item in items:
        values = asdict(item) | {"is_storage": str(item.is_storage).lower()}
        told = ("" if values[name] is None else values[name] for name in NAMES)
        writer.writerow(harmless(cell) for cell in told)
    return text.getvalue().encode()


def as_json(items: Iterable[Item]) -> bytes:
    """Return bundles as a JSON array of objects."""
    return json.dumps([asdict(item) for item in items], ensure_ascii=False, indent=1).encode()


def read(source: Source, form: str) -> list[Item]:
    """Read bundles from a CSV or JSON file (``form``), each one checked by itself.

    Raises:
        TableFileError: the whole file is refused; the message names the row or the item.
    """
    if form == "json":
        return [_item(f"item {n}", values) for n, values in enumerate(_objects(source), 1)]
    optional = [name for name in NAMES if name not in _REQUIRED]
    rows = rows_of(source, _REQUIRED, optional, max_bytes=MAX_BYTES)
    return [_item(f"row {number}", values) for number, values in rows]


def _objects(source: Source) -> Sequence[Mapping[str, str]]:
    """Return a JSON array's objects with their values as text."""
    name = name_of(source)
    try:
        content = content_of(source, MAX_BYTES)
        if len(content) > MAX_BYTES:
            raise TableFileError(f"{name} is larger than {MAX_BYTES} bytes: split it")
        found = json.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise TableFileError(f"cannot read {name}: {error.strerror}; check its name") from error
    except (ValueError, RecursionError) as error:
        raise TableFileError(f"{name} is no JSON in UTF-8: export it anew") from error
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise TableFileError(f"{name} is no JSON array of objects: one object per bundle")
    return [_texts(number, each) for number, each in enumerate(found, 1)]


def _texts(number: int, values: Mapping[str, object]) -> Mapping[str, str]:
    if unknown := sorted(values.keys() - set(NAMES)):
        raise TableFileError(f"item {number}: unknown field {unknown[0][:40]!r}: leave it out")
    if missing := sorted(set(_REQUIRED) - values.keys()):
        raise TableFileError(f"item {number}: {missing[0]} is missing")
    found = {}
    for name, value in values.items():
        if not isinstance(value, str | int | bool | None):
            raise TableFileError(f"item {number}: {name} is neither text nor a whole number")
        found[name] = "" if value is None else str(value)
        if isinstance(value, bool):
            found[name] = found[name].lower()
        if len(found[name]) > 200 or not found[name].isprintable():
            raise TableFileError(f"item {number}: {name} is too long or not printable")
    return found


def _item(where: str, values: Mapping[str, str]) -> Item:
    """Return one bundle, refused where it does not hold by itself."""
    first = _whole(where, values, "certificate_bundle_id_range_start", least=1)
    last = _whole(where, values, "certificate_bundle_id_range_end", least=first)
    start = _interval(where, values)
    storage = values.get("is_storage") or "false"
    item = Item(
        issuance_id=_text(where, values, "issuance_id"),
        hash=values.get("hash", ""),
        certificate_bundle_status=values["certificate_bundle_status"],
        account_id=values.get("account_id") or None,
        certificate_bundle_id_range_start=first,
        certificate_bundle_id_range_end=last,
        bundle_quantity=_whole(where, values, "bundle_quantity", unless=last - first + 1),
        face_value=_whole(where, values, "face_value", unless=FACE_VALUE_WH),
        beneficiary=values.get("beneficiary") or None,
        energy_carrier=values.get("energy_carrier") or CARRIER,
        energy_source=_text(where, values, "energy_source"),
        device_id=_text(where, values, "device_id"),
        device_name=values.get("device_name") or None,
        device_technology_type=_text(where, values, "device_technology_type"),
        device_capacity=_whole(where, values, "device_capacity", unless=0, most=_MOST_W),
        device_location=values.get("device_location") or None,
        production_starting_interval=start.key,
        production_ending_interval=start.next().key,
        expiry_datestamp=_day(where, values),
        is_storage=storage == "true",
        storage_efficiency_factor=values.get("storage_efficiency_factor") or None,
        emissions_factor=_whole(where, values, "emissions_factor", unless=0, most=_MOST_MG),
        issue_market_zone=_text(where, values, "issue_market_zone"),
    )
    _check(where, item, storage)
    return item


def _check(where: str, item: Item, storage: str) -> None:
    quantity = item.certificate_bundle_id_range_end - item.certificate_bundle_id_range_start + 1
    wrong = {
        "only certificates that are Active can be taken in": item.certificate_bundle_status
        != Status.ACTIVE.value,
        f"bundle_quantity is not that of the range, {quantity}": item.bundle_quantity != quantity,
        f"more than {_MOST_WH} Wh are no quarter-hour's": quantity > _MOST_WH,
        "face_value is not 1 Wh": item.face_value != FACE_VALUE_WH,
        "energy_carrier is not electricity": item.energy_carrier != CARRIER,
        "is_storage is neither true nor false": storage not in ("true", "false"),
    }
    for rule, broken in wrong.items():
        if broken:
            raise TableFileError(f"{where}: {rule}")


def _text(where: str, values: Mapping[str, str], name: str) -> str:
    if not values[name]:
        raise TableFileError(f"{where}: {name} is empty")
    return values[name]


def _whole(
    where: str,
    values: Mapping[str, str],
    name: str,
    *,
    least: int = 0,
    most: int = _LONGEST,
    unless: int | None = None,
) -> int:
    """Return a whole number of at least ``least``; ``unless`` stands for a missing one."""
    text = values.get(name, "")
    if not text and unless is not None:
        return unless
    if not (text.isascii() and text.isdigit() and len(text) < 17 and least <= int(text) <= most):
        raise TableFileError(
            f"{where}: {name} is {text[:40]!r}, not a whole number from {least} to {most}"
        )
    return int(text)


def _interval(where: str, values: Mapping[str, str]) -> Interval:
    start, end = values["production_starting_interval"], values["production_ending_interval"]
    try:
        found = Interval.parse(start)
        if Interval.parse(end) == found.next():
            return found
    except IntervalError as error:
        raise TableFileError(f"{where}: {error}") from error
    raise TableFileError(
        f"{where}: {start[:40]} to {end[:40]} is no quarter-hour: others cannot be taken in"
    )


def _day(where: str, values: Mapping[str, str]) -> str:
    text = values["expiry_datestamp"]
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise TableFileError(
            f"{where}: expiry_datestamp is {text[:40]!r}, not a day such as 2028-06-23"
        ) from error


def hidden(item: Item, *, device: bool, account: bool) -> Item:
    """Return a bundle without what tells whose the device is, or whose the account."""
    if device:
        item = replace(item, device_name=None, device_capacity=None, device_location=None)
    return replace(item, account_id=None, beneficiary=None) if account else item

"""Reads a record of the Open Charge Metering Format, of ours or of another maker.

``OCMF|payload|signature``: the signature covers the payload's exact bytes, which are kept.
Numbers are decimals as written, with their zeros. Fields that the format does not know are kept.
Source: OCMF 1.4.1, "JSON based OCMF Format", tables 1 to 24.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, NoReturn, TypeAlias, cast

from metering.ocmf.fields import (
    FISCAL,
    READING_FIELDS,
    REQUIRED,
    SIGNATURE_FIELDS,
    TIME,
    TOP_FIELDS,
    USER_FIELDS,
    FieldError,
    Kind,
)

Json: TypeAlias = "str | bool | Decimal | list[Json] | dict[str, Json] | None"

HEADER: Final = "OCMF"
MAX_BYTES: Final = 256 * 1024
DEFAULT_ALGORITHM: Final = "ECDSA-secp256r1-SHA256"
_INHERITED: Final = ("TM", "TX", "RI", "RU", "RT", "EF", "ST")
_PAGE: Final = re.compile(r"([TF])(0|[1-9][0-9]{0,17})")


class OcmfError(ValueError):
    """Root of this package's errors."""


class OcmfFormatError(OcmfError):
    """Not a record of the format: reject it; the message names the character or the field."""


@dataclass(frozen=True, slots=True)
class OcmfReading:
    """One reading of a record; what it left out is that of the reading before.

    ``value`` is in ``unit`` (kWh or Wh); None where the reading only tells of an event.
    ``errors`` says which quantities are lost: E energy, t time.
    """

    at: datetime
    clock: str
    transaction: str | None
    value: Decimal | None
    obis: str | None
    unit: str | None
    current: str | None
    errors: str
    state: str
    loss: Decimal | None


@dataclass(frozen=True, slots=True)
class Document:
    """A record: the payload's bytes as signed, its fields, and the signature, not checked yet.

    ``context`` is T (transaction) or F (fiscal), ``number`` the page. ``fields`` holds every field
    of the payload but RD, known or not.
    """

    payload: bytes
    fields: Mapping[str, Json]
    context: str
    number: int
    readings: tuple[OcmfReading, ...]
    signature: Mapping[str, Json]

    @property
    def algorithm(self) -> str:
        """The signature's algorithm; the format has a default."""
        return str(self.signature.get("SA", DEFAULT_ALGORITHM))


def parse(data: bytes) -> Document:
    """Return the record of a file; white space at its end is no part of it.

    Raises:
        OcmfFormatError: naming the character, or the field, that breaks the format.
    """
    if len(data) > MAX_BYTES:
        raise OcmfFormatError(f"the record has {len(data)} bytes: at most {MAX_BYTES} are read")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise OcmfFormatError(f"byte {error.start} is not UTF-8") from error
    parts = text.split("|")
    if parts[0] != HEADER:
        raise OcmfFormatError(f"character 0: a record begins with OCMF|, not {text[:12]!r}")
    if len(parts) != 3:
        raise OcmfFormatError(
            f"character {_third(parts)}: a record has 3 sections between |, this one {len(parts)}"
        )
    payload = _object("payload", parts[1], len(HEADER) + 1)
    signature = _object("signature", parts[2], len(HEADER) + len(parts[1]) + 2)
    page = _check_top(payload)
    readings = _readings(payload["RD"], page[0])
    _check("signature", signature, SIGNATURE_FIELDS, REQUIRED["signature"])
    return Document(
        payload=parts[1].encode(),
        fields={name: value for name, value in payload.items() if name != "RD"},
        context=page[0],
        number=page[1],
        readings=readings,
        signature=signature,
    )


def _third(parts: Sequence[str]) -> int:
    """Return where a section too many begins, or the text ends that has too few."""
    return sum(len(part) + 1 for part in parts[:3]) - 1


def _object(section: str, text: str, offset: int) -> dict[str, Json]:
    decoder = json.JSONDecoder(
        parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse, object_pairs_hook=_unique
    )
    try:
        value = decoder.decode(text)
    except json.JSONDecodeError as error:
        raise OcmfFormatError(f"{section}, character {offset + error.pos}: {error.msg}") from error
    except RecursionError as error:
        raise OcmfFormatError(f"{section}: nested too deeply") from error
    except OcmfFormatError as error:
        raise OcmfFormatError(f"{section}: {error}") from error
    if not isinstance(value, dict):
        raise OcmfFormatError(f"{section}, character {offset}: an object is expected")
    return cast("dict[str, Json]", value)


def _refuse(text: str) -> NoReturn:
    raise OcmfFormatError(f"{text} is no number")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise OcmfFormatError(f"the field {name!r:.40} stands twice in one object")
        found[name] = value
    return found


def _check(
    where: str, value: Mapping[str, Json], kinds: Mapping[str, Kind], required: Sequence[str]
) -> None:
    for name in required:
        if name not in value:
            raise OcmfFormatError(f"{where}.{name} is missing: it is mandatory")
    for name, held in value.items():
        if name in kinds:
            try:
                kinds[name](held)
            except FieldError as error:
                raise OcmfFormatError(f"{where}.{name}: {error}") from error


def _check_top(payload: Mapping[str, Json]) -> tuple[str, int]:
    """Check the payload's fields but its readings; return context and number of the page."""
    _check("payload", payload, TOP_FIELDS, REQUIRED["payload"])
    found = _PAGE.fullmatch(str(payload["PG"]))
    if found is None:
        raise OcmfFormatError("payload.PG: T or F and a number without leading zeros, as in T12345")
    if "MS" not in payload and "GS" not in payload:
        raise OcmfFormatError("payload.MS is missing, and GS, too: one of them names the signer")
    assigned = [name for name in USER_FIELDS if name in payload]
    if found[1] == FISCAL and assigned:
        raise OcmfFormatError(f"payload.{assigned[0]}: a fiscal record is assigned to no user")
    if found[1] != FISCAL:
        for name in REQUIRED["user"]:
            if name not in payload:
                raise OcmfFormatError(f"payload.{name} is missing: a transaction needs it")
    return found[1], int(found[2])


def _readings(value: Json, context: str) -> tuple[OcmfReading, ...]:
    if not isinstance(value, list) or not value:
        raise OcmfFormatError("payload.RD: an array with at least one reading is expected")
    found: list[OcmfReading] = []
    before: dict[str, Json] = {}
    for number, item in enumerate(value):
        where = f"payload.RD[{number}]"
        if not isinstance(item, dict):
            raise OcmfFormatError(f"{where}: an object is expected")
        whole = {name: before[name] for name in _INHERITED if name in before} | item
        _check(where, whole, READING_FIELDS, REQUIRED["reading"])
        _check_reading(where, whole, context)
        found.append(_reading(where, whole))
        before = whole
    return tuple(found)


def _check_reading(where: str, value: Mapping[str, Json], context: str) -> None:
    if ("RI" in value) != ("RU" in value):
        raise OcmfFormatError(f"{where}: RI and RU stand together or not at all")
    if "RV" in value and "RU" not in value:
        raise OcmfFormatError(f"{where}.RU is missing: a value has a unit")
    if ("TX" in value) == (context == FISCAL):
        wrong = (
            "stands in a fiscal record"
            if context == FISCAL
            else "is missing: a transaction needs it"
        )
        raise OcmfFormatError(f"{where}.TX {wrong}")
    if "CL" in value and "RV" not in value:
        raise OcmfFormatError(f"{where}.CL: a loss stands beside a value")


def _reading(where: str, value: Mapping[str, Json]) -> OcmfReading:
    def text(name: str) -> str | None:
        held = value.get(name)
        return None if held is None else str(held)

    said = TIME.fullmatch(str(value["TM"]))
    if said is None:
        raise OcmfFormatError(f"{where}.TM: write it as 2018-07-24T13:22:04,000+0200 S")
    try:
        at = datetime.fromisoformat(said["at"].replace(",", "."))
    except ValueError as error:
        raise OcmfFormatError(f"{where}.TM: {error}") from error
    amount, loss = value.get("RV"), value.get("CL")
    return OcmfReading(
        at=at,
        clock=said["clock"],
        transaction=text("TX"),
        value=amount if isinstance(amount, Decimal) else None,
        obis=text("RI"),
        unit=text("RU"),
        current=text("RT"),
        errors=text("EF") or "",
        state=str(value["ST"]),
        loss=loss if isinstance(loss, Decimal) else None,
    )

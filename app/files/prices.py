"""Price series as a CSV: one time column, one price column, hours or quarter-hours without a gap.

Taken whole or not at all. ``docs/money.md``, "Price series".
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from itertools import islice, pairwise
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from app.files.exchange_mapping import TimeRule
from app.files.exchange_time import Clock, TimeRefusedError
from app.files.rows import Source, TableFileError, rows_of
from market.money import Price
from metering.interval import LENGTH, Interval

TIMES: Final = ("start", "end")
UNITS: Final = {"eur_per_mwh": 1_000, "ct_per_kwh": 10_000, "micro_per_kwh": 1}
STEPS: Final = (LENGTH, timedelta(hours=1))
MAX_ROWS: Final = 120_000  # three years of quarter-hours and a bit
MAX_PRICE: Final = Price(20_000_000)  # 20 euros per kWh either way
_ZONED: Final = re.compile(r"(?:Z|[+-][0-9]{2}:?[0-9]{2})$")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,9}(?:\.[0-9]{1,9})?")


class PriceFileError(TableFileError):
    """The file is refused for good: mend the row that the message names."""


class PricedRow(NamedTuple):
    """The price of one quarter-hour, and the row that it came from."""

    row: int
    interval: Interval
    price: Price


class _Timed(NamedTuple):
    row: int
    start: Interval  # of the quarter-hour at the row's time, before hours are told
    price: Price


def read_prices(source: Source, zone: ZoneInfo, named: str = "") -> list[PricedRow]:
    """Return the prices of a file by quarter-hour, in time order.

    The columns are ``start`` or ``end`` (what the time labels), and ``eur_per_mwh``,
    ``ct_per_kwh`` or ``micro_per_kwh``. Times tell their zone (UTC or the district's), or are
    local times of ``named``, which has to be UTC or the district's ``zone``. An hour's price is
    that of its four quarters.

    Raises:
        PriceFileError: a row is vague, double, out of order, after a gap, for another zone or
            absurd, or the file is not one of hours or quarter-hours.
    """
    rows = list(islice(rows_of(source, (), (*TIMES, *UNITS)), MAX_ROWS + 1))
    label, unit = _columns(rows[0][1] if rows else {})
    if len(rows) > MAX_ROWS:
        raise PriceFileError(f"more than {MAX_ROWS} rows: split the file")
    if named not in ("", "UTC", zone.key):
        raise PriceFileError(
            f"the file is said to be for {named}, the district's zone is {zone.key}: get the "
            "prices of your own zone; times are taken in that one or in UTC"
        )
    clock = Clock(TimeRule(label="end" if label == "end" else "start", zone=named), zone)
    timed = [
        _Timed(n, _time(clock, n, fields[label], named), _price(n, unit, fields[unit]))
        for n, fields in rows
    ]
    return _quarters(timed, label, zone)


def _columns(fields: dict[str, str]) -> tuple[str, str]:
    """Return the time column and the price column of the file."""
    times = [name for name in TIMES if name in fields]
    units = [name for name in UNITS if name in fields]
    if not fields or len(times) != 1 or len(units) != 1:
        raise PriceFileError(
            "row 1: write one column start or end, one of eur_per_mwh, ct_per_kwh or "
            "micro_per_kwh, and at least one row of prices"
        )
    return times[0], units[0]


def _time(clock: Clock, number: int, text: str, named: str) -> Interval:
    if not named and not _ZONED.search(text):
        raise PriceFileError(
            f"row {number}: {text[:40]!r} names no zone: write it with one, such as "
            "2026-06-23T09:00Z or +02:00, or say --zone"
        )
    try:
        return clock.interval(number, "price", text)
    except TimeRefusedError as error:
        raise PriceFileError(f"row {number}: {error}") from error


def _price(number: int, unit: str, text: str) -> Price:
    """Return micro-euros per kWh of a written price, exactly."""
    if not _NUMBER.fullmatch(text):
        raise PriceFileError(f"row {number}: {unit} {text[:40]!r} is no number such as -12.34")
    micro = Decimal(text) * UNITS[unit]
    if micro != micro.to_integral_value():
        raise PriceFileError(f"row {number}: {unit} {text} is finer than a micro-euro per kWh")
    if abs(micro) > MAX_PRICE.micro_per_kwh:
        euros = MAX_PRICE.micro_per_kwh // 1_000_000
        raise PriceFileError(
            f"row {number}: {unit} {text} is more than {euros} EUR/kWh: is the unit right?"
        )
    return Price(int(micro))


def _quarters(timed: list[_Timed], label: str, zone: ZoneInfo) -> list[PricedRow]:
    """Return each row's quarter-hours; every step between two rows is that of the first two."""
    step = timed[1].start.start - timed[0].start.start if len(timed) > 1 else STEPS[1]
    if len(timed) > 1 and step not in STEPS:
        _refuse_step(timed[0], timed[1], STEPS[1], zone)
    for before, now in pairwise(timed):
        if now.start.start - before.start.start != step:
            _refuse_step(before, now, step, zone)
    number = step // LENGTH
    back = step - LENGTH if label == "end" else timedelta(0)
    found = []
    for each in timed:
        begin = each.start.start - back
        if begin.minute % (step // timedelta(minutes=1)):
            raise PriceFileError(f"row {each.row}: {begin:%H:%M} UTC begins no hour")
        found += [
            PricedRow(each.row, Interval(begin + n * LENGTH), each.price) for n in range(number)
        ]
    return found


def _refuse_step(before: _Timed, now: _Timed, step: timedelta, zone: ZoneInfo) -> None:
    """Say what is wrong between two rows.

    Raises:
        PriceFileError: always.
    """
    first, second = (each.start.start.astimezone(zone) for each in (before, now))
    times = f"row {now.row}: {second:%Y-%m-%d %H:%M %Z} after {first:%Y-%m-%d %H:%M %Z}"
    apart = now.start.start - before.start.start
    if apart == timedelta(0):
        raise PriceFileError(f"row {now.row}: {second:%Y-%m-%d %H:%M %Z} stands twice")
    if apart < timedelta(0):
        raise PriceFileError(f"{times}: the rows are not in time order")
    minutes, gap = step // timedelta(minutes=1), apart // timedelta(minutes=1)
    raise PriceFileError(
        f"{times}: {gap} minutes apart where {minutes} are due; a row is missing, or hours and "
        "quarter-hours are mixed (a local day has 92, 96 or 100 quarter-hours)"
    )


def name_of_file(path: Path) -> str:
    """Return what a series remembers of where its prices came from."""
    return path.name[:100]

"""Reads authorised values of intervals from CSV: every mistake with its row, all or nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from app.files.rows import TableFileError, integer, rows_of
from market.correction import Metered
from metering.interval import Interval

COLUMNS: Final = ("point", "interval", "import_wh", "export_wh")
MAX_BYTES: Final = 1024 * 1024
MAX_ROWS: Final = 10_000
MOST_FAULTS: Final = 20


class Value(NamedTuple):
    """What a point drew and fed in during an interval, as the file's ``row`` says."""

    row: int
    point: str
    interval: Interval
    now: Metered


class ValuesFileError(TableFileError):
    """The file is refused whole: mend the rows that are named."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        shown = list(self.faults[:MOST_FAULTS])
        if len(self.faults) > len(shown):
            shown.append(f"and {len(self.faults) - len(shown)} more")
        super().__init__("; ".join(shown))


def content_of(path: Path) -> bytes:
    """Return a file's bytes, one more than allowed at most: what is longer is refused later.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def read_values(content: bytes) -> tuple[Value, ...]:
    """Return the values of a CSV file: UTF-8, a header, one point and interval per row.

    ``interval`` is the interval's start with its zone, such as ``2026-06-23T09:00:00Z`` or
    ``2026-06-23T11:00:00+02:00``; energies are whole Wh of that quarter-hour.

    Raises:
        ValuesFileError: names every row that cannot be read, and why.
    """
    found: dict[tuple[str, Interval], Value] = {}
    faults: list[str] = []
    try:
        for number, fields in rows_of(content, COLUMNS, (), max_bytes=MAX_BYTES):
            try:
                value = _value(number, fields)
            except TableFileError as error:
                faults.append(str(error))
                continue
            first = found.setdefault((value.point, value.interval), value)
            if first is not value:
                where = f"{value.point} in {value.interval.key}"
                faults.append(f"row {number}: {where} stands in row {first.row} already")
    except TableFileError as error:
        faults.append(str(error))
    if not found and not faults:
        faults.append("row 1: no row follows the header: write one per point and interval")
    if len(found) > MAX_ROWS:
        faults.append(f"there are more than {MAX_ROWS} rows: split the file by month")
    if faults:
        raise ValuesFileError(faults)
    return tuple(found.values())


def one_value(point: str, interval: Interval, now: Metered) -> bytes:
    """Return the file that says one value alone."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([COLUMNS, (point, interval.key, *now)])
    return out.getvalue().encode()


def _value(number: int, fields: dict[str, str]) -> Value:
    energies = [integer(number, name, fields[name]) for name in COLUMNS[2:]]
    if min(energies) < 0:
        raise TableFileError(
            f"row {number}: {min(energies)} Wh is below 0: what is drawn stands in import_wh, what "
            "is fed in in export_wh, both as positive numbers"
        )
    return Value(number, fields["point"], _interval(number, fields["interval"]), Metered(*energies))


def _interval(number: int, text: str) -> Interval:
    try:
        return moment_of(text)
    except TableFileError as error:
        raise TableFileError(f"row {number}: {error}") from error


def moment_of(text: str) -> Interval:
    """Return the interval that begins at a time with its zone.

    Raises:
        TableFileError: it is none, naive or off the quarter-hour grid.
    """
    try:
        moment = datetime.fromisoformat(text)
        return Interval(moment.astimezone(UTC) if moment.tzinfo else moment)
    except (ValueError, OverflowError) as error:  # an IntervalError is a ValueError
        advice = "write the quarter-hour's start with its zone, such as 2026-06-23T09:00:00Z"
        raise TableFileError(f"interval {text[:40]!r}: {error}; {advice}") from error

"""Files of 15-minute values, read and written by a mapping: a whole file, or what is wrong in it.

What local, own and residual energy a file has is written and never read: settlement decides that.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from app.files.exchange_mapping import Mapping
from app.files.exchange_time import Clock, TimeRefusedError, written
from app.files.rows import Source, TableFileError, rows_of
from market.money import round_half_up
from metering.interval import Interval

MAX_ROWS: Final = 1_000_000
_MOST_FAULTS: Final = 20
_NUMBER: Final = {
    mark: re.compile(rf"[+-]?[0-9]{{1,12}}(?:{re.escape(mark)}[0-9]{{1,9}})?") for mark in ".,"
}
_WH: Final = {"Wh": 1, "kWh": 1_000, "kW": 250}  # of a quarter-hour


class Fault(NamedTuple):
    """What is wrong in a file; the header is row 1, None is the file as a whole."""

    row: int | None
    reason: str

    def __str__(self) -> str:
        return self.reason if self.row is None else f"row {self.row}: {self.reason}"


class ExchangeFileError(TableFileError):
    """The file is refused whole: mend the rows that are named."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.row or 0))
        shown = [str(fault) for fault in self.faults[:_MOST_FAULTS]]
        if len(self.faults) > len(shown):
            shown.append(f"and {len(self.faults) - len(shown)} more")
        super().__init__("; ".join(shown))


@dataclass(frozen=True, slots=True)
class ValueLine:
    """What a file says of a point in an interval; None: nothing of that direction. Wh."""

    row: int
    point: str
    interval: Interval
    import_wh: int | None
    export_wh: int | None
    status: str  # measured, estimated, corrected


@dataclass(frozen=True, slots=True)
class ValueRow:
    """A point's energies in an interval as a file tells them, in Wh; ``split`` as in SPLIT."""

    point: str
    interval: Interval
    import_wh: int
    export_wh: int
    split: tuple[int, ...]
    status: str


class _RowError(Exception):
    pass


def read_values(source: Source, mapping: Mapping, zone: ZoneInfo) -> tuple[ValueLine, ...]:
    """Return the values of a file, by point and interval.

    Args:
        source: the file.
        mapping: how it is written.
        zone: the district's.

    Raises:
        ExchangeFileError: rows of it are wrong.
        TableFileError: it cannot be read as a table.
    """
    try:
        reader = _Reader(mapping, Clock(mapping.time, zone))
    except TimeRefusedError as error:
        raise ExchangeFileError([Fault(None, str(error))]) from error
    rows = rows_of(source, mapping.needed, (), delimiter=mapping.delimiter, others=True)
    for number, fields in rows:
        if number > MAX_ROWS + 1:
            raise ExchangeFileError([Fault(number, f"more than {MAX_ROWS} rows: split the file")])
        reader.take(number, fields)
    lines = reader.lines()
    return _counted(lines, mapping) if mapping.values.kind == "counter" else lines


class _Reader:
    def __init__(self, mapping: Mapping, clock: Clock) -> None:
        self._mapping, self._clock = mapping, clock
        self._lines: dict[tuple[str, Interval], ValueLine] = {}
        self._faults: list[Fault] = []

    def take(self, number: int, fields: MappingOf[str, str]) -> None:
        """Keep one row, or what is wrong with it."""
        try:
            self._keep(self._line(number, fields))
        except (_RowError, TimeRefusedError) as error:
            self._faults.append(Fault(number, str(error)))

    def lines(self) -> tuple[ValueLine, ...]:
        """Return all lines.

        Raises:
            ExchangeFileError: something is wrong with some.
        """
        zone = self._mapping.time.zone
        for row, shown in self._clock.lonely():
            reason = (
                f"{shown} comes twice in {zone}, and the file has it once: write both, or times "
                "with their zone"
            )
            self._faults.append(Fault(row, reason))
        if not self._lines and not self._faults:
            self._faults.append(Fault(1, "no row follows the header"))
        if self._faults:
            raise ExchangeFileError(self._faults)
        return tuple(line for _, line in sorted(self._lines.items()))

    def _line(self, number: int, fields: MappingOf[str, str]) -> ValueLine:
        columns = self._mapping.columns
        point = self._mapping.point or fields[columns.point]
        if not point:
            raise _RowError(f"{columns.point} is empty: write the metering point's GSRN")
        imported, exported = self._energies(fields)
        series = f"{point} {fields[columns.register_]}" if columns.register_ else point
        text = fields[columns.time]
        if columns.date:
            text = f"{fields[columns.date]} {text}"
        interval = self._clock.interval(number, series, text)
        return ValueLine(number, point, interval, imported, exported, self._status(fields))

    def _keep(self, line: ValueLine) -> None:
        before = self._lines.get((line.point, line.interval))
        if before is None:
            self._lines[line.point, line.interval] = line
            return
        apart = None in (before.import_wh, line.import_wh) and None in (
            before.export_wh,
            line.export_wh,
        )
        if not (self._mapping.columns.register_ and apart):
            raise _RowError(
                f"{line.interval} of {line.point} stands in row {before.row} already: write each "
                "quarter-hour once"
            )
        if before.status != line.status:
            raise _RowError(
                f"status {line.status}, and row {before.row} of the same quarter-hour says "
                f"{before.status}: write one of them"
            )
        self._lines[line.point, line.interval] = replace(
            before,
            import_wh=line.import_wh if before.import_wh is None else before.import_wh,
            export_wh=line.export_wh if before.export_wh is None else before.export_wh,
        )

    def _energies(self, fields: MappingOf[str, str]) -> tuple[int | None, int | None]:
        """Return what a row says of import and export, in Wh."""
        columns, sign = self._mapping.columns, self._mapping.values.sign
        if columns.net:
            net = self._given(columns.net, fields[columns.net])
            net = net if sign == "import-positive" else -net
            return max(net, 0), max(-net, 0)
        if columns.value:
            return self._by_register(fields)
        imported, exported = (
            self._wh(name, fields[name]) if name and fields[name] else None
            for name in (columns.imported, columns.exported)
        )
        if imported is None and exported is None:
            names = " and ".join(filter(None, (columns.imported, columns.exported)))
            raise _RowError(f"{names}: empty; a missing value is no 0, leave the row out")
        if exported is not None and sign == "export-negative":
            exported = -exported
        return (
            _unsigned(columns.imported, imported, sign),
            _unsigned(columns.exported, exported, sign),
        )

    def _by_register(self, fields: MappingOf[str, str]) -> tuple[int | None, int | None]:
        columns, registers = self._mapping.columns, self._mapping.registers
        wh, register = self._given(columns.value, fields[columns.value]), fields[columns.register_]
        sign = self._mapping.values.sign
        if register in registers.imported:
            return _unsigned(columns.value, wh, sign), None
        if register in registers.exported:
            wh = -wh if sign == "export-negative" else wh
            return None, _unsigned(columns.value, wh, sign)
        known = ", ".join((*registers.imported, *registers.exported))
        raise _RowError(
            f"{columns.register_} {register!r} is none of {known}: set it in [registers], or leave "
            "the row out"
        )

    def _given(self, name: str, text: str) -> int:
        if not text:
            raise _RowError(f"{name}: empty; a missing value is no 0, leave the row out")
        return self._wh(name, text)

    def _wh(self, name: str, text: str) -> int:
        mark, rule = self._mapping.decimal_mark, self._mapping.values
        if not _NUMBER[mark].fullmatch(text):
            raise _RowError(
                f"{name} {text[:40]!r} is no number: digits, with {mark!r} before decimals "
                "(decimal_mark)"
            )
        exact = Decimal(text.replace(mark, ".")) * _WH[rule.unit]
        numerator, denominator = exact.as_integer_ratio()
        if denominator != 1 and rule.rounding == "refuse":
            raise _RowError(
                f"{name} {text} {rule.unit} is no whole number of Wh in a quarter-hour: is the "
                "unit right? rounding = 'half-up' in [values] would round it"
            )
        return round_half_up(numerator, denominator)

    def _status(self, fields: MappingOf[str, str]) -> str:
        text = fields.get(self._mapping.columns.status, "")
        if not text:
            return "corrected"
        meaning = self._mapping.status.meaning
        if text not in meaning:
            raise _RowError(f"status {text[:40]!r} is none of {', '.join(meaning)}")
        return meaning[text]


def _counted(lines: Sequence[ValueLine], mapping: Mapping) -> tuple[ValueLine, ...]:
    """Return what counters counted in each quarter-hour between two of their readings.

    ``lines`` are the readings, by point and time. A line's row is that of the later reading. Where
    a reading is missing, nothing is said of the two quarter-hours that it borders.

    Raises:
        ExchangeFileError: a counter fell, or no two readings are a quarter-hour apart.
    """
    found, faults = [], []
    for before, after in pairwise(lines):
        if before.point != after.point or before.interval.next() != after.interval:
            continue
        imported = _since(before.import_wh, after.import_wh)
        exported = _since(before.export_wh, after.export_wh)
        if min(imported or 0, exported or 0) < 0:
            reason = (
                f"the counter of {after.point} shows less than in row {before.row}: it was reset "
                "or exchanged there; write both parts as files of their own"
            )
            faults.append(Fault(after.row, reason))
        elif (imported, exported) != (None, None):
            line = after if mapping.time.label == "end" else before
            status = before.status if before.status == after.status else "corrected"
            found.append(
                ValueLine(after.row, after.point, line.interval, imported, exported, status)
            )
    if not found and not faults:
        faults.append(Fault(None, "no two readings of a counter are a quarter-hour apart"))
    if faults:
        raise ExchangeFileError(faults)
    return tuple(found)


def _since(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _unsigned(name: str, wh: int | None, sign: str) -> int | None:
    if wh is not None and wh < 0:
        raise _RowError(f"{name} has the wrong sign for sign = {sign!r}: is the mapping's right?")
    return wh


def value_lines(rows: Iterable[ValueRow], mapping: Mapping, zone: ZoneInfo) -> Iterator[str]:
    """Yield the lines of a file of values, its header first, each with its line end.

    Rows come sorted by point and interval: in a doubled local hour their order tells them apart.

    Raises:
        ExchangeFileError: a point drew and fed in within one interval, and the mapping has one net
            column for both; or it is one for reading alone.
    """
    if mapping.values.kind == "counter" or mapping.point:
        reason = "the mapping is for reading alone: kind = 'counter' and point tell no such file"
        raise ExchangeFileError([Fault(None, reason)])
    columns = mapping.columns
    optional = (columns.status, *(() if columns.value else columns.split))
    header = (*columns.needed, *(name for name in optional if name))
    yield _csv_line(header, mapping.delimiter)
    for row in rows:
        for cells in _cells(row, mapping, zone):
            yield _csv_line([cells[name] for name in header], mapping.delimiter)


def _cells(row: ValueRow, mapping: Mapping, zone: ZoneInfo) -> Iterator[dict[str, str]]:
    columns = mapping.columns
    moment = row.interval.end if mapping.time.label == "end" else row.interval.start
    text = written(moment, mapping.time, zone)
    date, _, time = text.replace("T", " ", 1).partition(" ") if columns.date else ("", "", text)
    common = {
        columns.point: row.point,
        columns.date: date,
        columns.time: time,
        columns.status: getattr(mapping.status, row.status)[0],
        **{name: _number(wh, mapping) for name, wh in zip(columns.split, row.split, strict=True)},
    }
    exported = -row.export_wh if mapping.values.sign == "export-negative" else row.export_wh
    if columns.value:
        for words, wh in (
            (mapping.registers.imported, row.import_wh),
            (mapping.registers.exported, exported),
        ):
            yield common | {columns.register_: words[0], columns.value: _number(wh, mapping)}
    elif columns.net:
        yield common | {columns.net: _number(_net(row, mapping), mapping)}
    else:
        energies = {
            columns.imported: _number(row.import_wh, mapping),
            columns.exported: _number(exported, mapping),
        }
        yield common | energies


def _net(row: ValueRow, mapping: Mapping) -> int:
    if row.import_wh and row.export_wh:
        reason = (
            f"{row.point} drew {row.import_wh} Wh and fed in {row.export_wh} Wh in {row.interval}: "
            "one net column cannot tell both; map import and export"
        )
        raise ExchangeFileError([Fault(None, reason)])
    net = row.import_wh - row.export_wh
    return net if mapping.values.sign == "import-positive" else -net


def _number(wh: int, mapping: Mapping) -> str:
    if mapping.values.unit == "Wh":
        return str(wh)
    thousandths = wh if mapping.values.unit == "kWh" else 4 * wh
    return f"{Decimal(thousandths) / 1000:.3f}".replace(".", mapping.decimal_mark)


def _csv_line(cells: Sequence[str], delimiter: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerow(cells)
    return out.getvalue()

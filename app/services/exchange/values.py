"""15-minute values out to a file and in from one: shown first, taken whole or not at all.

What comes in is an authorised value in place of what was known: :mod:`app.services.corrections`.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from sqlmodel import Session

from app.files.exchange_mapping import Mapping
from app.files.exchange_values import (
    ExchangeFileError,
    Fault,
    ValueLine,
    ValueRow,
    read_values,
    value_lines,
)
from app.files.rows import TableFileError
from app.files.values import COLUMNS
from app.services.corrections import values as corrections
from app.services.exchange.allocation import Period
from app.services.house import House
from app.store import exchange, people
from app.store.exchange import Known
from app.tables import MeteringPointRow, SettledRow
from metering.interval import Interval

_TOLERANCE_PERCENT: Final = 110  # of what the fuse allows, as for readings
_ROW: Final = re.compile(r"^row ([0-9]+):")


class ExchangeError(Exception):
    """Nothing was written: do what the message says."""


class Change(NamedTuple):
    """A value that is another than the one known; ``row`` of the file."""

    row: int
    point: str
    interval: Interval
    before: Known
    import_wh: int
    export_wh: int


class Span(NamedTuple):
    """What a file has of a point: how many values, and the intervals of the first and the last."""

    point: str
    values: int
    first: Interval
    last: Interval


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file would change, by point and interval, and how many values are known already."""

    name: str
    changes: Sequence[Change]
    unchanged: int
    spans: Sequence[Span] = ()


def export(
    session: Session, house: House, time: Period, points: Collection[str], mapping: Mapping
) -> Iterator[str]:
    """Yield the lines of a file with the settled values of a time, of some points ('()': all).

    Raises:
        ExchangeError: there is no such point, or nothing was settled in that time.
        ExchangeFileError: the mapping has no place for a value.
    """
    if strange := sorted(set(points) - people.points(session).keys()):
        raise ExchangeError(f"there is no metering point {', '.join(strange)}: write its GSRN")
    rows = exchange.settled_rows(session, time.first, time.after, points or None)
    first = next(rows, None)
    if first is None:
        raise ExchangeError(f"nothing was settled in {time.name}: choose another day or month")

    def all_rows() -> Iterator[ValueRow]:
        yield _row(first)
        yield from map(_row, rows)

    yield from value_lines(all_rows(), mapping, house.settings.tz)


def preview(house: House, file: Path, mapping: Mapping) -> Plan:
    """Return what a file of values would change; writes nothing.

    Raises:
        ExchangeFileError: rows of it are refused.
        TableFileError: it cannot be read as a table.
    """
    lines = read_values(file, mapping, house.settings.tz)
    with house.database.read() as session:
        return _plan(session, file.name, lines)


def enter(house: House, plan: Plan, reason: str, by: str) -> int:
    """Enter a plan's changes as authorised values; return how many there were.

    They are judged anew, and refused where what is known became another meanwhile.

    Raises:
        ExchangeFileError: some are refused, none was entered.
    """
    if not plan.changes:
        return 0
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for each in plan.changes:
        table.writerow((each.point, each.interval.key, each.import_wh, each.export_wh))
    content = out.getvalue().encode()
    with house.database.read() as session:
        _check_unmoved(session, plan)
    try:
        given = corrections.Authorised(plan.name, content, reason, by)
        return len(corrections.enter(house, given).drafts)
    except corrections.ValuesError as error:
        raise ExchangeFileError(_retold(plan, error.faults)) from error
    except TableFileError as error:
        raise ExchangeFileError([Fault(None, str(error))]) from error


def _check_unmoved(session: Session, plan: Plan) -> None:
    """Refuse a plan that was made of other values than those known now.

    Raises:
        ExchangeFileError: names them.
    """
    faults = []
    for point, changes in _by_point(plan.changes).items():
        first, last = changes[0].interval.key, changes[-1].interval.key
        now = exchange.known(session, point, first, last)
        faults += [
            Fault(each.row, f"{each.interval} of {point} was corrected meanwhile: look at it anew")
            for each in changes
            if now.get(each.interval.key) != each.before
        ]
    if faults:
        raise ExchangeFileError(faults)


def _retold(plan: Plan, faults: Sequence[str]) -> Iterator[Fault]:
    """Tell faults of the file that was made of a plan by the rows of the one that came in."""
    for fault in faults:
        match = _ROW.match(fault)
        row = plan.changes[int(match[1]) - 2].row if match else None
        yield Fault(row, _ROW.sub("", fault).strip())


def _row(row: SettledRow) -> ValueRow:
    split = (
        row.import_local_wh,
        row.import_own_wh,
        row.import_residual_wh,
        row.export_local_wh,
        row.export_own_wh,
        row.export_residual_wh,
    )
    status = "corrected" if row.version else "estimated" if row.estimated else "measured"
    return ValueRow(
        row.point, Interval.parse(row.interval), row.import_wh, row.export_wh, split, status
    )


def _plan(session: Session, name: str, lines: Sequence[ValueLine]) -> Plan:
    points, faults, changes, spans = people.points(session), [], [], []
    for point, own in _lines_by_point(lines).items():
        row = points.get(point)
        if row is None:
            reason = f"there is no metering point {point[:40]!r}: write its 18-digit GSRN"
            faults += [Fault(line.row, reason) for line in own]
            continue
        known = exchange.known(session, point, own[0].interval.key, own[-1].interval.key)
        spans.append(Span(point, len(own), own[0].interval, own[-1].interval))
        faults += _gaps(own, known)
        for line in own:
            found = known.get(line.interval.key)
            if found is None:
                faults.append(Fault(line.row, _unsettled(line, row)))
            elif reason := _unfit(line, row):
                faults.append(Fault(line.row, reason))
            elif _differs(line, found):
                faults += _vague(line)
                changes.append(_change(line, found))
    if faults:
        raise ExchangeFileError(faults)
    return Plan(name, tuple(changes), len(lines) - len(changes), tuple(spans))


def _lines_by_point(lines: Sequence[ValueLine]) -> dict[str, list[ValueLine]]:
    found: dict[str, list[ValueLine]] = defaultdict(list)
    for line in lines:
        found[line.point].append(line)
    return found


def _by_point(changes: Sequence[Change]) -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        found[change.point].append(change)
    return found


def _gaps(lines: Sequence[ValueLine], known: MappingOf[str, Known]) -> Iterator[Fault]:
    """Yield what was settled between a file's first and last value, and is missing in it."""
    there = {line.interval.key: line.row for line in lines}
    missing = sorted(known.keys() - there.keys())
    if missing:
        after = max(line.interval.key for line in lines if line.interval.key < missing[0])
        shown = ", ".join(islice(missing, 3)) + (", ..." if len(missing) > 3 else "")
        yield Fault(
            there[after],
            f"{len(missing)} settled quarter-hours of {lines[0].point} are missing after this one "
            f"({shown}): write all of them, or split the file where the gap is",
        )


def _unsettled(line: ValueLine, point: MeteringPointRow) -> str:
    if point.purpose:
        return f"{point.name} measures alone ({point.purpose}) and is never settled: leave it out"
    return (
        f"{line.interval} of {point.name} is not settled: it is to come, or from before the point "
        "was there; leave it out"
    )


def _unfit(line: ValueLine, point: MeteringPointRow) -> str:
    """Return why a value cannot be true, '' where it can."""
    most = max(line.import_wh or 0, line.export_wh or 0)
    if most * 4 * 100 <= point.max_power_w * _TOLERANCE_PERCENT:
        return ""
    return (
        f"{most} Wh in a quarter-hour are {4 * most} W, and the fuse of {point.name} allows "
        f"{point.max_power_w} W: are the unit and the register of the mapping right?"
    )


def _vague(line: ValueLine) -> Iterator[Fault]:
    if line.status == "estimated":
        yield Fault(
            line.row,
            f"{line.interval} of {line.point} is an estimate, and another than is known: only a "
            "measured or authorised value replaces one",
        )


def _differs(line: ValueLine, known: Known) -> bool:
    """Whether a value says anything new: other energies, or the first one after an estimate."""
    same = line.import_wh in (None, known.import_wh) and line.export_wh in (None, known.export_wh)
    return not same or (known.estimated and line.status != "estimated")


def _change(line: ValueLine, known: Known) -> Change:
    return Change(
        line.row,
        line.point,
        line.interval,
        known,
        known.import_wh if line.import_wh is None else line.import_wh,
        known.export_wh if line.export_wh is None else line.export_wh,
    )

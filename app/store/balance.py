"""Roll-ups as a balance needs them: sums by time and place, production behind the border meters.

Reads roll-ups only; corrections of production meters, which are few, are added when they are read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import date, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, case, distinct, func, select
from sqlmodel import Session, SQLModel, col
from sqlmodel import select as select_rows

from app.tables import CorrectionRow, DeviceRow, ProductionRollupRow, SlotRow
from market.balance import Flows
from market.settled import Span, buckets
from metering.interval import Interval

_ROLLUP: Final = SQLModel.metadata.tables["rollup"]
_PRODUCTION: Final = SQLModel.metadata.tables["production_rollup"]
_CERTIFICATES: Final = SQLModel.metadata.tables["certificate_month"]
_FLOWS: Final = (
    "import_wh",
    "import_local_wh",
    "import_own_wh",
    "export_wh",
    "export_local_wh",
    "export_own_wh",
)


class Scope(NamedTuple):
    """Which roll-ups: a span, its first and last ``start``, and whose (None: everybody's)."""

    span: Span
    first: str
    last: str
    participants: frozenset[str] | None = None


class Cell(NamedTuple):
    """Where and when: a roll-up's ``start``, a feeder, and a building ('' for none)."""

    start: str
    feeder: str
    building: str


class Sum(NamedTuple):
    """The sums of a cell; ``saving_micro`` is against everybody's normal tariff."""

    flows: Flows
    saving_micro: int


class Beside(NamedTuple):
    """What border meters do not tell, in Wh; ``hidden_wh``: fed in where self-use is not known."""

    self_used_wh: int = 0
    cycled_wh: int = 0
    hidden_wh: int = 0


class Units(NamedTuple):
    """Metering points by what stands behind them.

    ``metered``: every production unit has a meter of its own. ``storages``: a storage and nothing
    that produces, so that what they feed in was drawn before.
    """

    metered: frozenset[str]
    storages: frozenset[str]


def record_production(session: Session, zone: ZoneInfo, key: str) -> None:
    """Add what production units' own meters counted in an interval to its day and month.

    To be called once per interval, in the transaction that settles it.
    """
    rows = session.exec(
        select_rows(SlotRow, DeviceRow)
        .join(DeviceRow, col(DeviceRow.meter_point) == SlotRow.point)
        .where(SlotRow.interval == key, DeviceRow.kind == "production")
        .where(DeviceRow.valid_from <= key)
        .where(col(DeviceRow.valid_to).is_(None) | (col(DeviceRow.valid_to) > key))
        .order_by(SlotRow.point)
    ).all()
    _, *into = buckets(Interval.parse(key), zone)
    for slot, device in rows:
        for span, start in into:
            row = _production(session, span, start, slot.point, device.point)
            row.intervals += 1
            row.estimated += slot.estimated
            if not slot.estimated:
                row.output_wh += _output(device, slot.import_wh, slot.export_wh)


def _production(
    session: Session, span: Span, start: str, meter: str, point: str
) -> ProductionRollupRow:
    found = session.get(ProductionRollupRow, (span.value, start, meter, point))
    if found is None:
        found = ProductionRollupRow(
            span=span.value,
            start=start,
            meter=meter,
            point=point,
            intervals=0,
            estimated=0,
            output_wh=0,
        )
        session.add(found)
    return found


def _output(device: DeviceRow, import_wh: int, export_wh: int) -> int:
    return import_wh if device.output_register == "import" else export_wh


def units(session: Session) -> Units:
    """Return which points' self-use is metered, and which are storages alone."""
    kinds: dict[str, list[DeviceRow]] = defaultdict(list)
    for device in session.exec(select_rows(DeviceRow)):
        kinds[device.point].append(device)
    metered, storages = set(), set()
    for point, devices in kinds.items():
        makes = [device for device in devices if device.kind == "production"]
        if makes and all(device.meter_point for device in makes):
            metered.add(point)
        if not makes and any(device.kind == "storage" for device in devices):
            storages.add(point)
    return Units(frozenset(metered), frozenset(storages))


def sums(session: Session, zone: ZoneInfo, scope: Scope) -> Mapping[Cell, Sum]:
    """Return the sums of each time and place, in their order."""
    known = units(session)
    apart = _apart(session, zone, scope, known)
    table = _ROLLUP.c
    place = (table.start, table.feeder, table.building)
    untold = case((table.point.in_(known.metered | known.storages), 0), else_=table.export_wh)
    rows = session.connection().execute(
        select(
            *place,
            *(func.sum(table[name]) for name in _FLOWS),
            func.sum(untold),
            func.sum(table.saving_micro),
        )
        .where(_within(scope))
        .group_by(*place)
        .order_by(*place)
    )
    found = {}
    for start, feeder, building, *figures in rows:
        cell = Cell(start, feeder, building)
        *energies, hidden_wh, saving = map(int, figures)
        beside = apart.get(cell, Beside())
        flows = Flows(
            **dict(zip(_FLOWS, energies, strict=True)),
            self_used_wh=beside.self_used_wh,
            cycled_wh=beside.cycled_wh,
            hidden_export_wh=hidden_wh + beside.hidden_wh,
        )
        found[cell] = Sum(flows, saving)
    return found


def _within(scope: Scope) -> ColumnElement[bool]:
    table = _ROLLUP.c
    where = [
        table.span == scope.span.value,
        table.start >= scope.first,
        table.start <= scope.last,
    ]
    if scope.participants is not None:
        where.append(table.participant.in_(scope.participants))
    return and_(*where)


def _apart(session: Session, zone: ZoneInfo, scope: Scope, known: Units) -> Mapping[Cell, Beside]:
    """Return what stands beside the border meters of each cell, from its points one by one."""
    table = _ROLLUP.c
    made, shared = _made(session, zone, scope, known), _shared(session, scope, known)
    rows = session.connection().execute(
        select(
            table.start,
            table.feeder,
            table.building,
            table.point,
            func.sum(table.import_wh),
            func.sum(table.export_wh),
        )
        .where(_within(scope), table.point.in_(known.metered | known.storages))
        .group_by(table.start, table.feeder, table.building, table.point)
    )
    found: dict[Cell, Beside] = defaultdict(Beside)
    for start, feeder, building, point, import_wh, export_wh in rows:
        if point in known.storages:
            more = Beside(cycled_wh=min(int(import_wh), int(export_wh)))
        elif (start, point) in shared:
            more = Beside(hidden_wh=int(export_wh))
        else:
            more = Beside(max(0, made.get((start, point), 0) - int(export_wh)))
        before = found[Cell(start, feeder, building)]
        found[Cell(start, feeder, building)] = Beside(*map(sum, zip(before, more, strict=True)))
    return found


def _shared(session: Session, scope: Scope, known: Units) -> frozenset[tuple[str, str]]:
    """Return (start, point) that several stood behind or that moved: whose self-use is not told."""
    table = _ROLLUP.c
    place = table.feeder + "/" + table.building
    who = place if scope.participants is None else table.participant + "/" + place
    rows = session.connection().execute(
        select(table.start, table.point)
        .where(_within(scope._replace(participants=None)), table.point.in_(known.metered))
        .group_by(table.start, table.point)
        .having(func.count(distinct(who)) > 1)
    )
    return frozenset((start, point) for start, point in rows)


def _made(
    session: Session, zone: ZoneInfo, scope: Scope, known: Units
) -> Mapping[tuple[str, str], int]:
    """Return what production units gave out by (start, point), as known now."""
    table = _PRODUCTION.c
    rows = session.connection().execute(
        select(table.start, table.point, func.sum(table.output_wh))
        .where(
            table.span == scope.span.value,
            table.start >= scope.first,
            table.start <= scope.last,
            table.point.in_(known.metered),
        )
        .group_by(table.start, table.point)
    )
    found: dict[tuple[str, str], int] = defaultdict(int)
    for start, point, output_wh in rows:
        found[start, point] = int(output_wh)
    for (start, point), wh in _corrected(session, zone, scope).items():
        found[start, point] += wh
    return found


def _corrected(session: Session, zone: ZoneInfo, scope: Scope) -> Mapping[tuple[str, str], int]:
    """Return by how much corrections changed what units gave out, by (start, point)."""
    newest: dict[tuple[str, str], tuple[SlotRow, CorrectionRow, DeviceRow]] = {}
    # A day more at both ends than any zone needs; which are meant is decided below.
    first, last = (date.fromisoformat(f"{each}-01"[:10]) for each in (scope.first, scope.last[:7]))
    earliest, latest = f"{first - timedelta(days=1)}T", f"{last + timedelta(days=33)}T"
    rows = session.exec(
        select_rows(SlotRow, CorrectionRow, DeviceRow)
        .join(
            CorrectionRow,
            (col(CorrectionRow.interval) == SlotRow.interval)
            & (col(CorrectionRow.point) == SlotRow.point),
        )
        .join(DeviceRow, col(DeviceRow.meter_point) == SlotRow.point)
        .where(DeviceRow.kind == "production")
        .where(CorrectionRow.interval >= earliest, CorrectionRow.interval < latest)
        .order_by(CorrectionRow.interval, CorrectionRow.point, col(CorrectionRow.version))
    )
    for slot, correction, device in rows:
        newest[slot.interval, slot.point] = (slot, correction, device)
    found: dict[tuple[str, str], int] = defaultdict(int)
    for slot, correction, device in newest.values():
        starts = {each.span: each.start for each in buckets(Interval.parse(slot.interval), zone)}
        if scope.first <= starts[scope.span] <= scope.last:
            before = 0 if slot.estimated else _output(device, slot.import_wh, slot.export_wh)
            now = _output(device, correction.import_wh, correction.export_wh)
            found[starts[scope.span], device.point] += now - before
    return found


def settled_intervals(session: Session, scope: Scope) -> Mapping[str, int]:
    """Return how many intervals were settled by ``start``: those of the point with most of them."""
    table = _ROLLUP.c
    by_point = (
        select(table.start, func.sum(table.intervals).label("n"))
        .where(_within(scope))
        .group_by(table.start, table.point)
        .subquery()
    )
    rows = select(by_point.c.start, func.max(by_point.c.n)).group_by(by_point.c.start)
    return {start: int(n) for start, n in session.connection().execute(rows)}


def participants(session: Session, scope: Scope) -> Mapping[tuple[str, str], frozenset[str]]:
    """Return who stands behind each (feeder, building) over the whole of a scope."""
    table = _ROLLUP.c
    who = (table.feeder, table.building, table.participant)
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for feeder, building, participant in session.connection().execute(
        select(*who).where(_within(scope)).distinct()
    ):
        found[feeder, building].add(participant)
    return {place: frozenset(names) for place, names in sorted(found.items())}


def behind(session: Session, scope: Scope, own: Collection[str]) -> Mapping[str, tuple[int, bool]]:
    """Return by ``start`` how many others than ``own`` stand behind it, and whether any of own."""
    table = _ROLLUP.c
    mine = table.participant.in_(own)
    rows = select(
        table.start,
        func.count(distinct(case((mine, None), else_=table.participant))),
        func.max(case((mine, 1), else_=0)),
    ).where(_within(scope))
    found = session.connection().execute(rows.group_by(table.start).order_by(table.start))
    return {start: (int(others), bool(any_own)) for start, others, any_own in found}


def first_start(session: Session, span: Span) -> str | None:
    """Return the ``start`` of the oldest roll-up of a span, None before the first."""
    table = _ROLLUP.c
    query = select(func.min(table.start)).where(table.span == span.value)
    return session.connection().execute(query).scalar()


def avoided_mg(session: Session, first: str, last: str, who: frozenset[str] | None) -> int | None:
    """Return the CO2 that claimed certificates avoided in months, in mg; None without any."""
    table = _CERTIFICATES.c
    query = select(func.sum(table.avoided_mg), func.sum(table.claimed_wh)).where(
        table.month >= first, table.month <= last
    )
    if who is not None:
        query = query.where(table.participant.in_(who))
    avoided, claimed = session.connection().execute(query).one()
    return int(avoided) if claimed else None

"""closed -> metered: borders, energies and slot leaves of an interval's roster."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlmodel import Session, col, exists, select

from app.services import border_pairs, enrolment
from app.services.border_pairs import Fault, Measured
from app.services.house import House
from app.services.tariffs.sealed import tariff_texts
from app.store import borders, intervals, people
from app.store.bulk import insert_all
from app.tables import EnrolmentRow, ReadingRow, SlotRow
from ledger_client.merkle import leaf_hash, root
from ledger_client.proof import Borders, slot_leaf
from ledger_client.verify import NO_LEAF
from market.estimates import estimate_import
from metering.interval import Interval
from metering.quantities import Energy


@dataclass(frozen=True, slots=True)
class Metered:
    """A point's energy in one interval; estimated when its borders do not tell it."""

    import_wh: int
    export_wh: int
    estimated: bool


def meter(house: House, key: str) -> None:
    """Meter one interval whose grace is over; does nothing if that was done."""
    interval = Interval.parse(key)
    with house.database.write() as session:
        row = intervals.lock(session, key, "closed")
        if row is None:
            return
        # From here on, ingest waits: what it commits after this belongs to a later seal.
        district = people.district(session, lock=True)
        _write_slots(house, session, interval)
        district.metered_through = key
        row.state = "metered"


def _write_slots(house: House, session: Session, interval: Interval) -> None:
    opening = borders.at_border(session, interval.start_ms)
    closing = borders.at_border(session, interval.end_ms)
    leaves = borders.within(session, interval)
    joined = _joined(session)
    seats = [
        seat
        for seat in enrolment.roster(session, interval)
        if seat.point in opening or seat.point in joined
    ]
    found = _judge(session, seats, opening, closing)
    history, tariffs = _history(session, interval), tariff_texts(house, session, interval)
    names = {gsrn: row.name for gsrn, row in people.points(session).items()}
    rows = []
    for position, seat in enumerate(seats):
        first, last = opening.get(seat.point), closing.get(seat.point)
        told = found.get(seat.point)
        amount = _metered(told, history.get(seat.point, ()))
        if not isinstance(told, Measured):
            _tell(house, session, interval, (seat.point, names[seat.point]), told)
            # What does not go on from the opening closes nothing: it is the next one's opening.
            last = None if first else last
        readings, tariff = leaves.get(seat.point, ()), tariffs[seat.point]
        rows.append(_slot(interval, position, seat, (first, last), readings, amount, tariff))
    insert_all(session, SlotRow, rows)


def _judge(
    session: Session,
    seats: Sequence[EnrolmentRow],
    opening: Mapping[str, ReadingRow],
    closing: Mapping[str, ReadingRow],
) -> Mapping[str, Measured | Fault]:
    """Return what the borders of each point say that has both."""
    points = [seat.point for seat in seats if seat.point in opening and seat.point in closing]
    found = border_pairs.judge(session, [(opening[point], closing[point]) for point in points])
    return dict(zip(points, found, strict=True))


def _metered(told: Measured | Fault | None, history: Sequence[Energy]) -> Metered:
    if isinstance(told, Measured):
        return Metered(told.import_wh, told.export_wh, estimated=False)
    return Metered(estimate_import(history).wh, 0, estimated=True)


def _slot(
    interval: Interval,
    position: int,
    seat: EnrolmentRow,
    ends: tuple[ReadingRow | None, ReadingRow | None],
    leaves: Sequence[bytes],
    amount: Metered,
    tariff: str,
) -> dict[str, object]:
    salt = secrets.token_bytes(32)
    opening, closing = ends
    held = Borders(
        closing=closing.leaf if closing else NO_LEAF,
        count=len(leaves),
        opening=opening.leaf if opening else NO_LEAF,
        root=root(leaves),
    )
    heard_of = bool(leaves or opening or closing)
    return {
        "interval": interval.key,
        "point": seat.point,
        "position": position,
        "enrolment": seat.id or 0,
        "tariff": tariff,
        "opening": opening.id if opening else None,
        "closing": closing.id if closing else None,
        "estimated": amount.estimated,
        "fault": None,
        "disputed": None,
        "made_good": None,
        "import_wh": amount.import_wh,
        "export_wh": amount.export_wh,
        "salt": salt,
        "count": len(leaves),
        "readings_root": held.root,
        "leaf": leaf_hash(slot_leaf(seat.point, interval.key, salt, held if heard_of else None)),
    }


def _joined(session: Session) -> frozenset[str]:
    """Return the points that had a slot ever before; each is one look at an index."""
    had = exists().where(col(SlotRow.point) == EnrolmentRow.point)
    return frozenset(session.exec(select(EnrolmentRow.point).where(had)))


def _history(session: Session, interval: Interval) -> Mapping[str, Sequence[Energy]]:
    """Return each point's measured imports of the same weekday and quarter, four weeks back."""
    keys = [Interval(interval.start - timedelta(weeks=n)).key for n in range(1, 5)]
    rows = session.exec(
        select(SlotRow.point, SlotRow.import_wh).where(
            col(SlotRow.interval).in_(keys),
            col(SlotRow.estimated).is_(False),
            col(SlotRow.disputed).is_(None),
        )
    )
    history: dict[str, list[Energy]] = {}
    for point, import_wh in rows:
        history.setdefault(point, []).append(Energy(import_wh))
    return history


def _tell(
    house: House,
    session: Session,
    interval: Interval,
    point: tuple[str, str],
    fault: Fault | None,
) -> None:
    """Tell people why a point (GSRN, name) is estimated: its ``fault``, or no border reading."""
    zone = house.settings.tz
    gsrn, name = point
    when = f"{interval.start.astimezone(zone):%H:%M} to {interval.end.astimezone(zone):%H:%M %Z}"
    people.notify(
        session,
        ref=f"estimated/{interval.key}/{gsrn}",
        at_ms=interval.end_ms,
        level="warning",
        text=f"{name}: {fault} in {when}; the energy is estimated: check the meter"
        if fault
        else f"{name}: no valid reading at a border of {when}; the energy is estimated, and "
        "corrected once the meter answers again",
        point=gsrn,
    )

"""closed -> metered: borders, energies and slot leaves of an interval's roster."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlmodel import Session, col, select

from app.services import enrolment
from app.services.house import House
from app.store import borders, intervals, people
from app.tables import EnrolmentRow, ReadingRow, SlotRow
from ledger_client.merkle import leaf_hash, root
from ledger_client.proof import Borders, slot_leaf
from ledger_client.verify import NO_LEAF
from market.estimates import estimate_import
from metering.interval import Interval
from metering.quantities import Energy, RegisterRolledBackError, RegisterTotal


@dataclass(frozen=True, slots=True)
class Metered:
    """A point's energy in one interval; estimated when a border reading is missing."""

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
    history, serials = _history(session, interval), borders.serials(session)
    for position, seat in enumerate(seats):
        first, last = opening.get(seat.point), closing.get(seat.point)
        amount = measured(first, last, serials)
        if amount is None:
            amount = Metered(estimate_import(history.get(seat.point, ())).wh, 0, estimated=True)
            # What does not go on from the opening closes nothing: it is the next one's opening.
            last = None if first else last
        session.add(
            _slot(interval, position, seat, (first, last), leaves.get(seat.point, ()), amount)
        )
        if amount.estimated:
            _tell(house, session, interval, seat)


def measured(
    opening: ReadingRow | None, closing: ReadingRow | None, serials: Mapping[str, str]
) -> Metered | None:
    """Return the energy between two border readings, None when it cannot be told.

    That is without both borders, between two meters (``serials`` by key), and when a register
    fell or shows at one border only. A register that the meter does not have counts as 0.
    """
    if opening is None or closing is None or serials[opening.key] != serials[closing.key]:
        return None
    import_wh = _difference(opening.import_wh, closing.import_wh)
    export_wh = _difference(opening.export_wh, closing.export_wh)
    if import_wh is None or export_wh is None:
        return None
    return Metered(import_wh, export_wh, estimated=False)


def _difference(earlier_wh: int | None, later_wh: int | None) -> int | None:
    if earlier_wh is None and later_wh is None:
        return 0
    if earlier_wh is None or later_wh is None:
        return None
    try:
        return RegisterTotal(later_wh).since(RegisterTotal(earlier_wh)).wh
    except RegisterRolledBackError:
        return None


def _slot(
    interval: Interval,
    position: int,
    seat: EnrolmentRow,
    ends: tuple[ReadingRow | None, ReadingRow | None],
    leaves: Sequence[bytes],
    amount: Metered,
) -> SlotRow:
    salt = secrets.token_bytes(32)
    opening, closing = ends
    held = Borders(
        closing=closing.leaf if closing else NO_LEAF,
        count=len(leaves),
        opening=opening.leaf if opening else NO_LEAF,
        root=root(leaves),
    )
    heard_of = bool(leaves or opening or closing)
    return SlotRow(
        interval=interval.key,
        point=seat.point,
        position=position,
        enrolment=seat.id or 0,
        opening=opening.id if opening else None,
        closing=closing.id if closing else None,
        estimated=amount.estimated,
        import_wh=amount.import_wh,
        export_wh=amount.export_wh,
        salt=salt,
        count=len(leaves),
        readings_root=held.root,
        leaf=leaf_hash(slot_leaf(seat.point, interval.key, salt, held if heard_of else None)),
    )


def _joined(session: Session) -> frozenset[str]:
    return frozenset(session.exec(select(SlotRow.point).distinct()))


def _history(session: Session, interval: Interval) -> Mapping[str, Sequence[Energy]]:
    """Return each point's measured imports of the same weekday and quarter, four weeks back."""
    keys = [Interval(interval.start - timedelta(weeks=n)).key for n in range(1, 5)]
    rows = session.exec(
        select(SlotRow.point, SlotRow.import_wh).where(
            col(SlotRow.interval).in_(keys), col(SlotRow.estimated).is_(False)
        )
    )
    history: dict[str, list[Energy]] = {}
    for point, import_wh in rows:
        history.setdefault(point, []).append(Energy(import_wh))
    return history


def _tell(house: House, session: Session, interval: Interval, seat: EnrolmentRow) -> None:
    zone = house.settings.tz
    name = people.points(session)[seat.point].name
    people.notify(
        session,
        ref=f"estimated/{interval.key}/{seat.point}",
        at_ms=interval.end_ms,
        level="warning",
        text=f"{name}: no valid reading at a border of {interval.start.astimezone(zone):%H:%M} to "
        f"{interval.end.astimezone(zone):%H:%M %Z}; the energy is estimated, and corrected once "
        "the meter answers again",
        point=seat.point,
    )

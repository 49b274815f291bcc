"""What stands behind metering points in an interval, and the names of what they are bound to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, or_
from sqlalchemy.orm import InstrumentedAttribute
from sqlmodel import Session, col, func, select

from app.store import people
from app.store.bulk import insert_once
from app.tables import EnrolmentRow, LinkRow, MeteringPointRow
from market.place import Place, PlaceError
from market.registry import Link, Role, Timeline
from metering.interval import Interval

FOUNDING: Final = "founding"
DISTRICTS_OWN: Final[Mapping[Role, str]] = {
    Role.SUPPLIER: "the district's supplier",
    Role.BALANCE_PARTY: "the supplier's balance responsible party",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What held for a metering point in one interval; ids, '' where there is none.

    ``purpose`` None: it settles; else it measures alone (feeder-head, production, ...).
    """

    point: str
    participant: str
    supplier: str
    balance_party: str
    tariff: str
    feeder: str
    building: str
    purpose: str | None = None

    @property
    def place(self) -> Place:
        """Where the point stands; the district where its names are no place."""
        try:
            return Place(self.feeder, self.building)
        except PlaceError:
            return Place()


class Stay(NamedTuple):
    """A point and the time that it is a participant's: [begin, end) as interval keys."""

    point: str
    begin: str
    end: str | None


def standing(session: Session, key: str) -> Mapping[str, Standing]:
    """Return what holds for every metering point in an interval, by GSRN, in GSRN order.

    A point that has not begun by then is left out.
    """
    held: dict[str, dict[str, str]] = {}
    for point, role, target in session.exec(
        select(LinkRow.point, LinkRow.role, LinkRow.target).where(*_held_at(key))
    ):
        held.setdefault(point, {})[role] = target
    purposes = session.exec(
        select(MeteringPointRow.gsrn, MeteringPointRow.purpose).order_by(MeteringPointRow.gsrn)
    )
    return {
        point: _standing(point, held[point], purpose)
        for point, purpose in purposes
        if point in held
    }


def _held_at(key: str) -> tuple[ColumnElement[bool], ...]:
    ended = col(LinkRow.valid_to)
    return col(LinkRow.valid_from) <= key, or_(ended.is_(None), ended > key)


def _standing(point: str, held: Mapping[str, str], purpose: str | None) -> Standing:
    return Standing(
        point=point,
        participant=held[Role.PARTICIPANT],
        supplier=held[Role.SUPPLIER],
        balance_party=held[Role.BALANCE_PARTY],
        tariff=held[Role.TARIFF],
        feeder=held[Role.FEEDER],
        building=held[Role.BUILDING],
        purpose=purpose,
    )


def of(session: Session, participant: str, key: str) -> Mapping[str, Standing]:
    """Return what is a participant's in an interval, by GSRN."""
    found = standing(session, key)
    return {point: held for point, held in found.items() if held.participant == participant}


def holders(session: Session, first: str, last: str) -> Mapping[str, str]:
    """Return whose each point is that changes hands in none of the intervals, by GSRN.

    ``last`` belongs to them.
    """
    rows = session.exec(
        select(LinkRow.point, LinkRow.target)
        .where(LinkRow.role == Role.PARTICIPANT.value, *_held_at(first))
        .where(col(LinkRow.valid_to).is_(None) | (col(LinkRow.valid_to) > last))
        .order_by(LinkRow.point)
    )
    return dict(rows.all())


def stays(session: Session, participants: Collection[str]) -> list[Stay]:
    """Return when which points were, are and will be of some participants."""
    rows = session.exec(
        select(LinkRow.point, LinkRow.valid_from, LinkRow.valid_to)
        .where(LinkRow.role == Role.PARTICIPANT.value, col(LinkRow.target).in_(participants))
        .order_by(LinkRow.point, LinkRow.valid_from)
    )
    return [Stay(*row) for row in rows]


def since(session: Session, key: str) -> Mapping[str, str]:
    """Return from which interval on each point is whose it is in the interval ``key``, by GSRN.

    '' where nobody had it before: whatever is known of it is theirs.
    """
    whose = LinkRow.role == Role.PARTICIPANT.value
    begun = select(LinkRow.point, LinkRow.valid_from).where(whose)
    first = select(LinkRow.point, func.min(LinkRow.valid_from)).where(whose)
    firsts = dict(session.exec(first.group_by(LinkRow.point)).all())
    return {
        point: "" if begin == firsts[point] else begin
        for point, begin in session.exec(begun.where(*_held_at(key)).order_by(LinkRow.point))
    }


def held_by(
    participants: Collection[str],
    point: InstrumentedAttribute[str] | str,
    interval: InstrumentedAttribute[str] | str,
) -> ColumnElement[bool]:
    """Return the condition that a (row's) point was one of theirs in a (row's) interval."""
    return (
        select(LinkRow.id)
        .where(LinkRow.role == Role.PARTICIPANT.value, col(LinkRow.target).in_(participants))
        .where(LinkRow.point == point, LinkRow.valid_from <= interval)
        .where(col(LinkRow.valid_to).is_(None) | (col(LinkRow.valid_to) > interval))
        .exists()
    )


def alone(session: Session) -> frozenset[str]:
    """Return the points that measure alone: they are in no sum of the district."""
    purpose = col(MeteringPointRow.purpose)
    return frozenset(session.exec(select(MeteringPointRow.gsrn).where(purpose.is_not(None))).all())


def settling(point: InstrumentedAttribute[str] | str) -> ColumnElement[bool]:
    """Return the condition that a row's point settles: it does not measure alone."""
    purpose = col(MeteringPointRow.purpose)
    return col(point).not_in(select(MeteringPointRow.gsrn).where(purpose.is_not(None)))


def participant_at(session: Session, point: str, key: str) -> str:
    """Return whose a metering point was (or will be) in an interval that it has begun by."""
    return session.exec(
        select(LinkRow.target)
        .where(LinkRow.point == point, LinkRow.role == Role.PARTICIPANT.value)
        .where(LinkRow.valid_from <= key)
        .order_by(col(LinkRow.valid_from).desc())
        .limit(1)
    ).one()


def successors(session: Session, participants: Collection[str]) -> frozenset[str]:
    """Return who followed (or will follow) some participants at the points that they had first."""
    whose = LinkRow.role == Role.PARTICIPANT.value
    first = select(LinkRow.point, func.min(LinkRow.valid_from).label("begin")).where(whose)
    begun = first.group_by(LinkRow.point).subquery()
    theirs = (
        select(LinkRow.point)
        .join(begun, (begun.c.point == LinkRow.point) & (begun.c.begin == LinkRow.valid_from))
        .where(whose, col(LinkRow.target).in_(participants))
    )
    followed = select(LinkRow.target).where(whose, col(LinkRow.point).in_(theirs)).distinct()
    return frozenset(session.exec(followed).all())


def timeline(session: Session, point: str, role: Role) -> Timeline:
    """Return a point's links in a role.

    Raises:
        RegistryError: it has none (a point that there is not), or they are no timeline.
    """
    rows = session.exec(
        select(LinkRow).where(LinkRow.point == point, LinkRow.role == role.value)
    ).all()
    return Timeline.of(
        Link.read(row.point, row.role, row.target, row.valid_from, row.valid_to) for row in rows
    )


def begin(session: Session, point: str) -> Interval | None:
    """Return the interval from which on a point is there; None without it, or without links."""
    first = select(func.min(LinkRow.valid_from)).where(LinkRow.point == point)
    key = session.exec(first).one()
    return Interval.parse(key) if key else None


def write(session: Session, changed: Timeline, known_ms: int, entered_by: str) -> None:
    """Make the stored links of a point and role those of a timeline."""
    first = changed.links[0]
    rows = session.exec(
        select(LinkRow).where(LinkRow.point == first.point, LinkRow.role == first.role.value)
    )
    there = {row.valid_from: row for row in rows}
    wanted = {link.valid_from.key: link for link in changed.links}
    for begin in there.keys() - wanted.keys():
        session.delete(there[begin])
    for begin, link in wanted.items():
        end = link.valid_to.key if link.valid_to else None
        row = there.get(begin)
        if row is None:
            row = LinkRow(
                point=link.point,
                role=link.role.value,
                target=link.target,
                valid_from=begin,
                known_ms=known_ms,
                entered_by=entered_by,
            )
        row.target, row.valid_to = link.target, end
        session.add(row)
    session.flush()


def project(session: Session, after: str, key: str) -> None:
    """Let points' rows say what holds in the interval ``key``, where that began after another.

    They are for pages of now; whatever counts asks :func:`standing`.
    """
    begun = select(LinkRow.point).where(LinkRow.valid_from > after, LinkRow.valid_from <= key)
    points = frozenset(session.exec(begun.distinct()).all())
    held = standing(session, key) if points else {}
    rows = session.exec(select(MeteringPointRow).where(col(MeteringPointRow.gsrn).in_(points)))
    for row in rows if points else ():
        now = held[row.gsrn]
        row.participant, row.tariff = now.participant, now.tariff
        row.feeder, row.building = now.feeder, now.building or None
        session.add(row)
    session.flush()


def ensure(session: Session) -> None:
    """Write the first links of each point that has none, and the names that are missing.

    In a folder from before links had validity each point's row says what held ever since its first
    enrolment. Safe to repeat.
    """
    session.flush()
    linked = frozenset(session.exec(select(LinkRow.point).distinct()).all())
    rows = people.points(session)
    began = _began(session) if linked != rows.keys() else {}
    for gsrn, row in rows.items():
        if gsrn not in linked and gsrn in began:
            found(session, row, Interval.parse(began[gsrn]))
    _name(session, rows.values())


def found(
    session: Session,
    row: MeteringPointRow,
    first: Interval,
    parties: tuple[str, str] = ("", ""),
    *,
    entered_by: str = FOUNDING,
) -> None:
    """Write the first links of a metering point, from the interval ``first`` on.

    ``parties`` are its supplier and its balance responsible party. Links that stand already stay.
    """
    links = [
        {
            "point": row.gsrn,
            "role": role.value,
            "target": target,
            "valid_from": first.key,
            "known_ms": first.start_ms,
            "entered_by": entered_by,
        }
        for role, target in first_targets(row, parties).items()
    ]
    insert_once(session, "link", links)


def first_targets(row: MeteringPointRow, parties: tuple[str, str]) -> Mapping[Role, str]:
    """Return what a new point is bound to by role; ``parties`` as for :func:`found`."""
    return {
        Role.PARTICIPANT: row.participant,
        Role.SUPPLIER: parties[0],
        Role.BALANCE_PARTY: parties[1],
        Role.TARIFF: row.tariff,
        Role.FEEDER: row.feeder,
        Role.BUILDING: row.building or "",
    }


def _began(session: Session) -> Mapping[str, str]:
    first = func.min(EnrolmentRow.valid_from)
    return dict(session.exec(select(EnrolmentRow.point, first).group_by(EnrolmentRow.point)).all())


def _name(session: Session, rows: Iterable[MeteringPointRow]) -> None:
    """Give what is linked and has no name yet its id as one; '' is the district's own."""
    links = session.exec(select(LinkRow.role, LinkRow.target).distinct()).all()

    def named(role: Role) -> list[dict[str, object]]:
        targets = sorted(target for each, target in links if each == role and target)
        return [{"id": target, "name": target} for target in targets]

    places = sorted({(row.feeder, row.building) for row in rows if row.building})
    insert_once(session, "feeder", named(Role.FEEDER))
    insert_once(
        session,
        "building",
        [{"feeder": feeder, "id": each, "name": each} for feeder, each in places],
    )
    for table, role in (("supplier", Role.SUPPLIER), ("balance_party", Role.BALANCE_PARTY)):
        insert_once(session, table, [{"id": "", "name": DISTRICTS_OWN[role]}, *named(role)])

"""Who and what is behind each metering point, since when, and what is to come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session, col, select

from app.services.house import House
from app.services.registry.wanted import ChangeError
from app.store import journal, people, registry
from app.tables import (
    BalancePartyRow,
    BuildingRow,
    FeederRow,
    LinkRow,
    ParticipantRow,
    SupplierRow,
    TariffRow,
)
from market.registry import Role
from metering.interval import Interval

Names = Mapping[tuple[Role, str], str]  # by role and id

PAST, HOLDS, COMING = "past", "holds", "to come"
WORDS: Final[Mapping[Role, str]] = {
    Role.PARTICIPANT: "participant",
    Role.SUPPLIER: "supplier",
    Role.BALANCE_PARTY: "balance responsible party",
    Role.TARIFF: "tariff",
    Role.FEEDER: "feeder",
    Role.BUILDING: "building",
}


@dataclass(frozen=True, slots=True)
class LinkLine:
    """One link. ``since`` '': from the point's beginning on; ``until`` None: no end is known."""

    role: Role
    target: str
    name: str
    since: str
    until: str | None
    state: str
    known_ms: int
    entered_by: str


@dataclass(frozen=True, slots=True)
class PointLines:
    """A metering point and its links, by role and time; what holds now by role."""

    point: str
    name: str
    purpose: str | None
    links: tuple[LinkLine, ...]

    def now(self, role: Role) -> LinkLine:
        """Return what holds now, or what will first."""
        of_role = [line for line in self.links if line.role is role]
        return next((line for line in of_role if line.state == HOLDS), of_role[0])

    @property
    def coming(self) -> tuple[LinkLine, ...]:
        """The links that begin later."""
        return tuple(line for line in self.links if line.state == COMING)


@dataclass(frozen=True, slots=True)
class Gone:
    """Who has (or by then will have) no point, since when, and what is in their wallet."""

    id: str
    name: str
    left_from: str
    wallet_micro: int


def points(
    house: House, session: Session, of: Collection[str] | None = None
) -> Sequence[PointLines]:
    """Return every metering point with its links, by name; ``of``: of these participants alone.

    Those are the points that one of them has, had or will have.
    """
    now = Interval.containing_ms(house.clock.now_ms()).key
    called = names(session)
    lines: dict[str, list[LinkLine]] = defaultdict(list)
    firsts: set[tuple[str, str]] = set()
    order = list(Role)
    rows = session.exec(select(LinkRow).order_by(LinkRow.point, LinkRow.valid_from))
    for row in rows:
        first = (row.point, row.role) not in firsts
        firsts.add((row.point, row.role))
        lines[row.point].append(_line(row, called, now, first=first))
    shown = None if of is None else {stay.point for stay in registry.stays(session, of)}
    found = [
        PointLines(
            point=gsrn,
            name=row.name,
            purpose=row.purpose,
            links=tuple(sorted(lines[gsrn], key=lambda line: order.index(line.role))),
        )
        for gsrn, row in people.points(session).items()
        if gsrn in lines and (shown is None or gsrn in shown)
    ]
    return sorted(found, key=lambda each: (each.name, each.point))


def point(house: House, session: Session, gsrn: str) -> PointLines:
    """Return one metering point with its links.

    Raises:
        ChangeError: there is no such point.
    """
    found = next((each for each in points(house, session) if each.point == gsrn), None)
    if found is None:
        raise ChangeError(f"there is no metering point {gsrn[:40]!r}: look at the list", "point")
    return found


def gone(session: Session, of: Collection[str] | None = None) -> Sequence[Gone]:
    """Return who has left or is about to, by time and name; ``of``: of these participants alone."""
    query = select(ParticipantRow).where(col(ParticipantRow.left_from).is_not(None))
    if of is not None:
        query = query.where(col(ParticipantRow.id).in_(of))
    held = journal.balances(session, "wallet:")
    return [
        Gone(row.id, row.name, row.left_from or "", held.get(f"wallet:{row.id}", 0))
        for row in session.exec(query.order_by(col(ParticipantRow.left_from), ParticipantRow.name))
    ]


def names(session: Session) -> Names:
    """Return the names of what points can be bound to, by role and id; '' of a building: none."""
    found = {(Role.PARTICIPANT, row.id): row.name for row in people.participants(session).values()}
    found |= {(Role.SUPPLIER, row.id): row.name for row in session.exec(select(SupplierRow))}
    parties = session.exec(select(BalancePartyRow))
    found |= {(Role.BALANCE_PARTY, row.id): row.name for row in parties}
    found |= {(Role.TARIFF, each): each for each in session.exec(select(TariffRow.id))}
    found |= {(Role.FEEDER, row.id): row.name for row in session.exec(select(FeederRow))}
    found |= {(Role.BUILDING, row.id): row.name for row in session.exec(select(BuildingRow))}
    return found | {(Role.BUILDING, ""): "none, directly at the feeder"}


def _line(row: LinkRow, called: Names, now: str, *, first: bool) -> LinkLine:
    role = Role(row.role)
    over = row.valid_to is not None and row.valid_to <= now
    return LinkLine(
        role=role,
        target=row.target,
        name=called.get((role, row.target), row.target),
        since="" if first else row.valid_from,
        until=row.valid_to,
        state=PAST if over else COMING if row.valid_from > now else HOLDS,
        known_ms=row.known_ms,
        entered_by=row.entered_by,
    )

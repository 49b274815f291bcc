"""New metering points: where they are, whose they are, and what is behind them from now on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlmodel import Session, select

from app.services.house import House
from app.services.registry.changes import add_newcomer, earliest, mark
from app.services.registry.wanted import MOST_NAME, ChangeError, Newcomer, check_id
from app.store import people, registry
from app.tables import (
    BalancePartyRow,
    BuildingRow,
    FeederRow,
    MeteringPointRow,
    ParticipantRow,
    SupplierRow,
    TariffRow,
)
from market.registry import Role
from metering.identity import GsrnError, check_gsrn
from metering.interval import Interval

MOST_POWER_W = 10**9

PURPOSES: Final = ("feeder-head", "production", "storage", "charger")
_OWN: Final = ("name", "kind", "max_power_w", "purpose")


@dataclass(frozen=True, slots=True)
class NewPoint:
    """A metering point that is to be. ``participant`` is an id, new where ``newcomer`` is given.

    ``building`` is one on the feeder, '' for none; ``tariff`` '' where the district has one alone;
    ``max_power_w`` is what the fuse allows, W; ``purpose`` None: it settles; ``supplier`` and
    ``balance_party`` '' are the district's own; ``begin`` None: from the running interval on.

    Raises:
        ChangeError: a number, a name, a power or an id cannot be one.
    """

    gsrn: str
    name: str
    participant: str
    feeder: str
    max_power_w: int
    building: str = ""
    tariff: str = ""
    kind: str = "home"
    green: bool | None = False
    purpose: str | None = None
    newcomer: Newcomer | None = None
    supplier: str = ""
    balance_party: str = ""
    begin: Interval | None = None

    def __post_init__(self) -> None:
        try:
            check_gsrn(self.gsrn)
        except GsrnError as error:
            raise ChangeError(str(error), "point") from error
        if not 0 < len(self.name) <= MOST_NAME:
            raise ChangeError(f"a name has 1 to {MOST_NAME} characters", "name")
        if not 0 < self.max_power_w <= MOST_POWER_W:
            raise ChangeError(f"max_power_w {self.max_power_w} is not 1 to {MOST_POWER_W} W")
        check_id(self.kind, "kind")
        check_id(self.feeder, "feeder")
        if self.building:
            check_id(self.building, "building")
        if self.purpose is not None and self.purpose not in PURPOSES:
            known = ", ".join(PURPOSES)
            raise ChangeError(f"{self.purpose[:40]!r} is no purpose: write one of {known}, or none")

    @property
    def parties(self) -> tuple[str, str]:
        """Its supplier and its balance responsible party; '' is the district's own."""
        return self.supplier, self.balance_party


@dataclass(frozen=True, slots=True)
class Added:
    """What adding a point does: from when its links hold, its tariff, and what is new with it.

    ``known``: the same point was added before, and nothing changes.
    """

    begin: Interval
    tariff: str
    new_feeder: bool
    new_building: bool
    known: bool = False


def preview(house: House, wanted: NewPoint) -> Added:
    """Return what adding a point would do now; nothing is written.

    Raises:
        ChangeError: as :func:`enter`.
    """
    with house.database.write() as session:
        found = enter_within(house, session, wanted, "preview")
        session.rollback()
    return found


def enter(house: House, wanted: NewPoint, entered_by: str) -> Added:
    """Add a point, which is metered once a meter is enrolled there; all of it or nothing.

    Raises:
        ChangeError: the point is there, its participant or tariff is not; nothing was written.
    """
    with house.database.write() as session:
        return enter_within(house, session, wanted, entered_by)


def enter_within(house: House, session: Session, wanted: NewPoint, by: str) -> Added:
    """Add a point as :func:`enter` does, in the caller's transaction.

    Raises:
        ChangeError: as :func:`enter`; the caller rolls back.
    """
    people.district(session, lock=True)
    tariff = _tariff(session, wanted.tariff)
    there = session.get(MeteringPointRow, wanted.gsrn)
    if there is not None:
        return _known(session, there, wanted, tariff)
    if wanted.newcomer is not None:
        add_newcomer(house, session, wanted.newcomer)
    elif session.get(ParticipantRow, wanted.participant) is None:
        raise ChangeError(
            f"there is no participant {wanted.participant[:60]!r}: name them to enter a new one",
            "to",
        )
    _check_parties(session, wanted)
    begin = begin_of(house, session, wanted.begin)
    place = (wanted.feeder, wanted.building)
    added = Added(
        begin,
        tariff,
        new_feeder=session.get(FeederRow, wanted.feeder) is None,
        new_building=bool(wanted.building) and session.get(BuildingRow, place) is None,
    )
    row = _row(wanted, tariff)
    session.add(row)
    session.flush()
    registry.found(session, row, begin, wanted.parties, entered_by=by)
    registry.ensure(session)  # names what is new beside it
    mark(session, wanted.participant)
    return added


def begin_of(house: House, session: Session, wanted: Interval | None = None) -> Interval:
    """Return from when on a new point can be there; None: as early as can be, from now on.

    Raises:
        ChangeError: ``wanted`` is metered or cleared.
    """
    now, first = Interval.containing_ms(house.clock.now_ms()), earliest(house, session)
    if wanted is None:
        return max(now, first or now)
    if first is not None and wanted < first:
        raise ChangeError(f"{wanted} is metered or cleared: begin with {first} or later", "begin")
    return wanted


def _known(session: Session, there: MeteringPointRow, wanted: NewPoint, tariff: str) -> Added:
    """Return when a point that is there began, if it came as it is wanted.

    Raises:
        ChangeError: it is another one.
    """
    begin, new = registry.begin(session, wanted.gsrn), _row(wanted, tariff)
    same = all(getattr(there, name) == getattr(new, name) for name in _OWN)
    same = same and bool(there.green) == bool(new.green) and wanted.begin in (None, begin)
    if begin is not None and same:
        links = {role: registry.timeline(session, there.gsrn, role).links[0] for role in Role}
        firsts = {role: link.target for role, link in links.items()}
        if firsts == registry.first_targets(new, wanted.parties):
            return Added(begin, tariff, new_feeder=False, new_building=False, known=True)
    raise ChangeError(
        f"there is a metering point {wanted.gsrn} already, which is another: change that", "point"
    )


def _check_parties(session: Session, wanted: NewPoint) -> None:
    for table, party, role in (
        (SupplierRow, wanted.supplier, Role.SUPPLIER),
        (BalancePartyRow, wanted.balance_party, Role.BALANCE_PARTY),
    ):
        if party and session.get(table, party) is None:
            raise ChangeError(
                f"there is no {role} {party[:60]!r}: take it in with `wattloom exchange import "
                "master`, or leave it out for the district's own",
                "target",
            )


def _row(wanted: NewPoint, tariff: str) -> MeteringPointRow:
    return MeteringPointRow(
        gsrn=wanted.gsrn,
        name=wanted.name,
        kind=wanted.kind,
        feeder=wanted.feeder,
        participant=wanted.participant,
        tariff=tariff,
        max_power_w=wanted.max_power_w,
        building=wanted.building or None,
        green=wanted.green,
        purpose=wanted.purpose,
    )


def _tariff(session: Session, wanted: str) -> str:
    known = sorted(session.exec(select(TariffRow.id)))
    if not wanted and len(known) == 1:
        return known[0]
    if wanted not in known:
        shown = ", ".join(repr(each) for each in known[:12])
        raise ChangeError(f"there is no tariff {wanted[:60]!r}: write one of {shown}", "tariff")
    return wanted

"""New metering points: where they are, whose they are, and what is behind them from now on."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session, select

from app.services.house import House
from app.services.registry.changes import add_newcomer, earliest, mark
from app.services.registry.wanted import MOST_NAME, ChangeError, Newcomer, check_id
from app.store import people, registry
from app.tables import BuildingRow, FeederRow, MeteringPointRow, ParticipantRow, TariffRow
from metering.identity import GsrnError, check_gsrn
from metering.interval import Interval

MOST_POWER_W = 10**9


@dataclass(frozen=True, slots=True)
class NewPoint:
    """A metering point that is to be. ``participant`` is an id, new where ``newcomer`` is given.

    ``building`` is one on the feeder, '' for none; ``tariff`` '' where the district has one alone;
    ``max_power_w`` is what the fuse allows, W; ``purpose`` None: it settles.

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
    green: bool = False
    purpose: str | None = None
    newcomer: Newcomer | None = None

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


@dataclass(frozen=True, slots=True)
class Added:
    """What adding a point does: from when its links hold, its tariff, and what is new with it."""

    begin: Interval
    tariff: str
    new_feeder: bool
    new_building: bool


def preview(house: House, wanted: NewPoint) -> Added:
    """Return what adding a point would do now; nothing is written.

    Raises:
        ChangeError: as :func:`enter`.
    """
    with house.database.write() as session:
        found = _enter(house, session, wanted, "preview")
        session.rollback()
    return found


def enter(house: House, wanted: NewPoint, entered_by: str) -> Added:
    """Add a point, which is metered once a meter is enrolled there; all of it or nothing.

    Raises:
        ChangeError: the point is there, its participant or tariff is not; nothing was written.
    """
    with house.database.write() as session:
        return _enter(house, session, wanted, entered_by)


def _enter(house: House, session: Session, wanted: NewPoint, by: str) -> Added:
    people.district(session, lock=True)
    if session.get(MeteringPointRow, wanted.gsrn) is not None:
        raise ChangeError(f"there is a metering point {wanted.gsrn} already: change that", "point")
    if wanted.newcomer is not None:
        add_newcomer(house, session, wanted.newcomer)
    elif session.get(ParticipantRow, wanted.participant) is None:
        raise ChangeError(
            f"there is no participant {wanted.participant[:60]!r}: name them to enter a new one",
            "to",
        )
    tariff = _tariff(session, wanted.tariff)
    begin = Interval.containing_ms(house.clock.now_ms())
    begin = max(begin, earliest(house, session) or begin)
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
    registry.found(session, row, begin, entered_by=by)
    registry.ensure(session)  # names what is new beside it
    mark(session, wanted.participant)
    return added


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

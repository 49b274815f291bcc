"""``/api/v1/balance`` and ``/api/v1/allocation``: the district's energy for others, in whole Wh.

The balance is for everybody where five participants stand behind it; who is logged in sees what is
theirs, too. The allocation, which names metering points, is the grid operator's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlmodel import Session

from app.api.problems import ProblemError
from app.services.balance import months
from app.services.balance.desk import BalanceDesk, figures_of
from app.services.balance.months import Sight
from app.services.exchange.allocation import PeriodError, as_csv, as_object, period
from app.services.house import House
from app.store.balance import Sum
from market.balance import Year
from metering.localtime import LocalTimeError, next_month, parse_month
from web.ports import Role, Sessions, Viewer
from web.security import read_cookie

_MONTH: Final = r"^2[0-9]{3}-(0[1-9]|1[0-2])$"
_MOST_MONTHS: Final = 36


class BalanceItem(BaseModel):
    """Energy of one time and place; shares in ppm are null where there is nothing to share.

    ``complete`` false: some production has no meter of its own, and shares are lower bounds.
    """

    start: str
    level: str
    feeder: str | None
    building: str | None
    complete: bool
    consumption_wh: int
    production_wh: int
    import_wh: int
    import_local_wh: int
    import_own_wh: int
    export_wh: int
    export_local_wh: int
    export_own_wh: int
    self_used_wh: int
    cycled_wh: int
    surplus_wh: int
    self_sufficiency_ppm: int | None
    self_consumption_ppm: int | None
    local_share_ppm: int | None
    ratio_ppm: int | None
    avoided_mg: int | None
    saving_micro: int | None  # null to those who see no money


class PositiveEnergy(BaseModel):
    """Whether more was made than used in twelve months; null while quarter-hours are missing."""

    first: str
    last: str
    positive: bool | None
    settled_intervals: int
    intervals: int
    surplus_wh: int
    ratio_ppm: int | None


class BalanceList(BaseModel):
    """The balance in time order; what fewer than five stand behind is left out."""

    district: str
    span: str
    level: str
    items: Sequence[BalanceItem]
    year: PositiveEnergy


class AllocationItem(BaseModel):
    """A point's energy under a supplier and a balance responsible party."""

    supplier: str
    balance_party: str
    point: str
    intervals: int
    estimated: int
    import_wh: int
    import_local_wh: int
    import_own_wh: int
    import_residual_wh: int
    export_wh: int
    export_local_wh: int
    export_own_wh: int
    export_residual_wh: int
    short_wh: int | None
    long_wh: int | None


class AllocationList(BaseModel):
    """The sums of a local day or month by supplier, balance responsible party and point."""

    district: str
    time: str
    first: str
    after: str
    lines: Sequence[AllocationItem]
    totals: Sequence[dict[str, str | int | None]]


def build_router(house: House, sessions: Sessions, managed: Collection[str]) -> APIRouter:
    """Return both routes. ``managed`` are the participants of the building manager."""
    router = APIRouter(prefix="/api/v1", tags=["balance"])

    @router.get("/balance")
    def balance(
        request: Request,
        start: Annotated[str, Query(alias="from", pattern=_MONTH)],
        to: Annotated[str, Query(pattern=_MONTH)] = "",
        span: Literal["day", "month"] = "month",
        level: Literal["district", "feeder", "building"] = "district",
    ) -> BalanceList:
        """Return the balance of the local months from ``from`` to ``to`` (included)."""
        viewer = sessions.viewer(read_cookie(request))
        names = _months(start, to or start)
        if span == "day" and level != "district":
            raise ProblemError(422, "days are told of the whole district: ask for span=month")
        asked = _Asked(house, _sight(viewer, managed), money=_sees_money(viewer))
        with house.database.read() as session:
            found = (item for name in names for item in asked.items(session, name, span, level))
            items = list(found)
        return BalanceList(
            district=house.settings.origin,
            span=span,
            level=level,
            items=items,
            year=_year(BalanceDesk(house).year(_sight(viewer, managed))),
        )

    _add_allocation(router, house, sessions)
    return router


def _add_allocation(router: APIRouter, house: House, sessions: Sessions) -> None:
    @router.get("/allocation", response_model=AllocationList)
    def allocation(
        request: Request,
        time: str,
        as_: Annotated[Literal["json", "csv"], Query(alias="as")] = "json",
    ) -> Response:
        """Return local, own and residual energy of a local day or month; the grid operator's."""
        viewer = sessions.viewer(read_cookie(request))
        if viewer is None:
            raise ProblemError(401, "this is the grid operator's: log in first")
        if viewer.role is not Role.OPERATOR:
            raise ProblemError(403, "the allocation names metering points: the grid operator's")
        try:
            when = period(time, house.settings.tz)
        except PeriodError as error:
            raise ProblemError(422, str(error)) from error
        if as_ == "csv":
            with house.database.read() as session:
                content = "".join(as_csv(session, when, per_interval=False))
            return Response(content, media_type="text/csv; charset=utf-8")
        with house.database.read() as session:
            found = as_object(session, house, when, per_interval=False)
        return JSONResponse(found)


def _sight(viewer: Viewer | None, managed: Collection[str]) -> Sight:
    if viewer is None:
        return Sight(together=frozenset(managed))
    if viewer.role is Role.MANAGER:
        return Sight(frozenset(managed))
    own = frozenset({viewer.participant}) if viewer.participant else frozenset[str]()
    return Sight(own, everything=viewer.role is Role.OPERATOR)


def _sees_money(viewer: Viewer | None) -> bool:
    """Whether savings are theirs to see: not the public's, and never the grid operator's."""
    return viewer is not None and viewer.role is not Role.OPERATOR


def _months(first: str, last: str) -> Sequence[str]:
    """Return the months from first to last.

    Raises:
        ProblemError: there is none, or there are more than :data:`_MOST_MONTHS`.
    """
    try:
        for name in (first, last):
            parse_month(name)
    except LocalTimeError as error:
        raise ProblemError(422, str(error)) from error
    names = [first]
    while names[-1] < last and len(names) <= _MOST_MONTHS:
        names.append(next_month(names[-1]))
    if names[-1] != last or len(names) > _MOST_MONTHS:
        raise ProblemError(422, f"{first} to {last} are not 1 to {_MOST_MONTHS} months in order")
    return names


@dataclass(frozen=True, slots=True)
class _Asked:
    """What of which figures somebody asks for."""

    house: House
    sight: Sight
    money: bool

    def items(self, session: Session, month: str, span: str, level: str) -> Iterator[BalanceItem]:
        """Yield what may be told of a month, or of its days."""
        zone = self.house.settings.tz
        view = months.view(session, zone, month, self.sight)
        if view.total is None:
            return
        if span == "day":
            days = months.days(session, zone, month, self.sight) or {}
            for start, each in days.items():
                yield self._item(start, "district", (None, None), each, None)
        elif level == "district":
            yield self._item(month, level, (None, None), view.total, view.avoided_mg)
        else:
            for (feeder, building), found in view.places.items():
                if found is not None and (building is None) == (level == "feeder"):
                    yield self._item(month, level, (feeder, building), found, None)

    def _item(
        self,
        start: str,
        level: str,
        place: tuple[str | None, str | None],
        found: Sum,
        avoided_mg: int | None,
    ) -> BalanceItem:
        return BalanceItem.model_validate(
            {
                "start": start,
                "level": level,
                "feeder": place[0],
                "building": place[1],
                "complete": found.flows.complete,
                **figures_of(found.flows),
                "avoided_mg": avoided_mg,
                "saving_micro": found.saving_micro if self.money else None,
            }
        )


def _year(year: Year) -> PositiveEnergy:
    return PositiveEnergy(
        first=year.months[0].name,
        last=year.months[-1].name,
        positive=year.positive,
        settled_intervals=year.settled,
        intervals=year.of,
        surplus_wh=year.flows.surplus_wh,
        ratio_ppm=year.flows.ratio_ppm,
    )

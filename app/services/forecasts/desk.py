"""The forecast page's view of the house: satisfies :class:`web.ports.forecasts.Forecasts`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlmodel import Session, col, select

from app.services.forecasts.prices import shown_prices
from app.services.house import House
from app.store import forecasts, people, registry
from app.tables import ExpectedPriceRow, ForecastRow, ForecastRunRow, ForecastScoreRow
from metering.interval import Interval
from optimizer.forecast.score import DISTRICT
from web.ports import NotFoundError
from web.ports.forecasts import ForecastPage, ForecastQuarter, ScoreLine

_DAYS: Final = 14


class ForecastDesk:
    """The forecasts of one district, for their page."""

    def __init__(self, house: House) -> None:
        self._house = house

    def page(self, own: Collection[str], point: str, *, prices: bool) -> ForecastPage:
        """Return what is expected of the district or of a point, from now on, and how it did."""
        with self._house.database.read() as session:
            points, now = people.points(session), Interval.containing_ms(self._house.clock.now_ms())
            choices = {
                gsrn: points[gsrn].name
                for gsrn, held in registry.standing(session, now.key).items()
                if held.participant in own
            }
            if point and point not in choices:
                raise NotFoundError("there is no such metering point among yours")
            row = people.district(session)
            run = forecasts.newest_run(session)
            sums = {each.interval: each for each in shown_prices(session, run)} if run else {}
            began = registry.since(session, now.key)[point] if point else ""
            told = run if run and point and forecasts.tells_of(run, began) else None
            found = session.get(ForecastRow, (told.id, point)) if told else None
            quarters = _point(run, found, sums) if point else _district(sums)
            hidden = not point and run is not None and not sums
            return ForecastPage(
                point=point,
                name=choices.get(point, row.name),
                zone=row.zone,
                issued_ms=run.issued_ms if run else None,
                models=_models(run, found, point),
                remark=run.remark if run else "",
                hidden=hidden,
                quarters=self._ahead(quarters, prices=prices),
                scores=[] if hidden else _scores(session, point, _day_after(began, row.zone)),
                choices=sorted(choices.items(), key=lambda each: each[1]),
            )

    def _ahead(
        self, quarters: Sequence[ForecastQuarter], *, prices: bool
    ) -> Sequence[ForecastQuarter]:
        """Return the quarter-hours that are not over, without prices for whom they are not."""
        now = Interval.containing_ms(self._house.clock.now_ms()).key
        return [
            ForecastQuarter(
                each.key,
                each.import_wh,
                each.export_wh,
                each.price_micro_per_kwh if prices else None,
            )
            for each in quarters
            if each.key >= now
        ]


def _models(run: ForecastRunRow | None, found: ForecastRow | None, point: str) -> Sequence[str]:
    if run is None:
        return ()
    if not point:
        return (run.model,)
    made = (found.import_model, found.export_model) if found else ()
    return tuple(dict.fromkeys(model for model in made if model))


def _district(sums: Mapping[str, ExpectedPriceRow]) -> list[ForecastQuarter]:
    return [
        ForecastQuarter(key, row.import_wh, row.export_wh, row.price_micro_per_kwh)
        for key, row in sums.items()
    ]


def _point(
    run: ForecastRunRow | None, found: ForecastRow | None, sums: Mapping[str, ExpectedPriceRow]
) -> list[ForecastQuarter]:
    """Return a point's own forecast, with the district's prices where those may be shown."""
    if run is None or found is None:
        return []
    lists = zip(
        forecasts.keys(run),
        forecasts.read_list(found.import_wh),
        forecasts.read_list(found.export_wh),
        strict=True,
    )
    return [
        ForecastQuarter(
            key, import_wh, export_wh, sums[key].price_micro_per_kwh if key in sums else None
        )
        for key, import_wh, export_wh in lists
    ]


def _day_after(began: str, zone: str) -> str:
    """Return the first local day (ISO) that lies wholly in the time since an interval."""
    if not began:
        return ""
    last_before = Interval.parse(began).previous().start.astimezone(ZoneInfo(zone)).date()
    return (last_before + timedelta(days=1)).isoformat()


def _scores(session: Session, point: str, first_day: str) -> list[ScoreLine]:
    """Return the newest days' scores of the district's sum, or of a point from a day on."""
    rows = session.exec(
        select(ForecastScoreRow)
        .where(ForecastScoreRow.point == (point or DISTRICT))
        .where(ForecastScoreRow.day >= (first_day if point else ""))
        .order_by(col(ForecastScoreRow.day).desc(), col(ForecastScoreRow.direction).desc())
        .limit(2 * _DAYS)
    )
    return [
        ScoreLine(
            day=row.day,
            direction=row.direction,
            model=row.model,
            quarters=row.quarters,
            measured_wh=row.measured_wh,
            abs_wh=row.abs_wh,
            bias_wh=row.bias_wh,
            persistence_abs_wh=row.persistence_abs_wh,
            persistence_bias_wh=row.persistence_bias_wh,
        )
        for row in rows
    ]

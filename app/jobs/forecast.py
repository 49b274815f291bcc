"""The daily forecast: score the days that are over, look 48 hours ahead, price what is expected."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlmodel import Session

from app.jobs.publish import Publisher, expect_prices
from app.services.alarms import alarm
from app.services.enrolment import roster
from app.services.forecasts.score import due_days, score_day
from app.services.house import House
from app.store import forecasts, people, registry
from app.tables import ExpectedPriceRow, ForecastRow, ForecastRunRow
from metering.interval import Interval, from_ms, to_ms
from optimizer.forecast.engine import VERSIONS, Forecast, Model, Site, forecast
from optimizer.forecast.history import History
from optimizer.forecast.weather import MAX_BYTES, WeatherError, read_weather

LOCAL_TIME: Final = time(12)  # then tomorrow is within reach, and most of today is known
_WEEKS: Final = {Model.BASELINE: 4, Model.LEARNED: 8}  # the regression learns from baselines, too
_FIRST_DAY: Final = timedelta(days=1)


class Made(NamedTuple):
    """A run that was worked out and is not written yet; its prices have no run's number."""

    issued_ms: int
    forecast: Forecast
    prices: list[ExpectedPriceRow]
    fault: str  # what somebody should mend


class Forecaster:
    """Runs the forecast of one district once per local day, and once when there is none."""

    def __init__(self, house: House, publisher: Publisher | None = None) -> None:
        self._house = house
        self._publisher = publisher or Publisher(house)
        self._look_ms = 0  # district time from which on it is worth looking

    def run(self) -> None:
        """Do what is due; between two runs this costs a comparison."""
        if self._house.clock.now_ms() >= self._look_ms:
            self._look_ms = self._daily()
        self._publisher.run()

    def _daily(self) -> int:
        """Score and forecast if that is due; return when to look again."""
        now_ms = self._house.clock.now_ms()
        if not _is_due(self._house, now_ms):
            return _next_look_ms(self._house, now_ms)
        score_days(self._house, now_ms)
        made = make(self._house, now_ms)
        _tell(self._house, made)
        if keep(self._house, made):
            self._publisher.wake()
        return _next_look_ms(self._house, now_ms)


def score_days(house: House, now_ms: int) -> None:
    """Score each local day that is over and has no score yet."""
    with house.database.read() as session:
        days = due_days(session, now_ms)
    for day in days:
        with house.database.write() as session:
            people.district(session, lock=True)
            if day in due_days(session, now_ms):  # else another worker did it meanwhile
                session.add_all(score_day(session, day, now_ms))


def _is_due(house: House, now_ms: int) -> bool:
    with house.database.read() as session:
        return _lacks_a_run(session, now_ms)


def _lacks_a_run(session: Session, now_ms: int) -> bool:
    """Return whether no run was made since the last noon, though there is a day to look back at."""
    run = forecasts.newest_run(session)
    if run is not None:
        return run.issued_ms < _last_noon_ms(people.district(session).zone, now_ms)
    oldest = forecasts.oldest_slot(session)
    return oldest is not None and Interval.parse(oldest).start + _FIRST_DAY <= from_ms(now_ms)


def _last_noon_ms(zone: str, now_ms: int) -> int:
    now = from_ms(now_ms).astimezone(ZoneInfo(zone))
    noon = datetime.combine(now.date(), LOCAL_TIME, now.tzinfo)
    return to_ms(noon if noon <= now else noon - timedelta(days=1))  # wall time, also in a long day


def _next_look_ms(house: House, now_ms: int) -> int:
    """Return the next noon once there is a run; until then, the end of the interval."""
    with house.database.read() as session:
        zone = people.district(session).zone
        if forecasts.newest_run(session) is None or _lacks_a_run(session, now_ms):
            return Interval.containing_ms(now_ms).end_ms
    now = from_ms(now_ms).astimezone(ZoneInfo(zone))
    noon = datetime.combine(now.date(), LOCAL_TIME, now.tzinfo)
    return to_ms(noon if noon > now else noon + timedelta(days=1))


def make(house: House, now_ms: int) -> Made:
    """Work out the run that is issued now, without holding up whoever writes."""
    settings = house.settings
    model = Model(settings.forecast_model)
    weather, fault = _weather(settings.weather_file)
    site = Site(str(settings.latitude), str(settings.longitude), weather)
    upto = Interval.containing_ms(now_ms).next()
    with house.database.read() as session:
        zone = ZoneInfo(people.district(session).zone)
        points = [seat.point for seat in roster(session, upto)]
        begin = Interval(upto.start - timedelta(weeks=_WEEKS[model]))
        began = registry.since(session, upto.key)
        # What is shown to whoever is there now must not tell how their predecessors lived.
        known = (
            row
            for row in forecasts.measured(session, begin.key)
            if began.get(row[1], row[0]) <= row[0]
        )
        history = History.of(upto, _WEEKS[model], zone, points, known)
        made = forecast(history, site, model)
        prices, failed = expect_prices(house, session, made)
    faults = "; ".join(text for text in (fault, made.fault, failed) if text)
    return Made(now_ms, made, prices, faults)


def _weather(path: Path | None) -> tuple[dict[int, float], str]:
    """Return what the weather file says, or nothing and why."""
    if path is None:
        return {}, ""
    try:
        with path.open("rb") as file:
            return dict(read_weather(file.read(MAX_BYTES + 1))), ""
    except OSError as error:
        return {}, f"the weather file cannot be read ({error.strerror}); a clear sky stands in"
    except WeatherError as error:
        return {}, f"{error}; a clear sky stands in"


def keep(house: House, made: Made) -> bool:
    """Write a run, all of it; return whether it was still wanted."""
    with house.database.write() as session:
        people.district(session, lock=True)
        if not _lacks_a_run(session, made.issued_ms):
            return False  # another worker made one meanwhile
        run = ForecastRunRow(
            issued_ms=made.issued_ms,
            first=made.forecast.first.key,
            quarters=made.forecast.quarters,
            model=VERSIONS[Model(house.settings.forecast_model)],
            remark="; ".join(filter(None, (made.fault, made.forecast.remark))),
        )
        session.add(run)
        session.flush()
        number = run.id or 0
        for each in made.forecast.points:
            session.add(
                ForecastRow(
                    run=number,
                    point=each.point,
                    import_wh=forecasts.write_list(each.import_wh),
                    export_wh=forecasts.write_list(each.export_wh),
                    import_model=each.import_model,
                    export_model=each.export_model,
                )
            )
        for price in made.prices:
            price.run = number
        session.add_all(made.prices)
    return True


def _tell(house: House, made: Made) -> None:
    """Put before people what a run had to do without."""
    if made.fault:
        alarm(house, f"forecast/{made.issued_ms}", f"forecast: {made.fault}")

"""Expected prices: clear what is forecast, and publish what comes of it to the district's devices.

What is forecast of a quarter-hour is cleared as if it had been metered: by the district's rule, at
everybody's standing limits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sqlmodel import Session

from app.jobs.clear import problem
from app.services.alarms import alarm
from app.services.broker import BrokerError, publish
from app.services.expected import NoForecastError, expected_prices, message
from app.services.house import House
from app.store import forecasts, people
from app.tables import ExpectedPriceRow
from market.book import BookError
from market.money import Price
from market.order import OrderError
from market.parties import MeteredPoint, metered_book, own_transfers
from market.pricing import PricingError
from metering.interval import LENGTH_MS, Interval
from metering.quantities import Energy
from optimizer.clearing import clear
from optimizer.compiled import CompileError, SolverError
from optimizer.forecast.engine import Forecast

BROKER_TIMEOUT_S: Final = 5.0
_REST_S: Final = 60.0  # wall seconds between two tries
_NO_PRICE: Final = (BookError, CompileError, OrderError, PricingError, SolverError)


def expect_prices(
    house: House, session: Session, forecast: Forecast
) -> tuple[list[ExpectedPriceRow], str]:
    """Return what a forecast would trade at, a row per quarter-hour, and what went wrong ('').

    The rows have no run yet. A point without a forecast of its import takes no part; a
    quarter-hour without any such point, or one that cannot be cleared, has no row.
    """
    tariffs, points = people.tariffs_by_point(session), people.points(session)
    rows: list[ExpectedPriceRow] = []
    failed: list[str] = []
    for number in range(forecast.quarters):
        key = Interval.containing_ms(forecast.first.start_ms + number * LENGTH_MS).key
        expected = [
            MeteredPoint(
                point=each.point,
                participant=points[each.point].participant,
                imported=Energy(import_wh),
                exported=Energy(each.export_wh[number] or 0),
                estimated=False,
                tariff=tariffs[each.point],
            )
            for each in forecast.points
            if (import_wh := each.import_wh[number]) is not None
        ]
        try:
            if expected:
                rows.append(_cleared(key, house.settings.rule, expected, {}))
        except _NO_PRICE as error:
            failed.append(f"{key}: {error}")
    return rows, f"{len(failed)} quarter-hours have no price ({failed[0]})" if failed else ""


def _cleared(
    key: str, rule: str, points: Sequence[MeteredPoint], limits: Mapping[str, Price]
) -> ExpectedPriceRow:
    book = metered_book(points, own_transfers(points), limits)
    clearing = clear(problem(key, rule, book, points))
    local = clearing.local_trades
    return ExpectedPriceRow(
        run=0,
        interval=key,
        participants=len({point.participant for point in points}),
        price_micro_per_kwh=clearing.price.micro_per_kwh if local and clearing.price else None,
        import_wh=sum(point.imported.wh for point in points),
        export_wh=sum(point.exported.wh for point in points),
        local_wh=sum(trade.energy.wh for trade in local),
    )


class Publisher:
    """Hands each run's prices to the broker of one district, once; a broker that is away waits."""

    def __init__(self, house: House, now_s: Callable[[], float] = time.monotonic) -> None:
        self._house, self._now_s = house, now_s
        self._pending = bool(house.settings.mqtt_url)
        self._not_before_s = 0.0

    def wake(self) -> None:
        """Say that there is a new run."""
        self._pending = bool(self._house.settings.mqtt_url)
        self._not_before_s = 0.0

    def run(self) -> None:
        """Publish the newest run unless that was done; try again a minute after a failure."""
        if not self._pending or self._now_s() < self._not_before_s:
            return
        with self._house.database.read() as session:
            run = forecasts.newest_run(session)
            try:
                payload = message(expected_prices(session))
            except NoForecastError:
                run = None
        if run is None or run.id is None or run.published_ms is not None:
            self._pending = False
            return
        settings = self._house.settings
        topic = f"wattloom/{settings.origin}/prices/expected"
        password = settings.mqtt_password.get_secret_value()
        try:
            publish(settings.mqtt_url, password, topic, payload, BROKER_TIMEOUT_S)
        except BrokerError as error:
            self._not_before_s = self._now_s() + _REST_S
            alarm(self._house, f"mqtt/{run.id}", f"{error}; it is tried again every minute")
            return
        with self._house.database.write() as session:
            forecasts.get(session, run.id).published_ms = self._house.clock.now_ms()
        self._pending = False

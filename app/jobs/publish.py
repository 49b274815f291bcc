"""Expected prices: clear what is forecast, and publish what comes of it to the district's devices.

What is forecast of a quarter-hour is cleared as if it had been metered: by the district's rule, at
everybody's standing limits.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sqlmodel import Session, select

from app.services.alarms import alarm
from app.services.broker import BrokerError, publish
from app.services.forecasts.prices import NoForecastError, expected_prices, message
from app.services.house import House
from app.store import agents, forecasts, registry, sharing, tariffs
from app.tables import ExpectedPriceRow, InstructionRow, LinkRow
from market.agents import Standing, net_limits, with_wishes
from market.book import BookError
from market.money import Price
from market.order import OrderError
from market.parties import MeteredPoint, metered_book, own_transfers
from market.pricing import PricingError
from market.sharing import SharingError, share_market
from market.trade import Trade
from metering.interval import LENGTH_MS, Interval
from metering.quantities import Energy
from optimizer.clearing import NO_ANSWER, clear
from optimizer.fallback import fall_back
from optimizer.forecast.engine import Forecast
from optimizer.metered import fees, metered_problem
from optimizer.problem import Fees

BROKER_TIMEOUT_S: Final = 5.0
_REST_S: Final = 60.0  # wall seconds between two tries
_NO_PRICE: Final = (BookError, OrderError, PricingError, SharingError)


def expect_prices(
    house: House, session: Session, forecast: Forecast
) -> tuple[list[ExpectedPriceRow], str]:
    """Return what a forecast would trade at, a row per quarter-hour, and what went wrong ('').

    The rows have no run yet. A point without a forecast of its import takes no part; a
    quarter-hour without any such point, or one that cannot be cleared, has no row.
    """
    standings = _Standings(session)
    first = forecast.first.start_ms
    keys = [
        Interval.containing_ms(first + number * LENGTH_MS).key
        for number in range(forecast.quarters)
    ]
    shelf = tariffs.shelf(session, house.settings.tz, keys)
    rows: list[ExpectedPriceRow] = []
    failed: list[str] = []
    for number, key in enumerate(keys):
        held = standings.held(key)
        expected = [
            MeteredPoint(
                point=each.point,
                participant=held[each.point].participant,
                imported=Energy(import_wh),
                exported=Energy(each.export_wh[number] or 0),
                estimated=False,
                tariff=shelf.at(held[each.point].tariff, Interval.parse(key)),
            )
            for each in forecast.points
            if (import_wh := each.import_wh[number]) is not None
            and each.point in held
            and held[each.point].purpose is None
        ]
        try:
            if expected:
                rows.append(_row(key, expected, _trades(house, standings, key, expected)))
        except _NO_PRICE as error:
            failed.append(f"{key}: {error}")
    return rows, f"{len(failed)} quarter-hours have no price ({failed[0]})" if failed else ""


class _Standings:
    """What holds for every point from one quarter-hour to the next, asked when it changes.

    Ask in time order.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._changes = deque(_changes(session))
        self._now: Mapping[str, Standing] = {}
        self._held: Mapping[str, registry.Standing] = {}

    def at(self, key: str) -> Mapping[str, Standing]:
        """Return what each point's instruction says in an interval, by GSRN."""
        self._step(key)
        return self._now

    def held(self, key: str) -> Mapping[str, registry.Standing]:
        """Return what each point is bound to in an interval, by GSRN."""
        self._step(key)
        return self._held

    def _step(self, key: str) -> None:
        if not self._held or (self._changes and self._changes[0] <= key):
            versions = agents.holding(self.session, key)
            self._now = {point: version.standing for point, version in versions.items()}
            self._held = registry.standing(self.session, key)
            while self._changes and self._changes[0] <= key:
                self._changes.popleft()


def _changes(session: Session) -> Sequence[str]:
    """Return the interval keys from which on some instruction or link holds, in time order."""
    instructions = session.exec(select(InstructionRow.valid_from).distinct())
    return sorted({*instructions, *session.exec(select(LinkRow.valid_from).distinct())})


def _trades(
    house: House, standings: _Standings, key: str, points: Sequence[MeteredPoint]
) -> Sequence[Trade]:
    """Return the local trades of a quarter-hour, in the way that the district trades."""
    own = own_transfers(points)
    if house.settings.mode == "sharing":
        keys = sharing.keys(standings.session, key)
        return share_market(points, own, keys, (), key.encode()).trades
    found = standings.at(key)
    stands = {point.point: found[point.point] for point in points}
    tariffs = {point.point: point.tariff for point in points}
    # Whoever follows the expected price cannot make it: without one they are at grid parity.
    limits = net_limits(stands, tariffs, None, Price(house.settings.price_tick_micro_per_kwh))
    rule, book = house.settings.rule, metered_book(points, own, limits)
    book = with_wishes(book, stands, placed=fees(book, rule, points) != Fees())
    given = metered_problem(key, rule, book, points)
    try:
        return clear(given).local_trades
    except NO_ANSWER:
        return fall_back(given).local_trades  # as the interval itself would close


def _row(key: str, points: Sequence[MeteredPoint], trades: Sequence[Trade]) -> ExpectedPriceRow:
    """Return what trades come to; the price is the mean per kWh where they have several."""
    local_wh = sum(trade.energy.wh for trade in trades)
    weighted = sum(trade.price.micro_per_kwh * trade.energy.wh for trade in trades)
    return ExpectedPriceRow(
        run=0,
        interval=key,
        participants=len({point.participant for point in points}),
        price_micro_per_kwh=weighted // local_wh if local_wh else None,
        import_wh=sum(point.imported.wh for point in points),
        export_wh=sum(point.exported.wh for point in points),
        local_wh=local_wh,
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

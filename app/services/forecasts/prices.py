"""Expected prices: what the newest forecasts would trade at, for strategies, forms and devices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypedDict

from sqlmodel import Session

from app.services.privacy import FEWEST
from app.store import forecasts, people, tariffs
from app.tables import ExpectedPriceRow, ForecastRunRow
from market.money import PPM, Price
from market.tariff import Tariff
from metering.interval import Interval, from_ms


class NoForecastError(Exception):
    """There is nothing to publish: it says why; ask again after the next run."""


class ExpectedInterval(TypedDict):
    """One quarter-hour. Prices are micro-euros per kWh; None where no local trade is expected."""

    start: str
    local_price_micro_per_kwh: int | None
    local_all_in_micro_per_kwh: int | None
    mean_all_in_micro_per_kwh: int
    local_share_ppm: int
    import_wh: int
    export_wh: int
    local_wh: int


class ExpectedPrices(TypedDict):
    """A run's expected prices; moments are UTC. The tariff's own are of the first interval."""

    district: str
    issued_at: str
    model: str
    tariff: str
    grid_all_in_micro_per_kwh: int
    feed_in_micro_per_kwh: int
    intervals: list[ExpectedInterval]


def expected_price(session: Session, interval_key: str) -> Price | None:
    """Return the net hub price that was expected of an interval before it began, if any.

    From its start on the answer never changes, so that what follows from it can be replayed.
    """
    run = forecasts.run_for(session, interval_key)
    row = session.get(ExpectedPriceRow, (run.id, interval_key)) if run else None
    if row is None or row.price_micro_per_kwh is None:
        return None
    return Price(row.price_micro_per_kwh)


def expected_prices(session: Session) -> ExpectedPrices:
    """Return what the newest run expects, as everybody may know it.

    Quarter-hours with a forecast of fewer than five participants are left out.

    Raises:
        NoForecastError: no run yet, or none of its quarter-hours may be shown.
    """
    run = forecasts.newest_run(session)
    if run is None:
        raise NoForecastError(
            "there is no forecast yet: the first one needs a full day of measured quarter-hours"
        )
    shown = shown_prices(session, run)
    if not shown:
        raise NoForecastError(
            f"the forecast knows fewer than {FEWEST} participants, so their prices stay private"
        )
    keys = [each.interval for each in shown]
    tariff, zone = tariffs.most_common(session, keys[0]), tariffs.zone(session)
    shelf = tariffs.shelf(session, zone, keys)
    first = shelf.at(tariff, Interval.parse(keys[0]))
    return {
        "district": people.district(session).origin,
        "issued_at": from_ms(run.issued_ms).isoformat().replace("+00:00", "Z"),
        "model": run.model,
        "tariff": tariff,
        "grid_all_in_micro_per_kwh": grid_all_in(first),
        "feed_in_micro_per_kwh": first.feed_in.micro_per_kwh,
        "intervals": [interval(e, shelf.at(tariff, Interval.parse(e.interval))) for e in shown],
    }


def message(prices: ExpectedPrices) -> bytes:
    """Return the prices as JSON bytes: what the API answers and what the broker gets."""
    return json.dumps(prices, sort_keys=True, separators=(",", ":")).encode()


def shown_prices(session: Session, run: ForecastRunRow) -> Sequence[ExpectedPriceRow]:
    """Return those of a run's prices and sums that may be shown to anybody."""
    return [row for row in forecasts.prices(session, run) if row.participants >= FEWEST]


def interval(row: ExpectedPriceRow, tariff: Tariff) -> ExpectedInterval:
    """Return one quarter-hour on the tariff that most points are on.

    The mean is what a kWh drawn then costs: the local share at the local price all-in, the rest at
    the supplier's.
    """
    local = local_all_in(tariff, row.price_micro_per_kwh)
    share = row.local_wh * PPM // row.import_wh if row.import_wh else 0
    grid = grid_all_in(tariff)
    mean = grid if local is None else (share * local + (PPM - share) * grid) // PPM
    return {
        "start": row.interval,
        "local_price_micro_per_kwh": row.price_micro_per_kwh,
        "local_all_in_micro_per_kwh": local,
        "mean_all_in_micro_per_kwh": mean,
        "local_share_ppm": share,
        "import_wh": row.import_wh,
        "export_wh": row.export_wh,
        "local_wh": row.local_wh,
    }


def local_all_in(tariff: Tariff, price_micro_per_kwh: int | None) -> int | None:
    """Return what a neighbour's kWh costs its buyer, with VAT, rounded down."""
    if price_micro_per_kwh is None:
        return None
    net = Price(price_micro_per_kwh) + tariff.local_grid_fee + tariff.levy + tariff.tax
    return _with_vat(net, tariff)


def grid_all_in(tariff: Tariff) -> int:
    """Return what a kWh of the supplier costs, with VAT, rounded down."""
    return _with_vat(tariff.energy + tariff.grid_fee + tariff.levy + tariff.tax, tariff)


def _with_vat(net: Price, tariff: Tariff) -> int:
    return net.micro_per_kwh * (PPM + tariff.vat_ppm) // PPM

"""Other ways to clear the same book, to measure ours against; each returns what it clears, in Wh.

They take arrays: limits in EUR/kWh, quantities in Wh, and which of them are bids.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import highspy
import numpy as np
import pyomo.environ as pyo

from market.book import Book
from market.order import Side

try:
    with contextlib.chdir(tempfile.gettempdir()):  # it opens a log file wherever it is imported
        from assume.common.market_objects import MarketConfig, MarketProduct
        from assume.markets.clearing_algorithms import PayAsClearRole
        from dateutil.rrule import HOURLY, rrule
except ImportError:  # it comes with the extra `bench` alone
    PayAsClearRole = None


Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def arrays_of(book: Book) -> Arrays:
    """Return limits, quantities and sides of a book."""
    return (
        np.array([o.limit.micro_per_kwh / 1e6 for o in book.orders]),
        np.array([float(o.quantity.wh) for o in book.orders]),
        np.array([o.side is Side.BID for o in book.orders]),
    )


def bare_highs(prices: np.ndarray, wh: np.ndarray, is_bid: np.ndarray) -> float:
    """One variable per order and one balance, presolve off: build, run, extract.

    HiGHS needs a single iteration, nearly all of it a ratio test that passes over the orders from
    price 0 to the clearing price. So the cost depends on where 0 is: with prices in micro-euros
    100,000 orders take 3.6 s, in euros and on ticks 0.3 s, around their median 0.06 s.
    """
    size = len(wh)
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = size, 1
    lp.col_cost_ = np.where(is_bid, -prices, prices)
    lp.col_lower_, lp.col_upper_ = np.zeros(size), wh
    lp.row_lower_ = lp.row_upper_ = np.zeros(1)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.array([0, size], dtype=np.int32)
    lp.a_matrix_.index_ = np.arange(size, dtype=np.int32)
    lp.a_matrix_.value_ = np.where(is_bid, 1.0, -1.0)
    highs = highspy.Highs()
    highs.silent()
    highs.setOptionValue("presolve", "off")
    highs.passModel(lp)
    highs.run()
    return float(np.array(highs.getSolution().col_value)[is_bid].sum())


def bare_highs_around_median(prices: np.ndarray, wh: np.ndarray, is_bid: np.ndarray) -> float:
    """The same with all prices less their median, which changes nothing but the time."""
    return bare_highs(prices - np.median(prices), wh, is_bid)


def fresh_pyomo(prices: np.ndarray, wh: np.ndarray, is_bid: np.ndarray) -> float:
    """A model built anew for each book and solved by appsi_highs."""
    model = pyo.ConcreteModel()
    orders = range(len(wh))
    signs, limits, most = np.where(is_bid, 1, -1).tolist(), prices.tolist(), wh.tolist()
    model.wh = pyo.Var(orders, bounds=lambda _, i: (0, most[i]))
    model.balance = pyo.Constraint(expr=pyo.quicksum(signs[i] * model.wh[i] for i in orders) == 0)
    model.welfare = pyo.Objective(
        expr=pyo.quicksum(signs[i] * limits[i] * model.wh[i] for i in orders), sense=pyo.maximize
    )
    solver = pyo.SolverFactory("appsi_highs")
    solver.highs_options = {"presolve": "off"}
    solver.solve(model)
    return float(sum(pyo.value(model.wh[i]) for i in orders if is_bid[i]))


def assume() -> Callable[[np.ndarray, np.ndarray, np.ndarray], float] | None:
    """Return ASSUME's ``pay_as_clear``, None where the package is not installed."""
    if PayAsClearRole is None:
        return None
    start = datetime(2026, 6, 23, 9, tzinfo=UTC)
    quarter = timedelta(minutes=15)
    product = (start, start + quarter, None)
    config = MarketConfig("bench", market_products=[MarketProduct(quarter, 1, timedelta(0))])
    config.opening_hours = rrule(HOURLY, dtstart=start, until=start + timedelta(days=1))

    def clear(prices: np.ndarray, wh: np.ndarray, is_bid: np.ndarray) -> float:
        book = [
            {
                "start_time": product[0],
                "end_time": product[1],
                "only_hours": None,
                "bid_id": str(i),
                "agent_addr": str(i),
                "price": price,
                "volume": volume,
            }
            for i, (price, volume) in enumerate(
                zip(prices.tolist(), np.where(is_bid, -wh, wh).tolist(), strict=True)
            )
        ]
        _, _, (meta,), _ = PayAsClearRole(config).clear(book, [product])
        return float(meta["supply_volume"])

    return clear

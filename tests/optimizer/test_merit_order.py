"""The merit order against the LP and against an oracle: the same outcome on every book."""

from hypothesis import given, settings
from hypothesis import strategies as st

from market.book import Book
from market.money import Price
from market.order import Order, Side
from market.pricing import Rule
from metering.quantities import Energy
from optimizer.clearing import clear
from optimizer.problem import Problem
from optimizer.welfare import solve_ticks
from tests.conftest import LONG
from tests.optimizer.order_by_order import outcome


def _orders(quantity: st.SearchStrategy[int], price: st.SearchStrategy[int]):
    rows = st.lists(st.tuples(st.sampled_from(Side), quantity, price), max_size=24)
    return rows.map(
        lambda found: tuple(
            Order(f"o{i:02}", side, f"p{i}", f"p{i}", Energy(wh), Price(micro))
            for i, (side, wh, micro) in enumerate(found)
        )
    )


DIGITS = st.integers(0, 9)
NEAR_TICKS = _orders(st.integers(1, 60), st.integers(-4, 4))
EXTREMES = _orders(st.integers(1, 10**12), st.integers(-(10**9), 10**9))
# Neighbouring ticks far from 0, where doubles tell reduced costs of 1 apart with difficulty.
CLUSTERS = _orders(
    st.sampled_from([1, 2, 7, 10**9, 10**12]),
    st.builds(lambda base, step: base + step, st.sampled_from([-(10**9), 5, 10**9 - 9]), DIGITS),
)
BACKSTOPS = st.tuples(st.none() | st.integers(-4, 0), st.none() | st.integers(0, 4))


@settings(max_examples=20_000 if LONG else 500)
@given(orders=NEAR_TICKS | EXTREMES | CLUSTERS, backstop=BACKSTOPS)
def test_merit_order_lp_and_oracle_agree(orders, backstop):
    floor, ceiling = (None if micro is None else Price(micro) for micro in backstop)
    problem = Problem(Book(orders), Rule.UNIFORM, b"key", floor, ceiling)
    ours, oracle = clear(problem), outcome(problem)
    interval = tuple(None if p is None else p.micro_per_kwh for p in ours.price_interval)
    assert interval == oracle.price_interval_micro_per_kwh
    assert ours.cleared.wh == oracle.cleared_wh
    assert ours.welfare_micro == oracle.welfare_micro
    assert ours.allocations == dict(sorted(oracle.allocations.items()))
    assert (ours.grid_import.wh, ours.grid_export.wh) == (
        oracle.grid_import_wh,
        oracle.grid_export_wh,
    )
    assert clear(problem, solve_ticks) == ours


@settings(max_examples=20_000 if LONG else 500)
@given(orders=_orders(st.integers(1, 4), st.integers(-2, 2)))
def test_merit_order_against_one_watt_hour_at_a_time(orders):
    """The reference from the definition: match the best Wh of each side while bid >= offer."""
    bids = sorted(
        (o.limit.micro_per_kwh for o in orders if o.side is Side.BID for _ in range(o.quantity.wh)),
        reverse=True,
    )
    offers = sorted(
        o.limit.micro_per_kwh for o in orders if o.side is Side.OFFER for _ in range(o.quantity.wh)
    )
    matched = [(b, a) for b, a in zip(bids, offers, strict=False) if b >= a]
    found = outcome(Problem(Book(orders), Rule.UNIFORM, b"key"))
    assert found.cleared_wh == len(matched)
    welfare = sum(b - a for b, a in matched)
    assert abs(found.welfare_micro * 1000 - welfare) <= 500

"""Orders as columns: what a book of the same orders gives, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.book import Book
from market.money import Price, largest_remainder
from market.order import Order, Side
from market.pricing import Rule
from market.trade import tie_hash
from metering.quantities import Energy
from optimizer.clearing import clear
from optimizer.columns import Columns, ColumnsError, match, pro_rata
from optimizer.compiled import SolverError
from optimizer.problem import Problem
from tests.conftest import LONG

EXAMPLES = 20_000 if LONG else 500


@settings(max_examples=EXAMPLES)
@given(
    wh=st.lists(st.integers(0, 9) | st.integers(0, 10**12), min_size=1, max_size=12),
    part=st.integers(0, 10**6),
)
def test_pro_rata_is_the_largest_remainder_of_the_market(wh, part):
    ties = [tie_hash(b"key", str(i)) for i in range(len(wh))]
    total = sum(wh) * part // 10**6
    if sum(wh):
        found = pro_rata(total, np.array(wh, dtype=np.int64), ties.__getitem__)
        assert found.tolist() == largest_remainder(total, wh, ties)


@settings(max_examples=EXAMPLES)
@given(
    rows=st.lists(
        st.tuples(st.booleans(), st.integers(-5, 25), st.integers(1, 50)), min_size=1, max_size=20
    ),
    bounds=st.tuples(st.none() | st.integers(-6, 10), st.none() | st.integers(10, 26)),
)
def test_columns_and_book_agree(rows, bounds):
    ids = [f"o{i:02}" for i in range(len(rows))]
    is_bid, limits, wh = (np.array(column) for column in zip(*rows, strict=True))
    columns = Columns(is_bid, limits, wh, lambda row: tie_hash(b"key", ids[row]))
    found = match(columns, *bounds)
    orders = tuple(
        Order(i, Side.BID if bid else Side.OFFER, i, i, Energy(amount), Price(limit))
        for i, (bid, limit, amount) in zip(ids, rows, strict=True)
    )
    floor, ceiling = (None if bound is None else Price(bound) for bound in bounds)
    expected = clear(Problem(Book(orders), Rule.UNIFORM, b"key", floor, ceiling))
    assert dict(zip(ids, found.wh.tolist(), strict=True)) == expected.allocations
    assert (found.grid_import, found.grid_export) == (
        expected.grid_import.wh,
        expected.grid_export.wh,
    )
    lo, hi = found.interval
    assert expected.price_interval == (
        None if lo is None else Price(lo),
        None if hi is None else Price(hi),
    )


def test_only_rows_that_tie_at_the_margin_are_hashed():
    """The bids want 15 Wh of four offers of 1, 10, 10 and 10 Wh: two equal ones compete for one."""
    asked = []
    columns = Columns(
        np.array([True, False, False, False, False, True]),
        np.array([9, 1, 5, 5, 5, 0]),
        np.array([15, 1, 10, 10, 10, 9]),
        lambda row: asked.append(row) or bytes([row]),
    )
    assert match(columns).wh.tolist() == [15, 1, 5, 5, 4, 0]
    assert asked == [2, 3, 4]


def _columns(**change):
    good = {"is_bid": [True, False], "limits": [9, 1], "wh": [5, 5]}
    arrays = {name: np.array(values) for name, values in (good | change).items()}
    return Columns(**arrays, tie=lambda row: bytes([row]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wh": [5]}, "one row each"),
        ({"wh": [5, -1]}, "row 1 has a negative quantity"),
        ({"wh": [10**15 + 1, 1]}, "row 0 has more than"),
        ({"wh": [10**15, 1]}, "add up to more than"),
        ({"limits": [9, 10**9 + 1]}, "row 1 has an absurd limit"),
    ],
)
def test_bad_columns_are_refused(change, message):
    with pytest.raises(ColumnsError, match=message):
        _columns(**change)


def test_a_backstop_upside_down_is_no_optimum():
    with pytest.raises(SolverError):
        match(_columns(), floor=8, ceiling=2)

"""Each price rule on numbers worked out by hand, and against its own definition."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.money import Price
from market.pricing import PricingError, mid_market, pay_as_bid, sdr, uniform
from metering.quantities import Energy


@pytest.mark.parametrize(
    ("lo", "hi", "price"), [(10, 20, 15), (10, 11, 10), (-3, 0, -2), (7, 7, 7)]
)
def test_uniform_is_the_floor_of_the_middle(lo, hi, price):
    assert uniform(Price(lo), Price(hi)) == Price(price)
    assert mid_market(Price(lo), Price(hi)) == Price(price)


def test_pay_as_bid_is_the_buyers_limit_up_to_retail():
    assert pay_as_bid(Price(25), None) == Price(25)
    assert pay_as_bid(Price(25), Price(30)) == Price(25)
    assert pay_as_bid(Price(35), Price(30)) == Price(30)


@pytest.mark.parametrize(
    ("supply", "demand", "floor", "ceiling", "price"),
    [
        (0, 9, 10, 30, 30),
        (5, 10, 10, 30, 15),
        (10, 10, 10, 30, 10),
        (11, 10, 10, 30, 10),
        (0, 0, 10, 30, 10),
        (5, 10, 0, 30, 0),
        (0, 10, 0, 30, 30),
        (1, 2, 7, 7, 7),
    ],
)
def test_sdr(supply, demand, floor, ceiling, price):
    assert sdr(Energy(supply), Energy(demand), Price(floor), Price(ceiling)) == Price(price)


@given(
    supply=st.integers(1, 10**6),
    demand=st.integers(1, 10**6),
    floor=st.integers(1, 10**6),
    spread=st.integers(0, 10**6),
)
def test_sdr_stays_in_its_bounds_and_follows_the_formula(supply, demand, floor, spread):
    ceiling, ratio = floor + spread, Fraction(supply, demand)
    price = sdr(Energy(supply), Energy(demand), Price(floor), Price(ceiling)).micro_per_kwh
    assert floor <= price <= ceiling
    if ratio <= 1:
        exact = ceiling * floor / ((ceiling - floor) * ratio + floor)
        assert price == exact.numerator // exact.denominator


@pytest.mark.parametrize(("floor", "ceiling"), [(-1, 30), (31, 30)])
def test_sdr_is_void_beyond_its_bounds(floor, ceiling):
    with pytest.raises(PricingError):
        sdr(Energy(1), Energy(2), Price(floor), Price(ceiling))

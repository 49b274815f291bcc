"""One function per price rule. All prices are net energy prices at the hub, in whole micro/kWh."""

from __future__ import annotations

from enum import StrEnum

from market.errors import MarketError
from market.money import Price
from metering.quantities import Energy


class PricingError(MarketError):
    """The rule cannot price this: give the bounds it needs, or choose another rule."""


class Rule(StrEnum):
    """How local energy is priced."""

    UNIFORM = "uniform"
    PAY_AS_BID = "pay-as-bid"
    MID_MARKET = "mid-market"
    SDR = "sdr"


def uniform(lowest: Price, highest: Price) -> Price:
    """Return the floor of the middle of the interval of prices that clear the book."""
    return Price((lowest.micro_per_kwh + highest.micro_per_kwh) // 2)


def pay_as_bid(limit: Price, ceiling: Price | None) -> Price:
    """Return what a buyer with this limit pays: the limit itself, never more than the retail price.

    The surplus goes to the sellers: each gets what its buyers pay, so that nothing is left over.
    """
    return limit if ceiling is None else min(limit, ceiling)


def mid_market(floor: Price, ceiling: Price) -> Price:
    """Return the floor of the middle between feed-in and the ceiling of a local buyer.

    It depends on the tariff alone, so that orders which drop out because their limit is beyond it
    leave it as it is: the fixed point is reached at once.
    """
    return Price((floor.micro_per_kwh + ceiling.micro_per_kwh) // 2)


def sdr(supply: Energy, demand: Energy, floor: Price, ceiling: Price) -> Price:
    """Return the local price of the supply-demand ratio r = supply / demand (Liu et al. 2017).

    r <= 1: ceiling floor / ((ceiling - floor) r + floor), rounded down; else the feed-in price.
    A buyer's mean price, local share r at this price and the rest at the ceiling, is the rule's
    buying price.

    Raises:
        PricingError: the feed-in price is negative or above the ceiling, where the rule is void.
    """
    low, high = floor.micro_per_kwh, ceiling.micro_per_kwh
    if not 0 <= low <= high:
        raise PricingError(
            f"the supply-demand ratio needs 0 <= feed-in <= retail, got {low} and {high}: "
            "choose uniform or mid-market"
        )
    if supply >= demand or low == high:
        return floor
    denominator = (high - low) * supply.wh + low * demand.wh
    return Price(high * low * demand.wh // denominator) if denominator else ceiling

"""Standing instructions: the limit of each strategy, all-in conversion, wishes of the book."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.agents import (
    MAX_LIMIT,
    Instruction,
    InstructionError,
    Reason,
    Standing,
    Strategy,
    all_in_of,
    bid_limit,
    check,
    net_limits,
    net_of,
    offer_limit,
    with_wishes,
)
from market.book import Book
from market.money import PPM, Money, Price
from market.order import Order, Side
from market.parties import MeteredPoint, metered_book, own_transfers
from market.place import Level, Place, Product, Wish
from market.settlement import saving, settle
from market.tariff import Tariff
from market.trade import make_trade
from metering.quantities import Energy
from tests.conftest import LONG

EXAMPLES = settings(max_examples=20_000 if LONG else 500)
TARIFF = Tariff(Price(200_000), Price(90_000), Price(40_000), Price(20_000), Price(80_000), 190_000)
TICK = Price(1)
HOME = Place("f1", "b1")


# --- Scenarios -----------------------------------------------------------------------------------


def cents(text: str) -> Price:
    whole, _, part = text.removeprefix("-").partition(".")
    micro = int(whole) * 10_000 + int((part or "0").ljust(4, "0"))
    return Price(-micro if text.startswith("-") else micro)


def instruction(words: list[str]) -> Instruction:
    if words[0] == "own":
        buy, _, sell = words[1].partition("/")
        return Instruction(
            Strategy.OWN_LIMITS,
            buy_all_in=None if buy == "-" else cents(buy),
            sell=None if sell == "-" else cents(sell),
        )
    share = int(words[1].removesuffix("%")) * 10_000 if len(words) > 1 else 0
    return Instruction(Strategy(words[0]), share)


def scenarios() -> list[tuple[str, Tariff]]:
    tariff, found = TARIFF, []
    for row in (Path(__file__).parent / "agents_scenarios.txt").read_text("utf-8").splitlines():
        if row.startswith("feed-in"):
            tariff = replace(tariff, feed_in=cents(row.split()[1]))
        elif row and not row.startswith("#"):
            found.append((row, tariff))
    return found


@pytest.mark.parametrize(("row", "tariff"), scenarios(), ids=[row for row, _ in scenarios()])
def test_a_strategy_s_limits(row: str, tariff: Tariff) -> None:
    *words, expected, buys, sells = row.split()
    tick = Price(100)
    if "tick" in words:
        tick = cents(words[words.index("tick") + 1])
        words = words[: words.index("tick")]
    price = None if expected == "-" else cents(expected)
    found = (
        bid_limit(instruction(words), tariff, price, tick),
        offer_limit(instruction(words), tariff, price, tick),
    )
    assert [limit.net for limit in found] == [cents(t.removesuffix("*")) for t in (buys, sells)]
    assert [limit.capped for limit in found] == [t.endswith("*") for t in (buys, sells)]


def test_what_a_limit_comes_from() -> None:
    def reasons(instruction: Instruction, expected: Price | None) -> tuple[Reason, Reason]:
        given = (instruction, TARIFF, expected, TICK)
        return bid_limit(*given).reason, offer_limit(*given).reason

    price = Price(160_000)
    assert reasons(Instruction(), price) == (Reason.TARIFF, Reason.TARIFF)
    assert reasons(Instruction(Strategy.GREEDY, 1), None) == (Reason.SHARE, Reason.SHARE)
    forecast = Instruction(Strategy.BY_FORECAST, 1)
    assert reasons(forecast, price) == (Reason.FORECAST, Reason.FORECAST)
    assert reasons(forecast, None) == (Reason.NO_FORECAST, Reason.NO_FORECAST)
    own = Instruction(Strategy.OWN_LIMITS, sell=price)
    assert reasons(own, None) == (Reason.TARIFF, Reason.OWN)


# --- Refusals ------------------------------------------------------------------------------------

BEYOND = MAX_LIMIT + Price(1)
REFUSED: dict[str, tuple[str, Callable[[], Instruction]]] = {
    "a negative share": ("share", lambda: Instruction(Strategy.GREEDY, -1)),
    "more than all": ("share", lambda: Instruction(Strategy.BY_FORECAST, PPM + 1)),
    "a share of grid parity": ("share", lambda: Instruction(share_ppm=1)),
    "a limit of greedy": ("buy", lambda: Instruction(Strategy.GREEDY, 1, Price(1))),
    "a limit of grid parity": ("sell", lambda: Instruction(sell=Price(1))),
    "no limit": ("buy", lambda: Instruction(Strategy.OWN_LIMITS)),
    "buying absurdly": ("buy", lambda: Instruction(Strategy.OWN_LIMITS, buy_all_in=BEYOND)),
    "selling absurdly": (
        "sell",
        lambda: Instruction(Strategy.OWN_LIMITS, sell=Price(0) - BEYOND),
    ),
    "an absurd premium": (
        "premium",
        lambda: Instruction(wish=Wish(Product.GREEN, premium=BEYOND)),
    ),
}
AT_THE_DOOR = {
    "buying off the tick": ("buy", Instruction(Strategy.OWN_LIMITS, buy_all_in=Price(1_500))),
    "selling off the tick": ("sell", Instruction(Strategy.OWN_LIMITS, sell=Price(-1_001))),
    "a premium off the tick": ("premium", Instruction(wish=Wish(Product.GREEN, Price(10)))),
    "within a building there is none": ("level", Instruction(wish=Wish(level=Level.BUILDING))),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_instruction_is_refused(case: str) -> None:
    field, make = REFUSED[case]
    with pytest.raises(InstructionError) as refused:
        make()
    assert refused.value.field == field


@pytest.mark.parametrize("case", AT_THE_DOOR)
def test_what_a_district_cannot_do_is_refused(case: str) -> None:
    field, asked = AT_THE_DOOR[case]
    with pytest.raises(InstructionError) as refused:
        check(asked, Place("f1"), Price(1_000))
    assert refused.value.field == field
    check(asked, HOME, TICK)


# --- Invariants ----------------------------------------------------------------------------------

PRICES = st.integers(-(10**6), 10**6).map(Price)
FEES = st.integers(0, 300_000).map(Price)
TARIFFS = st.builds(Tariff, PRICES, FEES, FEES, FEES, PRICES, st.integers(0, PPM))
TICKS = st.sampled_from([1, 7, 100, 1_000, 10_000]).map(Price)
KINDS = tuple(Strategy)
GREEN = ("", "green", "green-only", "green+30000")
NEAR = ("", "local-first")
FAR = ("", "max-feeder", "max-building")


def asked_of(kind: int, share: int, buy: int, sell: int, wish: int) -> Instruction:
    """An instruction of a few whole numbers, so that 20,000 of them are cheap."""
    strategy = KINDS[kind]
    words = Wish.parse(f"{GREEN[wish % 4]} {NEAR[wish // 4 % 2]} {FAR[wish // 8]}")
    if strategy.takes_share:
        return Instruction(strategy, share, wish=words)
    if strategy is not Strategy.OWN_LIMITS:
        return Instruction(wish=words)
    # An odd share leaves one side at grid parity.
    one, other = Price(buy), None if share % 2 else Price(sell)
    both = (other, one) if share % 4 == 3 else (one, other)
    return Instruction(strategy, 0, both[0], both[1], words)


MICRO = st.integers(-(10**6), 10**6)
INSTRUCTIONS = st.builds(
    asked_of, st.integers(0, 3), st.integers(0, PPM), MICRO, MICRO, st.integers(0, 23)
)


def bill(tariff: Tariff, price: Price, wh: int) -> int:
    """What local energy costs all-in, line by line, each rounded half up: written from the bill."""

    def rounded(numerator: int, denominator: int) -> int:
        return (2 * numerator + denominator) // (2 * denominator)

    net = sum(
        rounded(part.micro_per_kwh * wh, 1000)
        for part in (price, tariff.local_grid_fee, tariff.levy)
    )
    return net + rounded(net * tariff.vat_ppm, 1_000_000)


@EXAMPLES
@given(TARIFFS, PRICES, st.integers(1, 50), st.integers(0, 10**6))
def test_an_all_in_limit_is_never_exceeded(
    tariff: Tariff, all_in: Price, kwh: int, below: int
) -> None:
    """For whole kWh to the micro-euro, VAT and its rounding included; and no limit is tighter."""
    net = net_of(all_in, tariff)
    price = net - Price(below)
    assert bill(tariff, price, kwh * 1000) <= all_in.micro_per_kwh * kwh
    one_more = net + Price(1) + tariff.local_grid_fee + tariff.levy
    assert one_more.micro_per_kwh * (PPM + tariff.vat_ppm) > all_in.micro_per_kwh * PPM
    assert all_in_of(net, tariff) <= all_in
    assert all_in_of(price, tariff).micro_per_kwh == bill(tariff, price, 1000)


@EXAMPLES
@given(TARIFFS, PRICES, st.integers(1, 10**6))
def test_parts_of_a_kwh_round_by_less_than_four_micro_euros(
    tariff: Tariff, all_in: Price, wh: int
) -> None:
    """Four lines each round by at most a half, and VAT is due on the first three's halves."""
    over = 1000 * bill(tariff, net_of(all_in, tariff), wh) - all_in.micro_per_kwh * wh
    assert over < 4_000


@EXAMPLES
@given(INSTRUCTIONS, TARIFFS, st.none() | PRICES, TICKS)
def test_a_limit_is_on_the_tick_within_the_own_bound(
    asked: Instruction, tariff: Tariff, expected: Price | None, tick: Price
) -> None:
    bid = bid_limit(asked, tariff, expected, tick)
    offer = offer_limit(asked, tariff, expected, tick)
    for limit in (bid, offer):
        assert limit.net.micro_per_kwh % tick.micro_per_kwh == 0
    assert bid.net <= min(bid.wanted, tariff.ceiling) < bid.net + tick
    assert offer.net - tick < max(offer.wanted, tariff.floor) <= offer.net
    assert bid.capped is (bid.wanted > tariff.ceiling)
    assert offer.capped is (offer.wanted < tariff.floor)


@EXAMPLES
@given(INSTRUCTIONS, INSTRUCTIONS, TARIFFS, PRICES, st.integers(1, 50_000), st.integers(0, PPM))
def test_nobody_is_worse_off_than_on_the_normal_tariff(
    buying: Instruction,
    selling: Instruction,
    tariff: Tariff,
    expected: Price,
    wh: int,
    part: int,
) -> None:
    """Whatever two agents ask for, a trade within their limits saves both, rounding aside."""
    low = offer_limit(selling, tariff, expected, TICK).net.micro_per_kwh
    high = bid_limit(buying, tariff, expected, TICK).net.micro_per_kwh
    if low > high:
        return
    price = Price(low + (high - low) * part // PPM)
    points = [
        MeteredPoint("1" * 18, "roof", Energy(0), Energy(wh), estimated=False, tariff=tariff),
        MeteredPoint("2" * 18, "flat", Energy(wh), Energy(0), estimated=False, tariff=tariff),
    ]
    book = metered_book(points, (), {})
    trade = make_trade(f"{'1' * 18}-offer", f"{'2' * 18}-bid", wh, price)
    saved = saving(settle("now", points, (), book, [trade], {}, {}))
    assert saved["roof"] >= Money(0)
    assert saved["flat"] >= Money(-4)


@EXAMPLES
@given(TARIFFS, st.integers(0, PPM), st.integers(0, PPM))
def test_who_is_greedier_asks_for_more(tariff: Tariff, one: int, other: int) -> None:
    less, more = (Instruction(Strategy.GREEDY, share) for share in sorted((one, other)))
    limits = [
        (bid_limit(each, tariff, None, TICK).net, offer_limit(each, tariff, None, TICK).net)
        for each in (less, more)
    ]
    assert limits[0][0] >= limits[1][0]
    assert limits[0][1] <= limits[1][1]


# --- The book ------------------------------------------------------------------------------------


def points(count: int) -> list[MeteredPoint]:
    return [
        MeteredPoint(f"{n:018}", f"p{n}", Energy(n * 10), Energy(5), estimated=False, tariff=TARIFF)
        for n in range(1, count + 1)
    ]


def standings(*instructions: Instruction, green: bool = True) -> dict[str, Standing]:
    return {f"{n:018}": Standing(HOME, green, i) for n, i in enumerate(instructions, 1)}


def plain_book(count: int, limits: dict[str, Price]) -> Book:
    found = points(count)
    return metered_book(found, own_transfers(found), limits)


def test_the_default_is_the_book_of_before() -> None:
    """Without an instruction neither limit nor leaf changes, wherever the points stand."""
    everybody = standings(Instruction(), Instruction(), Instruction())
    tariffs = dict.fromkeys(everybody, TARIFF)
    limits = net_limits(everybody, tariffs, Price(160_000), TICK)
    book = with_wishes(plain_book(3, limits), everybody)
    assert book == plain_book(3, {})
    assert {(o.place, o.wish) for o in book.orders} == {(Place(), Wish())}


def test_one_wish_gives_everybody_their_place() -> None:
    green = Wish(Product.GREEN, Price(20_000), local_first=True, level=Level.FEEDER)
    everybody = standings(Instruction(wish=green), Instruction())
    everybody["2".zfill(18)] = Standing(Place("f2"), green=False, instruction=Instruction())
    book = with_wishes(plain_book(2, {}), everybody)
    assert {(o.order_id[-7:].lstrip("0"), str(o.place), str(o.wish)) for o in book.orders} == {
        ("1-bid", "f1/b1", "green+20000 local-first max-feeder"),
        ("1-offer", "f1/b1", "green max-feeder"),
        ("2-bid", "f2", ""),
        ("2-offer", "f2", ""),
    }


def test_a_level_that_a_point_lost_is_widened() -> None:
    """The point moved out of its building since: its wish stops no interval."""
    asked = Instruction(wish=Wish(level=Level.BUILDING))
    stands = {"1".zfill(18): Standing(Place("f1"), green=False, instruction=asked)}
    book = with_wishes(plain_book(1, {}), stands)
    assert {str(order.wish) for order in book.orders} == {"max-feeder"}


@EXAMPLES
@given(st.lists(INSTRUCTIONS, min_size=1, max_size=3), st.booleans())
def test_wishes_change_neither_quantities_nor_limits(asked: list[Instruction], green: bool) -> None:
    everybody = standings(*asked, green=green)
    before = plain_book(len(asked), {})
    after = with_wishes(before, everybody)

    def bare(order: Order) -> Order:
        return replace(order, place=Place(), wish=Wish())

    assert tuple(map(bare, after.orders)) == before.orders
    wishes = any(
        each.wish.level is not Level.DISTRICT or (order.side is Side.BID and each.wish != Wish())
        for order in before.orders
        for each in [everybody[order.point].instruction]
    )
    assert (after == before) is not wishes

"""Scenarios of sharing keys as a table, and what holds for all of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.money import PPM, Price
from market.order import OrderError, Side
from market.parties import MeteredPoint, own_transfers
from market.sharing import (
    Key,
    Kind,
    Pair,
    Share,
    Shared,
    SharingError,
    share_market,
    share_out,
)
from market.tariff import Tariff
from metering.localtime import day_start
from metering.quantities import Energy
from tests.conftest import LONG

EXAMPLES = settings(max_examples=20_000 if LONG else 500)
TIE = b"key"
SCENARIOS = [
    row
    for row in Path(__file__).with_name("sharing_scenarios.txt").read_text().splitlines()
    if not row.startswith("#")
]


def key_of(text: str) -> Key:
    head, _, members = text.partition(":")
    generator, kind, *again = head.split()
    shares = [part.split() for part in members.split(",") if part.strip()]
    return Key(
        generator,
        Kind(kind),
        tuple(Share(point, int(ppm)) for point, ppm in shares),
        redistribute=bool(again),
    )


def amounts(text: str) -> dict[str, int]:
    return {
        name: int(wh) for name, wh in (part.split() for part in text.split(",") if part.strip())
    }


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.partition("|")[0].strip()) for row in SCENARIOS]
)
def test_scenarios(row: str) -> None:
    _, keys, surplus, needs, expected = row.split("|")
    found = share_out(
        [key_of(text) for text in keys.split(";")], amounts(surplus), amounts(needs), TIE
    )
    assert {f"{pair.generator}>{pair.member}": wh for pair, wh in found.items()} == amounts(
        expected
    )


# --- What always holds ---------------------------------------------------------------------------

MEMBERS = tuple("abcdg")
GENERATORS = tuple("gh")  # one of them is a member of the other's key
WH = st.one_of(st.integers(0, 12), st.integers(0, 100_000))


class Community(NamedTuple):
    keys: list[Key]
    surplus: dict[str, int]
    needs: dict[str, int]
    apart: frozenset[Pair]


def community(seed: int) -> Community:
    """Return a small community of every kind; made from a seed, since 20,000 of them are tried."""
    chance = np.random.default_rng(seed)

    def upto(most: int) -> int:
        return int(chance.integers(0, most, endpoint=True))

    def some(names: Sequence[str]) -> list[str]:
        return [str(name) for name in chance.permutation(names)[: upto(len(names) - 1) + 1]]

    keys = []
    for generator in some(GENERATORS):
        members = [member for member in some(MEMBERS) if member != generator]
        cuts = sorted(upto(PPM) for _ in members) if upto(2) else range(0, PPM, PPM // 6)
        shares = [
            Share(member, upper - lower)
            for member, (lower, upper) in zip(members, pairwise([0, *cuts]), strict=False)
        ]
        kind = tuple(Kind)[upto(2)]
        again = kind is Kind.STATIC and bool(upto(1))
        keys.append(Key(generator, kind, tuple(shares), redistribute=again))
    most_wh = (12, 100_000)[upto(1)]
    return Community(
        keys,
        {point: upto(most_wh) for point in GENERATORS},
        {point: upto(most_wh) for point in MEMBERS if upto(4)},
        frozenset(map(Pair, some(GENERATORS), some(MEMBERS))) if upto(3) == 0 else frozenset(),
    )


COMMUNITIES = st.integers(0, 2**48).map(community)


@EXAMPLES
@given(COMMUNITIES, st.binary(max_size=2))
def test_nobody_gets_more_than_they_drew_or_gives_more_than_they_fed_in(
    case: Community, tie: bytes
) -> None:
    found = share_out(*case[:3], tie, case.apart)
    given_wh, got_wh = Counter[str](), Counter[str]()
    for pair, wh in found.items():
        given_wh[pair.generator] += wh
        got_wh[pair.member] += wh
    assert all(wh > 0 for wh in found.values())
    assert all(wh <= case.surplus.get(point, 0) for point, wh in given_wh.items())
    assert all(wh <= case.needs.get(point, 0) for point, wh in got_wh.items())
    allowed = {Pair(key.generator, share.point) for key in case.keys for share in key.shares}
    assert found.keys() <= allowed - case.apart
    # Unless its key is static, a point that has something left has nobody left who wants it.
    for key in case.keys:
        left = case.surplus.get(key.generator, 0) - given_wh[key.generator]
        if key.kind is not Kind.STATIC and left:
            for share in key.shares:
                served = got_wh[share.point] == case.needs.get(share.point, 0)
                assert served or Pair(key.generator, share.point) in case.apart


@EXAMPLES
@given(COMMUNITIES, st.integers(0, 2**32))
def test_the_order_of_rows_means_nothing(case: Community, seed: int) -> None:
    chance = np.random.default_rng(seed)

    def shuffled(items: Any) -> list[Any]:
        found = list(items)
        return [found[place] for place in chance.permutation(len(found))]

    others = [replace(key, shares=tuple(shuffled(key.shares))) for key in shuffled(case.keys)]
    surplus, needs = dict(shuffled(case.surplus.items())), dict(shuffled(case.needs.items()))
    again = share_out(others, surplus, needs, TIE)
    assert list(share_out(*case[:3], TIE).items()) == list(again.items())


@EXAMPLES
@given(COMMUNITIES)
def test_a_static_share_is_never_above_its_ppm(case: Community) -> None:
    keys = [
        replace(key, kind=Kind.STATIC, redistribute=key.redistribute or len(key.shares) == 3)
        for key in case.keys
    ]
    plain = [replace(key, redistribute=False) for key in keys]
    first = share_out(plain, case.surplus, case.needs, TIE)
    # Redistribution takes nothing away, and hands out what members left of their shares alone.
    again = share_out(keys, case.surplus, case.needs, TIE)
    for key in keys:
        fed_in = case.surplus.get(key.generator, 0)
        pairs = {Pair(key.generator, share.point): share.ppm for share in key.shares}
        assert all(first.get(pair, 0) <= -(-fed_in * ppm // PPM) for pair, ppm in pairs.items())
        assert all(again.get(pair, 0) >= first.get(pair, 0) for pair in pairs)
        most = -(-fed_in * sum(pairs.values()) // PPM)
        assert sum(again.get(pair, 0) for pair in pairs) <= most
        if not key.redistribute:
            assert all(again.get(pair, 0) == first.get(pair, 0) for pair in pairs)


FEW_NEEDS = st.lists(st.integers(0, 25), max_size=4).map(
    lambda found: dict(zip(MEMBERS, found, strict=False))
)
SOME_NEEDS = st.lists(WH, min_size=1, max_size=4).map(
    lambda found: dict(zip(MEMBERS, found, strict=False))
)


# --- Oracles, written from the rules -------------------------------------------------------------


def one_wh_at_a_time(
    surplus_wh: int, needs: dict[str, int], generator: str, tie: bytes
) -> dict[str, int]:
    """Give each Wh to whoever got least so far and still draws; equal ones by their hash."""
    got = dict.fromkeys(needs, 0)
    for _ in range(surplus_wh):
        hungry = [point for point in needs if got[point] < needs[point]]
        if not hungry:
            break
        ranks = {
            p: hashlib.sha256(tie + b"\x00" + f"{generator}>{p}".encode()).digest() for p in hungry
        }
        got[min(hungry, key=lambda p: (got[p], ranks[p]))] += 1
    return {point: wh for point, wh in got.items() if wh}


@EXAMPLES
@given(
    st.integers(0, 60),
    FEW_NEEDS,
    st.binary(max_size=2),
)
def test_equal_is_water_filling_to_the_wh(surplus: int, needs: dict[str, int], tie: bytes) -> None:
    key = Key("g", Kind.EQUAL, tuple(Share(point, 0) for point in needs))
    found = share_out([key], {"g": surplus}, needs, tie)
    assert {pair.member: wh for pair, wh in found.items()} == one_wh_at_a_time(
        surplus, needs, "g", tie
    )


@EXAMPLES
@given(st.lists(WH, min_size=2, max_size=3), SOME_NEEDS)
def test_several_equal_generators_fill_one_level(
    surpluses: list[int], needs: dict[str, int]
) -> None:
    """Who still draws got the same, but for 1 Wh per generating point; nobody got more."""
    names = [f"roof-{n}" for n in range(len(surpluses))]
    keys = [Key(name, Kind.EQUAL, tuple(Share(point, 0) for point in needs)) for name in names]
    found = share_out(keys, dict(zip(names, surpluses, strict=True)), needs, TIE)
    got = Counter[str]()
    for pair, wh in found.items():
        got[pair.member] += wh
    assert sum(got.values()) == min(sum(surpluses), sum(needs.values()))
    level = [got[point] for point in needs if got[point] < needs[point]]
    if level:
        assert max(got.values(), default=0) - min(level) <= len(names)


@EXAMPLES
@given(WH, SOME_NEEDS)
def test_by_volume_is_in_proportion_to_what_was_drawn(surplus: int, needs: dict[str, int]) -> None:
    key = Key("g", Kind.VOLUME, tuple(Share(point, 0) for point in needs))
    found = share_out([key], {"g": surplus}, needs, TIE)
    drawn = sum(needs.values())
    assert sum(found.values()) == min(surplus, drawn)
    for point, wh in needs.items():
        exact = Fraction(min(surplus, drawn) * wh, drawn) if drawn else Fraction(0)
        assert abs(found.get(Pair("g", point), 0) - exact) < 1


@EXAMPLES
@given(st.lists(WH, min_size=3, max_size=3), WH)
def test_a_member_is_served_in_proportion_to_what_it_is_offered(
    surpluses: list[int], need: int
) -> None:
    """One member alone with several roofs: all serve it in proportion to their surplus."""
    roofs = [Key(f"r{n}", Kind.VOLUME, (Share("a", 0),)) for n in range(3)]
    surplus = {f"r{n}": wh for n, wh in enumerate(surpluses)}
    found = share_out(roofs, surplus, {"a": need}, TIE)
    taken = min(need, sum(surpluses))
    assert sum(found.values()) == taken
    # Each roof offers at most what is needed, so that larger ones count as that.
    offered = {name: min(wh, need) for name, wh in surplus.items()}
    for name, wh in offered.items():
        exact = Fraction(taken * wh, sum(offered.values())) if taken else Fraction(0)
        assert abs(found.get(Pair(name, "a"), 0) - exact) < 1


# --- Keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ({"shares": (Share("a", 600_000), Share("b", 400_001))}, "add up to 1000001 ppm"),
        ({"shares": (Share("a", -1),)}, "negative share"),
        ({"shares": (Share("a", 1), Share("a", 2))}, "stands twice"),
        ({"shares": (Share("g", 1),)}, "cannot be a member of its own key"),
        ({"kind": Kind.EQUAL, "redistribute": True}, "only a static key redistributes"),
        ({"price": Price(10**9 + 1)}, "check its unit"),
    ],
)
def test_keys_that_are_refused(key: dict[str, Any], says: str) -> None:
    with pytest.raises(SharingError, match=says):
        Key(**{"generator": "g", "kind": Kind.STATIC, "shares": ()} | key)


def test_a_generating_point_has_one_key() -> None:
    with pytest.raises(SharingError, match="two keys at once"):
        share_out([key_of("g equal:"), key_of("g static:")], {}, {}, TIE)


# The day, its first interval, and how many quarter-hours it has.
DAYS = """
2026-06-24 | Europe/Berlin     | 2026-06-23T22:00:00Z |  96
2027-03-28 | Europe/Berlin     | 2027-03-27T23:00:00Z |  92
2026-10-25 | Europe/Berlin     | 2026-10-24T22:00:00Z | 100
2026-06-24 | Asia/Kathmandu    | 2026-06-23T18:15:00Z |  96
2026-09-06 | America/Santiago  | 2026-09-06T04:00:00Z |  92
2026-04-05 | Australia/Lord_Howe | 2026-04-04T13:00:00Z | 98
"""


@pytest.mark.parametrize("row", DAYS.strip().splitlines())
def test_the_midnights_from_which_keys_hold(row: str) -> None:
    day, zone, first, quarters = (cell.strip() for cell in row.split("|"))
    start = date.fromisoformat(day)
    found, following = (
        day_start(each, ZoneInfo(zone)) for each in (start, start + timedelta(days=1))
    )
    assert found.key == first
    assert (following.start - found.start) / timedelta(minutes=15) == int(quarters)


# --- An interval ---------------------------------------------------------------------------------

TARIFF = Tariff(
    energy=Price(200_000),
    grid_fee=Price(90_000),
    local_grid_fee=Price(40_000),
    levy=Price(20_000),
    feed_in=Price(80_000),
    vat_ppm=190_000,
)


def point(name: str, owner: str, drawn: int, fed_in: int, **how: Any) -> MeteredPoint:
    given = {"estimated": False, "tariff": TARIFF} | how
    return MeteredPoint(name, owner, Energy(drawn), Energy(fed_in), **given)


def shared(points: list[MeteredPoint], *keys: Key, barred: tuple[str, ...] = ()) -> Shared:
    return share_market(points, own_transfers(points), keys, barred, TIE)


def traded(found: Shared) -> set[tuple[str, str, int, int]]:
    return {
        (trade.seller, trade.buyer, trade.energy.wh, trade.amount.micro) for trade in found.trades
    }


def test_own_energy_comes_first_and_non_members_stay_apart() -> None:
    points = [
        point("a", "anna", 100, 900),
        point("b", "anna", 300, 0),
        point("c", "carl", 500, 0),
        point("d", "dora", 500, 0),
    ]
    key = Key("a", Kind.STATIC, (Share("b", 500_000), Share("c", 500_000)), price=Price(90_000))
    found = shared(points, key)
    assert traded(found) == {("a-offer", "c-bid", 300, 27_000)}  # half of 900 - 300
    assert {(o.order_id, o.quantity.wh, o.limit.micro_per_kwh) for o in found.book.orders} == {
        ("a-offer", 600, 80_000),
        ("c-bid", 500, 250_000),
    }


def test_estimates_and_the_barred_take_no_part() -> None:
    points = [
        point("g", "gina", 0, 900),
        point("b", "bert", 300, 0, estimated=True),
        point("c", "carl", 300, 0),
        point("d", "dora", 300, 0),
    ]
    key = key_of("g equal: b 0, c 0, d 0")
    found = shared(points, key, barred=("carl",))
    assert traded(found) == {("g-offer", "d-bid", 300, 0)}
    assert {order.point for order in found.book.orders if order.side is Side.BID} == {"d"}


def test_what_is_fed_in_without_a_key_is_offered_and_not_shared() -> None:
    points = [point("g", "gina", 0, 900), point("c", "carl", 300, 0)]
    found = shared(points)
    assert found.trades == ()
    assert [order.order_id for order in found.book.orders] == ["g-offer"]


@pytest.mark.parametrize(
    ("price", "feed_in", "limit", "wh"),
    [
        (0, 80_000, 0, 300),  # no price named: given away
        (0, -5_000, -5_000, 300),
        (80_000, 80_000, 80_000, 300),
        (79_999, 80_000, 80_000, 0),  # feeding in earns more
        (250_000, 80_000, 80_000, 300),
        (250_001, 80_000, 80_000, 0),  # the supplier is cheaper
        (-1, -5_000, -5_000, 300),
    ],
)
def test_a_price_beyond_a_tariff_keeps_the_pair_apart(
    price: int, feed_in: int, limit: int, wh: int
) -> None:
    tariff = replace(TARIFF, feed_in=Price(feed_in))
    points = [point("g", "gina", 0, 900, tariff=tariff), point("c", "carl", 300, 0)]
    found = shared(points, Key("g", Kind.EQUAL, (Share("c", 0),), price=Price(price)))
    assert sum(trade.energy.wh for trade in found.trades) == wh
    (offer,) = [order for order in found.book.orders if order.side is Side.OFFER]
    assert offer.limit == Price(limit)


def test_a_member_that_stands_aside_leaves_its_share_to_the_round_after() -> None:
    cheap = replace(TARIFF, energy=Price(0))  # a ceiling of 50,000
    points = [
        point("g", "gina", 0, 900),
        point("b", "bert", 900, 0, tariff=cheap),
        point("c", "carl", 900, 0),
    ]
    shares = (Share("b", 500_000), Share("c", 500_000))
    key = Key("g", Kind.STATIC, shares, redistribute=True, price=Price(90_000))
    assert traded(shared(points, key)) == {("g-offer", "c-bid", 900, 81_000)}


def test_an_absurd_quantity_is_no_order() -> None:
    with pytest.raises(OrderError):
        shared([point("g", "gina", 0, 10**13)], key_of("g equal:"))

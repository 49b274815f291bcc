"""The north-west corner walk: everybody gets their share, nobody buys from themselves."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.money import Money, Price
from market.trade import Fill, make_trade, north_west

# sellers | buyers (owner Wh, in order) -> pairs
WALKS = [
    ("", "", ""),
    ("a 5", "b 5", "a b 5"),
    ("a 5; b 3", "c 4; d 4", "a c 4; a d 1; b d 3"),
    ("a 5; b 3", "c 5; d 3", "a c 5; b d 3"),
    ("a 5; b 5", "a 5; b 5", "a b 5; b a 5"),
    ("a 5; b 2", "c 2; a 5", "a c 2; b a 2"),
    ("p 5", "p 5", ""),
    ("s 5; p 5", "b 5; p 5", "p b 5; s p 5"),
    ("s 9; p 5", "b 9; p 5", "s b 4; p b 5; s p 5"),
]


def _fills(text: str, side: str) -> list[Fill]:
    pairs = [pair.split() for pair in text.split(";") if pair]
    return [Fill(f"{owner}-{side}", owner, int(wh)) for owner, wh in pairs]


@pytest.mark.parametrize(("sellers", "buyers", "expected"), WALKS)
def test_walks(sellers, buyers, expected):
    found = north_west(_fills(sellers, "offer"), _fills(buyers, "bid"))
    wanted = [row.split() for row in expected.split(";") if row]
    assert found == [(f"{s}-offer", f"{b}-bid", int(wh)) for s, b, wh in wanted]


PARTIES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 20), max_size=8)


@settings(max_examples=500)
@given(sellers=PARTIES, buyers=PARTIES, more=st.sampled_from(["yes", "no"]))
def test_everybody_is_served_by_others_in_few_trades(sellers, buyers, more):
    gap = sum(sellers.values()) - sum(buyers.values())
    if gap > 0:
        buyers = buyers | {"x": gap}
    elif gap < 0:
        sellers = sellers | {"y" if more == "yes" else "x": -gap}
    pairs = north_west(
        [Fill(f"{name}-offer", name, wh) for name, wh in sellers.items()],
        [Fill(f"{name}-bid", name, wh) for name, wh in buyers.items()],
    )
    sold, bought = Counter(), Counter()
    for seller, buyer, wh in pairs:
        assert wh > 0
        assert seller[0] != buyer[0]
        sold[seller[0]] += wh
        bought[buyer[0]] += wh
    total = sum(sellers.values())
    # Only the part of one owner's two sides that the others cannot take is left out.
    stuck = max(
        (max(0, sellers[n] + buyers[n] - total) for n in sellers.keys() & buyers.keys()), default=0
    )
    assert sold.total() == total - stuck
    if not stuck:
        assert (sold, bought) == (Counter(sellers), Counter(buyers))
    assert len(pairs) <= max(0, len(sellers) + len(buyers) - 1)


def test_both_sides_of_a_trade_post_the_same_amount():
    trade = make_trade("s", "b", 333, Price(123_457))
    assert trade.amount == Money(41_111)
    assert trade.amount == trade.price.of(trade.energy)

"""What is delivered of contracts: scenarios as a table, a slow oracle, what always holds."""

from __future__ import annotations

import hashlib
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.delivery import Contract, DeliveryError, deliver, settle_contracts
from market.money import Price
from market.parties import MeteredPoint, own_transfers
from market.tariff import Tariff
from metering.quantities import Energy
from tests.conftest import LONG

KEY = b"2026-06-23T09:00:00Z"
SCENARIOS = [
    row
    for row in Path(__file__).with_name("delivery_scenarios.txt").read_text().splitlines()
    if not row.startswith("#")
]


def _contracts(text: str) -> list[Contract]:
    found = []
    for part in filter(str.strip, text.split(";")):
        pair, wh = part.split()
        found.append(Contract(*pair.split(">"), int(wh)))
    return found


def _scenario(row: str):
    name, meters, contracted, delivered = (part.strip() for part in row.split("|"))
    able = {who: int(wh) for who, wh in (p.split() for p in meters.split(";"))}
    return pytest.param(able, _contracts(contracted), set(_contracts(delivered)), id=name)


@pytest.mark.parametrize(("able", "contracted", "delivered"), [_scenario(row) for row in SCENARIOS])
def test_scenarios(able, contracted, delivered) -> None:
    assert set(deliver(contracted, able, KEY)) == delivered


def test_odd_watt_hours_follow_the_hashes() -> None:
    """One watt-hour over two contracts: the first by its hash gets it, whoever that is."""
    by_hash = sorted(
        [("S", "B"), ("S", "C")],
        key=lambda pair: hashlib.sha256(KEY + b"\0" + ">".join(pair).encode()).digest(),
    )
    contracted = [Contract("S", "B", 5), Contract("S", "C", 5)]
    assert deliver(contracted, {"S": 1, "B": 5, "C": 5}, KEY) == (Contract(*by_hash[0], 1),)


def test_a_contract_of_nothing_is_refused() -> None:
    with pytest.raises(DeliveryError, match="S and B agreed on 0"):
        deliver([Contract("S", "B", 0)], {}, KEY)


PARTIES = st.tuples(st.sampled_from("STU"), st.sampled_from("BCD"))
CONTRACTS = st.lists(st.builds(lambda p, wh: Contract(*p, wh), PARTIES, st.integers(1, 60)))
ABLE = st.dictionaries(st.sampled_from("STUBCD"), st.integers(0, 90))
MANY = settings(max_examples=20_000 if LONG else 500, deadline=None)


@MANY
@given(contracted=CONTRACTS, able=ABLE, data=st.data())
def test_whatever_is_delivered_was_agreed_and_metered(contracted, able, data) -> None:
    found = deliver(contracted, able, KEY)
    agreed: Counter[tuple[str, str]] = Counter()
    for contract in contracted:
        agreed[contract[:2]] += contract.wh
    got, spent = {c[:2]: c.wh for c in found}, Counter()
    for seller, buyer, wh in found:
        assert 0 < wh <= agreed[seller, buyer]
        spent[seller] += wh
        spent[buyer] += wh
    assert all(wh <= able.get(party, 0) for party, wh in spent.items())
    for seller, buyer in agreed:  # no contract stays short that both sides could still meet
        full = got.get((seller, buyer), 0) == agreed[seller, buyer]
        assert full or able.get(seller, 0) == spent[seller] or able.get(buyer, 0) == spent[buyer]
    shuffled = data.draw(st.permutations(contracted))
    assert deliver(shuffled, dict(reversed(able.items())), KEY) == found


@MANY
@given(contracted=CONTRACTS, able=ABLE)
def test_the_oracle_agrees(contracted, able) -> None:
    assert {c[:2]: c.wh for c in deliver(contracted, able, KEY)} == _oracle(contracted, able)


@MANY
@given(contracted=CONTRACTS, able=ABLE)
def test_neither_side_is_looked_at_first(contracted, able) -> None:
    """But for a few watt-hours of rounding: exchanging sellers and buyers exchanges the outcome."""
    scale = 360_360  # so that what rounding moves is small beside it
    big = [Contract(c.seller, c.buyer, c.wh * scale) for c in contracted]
    big_able = {party: wh * scale for party, wh in able.items()}
    there = {c[:2]: c.wh for c in deliver(big, big_able, KEY)}
    swapped = [Contract(c.buyer, c.seller, c.wh) for c in big]
    back = {(c.buyer, c.seller): c.wh for c in deliver(swapped, big_able, KEY)}
    pairs = {c[:2] for c in contracted}
    assert all(abs(there.get(p, 0) - back.get(p, 0)) <= 50 for p in pairs)


def _oracle(contracted: list[Contract], able: dict[str, int]) -> dict[tuple[str, str], int]:
    """The rule as docs/market.md words it, slowly, with exact fractions."""
    agreed: dict[tuple[str, str], int] = {}
    for seller, buyer, wh in contracted:
        agreed[seller, buyer] = agreed.get((seller, buyer), 0) + wh
    rank = {
        pair: hashlib.sha256(KEY + b"\0" + f"{pair[0]}>{pair[1]}".encode()).digest()
        for pair in agreed
    }
    got = dict.fromkeys(sorted(agreed, key=rank.__getitem__), 0)

    def free(party: str) -> int:
        return able.get(party, 0) - sum(wh for pair, wh in got.items() if party in pair)

    def lack(pair: tuple[str, str]) -> int:
        return agreed[pair] - got[pair]

    def spread(party: str, live: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
        mine = [pair for pair in live if party in pair]
        most = min(free(party), sum(map(lack, mine)))
        exact = {pair: Fraction(most * lack(pair), sum(map(lack, mine))) for pair in mine}
        whole = {pair: int(share) for pair, share in exact.items()}
        rest = sorted(mine, key=lambda pair: (whole[pair] - exact[pair], rank[pair]))
        for pair in rest[: most - sum(whole.values())]:
            whole[pair] += 1
        return whole

    while True:
        live = [pair for pair in got if lack(pair) and free(pair[0]) and free(pair[1])]
        shares = {party: spread(party, live) for pair in live for party in pair}
        moved = {pair: min(shares[pair[0]][pair], shares[pair[1]][pair]) for pair in live}
        if not any(moved.values()):
            break
        for pair, wh in moved.items():
            got[pair] += wh
    for pair in got:
        got[pair] += min(lack(pair), max(0, free(pair[0])), max(0, free(pair[1])))
    return {pair: wh for pair, wh in got.items() if wh}


# --- The whole interval --------------------------------------------------------------------------

TARIFF = Tariff(Price(200), Price(90), Price(40), Price(20), Price(80), 190_000)


def _point(name: str, who: str, imported: int, exported: int, *, estimated=False) -> MeteredPoint:
    return MeteredPoint(name, who, Energy(imported), Energy(exported), estimated, TARIFF)


def _settled(points, contracts, price=Price(150), poor=()):
    return settle_contracts(
        points, own_transfers(points), contracts, price, {}, lambda who: who not in poor, KEY
    )


def test_own_energy_is_not_there_to_deliver() -> None:
    points = [
        _point("roof", "ann", 0, 10),
        _point("house", "ann", 6, 0),
        _point("flat", "ben", 10, 0),
    ]
    found = _settled(points, [Contract("roof-offer", "flat-bid", 10)])
    assert [(t.seller, t.buyer, t.energy.wh) for t in found.trades] == [
        ("roof-offer", "flat-bid", 4)
    ]
    assert {o.order_id: o.quantity.wh for o in found.book.orders} == {
        "flat-bid": 10,
        "roof-offer": 4,
    }


def test_estimates_and_the_insolvent_deliver_nothing() -> None:
    contracts = [Contract("roof-offer", "flat-bid", 10)]
    dead = [_point("roof", "ann", 0, 10), _point("flat", "ben", 10, 0, estimated=True)]
    assert _settled(dead, contracts).trades == ()
    alive = [_point("roof", "ann", 0, 10), _point("flat", "ben", 10, 0)]
    assert _settled(alive, contracts, poor={"ben"}).trades == ()
    assert _settled(alive, contracts, poor={"ann"}).trades[0].energy.wh == 10


def test_the_price_is_the_sessions_and_both_sides_are_one_integer() -> None:
    points = [_point("roof", "ann", 0, 7), _point("flat", "ben", 10, 0)]
    (trade,) = _settled(points, [Contract("roof-offer", "flat-bid", 10)], Price(-150)).trades
    assert (trade.price, trade.amount) == (Price(-150), Price(-150).of(Energy(7)))


def test_contracts_without_a_price_are_a_fault() -> None:
    points = [_point("roof", "ann", 0, 7), _point("flat", "ben", 10, 0)]
    with pytest.raises(DeliveryError, match="no price"):
        _settled(points, [Contract("roof-offer", "flat-bid", 10)], None)

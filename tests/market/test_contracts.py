"""Bilateral contracts: scenarios as a table, and what holds for every book."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.contracts import Contract, ContractError, match_contracts
from market.money import Price
from market.order import Order, Side
from market.place import Level, Place, Product, Wish
from metering.quantities import Energy
from tests.conftest import LONG

KEY = b"2026-06-23T09:00:00Z"
SCENARIOS = [
    row
    for row in Path(__file__).with_name("contract_scenarios.txt").read_text().splitlines()
    if not row.startswith("#")
]


def order(name, side, participant, wh, place="", wish=""):
    return Order(
        name,
        Side(side),
        participant,
        name,
        Energy(int(wh)),
        Price(0),
        Place.parse(place),
        Wish.parse(wish),
    )


def contract(text):
    name, seller, _, buyer, price, cap = text.split()
    seller, _, point = seller.partition("@")
    return Contract(name, seller, buyer, Price(int(price)), Energy(int(cap)), point)


def parts(text):
    return [part.strip() for part in text.split(";") if part.strip()]


@pytest.mark.parametrize("row", SCENARIOS, ids=lambda row: row.partition("|")[0].strip())
def test_scenarios(row):
    _, orders, contracts, trades, rest = row.split("|")
    book = [order(*text.split()) for text in parts(orders)]
    found, left = match_contracts(book, [contract(text) for text in parts(contracts)], KEY)
    lines = {f"{c} {t.seller}>{t.buyer} {t.energy.wh} {t.amount.micro}" for c, t in found}
    assert lines == set(parts(trades))
    assert {f"{o.order_id} {o.quantity.wh}" for o in left} == set(parts(rest))


def test_a_trade_says_how_far_and_what():
    book = [
        order("s", "offer", "S", 50, "F1/B1", "green"),
        order("t", "offer", "S", 50, "F2"),
        order("b", "bid", "B", 100, "F1/B1"),
    ]
    found, _ = match_contracts(book, [contract("c S > B 1 100")], KEY)
    said = {t.seller: (t.level, t.product) for _, t in found}
    assert said == {
        "s": (Level.BUILDING, Product.GREEN),
        "t": (Level.DISTRICT, Product.ANY),
    }


def test_the_last_watt_hour_is_not_held_back_by_rounding():
    """One Wh, two contracts that ask for it: one gets it, the one of the lower hash."""
    book = [order("s", "offer", "S", 1), order("a", "bid", "A", 1), order("b", "bid", "B", 1)]
    pair = [contract("c S > A 1 1"), contract("d S > B 1 1")]
    found, _ = match_contracts(book, pair, KEY)
    again, _ = match_contracts(book[::-1], pair[::-1], KEY)
    assert [t.energy.wh for _, t in found] == [1]
    assert found == again


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (("", "S", "B", Price(1), Energy(1)), "cannot be empty"),
        (("c", "S", "S", Price(1), Energy(1)), "cannot sell to itself"),
        (("c", "S", "B", Price(1), Energy(0)), "outside 1"),
        (("c", "S", "B", Price(10**9 + 1), Energy(1)), "check its unit"),
    ],
)
def test_an_impossible_contract_is_refused(fields, words):
    with pytest.raises(ContractError, match=words):
        Contract(*fields)


def test_two_contracts_of_one_id_are_refused():
    with pytest.raises(ContractError, match="'c' stands 2 times"):
        match_contracts([], [contract("c S > B 1 1"), contract("c S > A 1 1")], KEY)


PARTIES = st.sampled_from("ABC")
BOOKS = st.lists(st.tuples(st.sampled_from(Side), PARTIES, st.integers(1, 40)), max_size=7).map(
    lambda rows: [order(f"o{i}", side, who, wh) for i, (side, who, wh) in enumerate(rows)]
)
CONTRACTS = st.lists(
    st.tuples(PARTIES, PARTIES, st.integers(-5, 5), st.integers(1, 50)).filter(
        lambda row: row[0] != row[1]
    ),
    max_size=5,
).map(
    lambda rows: [
        Contract(f"c{i}", seller, buyer, Price(price), Energy(cap))
        for i, (seller, buyer, price, cap) in enumerate(rows)
    ]
)


@settings(max_examples=20_000 if LONG else 500)
@given(book=BOOKS, contracts=CONTRACTS, data=st.data())
def test_what_holds_for_every_book(book, contracts, data):
    found, left = match_contracts(book, contracts, KEY)
    shuffled, shuffled_contracts = data.draw(st.permutations(book)), contracts[::-1]
    again, left_again = match_contracts(shuffled, shuffled_contracts, KEY)
    assert found == again
    assert sorted(left, key=repr) == sorted(left_again, key=repr)

    moved, of_contract = Counter(), Counter()
    by_id = {o.order_id: o for o in book}
    terms = {c.contract_id: c for c in contracts}
    for contract_id, trade in found:
        c = terms[contract_id]
        assert (by_id[trade.seller].participant, by_id[trade.buyer].participant) == (
            c.seller,
            c.buyer,
        )
        assert trade.amount == c.price.of(trade.energy)
        moved[trade.seller] += trade.energy.wh
        moved[trade.buyer] += trade.energy.wh
        of_contract[contract_id] += trade.energy.wh
    rest = {o.order_id: o.quantity.wh for o in left}
    assert all(o.quantity.wh == rest.get(o.order_id, 0) + moved[o.order_id] for o in book)
    have = Counter()
    for o in left:
        have[o.participant, o.side] += o.quantity.wh
    for c in contracts:
        open_cap = c.cap.wh - of_contract[c.contract_id]
        assert open_cap >= 0
        assert min(open_cap, have[c.seller, Side.OFFER], have[c.buyer, Side.BID]) == 0

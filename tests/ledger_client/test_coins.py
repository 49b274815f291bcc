"""Choosing coins: tables of single payments, and long histories in which no wallet fills up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_client.coins import (
    LEAST_UNITS,
    MOST_INPUTS,
    Due,
    Purse,
    ScatteredCoinsError,
    Spending,
    TreasuryShortError,
    is_holdable,
    melt,
    pay,
    split,
)
from ledger_client.ledger import UnspentOutput
from ledger_client.stardust.codec import blake2b_256
from ledger_client.stardust.output import BasicOutput
from ledger_client.wallet import InsufficientFundsError
from tests.conftest import LONG

OLD, NEW, OTHER, TREASURY = (bytes([n]) * 32 for n in range(1, 5))
NAMES = {"old": OLD, "new": NEW, "other": OTHER, "treasury": TREASURY}


def coin(address: bytes, units: int, number: int) -> UnspentOutput:
    identifier = blake2b_256(number.to_bytes(8, "big")) + b"\0\0"
    return UnspentOutput(identifier, BasicOutput.to(address, units).encode(), units)


def purse(**held: Sequence[int]) -> Purse:
    number = 0
    coins: dict[bytes, list[UnspentOutput]] = {}
    for name, units in held.items():
        coins[NAMES[name]] = [coin(NAMES[name], each, number := number + 1) for each in units]
    return Purse(coins)


def told(spending: Spending) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    names = {address: name for name, address in NAMES.items()}
    return (
        [(names[address], each.units) for address, each in spending.inputs],
        [(names[address], units) for address, units in spending.outputs],
    )


# (what is held, (party, address, units) due) -> (inputs, outputs)
PAYMENTS = {
    "the treasury pays": (
        {"treasury": [500, 900]},
        [("p", "new", 100)],
        ([("treasury", 500)], [("new", 100), ("treasury", 400)]),
    ),
    "what comes in melts with what is there": (
        {"new": [40, 60, 70], "treasury": [500]},
        [("p", "new", 100)],
        ([("new", 40), ("new", 60), ("treasury", 500)], [("new", 200), ("treasury", 400)]),
    ),
    "one pays the other": (
        {"new": [1000], "treasury": [500]},
        [("p", "new", -300), ("q", "other", 300)],
        ([("new", 1000), ("treasury", 500)], [("new", 700), ("other", 300), ("treasury", 500)]),
    ),
    "the last of a wallet goes": (
        {"new": [1000], "treasury": [500]},
        [("p", "new", -1000), ("q", "other", 990)],
        ([("new", 1000), ("treasury", 500)], [("other", 990), ("treasury", 510)]),
    ),
    "a month ends": (
        {"old": [1000], "treasury": [500]},
        [("p", "old", -1000), ("p", "new", 800)],
        ([("old", 1000), ("treasury", 500)], [("new", 800), ("treasury", 700)]),
    ),
    "a month ends with coins at both addresses": (
        {"old": [1000], "new": [50, 60], "treasury": [500]},
        [("p", "old", -1000), ("p", "new", 800)],
        (
            [("old", 1000), ("new", 50), ("treasury", 500)],
            [("new", 850), ("treasury", 700)],
        ),
    ),
    "the treasury never keeps less than a coin holds": (
        {"treasury": [110, 300]},
        [("p", "new", 100)],
        ([("treasury", 300)], [("new", 100), ("treasury", 200)]),
    ),
    "the two largest of the treasury": (
        {"treasury": [60, 100, 100]},
        [("p", "new", 150)],
        ([("treasury", 100), ("treasury", 100)], [("new", 150), ("treasury", 50)]),
    ),
    "a treasury without coins takes what comes": (
        {"new": [1000]},
        [("p", "new", -1000)],
        ([("new", 1000)], [("treasury", 1000)]),
    ),
}


@pytest.mark.parametrize("case", PAYMENTS)
def test_payments(case: str) -> None:
    held, dues, expected = PAYMENTS[case]
    wanted = len(held.get("treasury", ()))
    due = [Due(party, NAMES[address], units) for party, address, units in dues]
    assert told(pay(due, purse(**held), TREASURY, wanted)) == expected


def test_a_treasury_with_more_coins_than_it_wants_melts_its_smallest() -> None:
    spending = pay([Due("p", NEW, 100)], purse(treasury=[500, 40, 900]), TREASURY, 2)
    assert told(spending)[0] == [("treasury", 500), ("treasury", 40)]


@pytest.mark.parametrize(
    ("held", "dues", "error"),
    [
        ({"new": [100], "treasury": [500]}, [("p", "new", -101)], InsufficientFundsError),
        ({"new": [50, 50, 50], "treasury": [500]}, [("p", "new", -101)], ScatteredCoinsError),
        ({"new": [50, 50], "treasury": [500]}, [("p", "new", -101)], InsufficientFundsError),
        ({"treasury": [500]}, [("p", "new", 501)], TreasuryShortError),
        ({"treasury": [500]}, [("p", "new", 467)], TreasuryShortError),  # would leave 33
        ({"treasury": [200, 200, 200]}, [("p", "new", 500)], ScatteredCoinsError),
        ({"treasury": [200, 200, 200]}, [("p", "new", 590)], TreasuryShortError),
        ({}, [("p", "new", 34)], TreasuryShortError),
    ],
)
def test_what_cannot_be_paid(
    held: dict[str, list[int]],
    dues: list[tuple[str, str, int]],
    error: type[InsufficientFundsError | ScatteredCoinsError],
) -> None:
    due = [Due(party, NAMES[address], units) for party, address, units in dues]
    with pytest.raises(error) as caught:
        pay(due, purse(**held), TREASURY, len(held.get("treasury", ())))
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("total", "needs", "parts", "sizes"),
    [
        (1000, [], 1, [1000]),
        (1000, [], 3, [334, 333, 333]),
        (1000, [600], 2, [800, 200]),
        (1000, [970], 2, [500, 500]),  # it would leave less than a coin may hold
        (100, [], 5, [50, 50]),
        (34, [], 5, [34]),
    ],
)
def test_splitting(total: int, needs: list[int], parts: int, sizes: list[int]) -> None:
    assert split(total, needs, parts) == sizes


@given(
    st.integers(LEAST_UNITS, 10**6),
    st.lists(st.integers(1, 10**5), max_size=6),
    st.integers(1, 30),
)
def test_a_split_adds_up_and_serves_the_needs_that_fit(
    total: int, needs: list[int], parts: int
) -> None:
    sizes = split(total, needs, parts)
    assert sum(sizes) == total
    assert 1 <= len(sizes) <= parts
    assert min(sizes) >= LEAST_UNITS
    if needs and needs[0] + LEAST_UNITS <= total:
        assert is_holdable(sizes[0] - needs[0])


def test_a_hundred_coins_are_melted_at_most() -> None:
    spending = melt(NEW, [coin(NEW, 40 + n, n) for n in range(120)])
    assert len(spending.inputs) == MOST_INPUTS
    assert max(each.units for _, each in spending.inputs) == 139
    assert spending.outputs == ((NEW, sum(each.units for _, each in spending.inputs)),)


# --- Long histories ------------------------------------------------------------------------------


class Life:
    """Wallets, a treasury and a ledger that keeps exact books beside the coins."""

    def __init__(self, supply: int, treasury_coins: int) -> None:
        self.number = 0
        self.coins: dict[bytes, list[UnspentOutput]] = defaultdict(list)
        self.balance: dict[bytes, int] = defaultdict(int)
        self.supply = supply
        self.wanted = treasury_coins
        for units in split(supply, (), treasury_coins):
            self._make(TREASURY, units)
        self.balance[TREASURY] = supply

    def _make(self, address: bytes, units: int) -> None:
        self.number += 1
        self.coins[address].append(coin(address, units, self.number))

    def apply(self, spending: Spending) -> None:
        for address, each in spending.inputs:
            self.coins[address].remove(each)
        for address, units in spending.outputs:
            assert units >= LEAST_UNITS
            self._make(address, units)

    def pay(self, dues: Sequence[Due]) -> None:
        try:
            spending = pay(dues, Purse(self.coins), TREASURY, self.wanted)
        except ScatteredCoinsError as error:
            self.apply(melt(error.address, self.coins[error.address]))
            return self.pay(dues)
        per_party: dict[bytes, int] = defaultdict(int)
        for address, _ in spending.inputs:
            per_party[address] += 1
        assert max(per_party.values(), default=0) <= 2
        self.apply(spending)
        for due in dues:
            self.balance[due.address] += due.units
            self.balance[TREASURY] -= due.units
        return None

    def check(self) -> None:
        for address, own in self.coins.items():
            assert len(own) < 100
            assert sum(each.units for each in own) == self.balance[address]
        assert sum(self.balance.values()) == self.supply


@settings(max_examples=200 if LONG else 60, deadline=None)
@given(st.data())
def test_no_wallet_ever_fills_up(data: st.DataObject) -> None:
    """Wants are random; what would leave dust is carried on, as settlement does."""
    life = Life(10**6, data.draw(st.integers(1, 4)))
    wallets = [bytes([16 + n]) * 32 for n in range(4)]
    carry = dict.fromkeys(wallets, 0)
    wanted = dict.fromkeys(wallets, 0)
    for _ in range(data.draw(st.integers(1, 600 if LONG else 80))):
        dues = []
        for number, address in enumerate(wallets):
            sum_units = data.draw(st.integers(-400, 500))
            wanted[address] += sum_units
            want = carry[address] + sum_units
            held = life.balance[address]
            moved = want if is_holdable(held + want) and held + want >= 0 else -held
            carry[address] = want - moved
            if moved:
                dues.append(Due(str(number), address, moved))
        if dues:
            life.pay(dues)
        life.check()
        for address in wallets:
            assert len(life.coins[address]) <= 1
            assert life.balance[address] + carry[address] == wanted[address]
        assert len(life.coins[TREASURY]) <= life.wanted


@settings(max_examples=100 if LONG else 15, deadline=None)
@given(
    st.lists(st.integers(34, 5_000), min_size=1, max_size=150),
    st.integers(-400, 400).filter(bool),  # where nothing is due, nothing is paid and nothing moves
)
def test_a_wallet_full_of_gifts_empties_as_it_is_paid(gifts: list[int], units: int) -> None:
    life = Life(10**7, 1)
    for gift in gifts:
        life._make(NEW, gift)
    life.balance[NEW] = sum(gifts)
    life.supply += sum(gifts)
    for _ in range(len(gifts) + 2):
        due = units if is_holdable(life.balance[NEW] + units) else -life.balance[NEW]
        if due:
            before = len(life.coins[NEW])
            life.pay([Due("p", NEW, due)])
            assert len(life.coins[NEW]) <= max(1, before - 1)
    assert len(life.coins[NEW]) <= 2

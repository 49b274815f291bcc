"""Statements worked out by hand, and what holds for every settled interval."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.book import Book
from market.money import Money, Price
from market.order import GRID, Order, Side
from market.parties import MeteredPoint, OwnTransfer, metered_book, own_transfers
from market.payout import STORAGE_DEPOSIT_UNITS, LedgerAccount, payout
from market.pricing import Rule
from market.settlement import Kind, SettlementError, saving, settle
from market.tariff import Tariff
from market.trade import make_trade
from metering.quantities import Energy
from optimizer.clearing import clear
from optimizer.problem import Problem

KEY = "2026-06-23T09:00:00Z"
TARIFF = Tariff(Price(120_000), Price(90_000), Price(40_000), Price(30_000), Price(80_000), 190_000)


def _point(point, participant, imported, exported, *, estimated=False, tariff=TARIFF):
    return MeteredPoint(point, participant, Energy(imported), Energy(exported), estimated, tariff)


def _settled(points, carries=None, accounts=None, price=125_000):
    own = own_transfers(points)
    book = metered_book(points, own, {})
    trades = clear(Problem(book, Rule.UNIFORM, KEY.encode(), Price(price), Price(price))).trades
    return settle(KEY, points, own, book, trades, carries or {}, accounts or {})


def _lines(statement):
    return [(str(line.kind), line.wh, line.micro) for line in statement.lines]


def test_a_sale_and_a_purchase_by_hand():
    points = [_point("1", "seller", 0, 1000), _point("2", "buyer", 1500, 0)]
    settlement = _settled(points)
    buyer, seller = settlement.statements
    assert _lines(seller) == [("local-sell", 1000, 125_000)]
    assert _lines(buyer) == [
        ("local-buy", 1000, -125_000),
        ("residual-import", 500, -60_000),
        ("local-fee", 1000, -40_000),
        ("grid-fee", 500, -45_000),
        ("levy", 1500, -45_000),
        ("vat", 1500, -59_850),
    ]
    assert (buyer.sum, buyer.memo) == (Money(-125_000), Money(-249_850))
    assert saving(settlement) == {"buyer": Money(428_400 - 374_850), "seller": Money(45_000)}
    accounts = {p.account: p.micro for entry in settlement.entries for p in entry.postings}
    assert accounts == {
        "wallet:buyer": -125_000,
        "wallet:seller": 125_000,
        "receivable:buyer": -249_850,
        "supplier": 60_000,
        "grid": 85_000,
        "levy": 45_000,
        "vat": 59_850,
    }


def test_own_energy_is_free_but_for_fees():
    points = [_point("1", "p", 0, 700), _point("2", "p", 1000, 0)]
    settlement = _settled(points)
    (statement,) = settlement.statements
    assert _lines(statement) == [
        ("residual-import", 300, -36_000),
        ("local-fee", 700, -28_000),
        ("grid-fee", 300, -27_000),
        ("levy", 1000, -30_000),
        ("vat", 1000, -22_990),
    ]
    assert [(row.own_wh, row.residual_wh) for row in statement.metered] == [
        (0, 0),
        (700, 0),
        (700, 300),
        (0, 0),
    ]
    assert statement.sum == Money(0)


def test_an_estimate_is_residual_and_costs_the_normal_tariff():
    points = [_point("1", "p", 1000, 0, estimated=True), _point("2", "q", 0, 1000)]
    settlement = _settled(points)
    estimated, other = settlement.statements
    assert estimated.sum == Money(0)
    assert estimated.memo == -TARIFF.cost_of_import(Energy(1000))
    assert _lines(other) == [("residual-export", 1000, 80_000)]
    assert set(saving(settlement).values()) == {Money(0)}
    order = Order("1-bid", Side.BID, "p", "1", Energy(1000), Price(0))
    offer = Order("2-offer", Side.OFFER, "q", "2", Energy(1000), Price(0))
    trade = make_trade("2-offer", "1-bid", 10, Price(0))
    with pytest.raises(SettlementError, match="estimated"):
        settle(KEY, points, [], Book((order, offer)), [trade], {}, {})


def test_a_negative_price_makes_the_seller_pay():
    points = [_point("1", "seller", 0, 1000), _point("2", "buyer", 1000, 0)]
    cheap = replace(TARIFF, feed_in=Price(-50_000))
    points = [replace(p, tariff=cheap) for p in points]
    buyer, seller = _settled(points, price=-20_000).statements
    assert (buyer.sum, seller.sum) == (Money(20_000), Money(-20_000))


def test_what_does_not_fit_is_refused():
    points = [_point("1", "s", 0, 100), _point("2", "b", 100, 0)]
    book = metered_book(points, (), {})
    too_much = [make_trade("1-offer", "2-bid", 101, Price(5))]
    unknown = [make_trade("9-offer", "2-bid", 10, Price(5))]
    reversed_sides = [make_trade("2-bid", "1-offer", 10, Price(5))]
    own = [OwnTransfer("1", "2", 60)]
    for trades, transfers, match in (
        (too_much, [], "do not make up"),
        (unknown, [], "9-offer"),
        (reversed_sides, [], "no offer"),
        ([make_trade("1-offer", "2-bid", 50, Price(5))], own, "do not make up"),
    ):
        with pytest.raises(SettlementError, match=match):
            settle(KEY, points, transfers, book, trades, {}, {})
    with pytest.raises(SettlementError, match="unmetered"):
        settle(KEY, points[:1], [], book, [make_trade("1-offer", "2-bid", 5, Price(5))], {}, {})


# opening carry, ledger balance, sum -> transfer, closing carry
CARRIES = [
    (0, 0, 0, 0, 0),
    (0, 0, 33, 0, 33),
    (0, 0, 34, 34, 0),
    (33, 0, 1, 34, 0),
    (0, 100, -66, -66, 0),
    (0, 100, -67, -100, 33),
    (0, 100, -100, -100, 0),
    (0, 100, -101, -100, -1),
    (-5, 0, 3, 0, -2),
    (-5, 0, 100, 95, 0),
]


@pytest.mark.parametrize(("opening", "balance", "earned", "moved", "closing"), CARRIES)
def test_carry_and_transfer(opening, balance, earned, moved, closing):
    points = [_point("1", "s", 0, 1000), _point("2", "b", 1000, 0)]
    settlement = settle(
        KEY,
        points,
        (),
        metered_book(points, (), {}),
        [make_trade("1-offer", "2-bid", 1000, Price(earned))],
        {"s": Money(opening)},
        {"s": LedgerAccount("ab" * 32, Money(balance))},
    )
    statement = settlement.statements[1]
    assert statement.sum == Money(earned)
    assert sum(t.micro for t in statement.transfers) == moved
    assert statement.closing_carry == Money(closing)
    assert settlement.statements[0].transfers == ()


# older balances, balance, opening carry, sum -> transfers (older ones first), closing carry
MONTHS = [
    ([100], 0, 0, 0, [-100, 100], 0),
    ([100], 0, 0, 50, [-100, 150], 0),
    ([100], 0, 0, -40, [-100, 60], 0),
    ([100], 0, 0, -67, [-100], 33),  # what would be left is dust: it is carried
    ([100], 0, 0, -100, [-100], 0),
    ([100], 0, 0, -150, [-100], -50),  # on credit
    ([100], 0, -50, 0, [-100, 50], 0),
    ([100], 70, 0, 5, [-100, 105], 0),
    ([100], 70, 0, -160, [-100, -70], 10),
    ([100, 40], 0, 0, 1, [-100, -40, 141], 0),
    ([40], 60, 0, -40, [-40], 0),  # the current address stays as it is
    ([], 0, 0, 33, [], 33),
]


@pytest.mark.parametrize(("older", "balance", "opening", "earned", "transfers", "closing"), MONTHS)
def test_older_addresses_are_emptied(older, balance, opening, earned, transfers, closing):
    points = [_point("1", "s", 0, 1000), _point("2", "b", 1000, 0)]
    olds = tuple((f"{number:02x}" * 32, Money(units)) for number, units in enumerate(older))
    settlement = settle(
        KEY,
        points,
        (),
        metered_book(points, (), {}),
        [make_trade("1-offer", "2-bid", 1000, Price(earned))],
        {"s": Money(opening)},
        {"s": LedgerAccount("ab" * 32, Money(balance), olds)},
    )
    statement = settlement.statements[1]
    assert [transfer.micro for transfer in statement.transfers] == transfers
    assert statement.closing_carry == Money(closing)
    moved = {transfer.address: transfer.micro for transfer in statement.transfers}
    for address, held in olds:
        assert moved[address] == -held.micro
    after = balance + moved.get("ab" * 32, 0)
    assert after == 0 or after >= STORAGE_DEPOSIT_UNITS


@given(
    want=st.integers(-200, 200),
    balance=st.just(0) | st.integers(STORAGE_DEPOSIT_UNITS, 200),
)
def test_a_balance_is_empty_or_holds_the_deposit(want, balance):
    after = balance + payout(Money(want), Money(balance)).micro
    assert after == 0 or after >= STORAGE_DEPOSIT_UNITS
    if want + balance == 0 or want + balance >= STORAGE_DEPOSIT_UNITS:
        assert after == want + balance


TARIFFS = st.builds(
    lambda energy, grid, local, levy, feed_in, vat: Tariff(
        Price(energy), Price(grid), Price(min(local, grid)), Price(levy), Price(feed_in), vat
    ),
    st.integers(100_000, 300_000),
    st.integers(50_000, 90_000),
    st.integers(0, 90_000),
    st.integers(0, 30_000),
    st.integers(-20_000, 90_000),
    st.sampled_from([0, 190_000]),
)


@st.composite
def intervals(draw):
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from("pqrs"),
                st.integers(0, 3000),
                st.integers(0, 3000),
                st.sampled_from([False, False, True]),
                TARIFFS,
            ),
            max_size=8,
        )
    )
    return [
        _point(str(i), who, drawn, 0 if estimated else fed, estimated=estimated, tariff=tariff)
        for i, (who, drawn, fed, estimated, tariff) in enumerate(rows)
    ]


@settings(max_examples=200)
@given(points=intervals(), rule=st.sampled_from([Rule.MID_MARKET, Rule.UNIFORM]))
def test_every_settlement_adds_up_and_nobody_is_worse_off(points, rule):
    own = own_transfers(points)
    book = metered_book(points, own, {})
    clearing = clear(Problem(book, rule, KEY.encode(), Price(80_000), Price(260_000)))
    settlement = settle(KEY, points, own, book, clearing.trades, {}, {})

    assert sum(s.sum.micro for s in settlement.statements) == 0
    assert all(sum(p.micro for p in entry.postings) == 0 for entry in settlement.entries)
    rows = [row for s in settlement.statements for row in s.metered]
    assert len(rows) == 2 * len(points)
    for row in rows:
        assert row.local_wh + row.own_wh + row.residual_wh == row.wh
        assert not row.estimated or row.residual_wh == row.wh
    local = sum(t.energy.wh for t in clearing.local_trades)
    assert sum(row.local_wh for row in rows) == 2 * local
    for statement in settlement.statements:
        assert statement.closing_carry == statement.sum
        for line in statement.lines:
            if line.kind is not Kind.VAT:
                assert abs(line.micro) == abs(line.price.of(Energy(line.wh)).micro)
    for participant, saved in saving(settlement).items():
        roundings = sum(len(s.lines) for s in settlement.statements if s.participant == participant)
        assert saved.micro >= -roundings


@settings(max_examples=100)
@given(points=intervals())
def test_own_transfers_stay_within_the_participant_and_the_meters(points):
    by_name = {p.point: p for p in points}
    given_wh, taken_wh = Counter(), Counter()
    for source, target, wh in own_transfers(points):
        assert wh > 0
        assert source != target
        assert by_name[source].participant == by_name[target].participant
        given_wh[source] += wh
        taken_wh[target] += wh
    assert all(wh <= by_name[point].exported.wh for point, wh in given_wh.items())
    assert all(wh <= by_name[point].imported.wh for point, wh in taken_wh.items())


def test_the_statement_leaf_holds_what_the_protocol_names():
    points = [_point("1", "s", 0, 1000), _point("2", "b", 1000, 0)]
    account = LedgerAccount("ab" * 32, Money(0))
    leaf = _settled(points, accounts={"s": account}).statements[1].payload("lindenhof.example", KEY)
    assert leaf == {
        "closing_carry_micro": 0,
        "district": "lindenhof.example",
        "interval": KEY,
        "lines": [
            {
                "kind": "local-sell",
                "micro": 125_000,
                "point": "1",
                "price_micro_per_kwh": 125_000,
                "wh": 1000,
            }
        ],
        "memo_micro": 0,
        "metered": [
            {
                "direction": direction,
                "estimated": 0,
                "local_wh": wh,
                "own_wh": 0,
                "point": "1",
                "residual_wh": 0,
                "wh": wh,
            }
            for direction, wh in (("import", 0), ("export", 1000))
        ],
        "opening_carry_micro": 0,
        "participant": "s",
        "sum_micro": 125_000,
        "transfers": [{"address": "ab" * 32, "micro": 125_000}],
    }


def test_the_supplier_is_no_party_of_the_settlement():
    points = [_point("1", "s", 0, 100), _point("2", "b", 900, 0)]
    book = metered_book(points, (), {})
    clearing = clear(Problem(book, Rule.MID_MARKET, b"k", Price(80_000), Price(170_000)))
    assert GRID in {trade.seller for trade in clearing.trades}
    buyer = settle(KEY, points, (), book, clearing.trades, {}, {}).statements[0]
    assert (buyer.metered[0].local_wh, buyer.metered[0].residual_wh) == (100, 800)

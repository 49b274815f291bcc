"""metered -> settled: prices, credit, carries and payment periods, as the statements say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.services.accounts import Account
from app.store import journal
from app.tables import OrderRow, ParticipantRow, TradeRow
from tests.app.district_kit import CEILING, FEED_IN, RATE, TOP_UP, Kit, key

MakeKit = Callable[..., Kit]


@pytest.fixture
def make(database_url: str, tmp_path: Path) -> Iterator[MakeKit]:
    kits: list[Kit] = []

    def make(**options: object) -> Kit:
        kits.append(Kit(tmp_path, database_url, **options))
        return kits[-1]

    yield make
    for kit in kits:
        kit.check()
        kit.close()


@pytest.fixture
def make_plain(sqlite_url: str, tmp_path: Path) -> Iterator[MakeKit]:
    kits: list[Kit] = []

    def make(**options: object) -> Kit:
        kits.append(Kit(tmp_path, sqlite_url, **options))
        return kits[-1]

    yield make
    for kit in kits:
        kit.check()
        kit.close()


# --- Clearing ------------------------------------------------------------------------------------

# (import, export) by home; expected: price, traded Wh
BOOKS = {
    "surplus": ({"solar": (0, 900), "flat": (300, 0), "shop": (200, 0)}, RATE, 500),
    "scarce": ({"solar": (0, 100), "flat": (300, 0), "shop": (200, 0)}, RATE, 100),
    "nobody sells": ({"flat": (300, 0)}, None, 0),
    "nobody buys": ({"solar": (0, 900)}, None, 0),
    "nothing at all": ({}, None, 0),
    "a point never buys from itself": ({"solar": (400, 900)}, None, 0),
    "one watt-hour": ({"solar": (0, 1), "flat": (1, 0)}, RATE, 1),
}


@pytest.mark.parametrize("case", BOOKS)
def test_mid_market(make_plain: MakeKit, case: str) -> None:
    energies, price, traded_wh = BOOKS[case]
    kit = make_plain()
    kit.live(**energies)
    row = kit.interval(key(0))
    assert (row.price_micro_per_kwh, row.traded_wh) == (price, traded_wh)
    assert kit.seal(key(0)).price == price
    assert (row.state, row.anchor) == ("sealed", "confirmed")
    assert row.payment == ("confirmed" if traded_wh else "none")
    for name in kit.names:
        assert kit.prove(key(0), name).code == 0
    fills = {(o.side, o.cleared_wh) for o in kit.rows(OrderRow) if o.cleared_wh}
    assert sum(wh for side, wh in fills if side == "offer") == traded_wh


@pytest.mark.parametrize(
    ("energies", "low", "high"),
    [
        ({"solar": (0, 900), "flat": (300, 0)}, FEED_IN, FEED_IN),  # the surplus is sold at feed-in
        ({"solar": (0, 100), "flat": (300, 0)}, CEILING, CEILING),
        ({"solar": (0, 300), "flat": (300, 0)}, FEED_IN, CEILING),
    ],
)
def test_uniform_prices_inside_the_dual_interval(
    make_plain: MakeKit, energies: dict[str, tuple[int, int]], low: int, high: int
) -> None:
    kit = make_plain(changes={"rule": "uniform"})
    kit.live(**energies)
    row = kit.interval(key(0))
    assert row.rule == kit.seal(key(0)).rule == "uniform"
    assert row.price_micro_per_kwh is not None
    assert row.price_low_micro_per_kwh is not None
    assert row.price_high_micro_per_kwh is not None
    assert row.price_low_micro_per_kwh <= row.price_micro_per_kwh <= row.price_high_micro_per_kwh
    assert low <= row.price_micro_per_kwh <= high
    assert row.price_micro_per_kwh == (
        (row.price_low_micro_per_kwh + row.price_high_micro_per_kwh) // 2
    )
    for name in kit.names:
        assert kit.prove(key(0), name).code == 0


def test_the_rule_is_that_of_when_the_interval_opened(make_plain: MakeKit) -> None:
    kit = make_plain()
    kit.worker.run_due()  # opens the first interval
    assert kit.interval(key(0)).rule == "mid-market"


def test_a_free_price_is_a_price(make_plain: MakeKit) -> None:
    """Ceiling and feed-in at 0: energy is given away, which is not the same as no trade."""
    kit = make_plain()
    kit.reprice(feed_in_micro_per_kwh=0, energy_micro_per_kwh=0, grid_fee_micro_per_kwh=40_000)
    kit.live(solar=(0, 900), flat=(300, 0))
    assert kit.interval(key(0)).price_micro_per_kwh == 0
    assert kit.seal(key(0)).price == 0
    assert kit.interval(key(0)).price_low_micro_per_kwh == 0
    assert kit.interval(key(0)).traded_wh == 300
    assert kit.wallets()["solar"] == TOP_UP
    assert kit.prove(key(0), "flat").code == 0


# --- Credit --------------------------------------------------------------------------------------


def test_a_buyer_past_the_credit_line_stays_on_the_tariff(make: MakeKit) -> None:
    """The line is each participant's own: judged before clearing, then whole orders clear."""
    kit = make(top_up_micro=0, changes={"credit_limit_micro": 100_000})
    with kit.database.write() as session:
        session.get_one(ParticipantRow, "shop").credit_limit_micro = 10**9
    drawn = {"solar": (0, 2_000), "flat": (500, 0), "shop": (500, 0)}
    for _ in range(4):
        kit.live(**drawn)
    cost = 500 * RATE // 1000
    bids = {
        number: {row.participant for row in kit.orders(key(number)) if row.side == "bid"}
        for number in range(4)
    }
    assert bids == {
        0: {"flat", "shop"},
        1: {"flat", "shop"},  # 82,500 of 100,000 used
        2: {"shop"},
        3: {"shop"},
    }
    assert kit.wallets()["flat"] == -2 * cost
    (tariff_only,) = kit.statement(key(2), "flat")["metered"][:1]
    assert (tariff_only["local_wh"], tariff_only["residual_wh"]) == (0, 500)
    assert kit.prove(key(3), "flat").code == 0
    # Nobody can pay: what buyers owe is carried, and the ledger moves what the treasury fronts.
    assert kit.accounts()["flat"].ledger_micro == 0
    assert kit.accounts()["flat"].carry_micro == -2 * cost


def test_a_seller_past_the_credit_line_may_still_sell(make_plain: MakeKit) -> None:
    kit = make_plain(top_up_micro=0, changes={"credit_limit_micro": 1})
    kit.live(solar=(0, 900), flat=(300, 0))
    kit.live(solar=(900, 0), flat=(0, 300))
    assert kit.interval(key(1)).traded_wh == 300


# --- Payment periods and dust --------------------------------------------------------------------


def test_carry_accumulates_until_the_period_ends(make: MakeKit) -> None:
    kit = make(changes={"settle_every": 4})  # 09:00 to 10:00 UTC is one period
    sold = 300 * RATE // 1000
    for number in range(4):
        kit.live(solar=(0, 900), flat=(300, 0))
        planned = [ref for ref in kit.payments() if ref.startswith(key(number))]
        assert bool(planned) == (number == 3)
        kit.check()
        if number < 3:
            expected = Account(TOP_UP + (number + 1) * sold, TOP_UP, (number + 1) * sold, 0)
            assert kit.accounts()["solar"] == expected
    assert kit.accounts()["solar"] == Account(TOP_UP + 4 * sold, TOP_UP + 4 * sold, 0, 0)
    assert [kit.interval(key(n)).payment for n in range(4)] == ["none"] * 3 + ["confirmed"]
    transfers = [kit.statement(key(n), "solar")["transfers"] for n in range(4)]
    assert [len(each) for each in transfers] == [0, 0, 0, 1]
    assert transfers[3][0]["micro"] == 4 * sold
    for number in range(4):
        assert kit.prove(key(number), "solar").code == 0


def test_dust_is_carried_until_an_output_can_hold_it(make: MakeKit) -> None:
    """A seller without money earns 10 micro-euros a quarter-hour: 34 are the least to move."""
    kit = make(top_up_micro=0, changes={"credit_limit_micro": 10**6})
    # The ceiling is 11,000: the rate is 10 a Wh.
    kit.reprice(feed_in_micro_per_kwh=9_000, energy_micro_per_kwh=11_000 - 50_000)
    carries, moved = [], []
    for number in range(5):
        kit.live(solar=(0, 1), flat=(1, 0))
        kit.check()
        carries.append(kit.statement(key(number), "solar")["closing_carry_micro"])
        moved.append(sum(t["micro"] for t in kit.statement(key(number), "solar")["transfers"]))
        assert kit.prove(key(number), "solar").code == 0
    assert moved == [0, 0, 0, 40, 10]
    assert carries == [10, 20, 30, 0, 0]


@pytest.mark.parametrize("top_up", [100, 60])
def test_a_buyers_last_units_are_never_less_than_an_output_holds(
    make_plain: MakeKit, top_up: int
) -> None:
    kit = make_plain(top_up_micro=top_up)
    kit.reprice(feed_in_micro_per_kwh=9_000, energy_micro_per_kwh=11_000 - 50_000)
    for number in range(6):
        kit.live(solar=(0, 3), flat=(3, 0))
        kit.check()
        ledger = kit.accounts()["flat"].ledger_micro
        assert ledger == 0 or ledger >= 34
        assert kit.prove(key(number), "flat").code == 0
    assert kit.wallets()["flat"] == top_up - 6 * 30


# --- What always holds ---------------------------------------------------------------------------


def test_both_sides_of_each_trade_post_the_same_integer(make: MakeKit) -> None:
    kit = make()
    for odd in range(1, 4):
        kit.live(solar=(0, 333 * odd), flat=(101 * odd, 0), shop=(77 * odd + 1, 0))
        trades = kit.rows(TradeRow, TradeRow.interval == key(odd - 1))
        assert all(
            t.amount_micro == (t.price_micro_per_kwh * t.wh * 2 + 1000) // 2000 for t in trades
        )
        local = [p for p in kit.postings() if p[:2] == (key(odd - 1), "local")]
        amounts = sorted(t.amount_micro for t in trades)
        assert sum(micro for *_, micro in local) == 0
        assert sum(micro for *_, micro in local if micro > 0) == sum(amounts)
    assert kit.ask(journal.total) == 0
    assert sum(kit.wallets().values()) == 3 * TOP_UP

"""The market page and "what if" over a small district: who sees what, and what would have been."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func
from sqlmodel import SQLModel, select

from app.services.limits import instructions
from app.services.market.desk import QUESTIONS, MarketDesk, Pace
from app.services.market.view import TOO_FEW
from app.store.people import to_tariff
from app.tables import IntervalRow, MeteringPointRow, OrderRow, TradeRow
from market.agents import Instruction
from market.place import Product, Wish
from metering.quantities import Energy
from tests.app.district_kit import CEILING, FEED_IN, RATE, Kit, key, tariff
from web.ports import NotFoundError, Role, Viewer
from web.ports.market import Asked, Outcome, QuestionError, TooManyQuestionsError

SELLERS, BUYERS = ("roof-a", "roof-b", "roof-c", "roof-d", "roof-e"), ("a", "b", "c", "d", "e")
NAMES = (*SELLERS, *BUYERS)
NOON = dict.fromkeys(SELLERS, (0, 100)) | dict.fromkeys(BUYERS, (200, 0))
FEW = {"roof-a": (0, 100), "a": (200, 0), "b": (300, 0)}
FOUR_SELL = NOON | {"roof-e": (0, 0)}


def viewer(role: Role, participant: str | None = None) -> Viewer:
    return Viewer(role, participant, "token")


A, ROOF = viewer(Role.PROSUMER, "a"), viewer(Role.PROSUMER, "roof-a")
MANAGER, OPERATOR = viewer(Role.MANAGER), viewer(Role.OPERATOR)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """Noon with five on each side, then few, then four sellers; a fourth is still open."""
    folder = tmp_path_factory.mktemp("market")
    kit = Kit(folder, f"sqlite:///{folder / 'd.db'}", names=NAMES)
    for energies in (NOON, FEW, FOUR_SELL):
        kit.live(**energies)
    yield kit
    kit.close()


@pytest.fixture
def desk(kit: Kit) -> MarketDesk:
    return MarketDesk(kit.house, frozenset({"a", "roof-a"}))


def ask(desk: MarketDesk, who: Viewer = A, number: int = 0, **asked: str) -> Outcome:
    page = desk.what_if(who, key(number), Asked(**asked), answer=True)
    assert page.then is not None, page.no_question
    return page.then


# --- The market page -----------------------------------------------------------------------------


def test_noon_in_bands_and_ones_own_in_it(desk: MarketDesk) -> None:
    page = desk.market(A, key(0))
    assert [(b.side, b.low_micro_per_kwh, b.exact, b.quantity_wh) for b in page.bands] == [
        ("bid", CEILING, True, 1_000),
        ("offer", FEED_IN, True, 500),
    ]
    assert (page.price_micro_per_kwh, page.traded_wh) == (RATE, 500)
    assert (page.floor_micro_per_kwh, page.ceiling_micro_per_kwh) == (FEED_IN, CEILING)
    (mine,) = page.own
    assert (mine.side, mine.who, mine.quantity_wh, mine.band) == ("bid", "A", 200, 0)
    assert mine.traded_wh == 100
    assert (page.offered_wh, page.wanted_wh, page.hidden) == (500, 1_000, [])
    assert page.price_interval_micro_per_kwh == (RATE, RATE)
    assert (page.previous_key, page.next_key, page.mode) == (None, key(1), "metered")
    assert not page.fallback
    (bought,) = page.trades
    assert (bought.side, bought.wh, bought.price_micro_per_kwh) == ("bid", 100, RATE)
    assert (bought.level, bought.product, bought.contract) == ("district", "any", "")


@pytest.mark.parametrize(
    ("number", "hidden", "bands"),
    [(0, [], 2), (1, ["bid", "offer"], 0), (2, ["offer"], 1)],
)
@pytest.mark.parametrize("who", [A, ROOF], ids=["buyer", "seller"])
def test_what_four_and_five_others_show(
    desk: MarketDesk, who: Viewer, number: int, hidden: list[str], bands: int
) -> None:
    page = desk.market(who, key(number))
    assert (page.hidden, len(page.bands)) == (hidden, bands)
    assert [order.band for order in page.own] == [
        None if order.side in hidden else 0 if order.side == "bid" else bands - 1
        for order in page.own
    ]
    assert (page.offered_wh is None) == ("offer" in hidden)
    assert (page.wanted_wh is None) == ("bid" in hidden)
    assert (page.price_interval_micro_per_kwh is None) == bool(hidden)


def test_the_operator_sees_sums_of_energy_alone(desk: MarketDesk) -> None:
    for number in range(3):
        page = desk.market(OPERATOR, key(number))
        assert page.prices_hidden
        assert page.offered_wh is not None
        assert page.wanted_wh is not None
        prices = (
            page.price_micro_per_kwh,
            page.price_interval_micro_per_kwh,
            page.floor_micro_per_kwh,
            page.ceiling_micro_per_kwh,
        )
        assert set(prices) == {None}
        assert (page.bands, page.own, page.trades, page.hubs) == ([], [], [], [])
    with pytest.raises(NotFoundError):
        desk.what_if(OPERATOR, key(0), Asked(), answer=False)


def test_an_open_interval_has_no_market_yet(desk: MarketDesk) -> None:
    page = desk.market(A, key(3))
    assert not page.cleared
    assert (page.bands, page.own, page.price_micro_per_kwh) == ([], [], None)
    for strange in ("2020-01-01T00:00:00Z", "", "x\x00"):
        with pytest.raises(NotFoundError):
            desk.market(A, strange)


def test_hub_prices_the_mode_and_the_fallback_are_told(tmp_path: Path, database_url: str) -> None:
    kit = Kit(tmp_path, database_url, names=NAMES)
    kit.live(**NOON)
    told = '[{"level":"feeder","place":"N","price_micro_per_kwh":-5,"product":"green"}]'
    with kit.database.write() as session:
        row = session.get_one(IntervalRow, key(0))
        row.hub_prices, row.mode, row.fallback = told, "forward", True
        row.price_micro_per_kwh = None
        order = session.get_one(OrderRow, (key(0), f"{kit.homes['a'].point}-bid"))
        order.place, order.wish = "N/H", "green-only max-feeder"
        for trade in session.exec(select(TradeRow).where(TradeRow.buyer_order == order.order_id)):
            trade.level, trade.product, trade.contract = 1, "green", "c1"
            trade.price_micro_per_kwh = -5
            session.add(trade)
    desk = MarketDesk(kit.house, frozenset())
    page = desk.market(A, key(0))
    (hub,) = page.hubs
    assert (hub.level, hub.place, hub.product, hub.price_micro_per_kwh) == (
        "feeder", "N", "green", -5,
    )  # fmt: skip
    assert (page.mode, page.fallback, page.own[0].wish) == (
        "forward", True, "green-only max-feeder",
    )  # fmt: skip
    assert page.price_interval_micro_per_kwh is None
    (bought,) = page.trades
    assert (bought.level, bought.product, bought.contract) == ("feeder", "green", "c1")
    assert (bought.price_micro_per_kwh, bought.wh) == (-5, 100)
    kit.close()


def test_a_green_wish_has_its_price_and_what_if_takes_one_place(
    tmp_path: Path, database_url: str
) -> None:
    """One roof is green and a buyer takes nothing else: the district has two prices of one rule."""
    kit = Kit(tmp_path, database_url, names=NAMES, changes={"rule": "uniform"})
    with kit.database.write() as session:
        for number, home in enumerate(kit.homes.values()):
            point = session.get_one(MeteringPointRow, home.point)
            point.building, point.green = f"H{number % 3}", home.name == "roof-a"
    green = Instruction(wish=Wish(Product.GREEN, only=True))
    instructions.enter(kit.house, "a", kit.homes["a"].point, green, "prosumer")
    kit.live(**NOON)
    kit.live(**NOON)
    desk = MarketDesk(kit.house, frozenset())
    page = desk.market(A, key(1))
    assert {(hub.level, hub.product) for hub in page.hubs} >= {("district", "green")}
    assert page.own[0].wish == "green-only"
    assert [(t.product, t.wh) for t in page.trades] == [("green", 100)]  # all of the one roof's
    question = desk.what_if(A, key(1), Asked(bid_percent="50"), answer=True)
    assert question.one_place
    assert question.exact
    assert question.was is not None
    assert question.was.bought_wh == 100
    assert question.then is not None
    assert question.then.bought_wh + question.then.drawn_wh == 100
    kit.close()


# --- What if -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_with_nothing_changed_it_is_the_bill(desk: MarketDesk, kit: Kit, name: str) -> None:
    page = desk.what_if(viewer(Role.PROSUMER, name), key(0), Asked(), answer=True)
    assert page.was == page.same == page.then
    assert page.exact
    statement = kit.statement(key(0), name)
    assert page.was is not None
    assert page.was.all_in_micro == statement["sum_micro"] + statement["memo_micro"]


# Of buyer a, who drew 200 Wh and bought 100 of them at the mid-market rate.
# What is asked; price, bought, drawn from the grid.
ANSWERS = [
    ("nothing", {}, RATE, 100, 100),
    # At the supplier's price nobody minds whose energy it is: the walk decides.
    ("scarce energy is dear", {"rule": "uniform"}, CEILING, None, None),
    ("the same to pay as bid", {"rule": "pay-as-bid"}, CEILING, None, None),
    # low high / ((high - low) r + low), r = 1/2
    ("half of what is wanted", {"rule": "sdr"}, 80_000 * 250_000 * 2 // 330_000, 100, 100),
    ("the dearest buyer gets all", {"rule": "uniform", "bid_limit": "26"}, CEILING, 200, 0),
    ("too low", {"bid_limit": "9"}, RATE, 0, 200),
    ("at the rate", {"bid_limit": "16,5"}, RATE, 100, 100),
    ("a micro below the rate", {"bid_limit": "16.4999"}, RATE, 0, 200),
    ("negative", {"bid_limit": "-3"}, RATE, 0, 200),
    ("twice as much", {"bid_percent": "200"}, RATE, 167, 233),
    ("nothing drawn", {"bid_percent": "0"}, RATE, 0, 0),
    ("offers of buyers do not exist", {"offer_limit": "1", "offer_percent": "7"}, RATE, 100, 100),
]


@pytest.mark.parametrize(
    ("asked", "price", "bought", "drawn"), [pytest.param(*row[1:], id=row[0]) for row in ANSWERS]
)
def test_answers(desk: MarketDesk, asked: dict[str, str], price, bought, drawn) -> None:
    found = ask(desk, **asked)
    assert found.price_micro_per_kwh == price
    if bought is not None:
        assert abs(found.bought_wh - bought) <= 1  # pro-rata, remainders by the hash
        assert abs(found.drawn_wh - drawn) <= 1
    assert found.bought_wh + found.drawn_wh == 200 * int(asked.get("bid_percent", "100")) // 100
    assert (found.sold_wh, found.fed_in_wh) == (0, 0)


def test_all_in_is_what_the_tariff_says(desk: MarketDesk) -> None:
    normal = to_tariff(tariff()).cost_of_import(Energy(200)).micro
    assert ask(desk, bid_limit="1").all_in_micro == -normal
    assert -normal < ask(desk).all_in_micro < 0
    assert ask(desk, ROOF, offer_limit="24").all_in_micro == FEED_IN * 100 // 1000
    assert ask(desk, ROOF).all_in_micro == RATE * 100 // 1000


def test_a_manager_asks_for_one_of_theirs(desk: MarketDesk) -> None:
    # Their two count as one where they stand together; here they do not.
    page = desk.what_if(MANAGER, key(0), Asked(participant="roof-a"), answer=False)
    assert [who for who, _ in page.people] == ["a", "roof-a"]
    assert (page.participant, page.no_question) == ("roof-a", TOO_FEW)  # four others on each side
    with pytest.raises(NotFoundError):
        desk.what_if(MANAGER, key(0), Asked(participant="b"), answer=True)
    with pytest.raises(NotFoundError):
        desk.what_if(A, key(0), Asked(participant="roof-a"), answer=True)


def test_refusals_calculate_nothing(desk: MarketDesk) -> None:
    for who, number in ((A, 1), (A, 2), (A, 3), (viewer(Role.PROSUMER, "c"), 1)):
        page = desk.what_if(who, key(number), Asked(rule="uniform"), answer=True)
        assert page.no_question
        assert (page.same, page.then) == (None, None)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"rule": "random"}, "choose one"),
        ({"bid_limit": "NaN"}, "ct/kWh"),
        ({"bid_limit": "1e9"}, "ct/kWh"),
        ({"bid_limit": "1.23456"}, "ct/kWh"),
        ({"bid_limit": "٣"}, "ct/kWh"),
        ({"offer_limit": "123456"}, "ct/kWh"),
        ({"bid_percent": "-1"}, "percentage"),
        ({"bid_percent": "1001"}, "percentage"),
        ({"offer_percent": "1.5"}, "percentage"),
        ({"offer_percent": "x" * 80}, "percentage"),
    ],
)
def test_what_cannot_be_asked_is_said_beside_its_field(
    desk: MarketDesk, asked: dict[str, str], says: str
) -> None:
    with pytest.raises(QuestionError, match=says) as caught:
        ask(desk, **asked)
    assert caught.value.field == next(iter(asked))


def test_prices_go_by_the_tick(kit: Kit) -> None:
    settings = kit.settings.model_copy(update={"price_tick_micro_per_kwh": 1_000})
    desk = MarketDesk(replace(kit.house, settings=settings), frozenset())
    assert ask(desk, bid_limit="16.5").bought_wh
    with pytest.raises(QuestionError, match=r"steps of 0\.1 ct/kWh"):
        ask(desk, bid_limit="16.55")


def test_questions_are_counted_by_the_minute() -> None:
    now = [0.0]
    pace = Pace(now_s=lambda: now[0])
    for _ in range(QUESTIONS):
        pace.step("a")
    with pytest.raises(TooManyQuestionsError):
        pace.step("a")
    pace.step("b")
    now[0] = 60.0
    pace.step("a")


def test_nothing_is_written(tmp_path: Path, database_url: str) -> None:
    kit = Kit(tmp_path, database_url, names=NAMES)
    kit.live(**NOON)

    def rows() -> dict[str, object]:
        tables = SQLModel.metadata.sorted_tables
        return kit.ask(
            lambda session: {
                table.name: session.exec(select(func.count()).select_from(table)).one()
                for table in tables
            }
        )

    desk = MarketDesk(kit.house, frozenset())
    before, cleared = rows(), kit.interval(key(0)).model_dump()
    orders = sorted(str(row.model_dump()) for row in kit.orders(key(0)))
    for rule in ("uniform", "pay-as-bid", "mid-market", "sdr"):
        assert ask(desk, rule=rule, bid_limit="9", bid_percent="300").drawn_wh
    desk.market(A, key(0))
    assert rows() == before
    assert kit.interval(key(0)).model_dump() == cleared
    assert sorted(str(row.model_dump()) for row in kit.orders(key(0))) == orders
    kit.close()

"""Who sees what: one's own in full, others by pseudonym and price tick, the operator no price."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.services.accounts import Account
from app.services.interval_view import pseudonym
from app.services.live import LiveBoard, LiveValue
from app.services.summary import local_share, summarise
from app.services.views import DatabaseViews, flows
from tests.app.district_kit import CEILING, RATE, START, TOP_UP, Kit, key
from web.ports import FlowsNow, IntervalPage, NotFoundError, Role, Viewer

NAMES = ("solar", "flat", "shop", "school", "bakery", "roof", "cafe")
MANY = {
    "solar": (0, 900), "roof": (0, 100), "flat": (300, 0), "shop": (200, 0),
    "school": (100, 0), "bakery": (50, 0), "cafe": (10, 0),
}  # fmt: skip
THREE = {"solar": (0, 900), "flat": (300, 0), "shop": (200, 0)}


def viewer(role: Role, participant: str | None = None) -> Viewer:
    return Viewer(role, participant, "token")


FLAT, OPERATOR = viewer(Role.PROSUMER, "flat"), viewer(Role.OPERATOR)
MANAGER, SHOP = viewer(Role.MANAGER), viewer(Role.PROSUMER, "shop")


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """Two quarter-hours of seven participants, then one in which only three trade; read only."""
    folder = tmp_path_factory.mktemp("views")
    kit = Kit(folder, f"sqlite:///{folder / 'd.db'}", names=NAMES)
    kit.live(**MANY)
    kit.live(silent=["flat"], **MANY)
    kit.live(**THREE)
    yield kit
    kit.close()


@pytest.fixture(scope="module")
def views(kit: Kit) -> DatabaseViews:
    return kit.views("shop", "school")


# --- Whose pages ---------------------------------------------------------------------------------

PAGES = {
    "solar": ([], FLAT, OPERATOR, MANAGER),
    "flat": ([FLAT], OPERATOR, MANAGER),
    "shop": ([MANAGER], FLAT, OPERATOR),
    "nobody": ([], FLAT, OPERATOR, MANAGER),
    "": ([], FLAT, OPERATOR, MANAGER),
    "x\x00": ([], FLAT, OPERATOR, MANAGER),
}


@pytest.mark.parametrize("participant", PAGES)
def test_only_ones_own_pages_and_proofs(views: DatabaseViews, participant: str) -> None:
    allowed, *refused = PAGES[participant]
    for who in allowed:
        assert views.participant(who, participant).participant == participant
        assert views.verify(views.proof_file(who, key(0), participant)).code == 0
    for who in refused:
        with pytest.raises(NotFoundError):
            views.participant(who, participant)
        with pytest.raises(NotFoundError):
            views.proof_file(who, key(0), participant)


def test_the_lists_of_pages(views: DatabaseViews) -> None:
    assert views.participants(FLAT) == [("flat", "Flat")]
    assert views.participants(MANAGER) == [("school", "School"), ("shop", "Shop")]
    assert views.participants(OPERATOR) == []


def test_unknown_intervals_are_not_found(views: DatabaseViews) -> None:
    for strange in ("2020-01-01T00:00:00Z", "", "x", "2026-06-23T09:00:00z"):
        with pytest.raises(NotFoundError):
            views.interval(FLAT, strange)
        with pytest.raises(NotFoundError):
            views.proof_file(FLAT, strange, "flat")


# --- A participant's own page --------------------------------------------------------------------


def test_a_participants_page_adds_up(kit: Kit, views: DatabaseViews) -> None:
    page = views.participant(FLAT, "flat")
    assert page.wallet_micro == page.ledger_micro + page.carry_micro + page.unconfirmed_micro
    assert page.wallet_micro == kit.wallets()["flat"]
    assert page.address.startswith("wl1")
    assert [quarter.key for quarter in page.quarters] == [key(2), key(1), key(0)]
    last, middle, first = page.quarters
    assert (first.import_wh, first.local_buy_wh, first.residual_import_wh) == (300, 300, 0)
    assert first.price_micro_per_kwh == RATE
    assert (first.estimated, first.has_proof) == (False, True)
    # Estimated at 0, then corrected: 600 Wh over both, without local energy.
    assert (middle.import_wh, last.import_wh) == (300, 300)
    assert (middle.local_buy_wh, last.local_buy_wh) == (0, 0)
    for quarter in page.quarters:
        assert quarter.import_wh == quarter.local_buy_wh + quarter.residual_import_wh
        assert not quarter.estimated  # any more
    lines = kit.statement(key(0), "flat")["lines"]
    told = first.energy_micro + first.grid_fee_micro + first.levy_micro + first.vat_micro
    assert told == sum(line["micro"] for line in lines)
    assert page.saving_micro == sum(quarter.saving_micro for quarter in page.quarters)
    assert {notice.level for notice in page.notices} == {"info", "warning"}
    assert all("flat" in notice.text for notice in page.notices)


def test_one_sees_no_notice_of_other_peoples_points(views: DatabaseViews) -> None:
    assert views.participant(MANAGER, "shop").notices == []


# --- An interval's page --------------------------------------------------------------------------


def page_of(views: DatabaseViews, who: Viewer, number: int) -> IntervalPage:
    return views.interval(who, key(number))


def test_others_orders_by_price_tick_alone(views: DatabaseViews) -> None:
    page = page_of(views, FLAT, 0)
    assert page.orders_hidden  # the offers: only two sell
    assert [(o.side, o.who, o.quantity_wh, o.limit_micro_per_kwh, o.own) for o in page.orders] == [
        ("bid", "Flat", 300, CEILING, True),
        ("bid", "4 others", 360, CEILING, False),
    ]


def test_below_five_participants_others_are_hidden(views: DatabaseViews) -> None:
    page = page_of(views, SHOP, 2)
    assert page.orders_hidden
    assert [(order.who, order.own) for order in page.orders] == [("Shop", True)]
    assert all(trade.own for trade in page.trades)
    outside = page_of(views, viewer(Role.PROSUMER, "roof"), 2)
    assert (outside.orders, outside.trades) == ([], [])


def test_others_trades_as_one_line(views: DatabaseViews) -> None:
    page = page_of(views, SHOP, 0)
    own, others = ([t for t in page.trades if t.own is mine] for mine in (True, False))
    assert sum(trade.wh for trade in own) == 200
    assert {trade.buyer for trade in own} == {"Shop"}
    assert [(t.seller, t.buyer, t.wh) for t in others] == [("others", "others", 460)]


def test_names_of_others_never_show(kit: Kit, views: DatabaseViews) -> None:
    others = {"Solar", "Shop", "School", "Bakery", "Roof", "Cafe"} | set(NAMES) - {"flat"}
    for number in range(3):
        page = page_of(views, FLAT, number)
        assert others.isdisjoint(_words(page))
        assert {kit.homes[name].point for name in NAMES if name != "flat"}.isdisjoint(_words(page))
    assert "Flat" in _words(page_of(views, FLAT, 0))


def _words(value: object) -> set[str]:
    """Every word of every text in a page."""
    if isinstance(value, str):
        return set(value.replace(":", " ").split())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _words([getattr(value, field.name) for field in dataclasses.fields(value)])
    if isinstance(value, list | tuple):
        return set().union(*map(_words, value)) if value else set()
    return set()


def test_pseudonyms_hold_for_a_month(kit: Kit, views: DatabaseViews) -> None:
    sellers = {t.seller for n in (0, 1) for t in page_of(views, SHOP, n).trades if t.own}
    assert 1 <= len(sellers) <= 2  # of the same two in both quarter-hours
    assert all(name.startswith("P-") for name in sellers)
    secret = kit.keyring.pseudonym_secret
    same = {pseudonym(secret, f"2026-06-{day}T09:00:00Z", "solar") for day in ("01", "15", "30")}
    assert len(same) == 1
    names = {pseudonym(secret, f"2026-{month:02}-01T00:00:00Z", "solar") for month in range(1, 13)}
    assert len(names) == 12
    assert pseudonym(b"another", "2026-06-01T00:00:00Z", "solar") not in same


def test_postings_sum_to_zero_and_agree_with_the_journal(kit: Kit, views: DatabaseViews) -> None:
    for who in (FLAT, MANAGER):
        for number in range(3):
            page = page_of(views, who, number)
            assert page.postings_sum_micro == sum(p.micro for p in page.postings) == 0
            booked = [p for p in kit.postings() if p[0].startswith(key(number))]
            if any(p.account == "all other accounts" for p in page.postings):
                continue  # too few people to tell anybody else's apart: the test below
            for account in ("supplier", "grid", "levy", "vat"):
                told = sum(p.micro for p in page.postings if p.account == account)
                assert told == sum(micro for *_, name, micro in booked if name == account)
    flats = sum(p.micro for p in page_of(views, FLAT, 0).postings if p.account == "wallet: Flat")
    assert flats == kit.statement(key(0), "flat")["sum_micro"] == -300 * RATE // 1000


def test_an_entry_about_few_people_shows_ones_own_accounts_alone(views: DatabaseViews) -> None:
    """A correction concerns one participant: its accounts would be their bill."""
    page = page_of(views, FLAT, 2)
    veiled = [p for p in page.postings if p.account == "all other accounts"]
    assert veiled
    for kind in {p.entry for p in veiled}:
        told = {p.account for p in page.postings if p.entry == kind}
        assert told <= {"all other accounts", "wallet: Flat", "receivable: Flat"}


def test_the_operator_sees_energy_and_no_price(views: DatabaseViews) -> None:
    for number in range(3):
        page = page_of(views, OPERATOR, number)
        assert page.prices_hidden
        assert page.summary.price_micro_per_kwh is None
        assert page.summary.traded_wh > 0
        assert (page.orders, page.trades, page.postings, page.proof_participants) == (
            [], [], [], [],
        )  # fmt: skip
        assert str(RATE) not in _words(page)
    assert {row.price_micro_per_kwh for row in views.intervals(OPERATOR, None, 9)} == {None}
    district = views.district(OPERATOR)
    assert (district.retail_micro_per_kwh, district.feed_in_micro_per_kwh) == (0, 0)
    assert district.saving_micro == 0
    assert {row.price_micro_per_kwh for row in district.intervals} == {None}
    assert views.district(FLAT).retail_micro_per_kwh == 310_000 * 119 // 100


def test_neighbours_and_lists(views: DatabaseViews) -> None:
    assert page_of(views, FLAT, 0).previous_key is None
    assert page_of(views, FLAT, 0).next_key == key(1)
    assert [row.key for row in views.intervals(FLAT, None, 2)] == [key(3), key(2)]
    assert [row.key for row in views.intervals(FLAT, key(2), 9)] == [key(1), key(0)]
    (estimated,) = [r.estimated_points for r in views.intervals(FLAT, None, 9) if r.key == key(1)]
    assert estimated == 0  # its estimate was corrected
    still_open = page_of(views, FLAT, 3)
    assert (still_open.summary.state, still_open.seal, still_open.orders) == ("open", [], [])


def test_proofs_are_offered_for_ones_own_only(views: DatabaseViews) -> None:
    assert page_of(views, FLAT, 0).proof_participants == ["flat"]
    assert page_of(views, MANAGER, 0).proof_participants == ["school", "shop"]
    assert page_of(views, FLAT, 3).proof_participants == []


def test_a_tampered_proof_is_judged_false(views: DatabaseViews) -> None:
    proof = views.proof_file(FLAT, key(0), "flat")
    assert views.verify(proof).code == 0
    verdict = views.verify(proof.replace(b'\\"wh\\":300', b'\\"wh\\":301', 1))
    assert verdict.code == 1
    assert not verdict.steps[-1].ok


# --- While payments wait -------------------------------------------------------------------------


def test_proofs_that_are_not_ready_are_not_offered(tmp_path: Path, database_url: str) -> None:
    kit = Kit(tmp_path, database_url)
    views = kit.views()
    kit.ledger.refuses_transfers = True
    kit.live(**THREE)
    assert page_of(views, FLAT, 0).proof_participants == []
    (quarter,) = views.participant(FLAT, "flat").quarters
    assert not quarter.has_proof
    with pytest.raises(NotFoundError, match="on its way"):
        views.proof_file(FLAT, key(0), "flat")
    kit.ledger.refuses_transfers = False
    kit.worker.run_due()
    assert page_of(views, FLAT, 0).proof_participants == ["flat"]
    assert views.participant(FLAT, "flat").quarters[0].has_proof
    kit.close()


def test_every_page_on_both_databases(tmp_path: Path, database_url: str) -> None:
    kit = Kit(tmp_path, database_url, names=NAMES)
    kit.live(silent=["shop"], **MANY)
    kit.live(**MANY)
    views = kit.views("shop")
    for who in (FLAT, MANAGER, OPERATOR):
        assert views.district(who).name == "Lindenhof"
        assert len(views.intervals(who, None, 9)) == 3
        for number in range(3):
            assert page_of(views, who, number).summary.key == key(number)
    assert views.participant(FLAT, "flat").quarters[0].import_wh == 300
    figures = summarise_of(kit)
    assert figures["journal_minus_ledger_micro"] == figures["postings_sum_micro"] == 0
    kit.close()


# --- Live values and figures ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("powers", "expected"),
    [
        ({}, (0, 0, 0, 0, 0)),
        ({"a": -500, "b": 200}, (500, 200, 200, 0, 300)),
        ({"a": -500, "b": 900}, (500, 900, 500, 400, 0)),
        ({"a": 0}, (0, 0, 0, 0, 0)),
        ({"a": -1, "b": -2, "c": 3}, (3, 3, 3, 0, 0)),
    ],
)
def test_flows(powers: dict[str, int], expected: tuple[int, ...]) -> None:
    assert flows(powers) == FlowsNow(*expected)


def test_a_live_value_grows_stale(kit: Kit) -> None:
    views, point = kit.views(), kit.homes["solar"].point
    now = kit.clock.now_ms()
    seen = []
    for age_ms in (120_001, 120_000, 0, 120_001):  # an older one does not take a newer one's place
        kit.board.update(point, LiveValue(-700, now - age_ms))
        district = views.district(viewer(Role.PROSUMER, "solar"))
        (shown,) = [each for each in district.points if each.point == point]
        seen.append((shown.power_w, shown.online, district.flows.exporting_w))
    assert seen == [(None, False, 0), *[(-700, True, 700)] * 3]
    kit.board.update(point, LiveValue(None, now))
    assert not next(each for each in views.district(FLAT).points if each.point == point).online


def test_the_board_hands_out_copies() -> None:
    board = LiveBoard()
    board.update("a", LiveValue(1, 2))
    seen = board.values()
    board.update("a", LiveValue(3, 4))
    assert seen == {"a": LiveValue(1, 2)}


def summarise_of(kit: Kit) -> dict[str, Any]:
    return dict(summarise(kit.house, kit.node.stats(), None, [Path("p.json")], Path("k.json"), 0.0))


def test_the_summary(kit: Kit) -> None:
    figures = summarise_of(kit)
    assert (figures["intervals"], figures["participants"], figures["metering_points"]) == (3, 7, 7)
    assert figures["postings_sum_micro"] == figures["journal_minus_ledger_micro"] == 0
    assert figures["balances_micro"] == kit.wallets()
    assert sum(figures["balances_micro"].values()) == 7 * TOP_UP
    assert figures["import_wh"] == 2 * 660 + 500  # with the correction
    assert figures["export_wh"] == 2 * 1_000 + 900
    assert figures["traded_wh"] == 660 + 360 + 200
    assert figures["local_share"] == local_share(1_220, 1_820) == "0.6703"
    assert figures["last_seq_by_meter"]["meter-flat"] == 3
    assert figures["interval_states"][key(3)] == "open"
    assert figures["proofs"] == [str(Path("p.json").resolve())]
    assert figures["readings_accepted"] == 7 + 7 + 6 + 7


@pytest.mark.parametrize(
    ("traded_wh", "import_wh", "share"),
    [(0, 0, "0.0000"), (1, 3, "0.3333"), (2, 3, "0.6667"), (5, 5, "1.0000")],
)
def test_local_share(traded_wh: int, import_wh: int, share: str) -> None:
    assert local_share(traded_wh, import_wh) == share


def test_an_accounts_difference() -> None:
    assert Account(10, 4, 3, 3).difference_micro == 0
    assert Account(10, 4, 3, 2).difference_micro == 1
    assert START.key == key(0)

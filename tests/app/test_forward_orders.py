"""Forward orders until the gate closes: versions, undo, refusals, and nothing half-written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlmodel import col

from app.services.forward import orders as forward_orders
from app.services.forward.book import Wanted
from app.services.forward.orders import (
    ForwardError,
    GateError,
    NoSuchOrderError,
    cancel,
    enter,
    undo,
)
from app.tables import ForwardOrderRow
from tests.app.district_kit import gsrn
from tests.app.forward_kit import (
    CEILING,
    FIRST,
    ForwardKit,
    block,
    flexible,
    steps,
    storage,
)


@pytest.fixture
def kit(database_url: str, tmp_path: Path) -> Iterator[ForwardKit]:
    kit = ForwardKit(tmp_path, database_url, price_tick_micro_per_kwh=1_000)
    kit.run()
    yield kit
    kit.close()


@pytest.fixture
def plain(sqlite_url: str, tmp_path: Path) -> Iterator[ForwardKit]:
    kit = ForwardKit(tmp_path, sqlite_url, price_tick_micro_per_kwh=1_000)
    kit.run()
    yield kit
    kit.close()


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForwardKit]:
    """One district for everything that is refused: nothing is ever written to it."""
    folder = tmp_path_factory.mktemp("idle")
    kit = ForwardKit(folder, f"sqlite:///{folder / 'd.db'}", price_tick_micro_per_kwh=1_000)
    kit.run()
    yield kit
    assert kit.versions() == []
    kit.close()


BID = steps("bid", 100, 200, limit=CEILING)


def test_one_session_is_open_the_first_whose_gate_is(kit: ForwardKit) -> None:
    row = kit.session_row()
    assert (row.first, row.last, row.intervals, row.state) == (
        FIRST,
        "2026-06-23T10:45:00Z",
        4,
        "open",
    )
    kit.to(44.99)
    kit.run()
    assert kit.session_row().state == "open"
    kit.to(45)
    kit.run()
    assert kit.session_row().state == "cleared"
    assert kit.session_row("2026-06-23T11:00:00Z").state == "open"


def test_every_change_is_a_version(kit: ForwardKit) -> None:
    assert kit.enter("flat", BID) == "1"
    assert kit.enter("flat", BID) == "2"
    kit.to(1)
    assert kit.enter("flat", steps("bid", 300, limit=CEILING), "1") == "1"
    assert kit.enter("flat", steps("bid", 300, limit=CEILING), "1") == ""  # says the same
    cancel(kit.house, "flat", "building-manager", FIRST, "1")
    cancel(kit.house, "flat", "flat", FIRST, "1")  # it is cancelled already
    undo(kit.house, "flat", "flat", FIRST, "1")
    undo(kit.house, "flat", "flat", FIRST, "2")
    assert kit.versions() == [
        ("flat.1", 1, "entered", "flat"),
        ("flat.1", 2, "entered", "flat"),
        ("flat.1", 3, "cancelled", "building-manager"),
        ("flat.1", 4, "entered", "flat"),
        ("flat.2", 1, "entered", "flat"),
        ("flat.2", 2, "cancelled", "flat"),
    ]
    texts = kit.rows(ForwardOrderRow, col(ForwardOrderRow.order_id) == "flat.1")
    assert texts[3].text == texts[1].text != texts[0].text
    assert [row.known_ms - kit.start.start_ms for row in texts] == [0, 60_000, 60_000, 60_000]
    assert len({row.salt for row in texts}) == 4


def test_undo_twice_brings_the_change_back(plain: ForwardKit) -> None:
    plain.enter("flat", BID, "a")
    plain.enter("flat", steps("bid", 300, limit=CEILING), "a")
    for _ in range(2):
        undo(plain.house, "flat", "flat", FIRST, "a")
    rows = plain.rows(ForwardOrderRow)
    assert [rows[0].text, rows[1].text] * 2 == [row.text for row in rows]


def test_two_participants_may_use_the_same_id(plain: ForwardKit) -> None:
    assert plain.enter("flat", BID, "a") == plain.enter("shop", BID, "a") == "a"


POINT = gsrn(2)  # the flat's
REFUSED = [
    (Wanted("", gsrn(1), BID), "point", "no metering point of yours"),
    (Wanted("", "123", BID), "point", "no metering point of yours"),
    (Wanted("a b", POINT, BID), "order_id", "is no order id"),
    (Wanted("", POINT, steps("bid", 0, limit=CEILING)), "energy", "outside 1.."),
    (Wanted("", POINT, steps("bid", -5, limit=CEILING)), "energy", "outside 1.."),
    (Wanted("", POINT, steps("bid", 10**15, limit=CEILING)), "energy", "outside 1.."),
    (Wanted("", POINT, steps("bid", 12_501, limit=CEILING)), "energy", "12500 Wh"),
    (Wanted("", POINT, steps("bid", 5, limit=100_500)), "price", "100000 or 101000"),
    (Wanted("", POINT, steps("bid", 5, limit=-500)), "price", "-1000 or 0"),
    (Wanted("", POINT, steps("bid", 5, limit=10**12)), "price", "beyond"),
    (Wanted("", POINT, steps("bid", 5, start=4, limit=0)), "last", "4 intervals"),
    (Wanted("", POINT, block("bid", 5, 5, limit=0, parent="x")), "link", "no block here"),
    (Wanted("", POINT, block("bid", 5, 5, limit=0, least_ppm=2_000_000)), "share", "least share"),
    (Wanted("", POINT, flexible(9_000, 4_000, 4, limit=0)), "energy", "less than"),
    (Wanted("", POINT, flexible(900, 4_000, 5, limit=0)), "last", "4 intervals"),
    (Wanted("", POINT, flexible(900, 80_000, 4, limit=0)), "power", "its fuse"),
    (Wanted("", POINT, storage(10**7, 10**6)), "power", "its fuse"),
]


@pytest.mark.parametrize(("wanted", "field", "says"), REFUSED, ids=lambda each: str(each)[:40])
def test_what_is_wrong_is_named_with_its_field(idle: ForwardKit, wanted, field, says) -> None:
    good = Wanted("good", POINT, BID)
    with pytest.raises(ForwardError) as refused:
        enter(idle.house, "flat", "flat", FIRST, [good, wanted])
    assert says in str(refused.value), refused.value
    assert refused.value.field == field, refused.value
    assert idle.versions() == []  # the good one is not written either


def test_both_sides_of_one_point_are_refused(plain: ForwardKit) -> None:
    plain.enter("flat", BID)
    with pytest.raises(ForwardError, match="both sides") as refused:
        plain.enter("flat", steps("offer", 5, start=1, limit=CEILING))
    assert refused.value.field == "side"
    assert "flat." not in str(refused.value)
    plain.enter("flat", steps("offer", 5, start=2, limit=CEILING))


def test_links_hold_together(plain: ForwardKit) -> None:
    plain.enter("flat", block("bid", 5, 5, limit=100_000), "a")
    plain.enter("flat", block("bid", 5, 5, limit=100_000, parent="a"), "b")
    for change in (
        lambda: plain.enter("flat", block("bid", 5, 5, limit=100_000, parent="b"), "a"),
        lambda: plain.enter("flat", block("bid", 5, 5, limit=100_000, parent="c"), "c"),
        lambda: cancel(plain.house, "flat", "flat", FIRST, "a"),
        lambda: undo(plain.house, "flat", "flat", FIRST, "a"),
        lambda: plain.enter("flat", block("offer", 5, 5, limit=100_000), "a"),
    ):
        with pytest.raises(ForwardError) as refused:
            change()
        assert refused.value.field == "link", refused.value
    assert len(plain.versions()) == 2
    cancel(plain.house, "flat", "flat", FIRST, "b")
    cancel(plain.house, "flat", "flat", FIRST, "a")


def test_orders_of_others_are_not_there(plain: ForwardKit) -> None:
    plain.enter("flat", BID, "a")
    for change in (cancel, undo):
        for who, own_id in (("shop", "a"), ("shop", "../flat.a"), ("flat", "b")):
            with pytest.raises(NoSuchOrderError):
                change(plain.house, who, who, FIRST, own_id)
    assert len(plain.versions()) == 1


def test_after_the_gate_nothing_changes(kit: ForwardKit) -> None:
    kit.enter("flat", BID, "a")
    kit.to(45)  # nobody has closed the session yet: the clock alone does
    for change in (
        lambda: kit.enter("flat", BID, "b"),
        lambda: kit.enter("flat", steps("bid", 9, limit=CEILING), "a"),
        lambda: cancel(kit.house, "flat", "flat", FIRST, "a"),
        lambda: undo(kit.house, "flat", "flat", FIRST, "a"),
    ):
        with pytest.raises(GateError, match="closed at 11:45 CEST on 23 June 2026"):
            change()
    kit.run()
    with pytest.raises(GateError, match="closed at 11:45"):
        kit.enter("flat", BID, "b")
    with pytest.raises(GateError, match="no session takes orders"):
        kit.enter("flat", BID, "b", first="2027-01-01T00:00:00Z")
    assert len(kit.versions()) == 1


def test_many_at_once_get_their_own_numbers(kit: ForwardKit) -> None:
    ready = threading.Barrier(6)

    def one(n: int) -> str:
        ready.wait()
        return kit.enter("flat", steps("bid", n + 1, limit=CEILING))

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(one, range(6))) == ["1", "2", "3", "4", "5", "6"]
    assert len(kit.versions()) == 6


def test_orders_are_bounded_for_one_and_for_all(
    plain: ForwardKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(forward_orders._MOST, "step", (2, 3))
    plain.enter("flat", BID)
    plain.enter("flat", BID)
    with pytest.raises(ForwardError, match="3 orders of the kind step in one session; 2"):
        plain.enter("flat", BID)
    plain.enter("shop", BID)
    with pytest.raises(ForwardError, match="the session is full"):
        plain.enter("solar", BID)
    cancel(plain.house, "shop", "shop", FIRST, "1")
    plain.enter("solar", BID)

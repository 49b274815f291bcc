"""What a session's orders, book and problem refuse, each in words that say how to mend it."""

from dataclasses import replace

import pytest

from market.money import PPM, Price
from market.order import Order, Side
from market.place import Place, Wish
from market.session_orders import (
    MAX_SESSION_QUANTITY_WH,
    BlockOrder,
    FlexibleOrder,
    Session,
    SessionError,
    StepOrder,
    StorageOrder,
)
from market.sessions import SessionBook, SessionProblem
from metering.quantities import Energy, Power

SESSION = Session("2026-06-23T22:00:00Z", 8)
BID = Order("a", Side.BID, "ann", "point-a", Energy(100), Price(9))
BLOCK = BlockOrder("k", Side.OFFER, "ann", "point-a", 1, (5, 0, 7), Price(9))
CAR = FlexibleOrder("e", "eve", "point-e", Energy(2000), Power(4000), 1, 3, Price(9))
STORE = StorageOrder(
    "z", "zoe", "point-z", Energy(900), Energy(500), Energy(100), Power(400), Power(800),
    900_000, Price(5),
)  # fmt: skip


def test_a_session_names_its_intervals():
    assert SESSION.keys[0] == "2026-06-23T22:00:00Z"
    assert SESSION.keys[-1] == "2026-06-23T23:45:00Z"
    assert [SESSION.interval(index).key for index in range(8)] == list(SESSION.keys)
    for index in (-1, 8):
        with pytest.raises(SessionError, match="outside"):
            SESSION.interval(index)


@pytest.mark.parametrize(("key", "intervals"), [("today", 4), ("2026-06-23T22:00:00Z", 0)])
def test_an_absurd_session_is_refused(key, intervals):
    with pytest.raises(SessionError):
        Session(key, intervals)
    with pytest.raises(SessionError, match="1 to 96"):
        Session("2026-06-23T22:00:00Z", 97)


@pytest.mark.parametrize(
    ("index", "change", "words"),
    [
        (-1, {}, "negative"),
        (0, {"quantity": Energy(MAX_SESSION_QUANTITY_WH + 1)}, "outside 1"),
        (0, {"place": Place("North")}, "neither place nor wish"),
        (0, {"wish": Wish(local_first=True)}, "neither place nor wish"),
    ],
)
def test_absurd_steps_are_refused(index, change, words):
    with pytest.raises(SessionError, match=words):
        StepOrder(index, replace(BID, **change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"order_id": ""}, "cannot be empty"),
        ({"participant": "grid"}, "reserved"),
        ({"start": -1}, "are none"),
        ({"profile_wh": ()}, "are none"),
        ({"profile_wh": (0, 5)}, "begins or ends with 0"),
        ({"profile_wh": (5, 0)}, "begins or ends with 0"),
        ({"profile_wh": (5, -5, 5)}, "outside 1"),
        ({"limit": Price(10**9 + 1)}, "beyond"),
        ({"min_acceptance_ppm": PPM + 1}, "all or nothing"),
        ({"min_acceptance_ppm": -1}, "all or nothing"),
        ({"parent": "k"}, "own parent"),
    ],
)
def test_absurd_blocks_are_refused(change, words):
    with pytest.raises(SessionError, match=words):
        replace(BLOCK, **change)


def test_a_blocks_least_energy_is_rounded_up():
    assert BLOCK.energy_wh == BLOCK.least_wh == 12
    assert replace(BLOCK, min_acceptance_ppm=0).least_wh == 0
    assert replace(BLOCK, min_acceptance_ppm=1).least_wh == 1
    assert replace(BLOCK, min_acceptance_ppm=500_000).least_wh == 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"deadline": 1}, "are none"),
        ({"energy": Energy(0)}, "outside 1"),
        ({"power": Power(3)}, "outside 1"),
        ({"energy": Energy(2001)}, "less than the 2001 Wh"),
        ({"limit": Price(-(10**9) - 1)}, "beyond"),
    ],
)
def test_absurd_flexible_orders_are_refused(change, words):
    with pytest.raises(SessionError, match=words):
        replace(CAR, **change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"initial": Energy(901)}, "does not hold"),
        ({"least_final": Energy(501)}, "add a flexible order"),
        ({"least_final": Energy(-1)}, "does not hold"),
        ({"efficiency_ppm": 0}, "outside 1"),
        ({"efficiency_ppm": PPM + 1}, "outside 1"),
        ({"least_gain": Price(-1)}, "negative"),
        ({"charge": Power(3)}, "outside 1"),
        ({"discharge": Power(0)}, "outside 1"),
        ({"capacity": Energy(0), "initial": Energy(0), "least_final": Energy(0)}, "outside 1"),
    ],
)
def test_absurd_storages_are_refused(change, words):
    with pytest.raises(SessionError, match=words):
        replace(STORE, **change)


def _book(*orders, session=SESSION):
    return SessionBook(
        session,
        tuple(o for o in orders if isinstance(o, StepOrder)),
        tuple(o for o in orders if isinstance(o, BlockOrder)),
        tuple(o for o in orders if isinstance(o, FlexibleOrder)),
        tuple(o for o in orders if isinstance(o, StorageOrder)),
    )


def _linked(*parents):
    """Blocks k0, k1, ... with these parents, by number."""
    return [
        replace(BLOCK, order_id=f"k{i}", parent="" if p is None else f"k{p}")
        for i, p in enumerate(parents)
    ]


@pytest.mark.parametrize(
    ("orders", "words"),
    [
        ([BLOCK, replace(CAR, order_id="k")], "'k' stands 2 times"),
        ([StepOrder(8, BID)], "past the session's 8"),
        ([replace(BLOCK, start=6)], "last index is 8"),
        ([replace(CAR, deadline=9)], "'e' reaches past"),
        (
            [StepOrder(1, BID), StepOrder(1, replace(BID, order_id="b", side=Side.OFFER))],
            "'a' and 'b' are both sides of point 'point-a'",
        ),
        ([replace(BLOCK, parent="a"), StepOrder(0, BID)], "parent 'a' is no block"),
        (_linked(1, 0), "own descendant"),
        (_linked(1, 2, 0), "own descendant"),
        ([*_linked(None), replace(BLOCK, parent="k0", participant="bob")], "another participant's"),
        ([*_linked(None), replace(BLOCK, parent="k0", side=Side.BID)], "on the other side"),
        (
            [
                StepOrder(2, replace(BID, order_id=f"s{i}", quantity=Energy(10**9)))
                for i in range(1001)
            ],
            "interval 2 adds up to",
        ),
    ],
)
def test_a_book_refuses_what_does_not_fit_together(orders, words):
    with pytest.raises(SessionError, match=words):
        _book(*orders)


def test_a_point_may_sell_in_one_interval_and_buy_in_another():
    other = replace(BID, order_id="b", side=Side.OFFER)
    book = _book(StepOrder(1, BID), StepOrder(2, other), BLOCK, CAR, STORE)
    assert len(list(book)) == 5


def test_too_many_blocks_are_refused(monkeypatch):
    monkeypatch.setattr("market.sessions.MAX_BLOCKS", 2)
    with pytest.raises(SessionError, match="3 blocks; a session takes at most 2"):
        _book(*_linked(None, None, None))


def test_a_books_digest_depends_on_every_field_and_on_no_place():
    orders = [StepOrder(1, BID), BLOCK, CAR, STORE]
    plain = _book(*orders).digest()
    assert _book(*orders[::-1]).digest() == plain
    changed = [
        [StepOrder(2, BID), BLOCK, CAR, STORE],
        [StepOrder(1, replace(BID, limit=Price(8))), BLOCK, CAR, STORE],
        [StepOrder(1, BID), replace(BLOCK, min_acceptance_ppm=7), CAR, STORE],
        [StepOrder(1, BID), replace(BLOCK, profile_wh=(5, 1, 6)), CAR, STORE],
        [StepOrder(1, BID), BLOCK, replace(CAR, deadline=4), STORE],
        [StepOrder(1, BID), BLOCK, CAR, replace(STORE, efficiency_ppm=1)],
    ]
    digests = {_book(*orders).digest() for orders in changed}
    assert len(digests | {plain}) == len(changed) + 1
    longer = Session(SESSION.first_interval_key, 9)
    assert _book(*orders, session=longer).digest() != plain


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"floors": (Price(1),)}, "1 feed-in prices for 8"),
        ({"ceilings": (Price(10**10),) * 8}, "beyond"),
        ({"floors": (Price(2),) * 8, "ceilings": (Price(1),) * 8}, "without end"),
        ({"gap_ppm": -1}, "gap"),
        ({"time_limit_s": 0}, "time limit"),
        ({"time_limit_s": 3601}, "time limit"),
    ],
)
def test_an_absurd_problem_is_refused(how, words):
    with pytest.raises(SessionError, match=words):
        SessionProblem(_book(BLOCK), b"key", **how)

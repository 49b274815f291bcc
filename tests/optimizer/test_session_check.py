"""What the engine's answer must survive: the check in integers, time-outs, no answer at all."""

from dataclasses import replace

import pytest

from market.money import PPM, Price
from market.sessions import Schedule
from metering.quantities import Energy
from optimizer.compiled import SolverError, SolverTimeoutError
from optimizer.session import clearing as engine
from optimizer.session.check import certify_session
from optimizer.session.clearing import clear_session
from optimizer.session.model import SessionSolver
from tests.optimizer.session_books import battery, block, car, problem, step

ORDERS = [
    step("a", "bid", 0, 500, 200_000),
    step("b", "bid", 1, 900, 200_000),
    step("c", "offer", 0, 4000, 90_000),
    block("k", "offer", 1, (600,), 95_000),
    block("l", "offer", 1, (200,), 95_000, parent="k"),
    car("e", 0, 2, 1500, 4000, 150_000),
    battery("z", 2000, 8000, 0, 0, 900_000, 0),
]
ASKED = problem(ORDERS)


def _with(found, **schedules):
    changed = {i: found.schedules[i]._replace(wh=wh) for i, wh in schedules.items()}
    return replace(found, schedules=dict(found.schedules) | changed)


def test_an_honest_clearing_passes():
    found = clear_session(ASKED)
    assert not found.fallback
    certify_session(ASKED, found)
    assert found.schedules["k"] == Schedule(1, (-600,))


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (lambda f: _with(f, a=(501,)), "'a'"),
        (lambda f: _with(f, a=(-1,)), "'a'"),
        (lambda f: _with(f, k=(-599,)), "'k'"),
        (lambda f: _with(f, k=(0,)), "'l' takes more than its parent's"),
        (lambda f: _with(f, e=(1001, 0)), "'e'"),
        (lambda f: _with(f, z=(0, -1)), "'z'"),
        (lambda f: replace(f, stored_wh={"z": (2001, 2001)}), "'z'"),
        (lambda f: replace(f, prices=(Price(200_001), f.prices[1])), "'a'"),
        (lambda f: replace(f, prices=(f.prices[0], Price(94_000))), "'k'"),
        (lambda f: replace(f, prices=(f.prices[0], f.prices[1] + Price(1))), "another price"),
        (lambda f: replace(f, trades=(f.trades[0], ())), "do not add up"),
        (lambda f: replace(f, grid_import=(Energy(1), Energy(0))), "the supplier trades"),
        (lambda f: replace(f, schedules={}), "not the book's"),
    ],
)
def test_a_lie_is_caught(lie, words):
    with pytest.raises(SolverError, match=words):
        certify_session(ASKED, lie(clear_session(ASKED)))


def test_the_supplier_has_its_own_prices():
    """Everybody else would be content with 150,000, and the sums would hold."""
    asked = problem([step("a", "bid", 0, 500, 200_000)], [80_000], [140_000])
    found = clear_session(asked)
    (trade,) = found.trades[0]
    dear = replace(
        found,
        prices=(Price(150_000),),
        trades=((replace(trade, price=Price(150_000)),),),
    )
    with pytest.raises(SolverError, match="the supplier trades at another price"):
        certify_session(asked, dear)


def test_without_an_answer_steps_are_cleared_alone(monkeypatch):
    def never(self, out, time_limit_s):
        raise SolverTimeoutError("no answer")

    monkeypatch.setattr(SessionSolver, "choose", never)
    floors, ceilings = [80_000] * 2, [300_000] * 2
    asked = problem(ORDERS, floors, ceilings)
    found = clear_session(asked)
    certify_session(asked, found)
    assert (found.fallback, found.optimal, found.gap_ppm) == (True, False, PPM)
    assert found.schedules["a"].wh == (500,)
    assert found.schedules["b"].wh == (0,)  # nobody but the supplier sells, dearer than its limit
    assert found.schedules["e"].wh == (0, 0)
    assert set(found.accepted_ppm.values()) == {0}
    assert found.stored_wh == {"z": (0, 0)}


def test_out_of_time_it_goes_on_with_what_it_has(monkeypatch):
    """Once time is up, losers leave without another choice, and the clearing says so."""
    asked = problem(
        [
            step("a", "bid", 0, 900, 200_000),
            step("b", "bid", 0, 1000, 60_000),
            step("c", "offer", 0, 300, 50_000),
            block("k", "offer", 0, (1000,), 80_000),
        ]
    )
    clock = iter([0.0, 0.0])
    monkeypatch.setattr(engine, "monotonic", lambda: next(clock, 1e6))
    found = clear_session(asked)
    certify_session(asked, found)
    assert (found.fallback, found.optimal) == (False, False)
    assert found.accepted_ppm == {"k": 0}
    assert found.schedules["a"].wh == (300,)


def test_a_broken_answer_is_never_passed_on(monkeypatch):
    """An engine that overfills an order is caught, and the fallback clears instead."""
    honest = engine.session_clearing

    def broken(*arguments):
        return _with(honest(*arguments), a=(501,))

    monkeypatch.setattr(engine, "session_clearing", broken)
    assert clear_session(ASKED).fallback


def test_a_storage_that_whole_watt_hours_would_make_lose_is_withdrawn():
    """7.78 Wh bought for 7 sold at 101 would pay, 8 Wh do not."""
    asked = problem(
        [
            step("s", "offer", 0, 5000, 90),
            step("b", "bid", 1, 7, 101),
            battery("z", 5000, 8000, 0, 0, 900_000, 0),
        ],
        [0, 95],
        [1000, 101],
    )
    found = clear_session(asked)
    assert found.withdrawn == ("z",)
    assert set(found.schedules["z"].wh) == {0}

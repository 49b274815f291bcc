"""Sessions as text, as random draws, and by the short names that the tests share."""

from __future__ import annotations

import re

from hypothesis import strategies as st

from market.money import Price
from market.order import Order, Side
from market.session_orders import (
    BlockOrder,
    FlexibleOrder,
    Session,
    StepOrder,
    StorageOrder,
)
from market.sessions import SessionBook, SessionProblem
from metering.quantities import Energy, Power

KEY = "2026-06-23T00:00:00Z"


def step(name, side, index, wh, limit, owner=None):
    owner = owner or f"p-{name}"
    return StepOrder(index, Order(name, Side(side), owner, owner, Energy(wh), Price(limit)))


def block(name, side, start, profile, limit, least=1_000_000, parent="", owner="blocks"):
    return BlockOrder(
        name, Side(side), owner, owner, start, tuple(profile), Price(limit), least, parent
    )


def car(name, start, deadline, wh, watts, limit):
    return FlexibleOrder(
        name, f"p-{name}", f"p-{name}", Energy(wh), Power(watts), start, deadline, Price(limit)
    )


def battery(name, wh, watts, initial, final, efficiency, gain, discharge=None):
    return StorageOrder(
        name,
        f"p-{name}",
        f"p-{name}",
        Energy(wh),
        Energy(initial),
        Energy(final),
        Power(watts),
        Power(discharge or watts),
        efficiency,
        Price(gain),
    )


def problem(orders, floors=None, ceilings=None, intervals=None, key=b"key", **how):
    """The problem of some orders; floors and ceilings as micro-euros per kWh, per interval."""
    kinds = [
        tuple(o for o in orders if isinstance(o, kind))
        for kind in (StepOrder, BlockOrder, FlexibleOrder, StorageOrder)
    ]
    steps, blocks, cars, _ = kinds
    ends = [o.index + 1 for o in steps] + [o.deadline for o in cars]
    ends += [o.start + len(o.profile_wh) for o in blocks]
    session = Session(KEY, intervals or max(ends, default=1))
    floors, ceilings = (
        None if prices is None else tuple(map(Price, prices)) for prices in (floors, ceilings)
    )
    return SessionProblem(SessionBook(session, *kinds), key, floors, ceilings, **how)


def read_scenario(row):
    """Return name, problem, prices, schedules and missed surplus of a row of the table."""
    name, bounds, orders, prices, got, missed = (part.strip() for part in row.split("|"))
    found = [_order(text.split()) for text in orders.split(";")]
    intervals = len(prices.split())
    floors, ceilings = (
        None if text == "-" else (int(text),) * intervals for text in bounds.split("..")
    )
    return (
        name,
        problem(found, floors, ceilings, intervals),
        [None if text == "-" else int(text) for text in prices.split()],
        {i: [int(wh) for wh in wh_s.split(",")] for i, wh_s in map(str.split, got.split(";"))},
        {i: int(micro) for i, micro in map(str.split, filter(None, missed.split(";")))},
    )


def _order(words):
    name, kind, *rest = words
    if kind in ("bid", "offer"):
        return step(name, kind, *map(int, rest))
    if kind in ("buy", "sell"):
        parent = next((word[1:] for word in rest if word.startswith("<")), "")
        start, profile, limit, *least = [word for word in rest if not word.startswith("<")]
        side = {"buy": "bid", "sell": "offer"}[kind]
        wh = map(int, profile.split(","))
        return block(name, side, int(start), wh, int(limit), *map(int, least), parent=parent)
    if kind == "car":
        window, *rest = rest
        return car(name, *map(int, window.split("-")), *map(int, rest))
    numbers = map(int, re.split(r"[ />]", " ".join(rest)))
    return battery(name, *numbers)


@st.composite
def problems(draw, blocks=3, cars=2, batteries=1, partial=True, losses=True):
    """Small sessions of up to three intervals, prices in whole thousandths of a cent."""
    intervals = draw(st.integers(1, 3))
    price = st.integers(-6, 40).map(lambda p: p * 1000)
    sides, numbers = st.sampled_from(Side), st.integers
    found = [
        step(f"s{i}", side, t, wh, limit)
        for i, (side, t, wh, limit) in enumerate(
            draw(
                st.lists(
                    st.tuples(sides, numbers(0, intervals - 1), numbers(1, 3000), price),
                    max_size=8,
                )
            )
        )
    ]
    for i in range(draw(numbers(0, blocks))):
        start = draw(numbers(0, intervals - 1))
        profile = draw(st.lists(numbers(1, 2000), min_size=1, max_size=intervals - start))
        earlier = [o for o in found if isinstance(o, BlockOrder)]
        parent = draw(st.sampled_from([None, *earlier]))
        side = parent.side if parent else draw(sides)
        least = draw(st.sampled_from([1_000_000, 1_000_000, 300_000, 0] if partial else [10**6]))
        name = parent.order_id if parent else ""
        found.append(block(f"b{i}", side, start, profile, draw(price), least, name))
    for i in range(draw(numbers(0, cars))):
        start, watts = draw(numbers(0, intervals - 1)), draw(numbers(4, 8000))
        end = draw(numbers(start + 1, intervals))
        wh = draw(numbers(1, watts // 4 * (end - start)))
        found.append(car(f"c{i}", start, end, wh, watts, draw(price)))
    for i in range(draw(numbers(0, batteries))):
        wh = draw(numbers(10, 5000))
        initial = draw(numbers(0, wh))
        efficiency = draw(st.sampled_from([1_000_000, 900_000, 812_345] if losses else [10**6]))
        watts, final = draw(numbers(4, 8000)), draw(numbers(0, initial))
        gain = draw(numbers(0, 5)) * 1000
        found.append(battery(f"z{i}", wh, watts, initial, final, efficiency, gain))
    floors = draw(st.none() | st.just([draw(numbers(-3, 8)) * 1000] * intervals))
    ceilings = draw(st.none() | st.just([draw(numbers(9, 35)) * 1000] * intervals))
    return problem(found, floors, ceilings, intervals)

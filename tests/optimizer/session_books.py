"""Sessions as text, as random draws, and by the short names that the tests share."""

from __future__ import annotations

import re
from functools import partial as partial_of

import numpy as np
from hypothesis import strategies as st

from market.money import PPM, Price
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


def session_of(seed, *, blocks, cars, batteries, partial):
    """Return a small session of up to three intervals, prices in whole tenths of a cent.

    Made from a seed, since 20,000 of them are tried. Every other one has no battery, and every
    other one takes its blocks whole or not at all.
    """
    chance = np.random.default_rng(seed)

    def upto(least, most):
        return int(chance.integers(least, most, endpoint=True))

    def one_of(things):
        return things[upto(0, len(things) - 1)]

    def price():
        return 1000 * upto(-6, 40)

    intervals, sides = upto(1, 3), tuple(Side)
    partial, batteries = partial and upto(0, 1), batteries and upto(0, batteries)
    found = [
        step(f"s{i}", one_of(sides), upto(0, intervals - 1), upto(1, 3000), price())
        for i in range(upto(0, 8))
    ]
    family = [None]
    for i in range(upto(0, blocks)):
        start, parent = upto(0, intervals - 1), one_of(family)
        profile = [upto(1, 2000) for _ in range(upto(1, intervals - start))]
        side = parent.side if parent else one_of(sides)
        least = one_of((PPM, PPM, 300_000, 0)) if partial else PPM
        name = parent.order_id if parent else ""
        family.append(block(f"b{i}", side, start, profile, price(), least, name))
    found += family[1:]
    for i in range(upto(0, cars)):
        start, watts = upto(0, intervals - 1), upto(4, 8000)
        end = upto(start + 1, intervals)
        wh = upto(1, watts // 4 * (end - start))
        found.append(car(f"c{i}", start, end, wh, watts, price()))
    for i in range(batteries):
        wh = upto(10, 5000)
        initial, watts, efficiency = upto(0, wh), upto(4, 8000), one_of((PPM, 900_000, 812_345))
        store = (wh, watts, initial, upto(0, initial), efficiency, 1000 * upto(0, 5))
        found.append(battery(f"z{i}", *store))
    floors = [1000 * upto(-3, 8)] * intervals if upto(0, 1) else None
    ceilings = [1000 * upto(9, 35)] * intervals if upto(0, 1) else None
    return problem(found, floors, ceilings, intervals)


def problems(blocks=3, cars=2, batteries=1, partial=True):
    """Random sessions of ``session_of``."""
    return st.builds(
        partial_of(session_of, blocks=blocks, cars=cars, batteries=batteries, partial=partial),
        st.integers(0, 2**48),
    )

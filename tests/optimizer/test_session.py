"""A forward session: scenarios as tables, and what holds for every one."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from market.money import PPM, Price
from market.order import GRID, Side
from market.session_orders import BlockOrder, StepOrder, StorageOrder
from market.sessions import SessionBook
from metering.quantities import Energy
from optimizer.session.clearing import clear_session
from tests.conftest import LONG
from tests.optimizer.session_books import (
    battery,
    block,
    car,
    problem,
    problems,
    read_scenario,
    step,
)

ROWS = [
    read_scenario(row)
    for row in Path(__file__).with_name("session_scenarios.txt").read_text("utf-8").splitlines()
    if not row.startswith("#")
]
EXAMPLES = settings(max_examples=20_000 if LONG else 500, deadline=None)


@pytest.mark.parametrize(
    ("asked", "prices", "schedules", "missed"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS]
)
def test_scenarios(asked, prices, schedules, missed):
    found = clear_session(asked)
    assert not found.fallback
    assert [price and price.micro_per_kwh for price in found.prices] == prices
    assert {i: list(schedule.wh) for i, schedule in found.schedules.items()} == schedules
    assert dict(found.paradoxically_rejected) == missed
    _assert_sound(asked, found)


@EXAMPLES
@given(asked=problems())
def test_what_always_holds(asked):
    """One session, one draw: a clearing takes 10 ms, since its models are built anew."""
    found = clear_session(asked)
    assert not found.fallback
    _assert_sound(asked, found)
    _assert_equal_orders(asked, found)
    if not asked.book.storages:
        _assert_cars_never_wait_for_a_dearer_interval(asked, found)
        if all(one.min_acceptance_ppm == PPM for one in asked.book.blocks):
            _assert_nobody_regrets_a_watt_hour(asked, found)
    rows = (asked.book.steps, asked.book.blocks, asked.book.flexible, asked.book.storages)
    turned = SessionBook(asked.book.session, *(kind[::-1] for kind in rows))
    assert repr(clear_session(replace(asked, book=turned))) == repr(found)
    assert turned.digest() == asked.book.digest()


def _assert_equal_orders(asked, found) -> None:
    """Steps of one interval, side and limit share pro-rata, to the watt-hour."""
    groups: dict[object, list[tuple[int, int]]] = {}
    for one in asked.book.steps:
        pair = (one.order.quantity.wh, abs(found.schedules[one.order_id].wh[0]))
        groups.setdefault((one.index, one.order.side, one.order.limit), []).append(pair)
    for group in groups.values():
        wanted, got = (sum(column) for column in zip(*group, strict=True))
        assert all(abs(share * wanted - wh * got) < wanted for wh, share in group)


def _assert_nobody_regrets_a_watt_hour(asked, found) -> None:
    """Every step order is served to the Wh as its interval's price interval says: duality."""
    for one in asked.book.steps:
        low, high = found.price_intervals[one.index]
        sign = 1 if one.order.side is Side.BID else -1
        wh, limit = sign * found.schedules[one.order_id].wh[0], one.order.limit
        better = high if sign == 1 else low
        worse = low if sign == 1 else high
        if better is not None and sign * (limit.micro_per_kwh - better.micro_per_kwh) > 0:
            assert wh == one.order.quantity.wh
        if worse is not None and sign * (limit.micro_per_kwh - worse.micro_per_kwh) < 0:
            assert wh == 0


def _assert_cars_never_wait_for_a_dearer_interval(asked, found) -> None:
    """At one limit: where it takes less than it can, no dearer interval is used instead."""
    for one in asked.book.flexible:
        taken = found.schedules[one.order_id].wh
        prices = found.prices[one.start : one.deadline]
        used = [p.micro_per_kwh for p, wh in zip(prices, taken, strict=True) if wh and p]
        spare = [
            p.micro_per_kwh for p, wh in zip(prices, taken, strict=True) if wh < one.most_wh and p
        ]
        # Rounding prices down, and blocks in part to whole Wh, may each shift one by a micro-euro.
        assert not used or not spare or max(used) <= min(spare) + 1 or _has_parts(asked, found)


@settings(max_examples=4_000 if LONG else 50, deadline=None)
@given(asked=problems())
def test_blocks_only_add_welfare(asked):
    """Within what rounding storages to whole Wh may cost."""
    book = asked.book
    bare = replace(
        asked, book=SessionBook(book.session, book.steps, (), book.flexible, book.storages)
    )
    slack = 40 * 4 * len(book.storages) * book.session.intervals + 1
    assert clear_session(asked).welfare_micro >= clear_session(bare).welfare_micro - slack


def test_equal_orders_share_within_one_watt_hour():
    bids = [step(f"b{i}", "bid", 0, 1000, 200_000) for i in range(3)]
    found = clear_session(problem([*bids, step("s", "offer", 0, 1000, 100_000)]))
    assert sorted(found.schedules[f"b{i}"].wh[0] for i in range(3)) == [333, 333, 334]


def test_remainders_follow_the_tie_key():
    orders = [step("a", "bid", 0, 1, 9), step("b", "offer", 0, 1, 1), step("c", "offer", 0, 1, 1)]
    winners = {
        min("bc", key=lambda i: clear_session(problem(orders, key=key)).schedules[i].wh)
        for key in (bytes([n]) for n in range(16))
    }
    assert winners == {"b", "c"}


def test_one_owner_alone_passes_energy_on_at_no_price():
    """A participant's roof fills the participant's battery: an own transfer."""
    roof = step("roof", "offer", 0, 1000, 100_000, owner="ann")
    store = replace(battery("z", 1000, 8000, 0, 0, PPM, 0), participant="ann")
    home = step("home", "bid", 1, 1000, 200_000, owner="bob")
    found = clear_session(problem([roof, store, home]))
    (own,), (sold,) = found.trades
    assert (own.seller, own.buyer, own.price.micro_per_kwh, own.amount.micro) == ("roof", "z", 0, 0)
    assert (sold.seller, sold.buyer, sold.energy.wh) == ("z", "home", 1000)


def test_a_session_without_orders_is_cleared():
    found = clear_session(problem([], intervals=96))
    assert found.prices == (None,) * 96
    assert not any(found.trades)
    assert (found.welfare_micro, found.gap_ppm, found.optimal) == (0, 0, True)


def test_nothing_to_gain_leaves_no_gap():
    """HiGHS calls the gap of an optimum of 0 endless, however near its bound is."""
    orders = [
        block("b0", "bid", 0, (743092,), 16),
        battery("z0", 231362, 2916624, 193833, 124231, 1, 0, 2659704),
        battery("z2", 660580, 2140612, 159084, 34121, 333333, 1, 3265340),
    ]
    found = clear_session(problem(orders, gap_ppm=0))
    assert (found.welfare_micro, found.gap_ppm, found.fallback) == (0, 0, False)


def test_a_storage_that_keeps_a_millionth_is_no_reason_to_give_up():
    """HiGHS's presolve takes the session for infeasible; to do nothing is a plan of it."""
    orders = [
        block("b0", "offer", 0, (3,), -3, owner="q0"),
        block("b1", "bid", 0, (3,), -2, 0, owner="q1"),
        block("b2", "bid", 0, (2,), -1, 333_333, owner="q2"),
        block("b3", "offer", 0, (1,), 0, owner="q3"),
        battery("z0", 2, 4, 2, 1, 999_999, 1, 12),
        battery("z1", 2, 8, 2, 0, 900_000, 0, 4),
        battery("z2", 2, 4, 2, 1, 1, 0, 12),
    ]
    found = clear_session(problem(orders, [-3], [0], key=b"s976691", gap_ppm=0))
    assert not found.fallback


@pytest.mark.parametrize(
    "orders",
    [
        [
            step("s3", "offer", 1, 865705, -62823108),
            block("b0", "offer", 1, (321523, 85993), -924719501),
            battery("z1", 663527, 3837464, 329164, 293177, 900_000, 1, 2479268),
            battery("z2", 504519, 3182204, 290016, 178812, 999_999, 0, 1611640),
        ],
        [
            *(
                step(f"s{t}", "offer", t, wh, limit)
                for t, wh, limit in (
                    (0, 238, -979278319),
                    (1, 171, 219267089),
                    (3, 166, -582590607),
                    (4, 194, 263573181),
                    (5, 287, 534597561),
                )
            ),
            block("b0", "bid", 0, (65,) * 8, 256451117, 1),
            block("b3", "offer", 0, (35,) * 8, -463696667, 0),
            battery("z0", 322, 312, 38, 32, 333_333, 5, 628),
        ],
    ],
)
def test_a_block_between_storages_stays_where_one_rounding_fits(orders):
    """With nobody else in an interval, storages have to meet the block's energy to the Wh."""
    found = clear_session(problem(orders, gap_ppm=0))
    assert not found.withdrawn
    assert found.accepted_ppm["b0"] == PPM


def test_a_thousand_megawatt_hours_and_one_watt_hour():
    """The largest quantities and the smallest keep apart."""
    orders = [
        step("giant", "bid", 0, 10**9, 300_000),
        step("tiny", "bid", 0, 1, 299_999),
        step("s", "offer", 0, 10**9, 100_000),
        block("k", "offer", 0, (1,), 100_000),
    ]
    found = clear_session(problem(orders))
    assert {i: s.wh[0] for i, s in found.schedules.items()} == {
        "giant": 10**9, "tiny": 1, "s": -(10**9), "k": -1
    }  # fmt: skip


def _has_parts(asked, found) -> bool:
    return any(0 < share < PPM for share in found.accepted_ppm.values())


def _assert_sound(asked, found) -> None:
    """Balance, bounds, limits, links, storages and trades, each from its definition."""
    book, intervals = asked.book, asked.book.session.intervals
    assert list(found.schedules) == sorted(order.order_id for order in book)
    assert found.welfare_micro >= 0  # that of no trade
    prices = [0 if price is None else price.micro_per_kwh for price in found.prices]
    net = [x.wh - m.wh for x, m in zip(found.grid_export, found.grid_import, strict=True)]
    for start, wh in found.schedules.values():
        for t, amount in enumerate(wh, start):
            net[t] += amount
    assert net == [0] * intervals
    surplus = _surpluses(asked, found, prices)
    for order in book:
        if isinstance(order, BlockOrder):
            _assert_block(book, found, order, surplus)
        elif isinstance(order, StorageOrder):
            _assert_storage(found, order)
            assert surplus[order.order_id] >= 0
        elif isinstance(order, StepOrder):
            assert abs(found.schedules[order.order_id].wh[0]) <= order.order.quantity.wh
            assert surplus[order.order_id] >= 0
        else:
            wh = found.schedules[order.order_id].wh
            assert sum(wh) <= order.energy.wh
            assert all(0 <= amount <= order.power.w // 4 for amount in wh)
            assert surplus[order.order_id] >= 0
    _assert_trades(asked, found)
    assert 0 <= found.gap_ppm <= PPM
    assert all(surplus > 0 for surplus in found.paradoxically_rejected.values())
    assert all(found.accepted_ppm[i] < PPM for i in found.paradoxically_rejected)


def _surpluses(asked, found, prices):
    """(limit - price) x Wh bought, per order; a storage's limit is 0 bought, its gain sold."""
    limits = {}
    for order in asked.book:
        if isinstance(order, StepOrder):
            limits[order.order_id] = (order.order.limit.micro_per_kwh,) * 2
        elif isinstance(order, StorageOrder):
            limits[order.order_id] = (0, order.least_gain.micro_per_kwh)
        else:
            limits[order.order_id] = (order.limit.micro_per_kwh,) * 2
    return {
        i: sum(
            wh * (limits[i][wh < 0] - prices[t]) for t, wh in enumerate(schedule.wh, schedule.start)
        )
        for i, schedule in found.schedules.items()
    }


def _assert_block(book, found, order, surplus) -> None:
    sign = 1 if order.side is Side.BID else -1
    wh = [sign * amount for amount in found.schedules[order.order_id].wh]
    total, whole = sum(wh), sum(order.profile_wh)
    assert found.accepted_ppm[order.order_id] == total * PPM // whole
    assert total == 0 or total * PPM >= whole * order.min_acceptance_ppm
    for amount, most in zip(wh, order.profile_wh, strict=True):
        assert abs(amount - most * total / whole) < 2
        assert 0 <= amount <= most
    if order.parent:
        parent = next(b for b in book.blocks if b.order_id == order.parent)
        taken = abs(sum(found.schedules[parent.order_id].wh))
        assert total * sum(parent.profile_wh) <= taken * whole
    family = [order.order_id]
    for name in family:
        family += [b.order_id for b in book.blocks if b.parent == name]
    if total:
        assert sum(surplus[name] for name in family) >= 0


def _assert_storage(found, order) -> None:
    charged = discharged = 0
    stored = found.stored_wh[order.order_id]
    for wh, held in zip(found.schedules[order.order_id].wh, stored, strict=True):
        assert -(order.discharge.w // 4) <= wh <= order.charge.w // 4
        charged, discharged = charged + max(wh, 0), discharged + max(-wh, 0)
        gained = charged * order.efficiency_ppm // PPM
        assert held == order.initial.wh + gained - discharged
        assert 0 <= held <= order.capacity.wh
    assert stored[-1] >= order.least_final.wh


def _assert_trades(asked, found) -> None:
    owner = {order.order_id: order.participant for order in asked.book} | {GRID: GRID}
    for t, trades in enumerate(found.trades):
        got: dict[str, int] = {}
        for trade in trades:
            own = owner[trade.seller] == owner[trade.buyer]
            assert trade.price == (Price(0) if own else found.prices[t])
            assert trade.amount == trade.price.of(trade.energy)
            got[trade.seller] = got.get(trade.seller, 0) - trade.energy.wh
            got[trade.buyer] = got.get(trade.buyer, 0) + trade.energy.wh
        got.pop(GRID, None)
        assert got == {
            i: schedule.wh[t - schedule.start]
            for i, schedule in found.schedules.items()
            if 0 <= t - schedule.start < len(schedule.wh) and schedule.wh[t - schedule.start]
        }
        parties = {name for trade in trades for name in (trade.seller, trade.buyer)}
        sellers, buyers = {t.seller for t in trades}, {t.buyer for t in trades}
        if not {owner[name] for name in sellers} & {owner[name] for name in buyers}:
            assert len(trades) <= max(0, len(parties) - 1) + len(asked.book.storages)
        if asked.floors is not None and found.prices[t] is not None:
            assert asked.floors[t] <= found.prices[t]
        if asked.ceilings is not None and found.prices[t] is not None:
            assert found.prices[t] <= asked.ceilings[t]
        drawn, fed_in = found.grid_import[t] > Energy(0), found.grid_export[t] > Energy(0)
        assert not (drawn and fed_in)
        if not asked.book.storages:
            assert not drawn or found.prices[t] == asked.ceilings[t]
            assert not fed_in or found.prices[t] == asked.floors[t]


def test_a_car_and_a_battery_meet_in_one_book():
    orders = [
        step("sun", "offer", 0, 4000, 80_000),
        car("e", 1, 3, 1500, 4000, 250_000),
        battery("z", 3000, 8000, 0, 0, 900_000, 10_000),
    ]
    found = clear_session(problem(orders, intervals=3))
    assert sum(found.schedules["e"].wh) == 1500
    assert sum(wh for wh in found.schedules["z"].wh if wh > 0) == 1667  # 1500 / 0.9, rounded up

"""From whole watt-hours and prices to who gets what: shares, trades, what was missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from market.money import PPM, Price, largest_remainder, round_half_up
from market.order import GRID
from market.sessions import Schedule, SessionBook, SessionClearing, SessionProblem
from market.trade import Fill, Trade, make_trade, north_west, tie_hash
from metering.quantities import Energy
from optimizer.session.data import Integers, SessionData, Ticks, block_sign
from optimizer.session.prices import Face
from optimizer.session.support import Support


class Outcome(NamedTuple):
    """What the search found; the fields mean what they mean in ``SessionClearing``."""

    face: Face
    support: Support
    withdrawn: frozenset[str]
    gap_ppm: int
    optimal: bool


def session_clearing(
    problem: SessionProblem, data: SessionData, outcome: Outcome
) -> SessionClearing:
    """Return the clearing of an outcome: ticks shared out pro-rata, trades by the hash order."""
    face, prices = outcome.face, outcome.support.prices
    whole = face.whole
    schedules = _schedules(problem, face)
    trades = session_trades(
        problem, schedules, prices, whole.grid_import.tolist(), whole.grid_export.tolist()
    )
    return SessionClearing(
        session=problem.book.session,
        prices=tuple(
            Price(price) if here else None for price, here in zip(prices, trades, strict=True)
        ),
        price_intervals=tuple(
            (_price(low), _price(high)) for low, high in outcome.support.interval
        ),
        schedules=schedules,
        trades=trades,
        grid_import=tuple(map(Energy, whole.grid_import.tolist())),
        grid_export=tuple(map(Energy, whole.grid_export.tolist())),
        accepted_ppm={
            block.order_id: wh * PPM // block.energy_wh
            for block, wh in sorted(
                zip(data.blocks, whole.blocks, strict=True), key=lambda pair: pair[0].order_id
            )
        },
        paradoxically_rejected=_missed(face, prices),
        withdrawn=tuple(sorted(outcome.withdrawn)),
        stored_wh={
            data.storages[s].order_id: tuple(whole.stored[s].tolist())
            for s in sorted(range(len(data.storages)), key=lambda s: data.storages[s].order_id)
        },
        welfare_micro=round_half_up(welfare_of(face), 1000),
        gap_ppm=outcome.gap_ppm,
        optimal=outcome.optimal,
    )


def welfare_of(face: Face) -> int:
    """Return the welfare in thousandths of a micro-euro, exactly."""
    data, whole = face.data, face.whole
    welfare = _value(data.bids.price, whole.bids) - _value(data.offers.price, whole.offers)
    for block, wh in zip(data.blocks, whole.blocks, strict=True):
        welfare += block_sign(block) * block.limit.micro_per_kwh * wh
    for f, order in enumerate(data.flexible):
        welfare += order.limit.micro_per_kwh * int(whole.flexible[f].sum())
    for s, storage in enumerate(data.storages):
        welfare -= storage.least_gain.micro_per_kwh * int(whole.discharge[s].sum())
    for t in range(data.intervals):
        welfare += (data.floors[t] if data.floors else 0) * int(whole.grid_export[t])
        welfare -= (data.ceilings[t] if data.ceilings else 0) * int(whole.grid_import[t])
    return welfare


def session_trades(
    problem: SessionProblem,
    schedules: Mapping[str, Schedule],
    prices: Sequence[int],
    grid_import: Iterable[int],
    grid_export: Iterable[int],
) -> tuple[tuple[Trade, ...], ...]:
    """Return the trades of every interval: the north-west corner walk over the hash order.

    What has no other owner to go to passes between the owner's own orders, at price 0.
    """
    intervals, key = problem.book.session.intervals, problem.tie_key
    sellers: list[list[Fill]] = [[] for _ in range(intervals)]
    buyers: list[list[Fill]] = [[] for _ in range(intervals)]
    owner = owners(problem.book)
    for order_id in sorted(schedules, key=lambda order_id: tie_hash(key, order_id)):
        for t, wh in enumerate(schedules[order_id].wh, schedules[order_id].start):
            if wh:
                side = buyers if wh > 0 else sellers
                side[t].append(Fill(order_id, owner[order_id], abs(wh)))
    for t, (bought, sold) in enumerate(zip(grid_import, grid_export, strict=True)):
        if bought:
            sellers[t].append(Fill(GRID, GRID, bought))
        if sold:
            buyers[t].append(Fill(GRID, GRID, sold))
    return tuple(tuple(_trades(sellers[t], buyers[t], Price(prices[t]))) for t in range(intervals))


def owners(book: SessionBook) -> dict[str, str]:
    """Return the participant of each order by its id."""
    return {order.order_id: order.participant for order in book}


def _trades(sellers: Sequence[Fill], buyers: Sequence[Fill], price: Price) -> list[Trade]:
    pairs = north_west(sellers, buyers)
    sold: Counter[str] = Counter()
    bought: Counter[str] = Counter()
    for seller, buyer, wh in pairs:
        sold[seller] += wh
        bought[buyer] += wh
    own = north_west(
        [
            Fill(f.order_id, "seller", f.wh - sold[f.order_id])
            for f in sellers
            if f.wh > sold[f.order_id]
        ],
        [
            Fill(f.order_id, "buyer", f.wh - bought[f.order_id])
            for f in buyers
            if f.wh > bought[f.order_id]
        ],
    )
    return [make_trade(*pair, price) for pair in pairs] + [
        make_trade(*pair, Price(0)) for pair in own
    ]


def _schedules(problem: SessionProblem, face: Face) -> dict[str, Schedule]:
    data, whole = face.data, face.whole
    found: dict[str, Schedule] = {}
    for ticks, fills, sign in ((data.bids, whole.bids, 1), (data.offers, whole.offers, -1)):
        found |= _steps(ticks, fills, sign, problem.tie_key)
    for block, profile in zip(data.blocks, whole.profiles, strict=True):
        found[block.order_id] = Schedule(
            block.start, tuple(block_sign(block) * wh for wh in profile)
        )
    for f, order in enumerate(data.flexible):
        takes = whole.flexible[f, order.start : order.deadline]
        found[order.order_id] = Schedule(order.start, tuple(takes.tolist()))
    for s, storage in enumerate(data.storages):
        net = whole.charge[s] - whole.discharge[s]
        found[storage.order_id] = Schedule(0, tuple(net.tolist()))
    return dict(sorted(found.items()))


def _steps(ticks: Ticks, fills: Integers, sign: int, tie_key: bytes) -> dict[str, Schedule]:
    """Share every tick out to its orders: all, nothing, or pro-rata by largest remainder."""
    found = {}
    for t, volume, wh, orders in zip(
        ticks.interval.tolist(), ticks.volume.tolist(), fills.tolist(), ticks.orders, strict=True
    ):
        weights = [order.quantity.wh for order in orders]
        if wh in (0, volume):
            shares = weights if wh else [0] * len(orders)
        else:
            ties = [tie_hash(tie_key, order.order_id) for order in orders]
            shares = largest_remainder(wh, weights, ties)
        for order, share in zip(orders, shares, strict=True):
            found[order.order_id] = Schedule(t, (sign * share,))
    return found


def _missed(face: Face, prices: Sequence[int]) -> dict[str, int]:
    """Return what blocks miss that gain at the prices and were not accepted, rounded up.

    A block whose parent was not accepted misses nothing by its own. One accepted in part counts
    with the part that it lacks, where its limit is more than 1 micro-euro per kWh from the price.
    """
    share = {b.order_id: wh for b, wh in zip(face.data.blocks, face.whole.blocks, strict=True)}
    found = {}
    for block, wh in zip(face.data.blocks, face.whole.blocks, strict=True):
        if block.parent and not share[block.parent]:
            continue
        surplus = block_sign(block) * sum(
            profile_wh * (block.limit.micro_per_kwh - prices[t])
            for t, profile_wh in enumerate(block.profile_wh, block.start)
        )
        lacks_wh = block.energy_wh - wh
        if lacks_wh and surplus > (block.energy_wh if wh else 0):
            found[block.order_id] = -(-surplus * lacks_wh // (1000 * block.energy_wh))
    return dict(sorted(found.items()))


def _value(prices: Integers, wh: Integers) -> int:
    return sum(price * amount for price, amount in zip(prices.tolist(), wh.tolist(), strict=True))


def _price(micro: int | None) -> Price | None:
    return None if micro is None else Price(micro)

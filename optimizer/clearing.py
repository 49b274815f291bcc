"""Clearing one interval: maximum welfare, then maximum volume, fair at the margin, replayable.

Orders are first added up to one class per side and limit, so that equal orders cannot be told
apart by the solver; the LP below decides on classes, an exact check in integers certifies its
answer, and the class at the margin is shared out pro-rata.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from market import pricing
from market.book import Book
from market.money import Price, largest_remainder, round_half_up
from market.order import GRID, Side
from market.pricing import Rule
from market.trade import Fill, Trade, make_trade, north_west, tie_hash
from metering.quantities import Energy
from optimizer.problem import AT_A_RATE, Clearing, Interval, Problem
from optimizer.welfare import Integers, Solver, Ticks, certified_interval, solve_ticks


class _Party(NamedTuple):
    """One side of the book, in the order of the ids."""

    ids: list[str]
    owners: list[str]
    limits: Integers
    wh: Integers


class _Match(NamedTuple):
    """What each order gets, in Wh, and what the supplier sells and buys."""

    bids: Integers
    offers: Integers
    grid_import: int
    grid_export: int
    interval: Interval


def clear(problem: Problem, solver: Solver = solve_ticks) -> Clearing:
    """Clear a book. The outcome depends on nothing but the problem, not on the orders' places.

    ``solver`` decides on price ticks; its answer is certified, whoever gives it.

    Raises:
        SolverError: no optimum, or an answer that is not the exact one: keep the book, tell a
            person; without a clearing the normal tariff applies.
        PricingError: the rule cannot price this book.
    """
    bids, offers = _party(problem.book, Side.BID), _party(problem.book, Side.OFFER)
    rule = _at_a_rate if problem.rule in AT_A_RATE else _at_the_margin
    price, match, trades = rule(problem, bids, offers, solver)
    return Clearing(
        price=price,
        price_interval=match.interval,
        cleared=Energy(int(match.bids.sum()) + match.grid_export),
        welfare_micro=_welfare_micro(problem, bids, offers, match),
        allocations=dict(
            sorted(
                zip(bids.ids + offers.ids, match.bids.tolist() + match.offers.tolist(), strict=True)
            )
        ),
        trades=tuple(trades),
        grid_import=Energy(match.grid_import),
        grid_export=Energy(match.grid_export),
    )


def _at_the_margin(
    problem: Problem, bids: _Party, offers: _Party, solver: Solver
) -> tuple[Price | None, _Match, list[Trade]]:
    """Clear by the limits, the supplier among them; the supplier is the last in the walk."""
    match = _match(bids, offers, problem.floor, problem.ceiling, problem.tie_key, solver)
    sellers = _ranked(offers, match.offers, problem.tie_key)
    buyers = _ranked(bids, match.bids, problem.tie_key)
    if match.grid_import:
        sellers.append(Fill(GRID, GRID, match.grid_import))
    if match.grid_export:
        buyers.append(Fill(GRID, GRID, match.grid_export))
    pairs = north_west(sellers, buyers)
    match = _placed(match, bids, offers, pairs)
    lo, hi = match.interval
    if not pairs or lo is None or hi is None:
        return None, match, []
    price = pricing.uniform(lo, hi)
    if problem.rule is Rule.UNIFORM:
        return price, match, [make_trade(*pair, price) for pair in pairs]
    limits = dict(zip(bids.ids, map(Price, bids.limits.tolist()), strict=True))
    if problem.floor is not None:
        limits[GRID] = problem.floor
    return (
        price,
        match,
        [
            make_trade(seller, buyer, wh, pricing.pay_as_bid(limits[buyer], problem.ceiling))
            for seller, buyer, wh in pairs
        ],
    )


def _at_a_rate(
    problem: Problem, bids: _Party, offers: _Party, solver: Solver
) -> tuple[Price | None, _Match, list[Trade]]:
    """Clear local energy at the rule's rate, pro-rata on the long side, the rest at the tariff.

    At one rate all limits that admit it are equal: one tick per side, where the LP's optimum is
    the maximum volume. The supplier serves the rest of every order whose limit admits its price.
    """
    floor, ceiling = problem.floor, problem.ceiling
    if floor is None or ceiling is None:  # one side only: there is nothing to price
        return None, _match(bids, offers, None, None, problem.tie_key, solver), []
    rate, bids_in, offers_in = _rate(problem.rule, bids, offers, floor, ceiling)
    at_rate = [
        side._replace(limits=np.full_like(side.limits, rate.micro_per_kwh), wh=side.wh * admitted)
        for side, admitted in ((bids, bids_in), (offers, offers_in))
    ]
    match = _match(at_rate[0], at_rate[1], None, None, problem.tie_key, solver)
    pairs = north_west(
        _ranked(offers, match.offers, problem.tie_key), _ranked(bids, match.bids, problem.tie_key)
    )
    match = _placed(match, bids, offers, pairs)
    drawn = np.where(bids.limits >= ceiling.micro_per_kwh, bids.wh - match.bids, 0)
    fed_in = np.where(offers.limits <= floor.micro_per_kwh, offers.wh - match.offers, 0)
    trades = [make_trade(*pair, rate) for pair in pairs]
    trades += [
        make_trade(GRID, fill.order_id, fill.wh, ceiling)
        for fill in _ranked(bids, drawn, problem.tie_key)
    ]
    trades += [
        make_trade(fill.order_id, GRID, fill.wh, floor)
        for fill in _ranked(offers, fed_in, problem.tie_key)
    ]
    total = _Match(
        match.bids + drawn,
        match.offers + fed_in,
        int(drawn.sum()),
        int(fed_in.sum()),
        match.interval,
    )
    return (rate if pairs else None), total, trades


def _rate(
    rule: Rule, bids: _Party, offers: _Party, floor: Price, ceiling: Price
) -> tuple[Price, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the local rate and the orders whose limits admit it: a fixed point.

    Orders beyond the rate drop out for good and the rate is computed again, until none does.
    """
    bids_in = np.ones(len(bids.wh), dtype=np.bool_)
    offers_in = np.ones(len(offers.wh), dtype=np.bool_)
    while True:
        if rule is Rule.MID_MARKET:
            rate = pricing.mid_market(floor, ceiling)
        else:
            supply, demand = int(offers.wh[offers_in].sum()), int(bids.wh[bids_in].sum())
            rate = pricing.sdr(Energy(supply), Energy(demand), floor, ceiling)
        still_bid = bids_in & (bids.limits >= rate.micro_per_kwh)
        still_offer = offers_in & (offers.limits <= rate.micro_per_kwh)
        if np.array_equal(still_bid, bids_in) and np.array_equal(still_offer, offers_in):
            return rate, bids_in, offers_in
        bids_in, offers_in = still_bid, still_offer


def ticks_of(problem: Problem) -> Ticks:
    """Return what a solver sees of a book whose limits compete."""
    bids, offers = _party(problem.book, Side.BID), _party(problem.book, Side.OFFER)
    return _ticks(bids, offers, problem.floor, problem.ceiling)[0]


def _party(book: Book, side: Side) -> _Party:
    orders = sorted((o for o in book.orders if o.side is side), key=lambda o: o.order_id)
    return _Party(
        [o.order_id for o in orders],
        [o.participant for o in orders],
        np.array([o.limit.micro_per_kwh for o in orders], dtype=np.int64),
        np.array([o.quantity.wh for o in orders], dtype=np.int64),
    )


def _match(
    bids: _Party,
    offers: _Party,
    floor: Price | None,
    ceiling: Price | None,
    tie_key: bytes,
    solver: Solver,
) -> _Match:
    """Add the orders up to ticks, solve, and share each tick's volume out to its orders."""
    ticks, bid_tick, offer_tick = _ticks(bids, offers, floor, ceiling)
    fills = solver(ticks)
    lo, hi = certified_interval(ticks, fills)
    return _Match(
        _shared(bids, bid_tick, ticks.bid_volumes, fills.bids, tie_key),
        _shared(offers, offer_tick, ticks.offer_volumes, fills.offers, tie_key),
        fills.grid_import,
        fills.grid_export,
        (None if lo is None else Price(lo), None if hi is None else Price(hi)),
    )


def _ticks(
    bids: _Party, offers: _Party, floor: Price | None, ceiling: Price | None
) -> tuple[Ticks, NDArray[np.intp], NDArray[np.intp]]:
    """Return the ticks of both sides, and each order's place among those of its side."""
    bid_prices, bid_tick = np.unique(bids.limits, return_inverse=True)
    offer_prices, offer_tick = np.unique(offers.limits, return_inverse=True)
    ticks = Ticks(
        bid_prices,
        _volumes(bid_tick, bids.wh),
        offer_prices,
        _volumes(offer_tick, offers.wh),
        None if floor is None else floor.micro_per_kwh,
        None if ceiling is None else ceiling.micro_per_kwh,
    )
    return ticks, bid_tick, offer_tick


def _volumes(tick: NDArray[np.intp], wh: Integers) -> Integers:
    # Exact in doubles: a book's total is below 2^53 Wh.
    return np.bincount(tick, weights=wh).astype(np.int64)


def _shared(
    side: _Party, tick: NDArray[np.intp], volumes: Integers, fills: Integers, tie_key: bytes
) -> Integers:
    """Return each order's part of its tick: all, nothing, or pro-rata at the margin."""
    whole = fills == volumes
    shares = np.where(whole[tick], side.wh, 0)
    for marginal in np.flatnonzero(~whole & (fills > 0)):
        members = np.flatnonzero(tick == marginal)
        shares[members] = largest_remainder(
            int(fills[marginal]),
            side.wh[members].tolist(),
            [tie_hash(tie_key, side.ids[i]) for i in members],
        )
    return shares


def _ranked(side: _Party, wh: Integers, tie_key: bytes) -> list[Fill]:
    """Return the orders that get something, in the order of their hashes."""
    fills = [
        Fill(order_id, owner, amount)
        for order_id, owner, amount in zip(side.ids, side.owners, wh.tolist(), strict=True)
        if amount
    ]
    return sorted(fills, key=lambda fill: tie_hash(tie_key, fill.order_id))


def _placed(
    match: _Match, bids: _Party, offers: _Party, pairs: Sequence[tuple[str, str, int]]
) -> _Match:
    """Return the match less what had no other owner to go to (nobody buys from themselves)."""
    if sum(wh for _, _, wh in pairs) == int(match.bids.sum()) + match.grid_export:
        return match
    bought: Counter[str] = Counter()
    sold: Counter[str] = Counter()
    for seller, buyer, wh in pairs:
        sold[seller] += wh
        bought[buyer] += wh
    return match._replace(
        bids=np.array([bought[order_id] for order_id in bids.ids], dtype=np.int64),
        offers=np.array([sold[order_id] for order_id in offers.ids], dtype=np.int64),
    )


def _welfare_micro(problem: Problem, bids: _Party, offers: _Party, match: _Match) -> int:
    """Return the welfare in micro-euros; Python integers, since the products pass 64 bits."""
    welfare = _value(bids.limits, match.bids) - _value(offers.limits, match.offers)
    if problem.ceiling is not None:
        welfare -= problem.ceiling.micro_per_kwh * match.grid_import
    if problem.floor is not None:
        welfare += problem.floor.micro_per_kwh * match.grid_export
    return round_half_up(welfare, 1000)


def _value(limits: Integers, wh: Integers) -> int:
    return sum(map(operator.mul, limits.tolist(), wh.tolist()))

"""Clearing one interval: maximum welfare, then maximum volume, fair at the margin, replayable.

Orders are first added up to one class per side and limit, so that equal orders cannot be told
apart by what decides on classes: the merit order, or the LP. An exact check in integers certifies
the answer, and the class at the margin is shared out pro-rata (``optimizer.columns``).
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from market import pricing
from market.book import Book
from market.money import Price, round_half_up
from market.order import GRID, Order, Side
from market.place import Level, Wish
from market.pricing import PricingError, Rule
from market.trade import Fill, Trade, make_trade, north_west, tie_hash
from metering.quantities import Energy
from optimizer import merit_order
from optimizer.columns import Columns, Mask, Match, match, ticks_of
from optimizer.compiled import CompileError, SolverError, time_limit
from optimizer.hubs.clearing import clear_hubs
from optimizer.problem import AT_A_RATE, Clearing, Fees, Problem
from optimizer.welfare import Integers, Solver, Ticks

_NO_WISH: Final = Wish()

# What `clear` raises where it has no answer: the fallback closes the interval, people are told.
NO_ANSWER: Final = (CompileError, PricingError, SolverError)


@dataclass(frozen=True, slots=True)
class _Table:
    """The book in the order of its ids: what is looked up by name, and the columns."""

    ids: list[str]
    owners: list[str]
    columns: Columns


def clear(
    problem: Problem,
    solver: Solver = merit_order.solve_ticks,
    *,
    time_limit_s: float = math.inf,
) -> Clearing:
    """Clear a book. The outcome depends on nothing but the problem, not on the orders' rows.

    ``solver`` decides on price ticks of one balance; its answer is certified, whoever gives it.
    A book in which places, products or fees may matter goes to ``optimizer.hubs``. What has to be
    solved may take ``time_limit_s`` together; the merit order has nothing to solve.

    Raises:
        SolverTimeoutError: time ran out; ``optimizer.fallback`` closes the interval.
        SolverError: no optimum, or an answer that is not the exact one: keep the book, tell a
            person; ``optimizer.fallback`` closes the interval.
        PricingError: the rule cannot price this book.
    """
    with time_limit(time_limit_s):
        return clear_hubs(problem) if needs_hubs(problem) else _one_balance(problem, solver)


def _one_balance(problem: Problem, solver: Solver) -> Clearing:
    table = _table(problem.book, problem.tie_key)
    rule = _at_a_rate if problem.rule in AT_A_RATE else _at_the_margin
    price, found, trades = rule(problem, table, solver)
    lo, hi = found.interval
    return Clearing(
        price=price,
        price_interval=(None if lo is None else Price(lo), None if hi is None else Price(hi)),
        cleared=Energy(_sum(found.wh, table.columns.is_bid) + found.grid_export),
        welfare_micro=_welfare_micro(problem, table.columns, found),
        allocations=dict(zip(table.ids, found.wh.tolist(), strict=True)),
        trades=tuple(trades),
        grid_import=Energy(found.grid_import),
        grid_export=Energy(found.grid_export),
    )


def needs_hubs(problem: Problem) -> bool:
    """Whether one balance may not do: a fee, a bid with a wish, or an offer that stays near.

    Without these all energy is worth the same everywhere, whatever it is and wherever it stands.
    """
    return problem.fees != Fees() or any(
        order.wish != _NO_WISH
        and (order.side is Side.BID or order.wish.level is not Level.DISTRICT)
        for order in problem.book.orders
    )


def _at_the_margin(
    problem: Problem, table: _Table, solver: Solver
) -> tuple[Price | None, Match, list[Trade]]:
    """Clear by the limits, the supplier among them; the supplier is the last in the walk."""
    found = match(table.columns, _micro(problem.floor), _micro(problem.ceiling), solver)
    sellers, buyers = _ranked(table, found.wh)
    if found.grid_import:
        sellers.append(Fill(GRID, GRID, found.grid_import))
    if found.grid_export:
        buyers.append(Fill(GRID, GRID, found.grid_export))
    pairs = north_west(sellers, buyers)
    found = _placed(found, table, pairs)
    lo, hi = found.interval
    if not pairs or lo is None or hi is None:
        return None, found, []
    price = pricing.uniform(Price(lo), Price(hi))
    if problem.rule is Rule.UNIFORM:
        return price, found, [make_trade(*pair, price) for pair in pairs]
    limits = dict(zip(table.ids, map(Price, table.columns.limits.tolist()), strict=True))
    if problem.floor is not None:
        limits[GRID] = problem.floor
    return (
        price,
        found,
        [
            make_trade(seller, buyer, wh, pricing.pay_as_bid(limits[buyer], problem.ceiling))
            for seller, buyer, wh in pairs
        ],
    )


def _at_a_rate(
    problem: Problem, table: _Table, solver: Solver
) -> tuple[Price | None, Match, list[Trade]]:
    """Clear local energy at the rule's rate, pro-rata on the long side, the rest at the tariff.

    At one rate all limits that admit it are equal: one tick per side, where the optimum is the
    maximum volume. The supplier serves the rest of every order whose limit admits its price.
    """
    columns, floor, ceiling = table.columns, problem.floor, problem.ceiling
    if floor is None or ceiling is None:  # one side only: there is nothing to price
        return None, match(columns, solver=solver), []
    rate, admitted = _rate(problem.rule, columns, floor, ceiling)
    at_rate = Columns(
        columns.is_bid,
        np.full_like(columns.limits, rate.micro_per_kwh),
        columns.wh * admitted,
        columns.tie,
    )
    found = match(at_rate, solver=solver)
    pairs = north_west(*_ranked(table, found.wh))
    found = _placed(found, table, pairs)
    trades = [make_trade(*pair, rate) for pair in pairs]
    suits = _admits(columns, np.where(columns.is_bid, ceiling.micro_per_kwh, floor.micro_per_kwh))
    rest = np.where(suits, columns.wh - found.wh, 0)
    fed_in, drawn = _ranked(table, rest)
    trades += [make_trade(GRID, fill.order_id, fill.wh, ceiling) for fill in drawn]
    trades += [make_trade(fill.order_id, GRID, fill.wh, floor) for fill in fed_in]
    total = Match(
        found.wh + rest,
        _sum(rest, columns.is_bid),
        _sum(rest, ~columns.is_bid),
        found.interval,
    )
    return (rate if pairs else None), total, trades


def _rate(rule: Rule, columns: Columns, floor: Price, ceiling: Price) -> tuple[Price, Mask]:
    """Return the local rate and the orders whose limits admit it: a fixed point.

    Orders beyond the rate drop out for good and the rate is computed again, until none does.
    """
    admitted = np.ones(len(columns.wh), dtype=np.bool_)
    while True:
        if rule is Rule.MID_MARKET:
            rate = pricing.mid_market(floor, ceiling)
        else:
            supply = Energy(_sum(columns.wh, admitted & ~columns.is_bid))
            demand = Energy(_sum(columns.wh, admitted & columns.is_bid))
            rate = pricing.sdr(supply, demand, floor, ceiling)
        still = admitted & _admits(columns, rate.micro_per_kwh)
        if np.array_equal(still, admitted):
            return rate, admitted
        admitted = still


def _admits(columns: Columns, price: int | Integers) -> Mask:
    """Whether each order's limit admits a price (or the price of its row)."""
    return np.where(columns.is_bid, columns.limits >= price, columns.limits <= price)


def _sum(wh: Integers, mask: Mask) -> int:
    return int(wh[mask].sum())


def _micro(price: Price | None) -> int | None:
    return None if price is None else price.micro_per_kwh


def ticks_of_problem(problem: Problem) -> Ticks:
    """Return what a solver sees of a book whose limits compete."""
    columns = _table(problem.book, problem.tie_key).columns
    return ticks_of(columns, _micro(problem.floor), _micro(problem.ceiling))


def _table(book: Book, tie_key: bytes) -> _Table:
    orders = sorted(book.orders, key=operator.attrgetter("order_id"))
    ids = [order.order_id for order in orders]
    return _Table(ids, [order.participant for order in orders], _columns(orders, tie_key))


def _columns(orders: Sequence[Order], tie_key: bytes) -> Columns:
    return Columns(
        np.array([order.side is Side.BID for order in orders], dtype=np.bool_),
        np.array([order.limit.micro_per_kwh for order in orders], dtype=np.int64),
        np.array([order.quantity.wh for order in orders], dtype=np.int64),
        lambda row: tie_hash(tie_key, orders[row].order_id),
    )


def _ranked(table: _Table, wh: Integers) -> tuple[list[Fill], list[Fill]]:
    """Return the sellers and the buyers that get something, in the order of their hashes."""
    sellers: list[Fill] = []
    buyers: list[Fill] = []
    is_bid, amounts = table.columns.is_bid.tolist(), wh.tolist()
    for row in sorted(np.flatnonzero(wh).tolist(), key=table.columns.tie):
        fill = Fill(table.ids[row], table.owners[row], amounts[row])
        (buyers if is_bid[row] else sellers).append(fill)
    return sellers, buyers


def _placed(found: Match, table: _Table, pairs: Sequence[tuple[str, str, int]]) -> Match:
    """Return the match less what had no other owner to go to (nobody buys from themselves)."""
    bought = _sum(found.wh, table.columns.is_bid)
    if sum(wh for _, _, wh in pairs) == bought + found.grid_export:
        return found
    traded: Counter[str] = Counter()
    for seller, buyer, wh in pairs:
        traded[seller] += wh
        traded[buyer] += wh
    return found._replace(wh=np.array([traded[order_id] for order_id in table.ids], dtype=np.int64))


def _welfare_micro(problem: Problem, columns: Columns, found: Match) -> int:
    """Return the welfare in micro-euros; Python integers, since the products pass 64 bits."""
    signed = np.where(columns.is_bid, found.wh, -found.wh)
    welfare = sum(map(operator.mul, columns.limits.tolist(), signed.tolist()))
    if problem.ceiling is not None:
        welfare -= problem.ceiling.micro_per_kwh * found.grid_import
    if problem.floor is not None:
        welfare += problem.floor.micro_per_kwh * found.grid_export
    return round_half_up(welfare, 1000)

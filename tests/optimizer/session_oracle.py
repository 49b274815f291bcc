"""A session by exhaustion: every choice of blocks, each as a plain linear program in scipy.

Written from the definition (market.md, "Forward sessions"), one variable per order and interval,
sharing no code with the engine. Small sessions only.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations

import numpy as np
from scipy.optimize import linprog

from market.order import Side
from market.sessions import SessionProblem


class _Program:
    """min cost x, rows "= 0" or "<= rhs", bounds; variables are numbered as they are added."""

    def __init__(self) -> None:
        self.cost: list[float] = []
        self.bounds: list[tuple[float | None, float | None]] = []
        self.equal: list[tuple[dict[int, float], float]] = []
        self.most: list[tuple[dict[int, float], float]] = []

    def add(self, cost: float, low: float | None, high: float | None) -> int:
        self.cost.append(cost)
        self.bounds.append((low, high))
        return len(self.cost) - 1

    def solve(self):
        def matrix(rows):
            if not rows:
                return None, None
            dense = np.zeros((len(rows), len(self.cost)))
            for i, (row, _) in enumerate(rows):
                for j, factor in row.items():
                    dense[i, j] += factor
            return dense, [rhs for _, rhs in rows]

        a_eq, b_eq = matrix(self.equal)
        a_ub, b_ub = matrix(self.most)
        return linprog(self.cost, a_ub, b_ub, a_eq, b_eq, self.bounds, method="highs")


def choices(asked: SessionProblem) -> Iterator[frozenset[str]]:
    """Every set of blocks with a least share in which no child lacks its parent."""
    blocks = {b.order_id: b for b in asked.book.blocks}
    names = [i for i, b in blocks.items() if b.min_acceptance_ppm]
    for chosen in chain.from_iterable(combinations(names, n) for n in range(len(names) + 1)):
        if all(_may_stand(blocks, i, chosen) for i in chosen):
            yield frozenset(chosen)


def best_welfare(asked: SessionProblem, chosen: frozenset[str]) -> float | None:
    """The most welfare in micro-euros with exactly these blocks accepted; None: infeasible."""
    program, intervals = _Program(), asked.book.session.intervals
    balance: list[dict[int, float]] = [{} for _ in range(intervals)]
    for one in asked.book.steps:
        sign = 1 if one.order.side is Side.BID else -1
        x = program.add(-sign * one.order.limit.micro_per_kwh, 0, one.order.quantity.wh)
        balance[one.index][x] = sign
    _add_blocks(program, asked, chosen, balance)
    for one in asked.book.flexible:
        taken = {}
        for t in range(one.start, one.deadline):
            x = program.add(-one.limit.micro_per_kwh, 0, one.power.w // 4)
            balance[t][x] = taken[x] = 1.0
        program.most.append((taken, one.energy.wh))
    for one in asked.book.storages:
        _add_storage(program, one, balance)
    for t in range(intervals):
        if asked.ceilings is not None:
            balance[t][program.add(asked.ceilings[t].micro_per_kwh, 0, None)] = -1
        if asked.floors is not None:
            balance[t][program.add(-asked.floors[t].micro_per_kwh, 0, None)] = 1
        program.equal.append((balance[t], 0))
    found = program.solve() if program.cost else None
    if found is None:
        return 0.0
    return -found.fun / 1000 if found.status == 0 else None


def prices_exist(asked: SessionProblem, chosen: frozenset[str], welfare: float) -> bool:
    """Whether some prices support this choice of all-or-nothing blocks, 2 micro-euros to spare.

    By strong duality prices support it when all surpluses at them add up to the welfare: what
    steps and flexible orders gain by their best answer, plus what the blocks gain as they are.
    Each accepted block gains, with its descendants, 2 micro-euros per kWh at least, since whole
    prices are below the middle. For sessions without storages.
    """
    program = _Program()
    price = [
        program.add(
            0,
            None if asked.floors is None else asked.floors[t].micro_per_kwh,
            None if asked.ceilings is None else asked.ceilings[t].micro_per_kwh,
        )
        for t in range(asked.book.session.intervals)
    ]
    for one in asked.book.steps:
        sign = 1 if one.order.side is Side.BID else -1
        gain = program.add(one.order.quantity.wh, 0, None)  # per Wh, at least sign (limit - price)
        limit = sign * one.order.limit.micro_per_kwh
        program.most.append(({gain: -1, price[one.index]: -sign}, -limit))
    for one in asked.book.flexible:
        scarce = program.add(one.energy.wh, 0, None)
        for t in range(one.start, one.deadline):
            full = program.add(one.power.w // 4, 0, None)
            row = {scarce: -1, full: -1, price[t]: -1}
            program.most.append((row, -one.limit.micro_per_kwh))
    blocks = {b.order_id: b for b in asked.book.blocks}
    constant = 0.0
    for name in chosen:
        row, rhs, energy = {}, 0.0, 0
        for member in _family(blocks, name, chosen):
            one = blocks[member]
            sign = 1 if one.side is Side.BID else -1
            energy += sum(one.profile_wh)
            rhs += sign * one.limit.micro_per_kwh * sum(one.profile_wh)
            for t, wh in enumerate(one.profile_wh, one.start):
                row[price[t]] = row.get(price[t], 0) + sign * wh
                if member == name:
                    program.cost[price[t]] -= sign * wh
        constant += (
            (1 if blocks[name].side is Side.BID else -1)
            * blocks[name].limit.micro_per_kwh
            * sum(blocks[name].profile_wh)
        )
        program.most.append((row, rhs - 2 * energy))
    found = program.solve()
    return found.status == 0 and (found.fun + constant) / 1000 <= welfare + 0.01


def _may_stand(blocks, name, chosen) -> bool:
    """Whether each ancestor up to the root is chosen, or may be taken in any part."""
    parent = blocks[name].parent
    able = not parent or parent in chosen or not blocks[parent].min_acceptance_ppm
    return able and (not parent or _may_stand(blocks, parent, chosen))


def _family(blocks, name, chosen) -> list[str]:
    found = [name]
    for member in found:
        found += [i for i in chosen if blocks[i].parent == member]
    return found


def _add_blocks(program, asked, chosen, balance) -> None:
    shares = {}
    for one in asked.book.blocks:
        sign, energy = (1 if one.side is Side.BID else -1), sum(one.profile_wh)
        least, most = 0.0, 1.0
        if one.min_acceptance_ppm:
            taken = one.order_id in chosen
            least = -(-energy * one.min_acceptance_ppm // 1_000_000) / energy if taken else 0.0
            most = float(taken)
        x = program.add(-sign * one.limit.micro_per_kwh * energy, least, most)
        shares[one.order_id] = x
        for t, wh in enumerate(one.profile_wh, one.start):
            balance[t][x] = sign * wh
    for one in asked.book.blocks:
        if one.parent:
            program.most.append(({shares[one.order_id]: 1, shares[one.parent]: -1}, 0))


def _add_storage(program, one, balance) -> None:
    held, last = None, len(balance) - 1
    for t, row in enumerate(balance):
        into = program.add(0, 0, one.charge.w // 4)
        out = program.add(one.least_gain.micro_per_kwh, 0, one.discharge.w // 4)
        now = program.add(0, one.least_final.wh if t == last else 0, one.capacity.wh)
        row[into], row[out] = 1, -1
        carry = {now: 1, into: -one.efficiency_ppm / 1_000_000, out: 1}
        if held is not None:
            carry[held] = -1
        program.equal.append((carry, 0 if t else one.initial.wh))
        held = now

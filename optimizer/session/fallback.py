"""When a session has no answer: every interval's step orders alone."""

from __future__ import annotations

from market.book import Book
from market.pricing import Rule
from market.sessions import Schedule, SessionClearing, SessionProblem
from optimizer.clearing import clear
from optimizer.problem import Clearing, Problem


def clear_steps_alone(problem: SessionProblem) -> SessionClearing:
    """Clear every interval's step orders by themselves (uniform); all else is rejected.

    The gap is given as 1,000,000 ppm: nothing is known of it.

    Raises:
        SolverError: an interval has no answer.
    """
    found = [_interval(problem, t) for t in range(problem.book.session.intervals)]
    schedules = {
        block.order_id: Schedule(block.start, (0,) * len(block.profile_wh))
        for block in problem.book.blocks
    }
    for order in problem.book.flexible:
        schedules[order.order_id] = Schedule(order.start, (0,) * (order.deadline - order.start))
    for storage in problem.book.storages:
        schedules[storage.order_id] = Schedule(0, (0,) * len(found))
    for step in problem.book.steps:
        sign = 1 if step.order.side == "bid" else -1
        wh = sign * found[step.index].allocations[step.order_id]
        schedules[step.order_id] = Schedule(step.index, (wh,))
    return SessionClearing(
        session=problem.book.session,
        prices=tuple(clearing.price for clearing in found),
        price_intervals=tuple(clearing.price_interval for clearing in found),
        schedules=dict(sorted(schedules.items())),
        trades=tuple(clearing.trades for clearing in found),
        grid_import=tuple(clearing.grid_import for clearing in found),
        grid_export=tuple(clearing.grid_export for clearing in found),
        accepted_ppm=dict.fromkeys(sorted(b.order_id for b in problem.book.blocks), 0),
        paradoxically_rejected={},
        withdrawn=(),
        stored_wh={
            storage.order_id: (storage.initial.wh,) * len(found)
            for storage in sorted(problem.book.storages, key=lambda storage: storage.order_id)
        },
        welfare_micro=sum(clearing.welfare_micro for clearing in found),
        gap_ppm=1_000_000,
        optimal=False,
        fallback=True,
    )


def _interval(problem: SessionProblem, t: int) -> Clearing:
    book = Book(tuple(step.order for step in problem.book.steps if step.index == t))
    floor = None if problem.floors is None else problem.floors[t]
    ceiling = None if problem.ceilings is None else problem.ceilings[t]
    return clear(Problem(book, Rule.UNIFORM, problem.tie_key, floor, ceiling))

"""A district in forward mode, short orders for its sessions, and a search of a few lines.

``by_interval`` clears steps alone, interval by interval: enough where a test is about the way of
orders. The real engine clears everything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlmodel import select

from app.jobs.forward import run_sessions
from app.services.forward import orders as forward_orders
from app.services.forward.book import Block, Content, Flexible, Steps, Storage, Wanted
from app.store import forward
from app.tables import ForwardFillRow, ForwardOrderRow, ForwardResultRow, ForwardSessionRow
from market.book import Book
from market.pricing import Rule
from market.sessions import Schedule, SessionClearing, SessionProblem
from metering.interval import LENGTH_MS, Interval
from optimizer.clearing import clear
from optimizer.problem import Problem
from tests.app.district_kit import CEILING, FEED_IN, START, Kit

HOUR = START.start_ms
MIDDLE = (CEILING + FEED_IN) // 2
FIRST = "2026-06-23T10:00:00Z"  # the first session that a district of 09:00 can enter
SETTINGS: dict[str, object] = {"mode": "forward", "session_intervals": 4, "gate_closure_s": 900}


class ForwardKit(Kit):
    """Hourly sessions; the gate closes 15 minutes before; steps of a quarter are ``live``."""

    def __init__(self, folder: Path, url: str, **changes: Any) -> None:
        super().__init__(folder, url, changes={**SETTINGS, **changes})

    def run(self) -> None:
        """Let sessions go as far as they can, without the district around them."""
        run_sessions(self.house, by_interval)

    def settle(self) -> None:
        self.run()
        super().settle()

    def enter(self, who: str, content: Content, own_id: str = "", first: str = FIRST) -> str:
        wanted = [Wanted(own_id, self.homes[who].point, content)]
        changed = forward_orders.enter(self.house, who, who, first, wanted)
        return changed[0] if changed else ""

    def session_row(self, first: str = FIRST) -> ForwardSessionRow:
        (row,) = self.rows(ForwardSessionRow, ForwardSessionRow.first == first)
        return row

    def versions(self, first: str = FIRST) -> list[tuple[str, int, str, str]]:
        query = select(ForwardOrderRow).where(ForwardOrderRow.session == first)
        rows = self.ask(lambda session: session.exec(query).all())
        return sorted((row.order_id, row.version, row.state, row.entered_by) for row in rows)

    def outcome(self, first: str = FIRST) -> dict[str, str]:
        rows = self.rows(ForwardResultRow, ForwardResultRow.session == first)
        return {row.order_id: row.outcome for row in rows}

    def fills(self, first: str = FIRST) -> dict[tuple[str, str], tuple[int, int]]:
        rows = self.rows(ForwardFillRow, ForwardFillRow.session == first)
        return {(row.order_id, row.interval[11:16]): (row.wh, row.local_wh) for row in rows}

    def prices(self, first: str = FIRST) -> list[int | None]:
        rows = self.ask(lambda session: forward.prices(session, first))
        return [row.price_micro_per_kwh for row in rows]


def steps(side: Any, *wh: int, limit: int, start: int = 0) -> Steps:
    return Steps(
        side=side,
        start=start,
        profile_wh=wh,
        limits_micro_per_kwh=tuple(limit if each else 0 for each in wh),
    )


def block(side: Any, *wh: int, limit: int, least_ppm: int = 1_000_000, parent: str = "") -> Block:
    return Block(
        side=side,
        start=0,
        profile_wh=wh,
        limit_micro_per_kwh=limit,
        min_acceptance_ppm=least_ppm,
        parent=parent,
    )


def flexible(energy_wh: int, power_w: int, deadline: int, *, limit: int) -> Flexible:
    return Flexible(
        energy_wh=energy_wh, power_w=power_w, start=0, deadline=deadline, limit_micro_per_kwh=limit
    )


def storage(capacity_wh: int, power_w: int) -> Storage:
    return Storage(
        capacity_wh=capacity_wh,
        initial_wh=0,
        least_final_wh=0,
        charge_w=power_w,
        discharge_w=power_w,
        efficiency_ppm=900_000,
        least_gain_micro_per_kwh=0,
    )


def interval(number: int, first: str = FIRST) -> str:
    """The key of a session's interval, from 0."""
    return Interval.containing_ms(Interval.parse(first).start_ms + number * LENGTH_MS).key


def by_interval(problem: SessionProblem) -> SessionClearing:
    """Clear each interval's steps by itself, as the interval's own market would."""
    session = problem.book.session
    found = [
        clear(
            Problem(
                Book(tuple(step.order for step in problem.book.steps if step.index == index)),
                Rule.UNIFORM,
                session.interval(index).key.encode(),
                problem.floors[index] if problem.floors else None,
                problem.ceilings[index] if problem.ceilings else None,
            )
        )
        for index in range(session.intervals)
    ]
    return SessionClearing(
        session=session,
        prices=tuple(each.price for each in found),
        price_intervals=tuple(each.price_interval for each in found),
        schedules={
            step.order_id: Schedule(
                step.index,
                (
                    (1 if step.order.side == "bid" else -1)
                    * found[step.index].allocations[step.order_id],
                ),
            )
            for step in problem.book.steps
        },
        trades=tuple(each.trades for each in found),
        grid_import=tuple(each.grid_import for each in found),
        grid_export=tuple(each.grid_export for each in found),
        accepted_ppm={},
        paradoxically_rejected={},
        withdrawn=(),
        stored_wh={},
        welfare_micro=sum(each.welfare_micro for each in found),
        gap_ppm=0,
        optimal=True,
    )

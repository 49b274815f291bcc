"""Forward sessions: opened, closed at their gate, cleared in one auction, followed to the end."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from sqlmodel import Session

from app.jobs.seal import make_checkpoint
from app.services.alarms import alarm
from app.services.credit import eligible
from app.services.forward import results as forward_results
from app.services.forward.book import buys, row_id, session_of, to_book
from app.services.forward.calendar import Span, gate_ms, next_span
from app.services.forward.forecast import enter_forecasts
from app.services.forward.results import LEFT_OUT, Outcome, outcomes, without_contracts
from app.services.house import ENGINE_VERSION, House
from app.store import forward, log, people, registry, tariffs
from app.tables import (
    ForwardFillRow,
    ForwardOrderRow,
    ForwardPriceRow,
    ForwardResultRow,
    ForwardSessionRow,
    ForwardTradeRow,
)
from market.order import GRID
from market.session_orders import SessionError
from market.sessions import SessionBook, SessionClearing, SessionProblem
from market.tariff import price_bounds
from metering.interval import Interval
from optimizer.compiled import CompileError, SolverError

RULE: Final = "uniform"
GAP_PPM: Final = 1_000
_REASON: Final = "the credit line was used up when the gate closed, so that nothing could be bought"
_MOVED: Final = "the metering point changes hands in this session, or did before it"
_STOPPING: Final = (CompileError, SessionError, SolverError)
# A session is where the slowest of its intervals is; `cleared` and `delivered` go by the clock.
_FOLLOWED: Final = ("cleared", "delivered", "metered", "settled", "sealed")
_REACHED: Final = {
    "metered": ("metered", "cleared", "settled", "sealed", "final"),
    "settled": ("settled", "sealed", "final"),
    "sealed": ("sealed", "final"),
    "final": ("final",),
}

Solve = Callable[[SessionProblem], SessionClearing]


def run_sessions(house: House, solve: Solve) -> None:
    """Take every session as far as it can go at the district's time, and open the next one."""
    for first in _firsts(house, "open"):
        _close(house, first)
    for first in _firsts(house, "closed"):
        try:
            clear_closed(house, first, solve)
        except _STOPPING as error:
            alarm(house, f"session/{first}", f"the session of {first} stands still: {error}")
            _give_up_late(house, first)
    _open_next(house)


def follow_sessions(house: House) -> None:
    """Let the cleared sessions' states follow the clock and their intervals."""
    for first in _firsts(house, *_FOLLOWED):
        _follow(house, first)


def _firsts(house: House, *states: str) -> list[str]:
    with house.database.read() as session:
        return [row.first for row in forward.in_state(session, *states)]


def _open_next(house: House) -> None:
    """Open the first session whose gate is still open, unless it is there."""
    settings = house.settings
    if settings.mode != "forward":
        return
    span = next_span(
        house.clock.now_ms(), settings.gate_closure_s, settings.session_intervals, settings.tz
    )
    with house.database.read() as session:
        if _is_held(session, span):
            return
    with house.database.write() as session:
        people.district(session, lock=True)  # one worker at a time opens sessions
        if not _is_held(session, span):
            session.add(
                ForwardSessionRow(
                    first=span.first.key,
                    last=span.last.key,
                    intervals=span.intervals,
                    gate_ms=gate_ms(span, settings.gate_closure_s),
                    state="open",
                    rule=RULE,
                )
            )


def _is_held(session: Session, span: Span) -> bool:
    """Return whether some session reaches to the span or beyond, as after a change of settings."""
    newest = forward.newest(session, 1)
    return bool(newest) and newest[0].last >= span.first.key


def _close(house: House, first: str) -> None:
    """Close a gate whose time has come: its orders are final, those by forecast among them."""
    now_ms = house.clock.now_ms()
    with house.database.read() as session:
        row = forward.get(session, first)
        if row is None or now_ms < row.gate_ms:
            return
    with house.database.write() as session:
        held_by = forward.lock(session, first, "open")
        if held_by is None:
            return
        enter_forecasts(house, session, held_by)
        solvent, holders = eligible(session), registry.holders(session, first, held_by.last)
        for order in forward.entered(forward.final_orders(session, first)):
            if holders.get(order.point) != order.participant:
                session.add(_result(order, LEFT_OUT, _MOVED))
            elif buys(order) and order.participant not in solvent:
                session.add(_result(order, LEFT_OUT, _REASON))
        held_by.state = "closed"


def clear_closed(house: House, first: str, solve: Solve) -> None:
    """Clear a closed session, and write all of what came of it, or nothing.

    The orders cannot change any more, so that the search runs outside any transaction and the
    district goes on meanwhile.

    Raises:
        SessionError, CompileError, SolverError: the session stands still as ``closed``.
    """
    with house.database.read() as session:
        held_by = forward.get(session, first)
        if held_by is None or held_by.state != "closed":
            return
        final = forward.entered(forward.final_orders(session, first))
        left_out = {row.order_id for row in forward.results(session, first)}
        rows = [row for row in final if row.order_id not in left_out]
        given = _problem(house, session, to_book(rows, held_by), rows)
    clearing = solve(given)
    with house.database.write() as session:
        locked = forward.lock(session, first, "closed")
        if locked is not None:
            _save(house, session, locked, (final, rows), clearing)


def _give_up_late(house: House, first: str) -> None:
    """Close a session that has no outcome when its first interval begins: without any contract.

    Until then it is tried again. Its intervals then settle at everybody's own tariff, and nothing
    behind them waits.
    """
    if house.clock.now_ms() < Interval.parse(first).start_ms:
        return
    with house.database.write() as session:
        locked = forward.lock(session, first, "closed")
        if locked is not None:
            final = forward.entered(forward.final_orders(session, first))
            left_out = {row.order_id for row in forward.results(session, first)}
            rows = [row for row in final if row.order_id not in left_out]
            _save(house, session, locked, (final, rows), without_contracts(session_of(locked)))


def _problem(
    house: House, session: Session, book: SessionBook, rows: Iterable[ForwardOrderRow]
) -> SessionProblem:
    """Return what is to be cleared: the supplier stands at the medians of the tariffs, if it can.

    The (lower) medians of feed-in and of the local ceiling in each interval, over the points that
    have an order. No supplier where there is none, or no room between the two in any interval;
    in one without room it buys and sells at the ceiling.
    """
    points = sorted({row.point for row in rows})
    each = tariffs.over(session, book.session.keys, house.settings.tz)
    bounds = [price_bounds([h[p] for p in points], [h[p] for p in points]) for h in each]
    known = [(low, high) for low, high in bounds if low is not None and high is not None]
    room = any(low <= high for low, high in known)
    return SessionProblem(
        book,
        book.session.first_interval_key.encode(),
        floors=tuple(min(pair) for pair in known) if room else None,
        ceilings=tuple(high for _, high in known) if room else None,
        gap_ppm=GAP_PPM,
        time_limit_s=house.settings.clear_timeout_s,
    )


def _save(
    house: House,
    session: Session,
    held_by: ForwardSessionRow,
    orders: tuple[Sequence[ForwardOrderRow], Sequence[ForwardOrderRow]],
    clearing: SessionClearing,
) -> None:
    """Write results, fills, trades, prices, the log's entry and a checkpoint over it."""
    final, taking_part = orders
    found = list(outcomes(taking_part, clearing))
    session.add_all(_results(taking_part, found))
    fills = [
        ForwardFillRow(session=held_by.first, order_id=each.order_id, **got._asdict())
        for each in found
        for got in each.got
    ]
    session.add_all(fills)
    session.add_all(_trades(held_by, clearing))
    session.add_all(_prices(held_by, clearing))
    session.flush()
    origin = house.settings.origin
    held_by.order_root = forward_results.order_root(origin, final)
    held_by.results_root = forward_results.results_root(
        origin, forward.results(session, held_by.first), fills
    )
    held_by.cleared_ms = house.clock.now_ms()
    held_by.welfare_micro = clearing.welfare_micro
    held_by.gap_ppm = clearing.gap_ppm
    held_by.optimal, held_by.fallback = clearing.optimal, clearing.fallback
    held_by.log_index = log.append(session, "session", _entry(house, held_by, final, clearing))
    held_by.state = "cleared"
    session.flush()
    make_checkpoint(house, session)


def _result(order: ForwardOrderRow, outcome: str, reason: str) -> ForwardResultRow:
    return ForwardResultRow(
        session=order.session,
        order_id=order.order_id,
        version=order.version,
        outcome=outcome,
        reason=reason,
        salt=secrets.token_bytes(32),
    )


def _results(
    rows: Sequence[ForwardOrderRow], found: Sequence[Outcome]
) -> Iterable[ForwardResultRow]:
    for row, each in zip(rows, found, strict=True):
        yield _result(row, each.outcome, each.reason)


def _trades(held_by: ForwardSessionRow, clearing: SessionClearing) -> Iterable[ForwardTradeRow]:
    """Return the trades between participants, by the stored orders' ids."""
    for key, trades in zip(clearing.session.keys, clearing.trades, strict=True):
        local = [trade for trade in trades if GRID not in (trade.seller, trade.buyer)]
        for number, trade in enumerate(local):
            yield ForwardTradeRow(
                session=held_by.first,
                interval=key,
                number=number,
                seller_order=row_id(trade.seller),
                buyer_order=row_id(trade.buyer),
                wh=trade.energy.wh,
            )


def _prices(held_by: ForwardSessionRow, clearing: SessionClearing) -> Iterable[ForwardPriceRow]:
    for key, price, (low, high), trades in zip(
        clearing.session.keys,
        clearing.prices,
        clearing.price_intervals,
        clearing.trades,
        strict=True,
    ):
        yield ForwardPriceRow(
            session=held_by.first,
            interval=key,
            price_micro_per_kwh=None if price is None else price.micro_per_kwh,
            price_low_micro_per_kwh=None if low is None else low.micro_per_kwh,
            price_high_micro_per_kwh=None if high is None else high.micro_per_kwh,
            traded_wh=sum(t.energy.wh for t in trades if GRID not in (t.seller, t.buyer)),
        )


def _entry(
    house: House,
    held_by: ForwardSessionRow,
    final: Sequence[ForwardOrderRow],
    clearing: SessionClearing,
) -> Mapping[str, object]:
    """Return the log's entry of a session (``docs/protocol.md``, "Session entry")."""
    return {
        "cleared_ms": held_by.cleared_ms,
        "district": house.settings.origin,
        "engine_version": ENGINE_VERSION,
        "fallback": int(clearing.fallback),
        "first": held_by.first,
        "gap_ppm": clearing.gap_ppm,
        "intervals": held_by.intervals,
        "order_root": (held_by.order_root or b"").hex(),
        "orders": len(final),
        "prices": [None if price is None else price.micro_per_kwh for price in clearing.prices],
        "results_root": (held_by.results_root or b"").hex(),
        "rule": held_by.rule,
    }


def _follow(house: House, first: str) -> None:
    """Let a session's state follow the clock and its intervals."""
    with house.database.read() as session:
        row = forward.get(session, first)
        if row is None or (reached := _reached(house, session, row)) == row.state:
            return
    with house.database.write() as session:
        held_by = forward.lock(session, first, row.state)
        if held_by is not None:
            held_by.state = reached


def _reached(house: House, session: Session, row: ForwardSessionRow) -> str:
    if house.clock.now_ms() < Interval.parse(row.last).end_ms:
        return row.state
    states = forward.interval_states(session, row)
    reached = "delivered"
    for state, enough in _REACHED.items():
        if len(states) == row.intervals and set(states) <= set(enough):
            reached = state
    return reached

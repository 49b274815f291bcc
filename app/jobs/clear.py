"""metered -> cleared: the order book from metered energies, and its clearing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlmodel import Session

from app.jobs.deliver import deliver_interval
from app.jobs.share import share
from app.services.alarms import alarm_with
from app.services.credit import eligible
from app.services.forecasts.prices import expected_price
from app.services.house import House
from app.services.market.prices import hub_prices, one_price
from app.store import agents, contracts, intervals, leaves, market
from app.tables import IntervalRow
from ledger_client.merkle import root
from market.agents import Strategy, net_limits, with_wishes
from market.book import Book
from market.contracts import Contract, match_contracts
from market.money import Price
from market.order import Order, Side
from market.parties import MeteredPoint, metered_book, own_transfers
from market.trade import Trade, traded_wh
from optimizer.clearing import NO_ANSWER, clear
from optimizer.fallback import fall_back
from optimizer.metered import fees, metered_problem, payable
from optimizer.problem import Clearing, Fees, Problem


class _Asked(NamedTuple):
    """What the market of one interval is asked, as a reading transaction found it."""

    full: Book
    standing: Mapping[str, agents.Version]
    agreed: Sequence[Contract]
    matched: Sequence[tuple[str, Trade]]  # by contract, before the book
    book: Book  # what contracts left, at the limits at which it is cleared
    given: Problem


class _Answer(NamedTuple):
    """How a market was cleared, and why by the fallback ('': by the engine)."""

    clearing: Clearing
    fault: str


def clear_interval(house: House, key: str) -> None:
    """Clear one metered interval; does nothing if that was done.

    What is metered cannot change any more, so that the engine works outside any transaction and
    readings come in meanwhile.
    """
    with house.database.read() as session:
        found = intervals.get(session, key)
        asked = _ask(house, session, found) if _is_of_the_market(found) else None
    answer = _answer(house, asked.given) if asked else None
    with house.database.write() as session:
        row = intervals.lock(session, key, "metered")
        if row is None:
            return
        if asked is None or answer is None:
            _clear_otherwise(house, session, row)
        else:
            _write(house, session, row, asked, answer)
        row.state = "cleared"


def _is_of_the_market(row: IntervalRow) -> bool:
    return row.state == "metered" and row.mode not in ("sharing", "forward")


def _clear_otherwise(house: House, session: Session, row: IntervalRow) -> None:
    """Share out or deliver an interval, where no engine is asked."""
    points, solvent = market.metered_points(session, row.key), eligible(session)
    step = share if row.mode == "sharing" else deliver_interval
    step(house, session, row, points, solvent)


def _ask(house: House, session: Session, row: IntervalRow) -> _Asked:
    """Return what the metered market of an interval is cleared from."""
    points = market.metered_points(session, row.key)
    standing = agents.holding(session, row.key)
    full = _book(house, session, row, points, standing, eligible(session))
    agreed = contracts.holding(session, row.key)
    matched, rest = match_contracts(full.orders, agreed, row.key.encode())
    book = payable(Book(rest), row.rule, points)
    given = metered_problem(row.key, row.rule, book, points)
    return _Asked(full, standing, agreed, matched, book, given)


def _write(
    house: House, session: Session, row: IntervalRow, asked: _Asked, answer: _Answer
) -> None:
    """Write the orders, trades, prices and order root of an interval of the metered market."""
    if answer.fault:
        alarm_with(house, session, f"{row.key}/fallback", answer.fault)
    local = [
        *((trade, name) for name, trade in asked.matched),
        *((trade, None) for trade in answer.clearing.local_trades),
    ]
    traded = traded_wh(trade for trade, _ in local)
    orders = market.write_orders(
        session,
        row.key,
        (
            market.Offered(
                order,
                traded[order.order_id],
                asked.standing[order.point].version,
                asked.agreed,
            )
            for order in _at_limits_of(asked.book, asked.full)
        ),
    )
    market.write_trades(session, row.key, local)
    _write_prices(row, asked.book, answer.clearing)
    row.traded_wh = sum(trade.energy.wh for trade, _ in local)
    row.order_root = root(leaves.order_hashes(house.settings.origin, orders))


def _at_limits_of(book: Book, full: Book) -> list[Order]:
    """Return all orders by id, at the limits at which what contracts left of them was cleared."""
    limits = {order.order_id: order.limit for order in book.orders}
    return [
        replace(order, limit=limits.get(order.order_id, order.limit))
        for order in sorted(full.orders, key=lambda order: order.order_id)
    ]


def _answer(house: House, given: Problem) -> _Answer:
    """Clear, by the fallback where the engine gives no answer: every interval closes."""
    try:
        return _Answer(clear(given, time_limit_s=house.settings.clear_timeout_s), "")
    except NO_ANSWER as error:
        key = given.tie_key.decode()
        text = f"{key} was closed by the fallback rule, since {given.rule} gave no answer: {error}"
        return _Answer(fall_back(given), text)


def _write_prices(row: IntervalRow, book: Book, clearing: Clearing) -> None:
    """Write the one price of all trades, or null, and every hub's where places matter."""
    hubs = hub_prices(book, clearing)
    low, high = clearing.price_interval
    row.price_micro_per_kwh = one_price(clearing.local_trades, hubs)
    row.price_low_micro_per_kwh = low.micro_per_kwh if low else None
    row.price_high_micro_per_kwh = high.micro_per_kwh if high else None
    row.hub_prices = market.hub_prices_text(hubs)
    row.fallback = clearing.fallback or None


def _book(
    house: House,
    session: Session,
    row: IntervalRow,
    points: Sequence[MeteredPoint],
    standing: Mapping[str, agents.Version],
    eligible: frozenset[str],
) -> Book:
    """Return the book at the standing limits, wishes and places included where any matters.

    The bids of those whose credit is used up are left out: they stay on their tariff.
    """
    stands = {p.point: standing[p.point].standing for p in points}
    tick = Price(house.settings.price_tick_micro_per_kwh)
    limits = net_limits(
        stands,
        {p.point: p.tariff for p in points},
        _expected(session, row.key, standing.values()),
        tick,
    )
    full = metered_book(points, own_transfers(points), limits)
    kept = [o for o in full.orders if o.side is Side.OFFER or o.participant in eligible]
    book = Book(tuple(kept))
    return with_wishes(book, stands, placed=fees(book, row.rule, points) != Fees())


def _expected(session: Session, key: str, standing: Iterable[agents.Version]) -> Price | None:
    """Return the interval's expected price where some strategy asks for it."""
    asked = (each.standing.instruction.strategy is Strategy.BY_FORECAST for each in standing)
    return expected_price(session, key) if any(asked) else None

"""metered -> cleared: the order book from metered energies, and its clearing."""

from __future__ import annotations

from collections.abc import Iterable

from sqlmodel import Session

from app.services.house import House
from app.store import intervals, journal, leaves, market, people
from ledger_client.merkle import root
from market.book import Book
from market.order import GRID, Side
from market.parties import MeteredPoint, metered_book, own_transfers
from market.pricing import Rule
from optimizer.clearing import Problem, clear


def clear_interval(house: House, key: str) -> None:
    """Clear one metered interval; does nothing if that was done."""
    with house.database.write() as session:
        row = intervals.lock(session, key, "metered")
        if row is None:
            return
        points = market.metered_points(session, key)
        book = _book(points, _eligible(session, house.settings.credit_limit_micro))
        clearing = clear(problem(key, row.rule, book, points))
        orders = [
            market.order_row(key, order, clearing.allocations.get(order.order_id, 0))
            for order in sorted(book.orders, key=lambda order: order.order_id)
        ]
        local = [trade for trade in clearing.trades if GRID not in (trade.seller, trade.buyer)]
        session.add_all(orders)
        session.add_all(market.trade_row(key, n, trade) for n, trade in enumerate(local))
        low, high = clearing.price_interval
        row.price_micro_per_kwh = clearing.price.micro_per_kwh if local and clearing.price else None
        row.price_low_micro_per_kwh = low.micro_per_kwh if low else None
        row.price_high_micro_per_kwh = high.micro_per_kwh if high else None
        row.traded_wh = sum(trade.energy.wh for trade in local)
        row.order_root = root(leaves.order_hashes(house.settings.origin, orders))
        row.state = "cleared"


def problem(key: str, rule: str, book: Book, points: Iterable[MeteredPoint]) -> Problem:
    """Return an interval's clearing problem.

    Its floor is the highest feed-in and its ceiling the lowest local ceiling among the tariffs of
    those who trade, so that nobody is worse off than on their own tariff.
    """
    tariffs = {point.point: point.tariff for point in points}
    sellers = [tariffs[order.point].floor for order in book.orders if order.side is Side.OFFER]
    buyers = [tariffs[order.point].ceiling for order in book.orders if order.side is Side.BID]
    return Problem(
        book=book,
        rule=Rule(rule),
        tie_key=key.encode(),
        floor=max(sellers, default=None),
        ceiling=min(buyers, default=None),
    )


def _book(points: Iterable[MeteredPoint], eligible: frozenset[str]) -> Book:
    """Return the book less the bids of those whose credit is used up: they stay on their tariff."""
    points = list(points)
    full = metered_book(points, own_transfers(points), {})
    return Book(
        tuple(
            order
            for order in full.orders
            if order.side is Side.OFFER or order.participant in eligible
        )
    )


def _eligible(session: Session, credit_limit_micro: int) -> frozenset[str]:
    """Return who may buy locally: everybody whose wallet is above the end of their credit line.

    Judged on the journal as the intervals before left it, since consumption cannot be un-cleared.
    """
    wallets = journal.balances(session, "wallet:")
    return frozenset(
        participant
        for participant in people.participants(session)
        if wallets.get(f"wallet:{participant}", 0) > -credit_limit_micro
    )

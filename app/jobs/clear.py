"""metered -> cleared: the order book from metered energies, and its clearing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from statistics import median_low

from sqlmodel import Session

from app.services.house import House
from app.store import intervals, journal, leaves, market, people
from ledger_client.merkle import root
from market.book import Book
from market.order import Side
from market.parties import MeteredPoint, metered_book, own_transfers
from market.pricing import Rule
from market.trade import Trade
from optimizer.clearing import clear
from optimizer.problem import Problem


def clear_interval(house: House, key: str) -> None:
    """Clear one metered interval; does nothing if that was done."""
    with house.database.write() as session:
        row = intervals.lock(session, key, "metered")
        if row is None:
            return
        points = market.metered_points(session, key)
        book = _book(points, _eligible(session))
        clearing = clear(problem(key, row.rule, book, points))
        local = clearing.local_trades
        traded_wh = _traded_wh(local)
        orders = [
            market.order_row(key, order, traded_wh[order.order_id])
            for order in sorted(book.orders, key=lambda order: order.order_id)
        ]
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

    Its floor and ceiling are the (lower) medians of the sellers' feed-in prices and of the buyers'
    local ceilings: one odd tariff moves nobody else's price, and everybody's own tariff is their
    order's limit. Where they leave no room between them, nobody trades.
    """
    tariffs = {point.point: point.tariff for point in points}
    floors = [tariffs[order.point].floor for order in book.orders if order.side is Side.OFFER]
    ceilings = [tariffs[order.point].ceiling for order in book.orders if order.side is Side.BID]
    floor = median_low(floors) if floors else None
    ceiling = median_low(ceilings) if ceilings else None
    no_room = floor is not None and ceiling is not None and floor > ceiling
    return Problem(
        book=Book(()) if no_room else book,
        rule=Rule(rule),
        tie_key=key.encode(),
        floor=None if no_room else floor,
        ceiling=None if no_room else ceiling,
    )


def _traded_wh(trades: Iterable[Trade]) -> Counter[str]:
    """Return what each order sold or bought locally."""
    traded: Counter[str] = Counter()
    for trade in trades:
        traded[trade.seller] += trade.energy.wh
        traded[trade.buyer] += trade.energy.wh
    return traded


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


def _eligible(session: Session) -> frozenset[str]:
    """Return who may buy locally: everybody whose wallet is above the end of their credit line.

    Judged on the journal as the intervals before left it, since consumption cannot be un-cleared.
    """
    wallets = journal.balances(session, "wallet:")
    return frozenset(
        participant
        for participant, row in people.participants(session).items()
        if wallets.get(f"wallet:{participant}", 0) > -row.credit_limit_micro
    )

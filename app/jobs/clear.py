"""metered -> cleared: the order book from metered energies, and its clearing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median_low
from typing import Final, NamedTuple

from sqlmodel import Session

from app.jobs.deliver import deliver_interval
from app.jobs.share import share
from app.services.alarms import alarm_with
from app.services.forecasts.prices import expected_price
from app.services.house import House
from app.store import agents, contracts, intervals, journal, leaves, market, people
from app.tables import IntervalRow
from ledger_client.merkle import root
from ledger_client.verify import HubPrice
from market.agents import Strategy, net_limits, with_wishes
from market.book import Book
from market.contracts import Contract, match_contracts
from market.money import Price
from market.order import Order, Side
from market.parties import MeteredPoint, metered_book, own_transfers
from market.place import Product
from market.pricing import PricingError, Rule
from market.trade import Trade
from optimizer.clearing import clear
from optimizer.compiled import CompileError, SolverError
from optimizer.fallback import fall_back
from optimizer.problem import Clearing, Problem

# The engine gave no answer: the fallback closes the interval, and people are told.
_NO_ANSWER: Final = (CompileError, PricingError, SolverError)


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


def problem(key: str, rule: str, book: Book, points: Iterable[MeteredPoint]) -> Problem:
    """Return an interval's clearing problem. Where its bounds leave no room, nobody trades."""
    floor, ceiling = bounds(book, points)
    no_room = floor is not None and ceiling is not None and floor > ceiling
    return Problem(
        book=Book(()) if no_room else book,
        rule=Rule(rule),
        tie_key=key.encode(),
        floor=None if no_room else floor,
        ceiling=None if no_room else ceiling,
    )


def bounds(book: Book, points: Iterable[MeteredPoint]) -> tuple[Price | None, Price | None]:
    """Return the floor and the ceiling of a book.

    They are the (lower) medians of the sellers' feed-in prices and of the buyers' local ceilings:
    one odd tariff moves nobody else's price, and everybody's own tariff bounds their order.
    """
    tariffs = {point.point: point.tariff for point in points}
    floors = [tariffs[order.point].floor for order in book.orders if order.side is Side.OFFER]
    ceilings = [tariffs[order.point].ceiling for order in book.orders if order.side is Side.BID]
    return (
        median_low(floors) if floors else None,
        median_low(ceilings) if ceilings else None,
    )


def payable(book: Book, rule: str, points: Iterable[MeteredPoint]) -> Book:
    """Return the book with no bid above the ceiling where each buyer pays what they bid.

    The rule asks no more than the ceiling of anybody; so the limit that is sealed is the price.
    """
    ceiling = bounds(book, points)[1]
    if ceiling is None or Rule(rule) is not Rule.PAY_AS_BID:
        return book
    return Book(
        tuple(
            replace(order, limit=min(order.limit, ceiling)) if order.side is Side.BID else order
            for order in book.orders
        )
    )


def _ask(house: House, session: Session, row: IntervalRow) -> _Asked:
    """Return what the metered market of an interval is cleared from."""
    points = market.metered_points(session, row.key)
    standing = agents.holding(session, row.key)
    full = _book(house, session, row, points, standing, eligible(session))
    agreed = contracts.holding(session, row.key)
    matched, rest = match_contracts(full.orders, agreed, row.key.encode())
    book = payable(Book(rest), row.rule, points)
    given = problem(row.key, row.rule, book, points)
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
    traded_wh = _traded_wh(trade for trade, _ in local)
    orders = [
        market.order_row(
            row.key,
            order,
            traded_wh[order.order_id],
            asked.standing[order.point].version,
            asked.agreed,
        )
        for order in _at_limits_of(asked.book, asked.full)
    ]
    session.add_all(orders)
    session.add_all(
        market.trade_row(row.key, n, trade, contract) for n, (trade, contract) in enumerate(local)
    )
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
    except _NO_ANSWER as error:
        key = given.tie_key.decode()
        text = f"{key} was closed by the fallback rule, since {given.rule} gave no answer: {error}"
        return _Answer(fall_back(given), text)


def _write_prices(row: IntervalRow, book: Book, clearing: Clearing) -> None:
    """Write the one price of all trades, or null, and every hub's where places matter."""
    hubs = hub_prices(book, clearing)
    low, high = clearing.price_interval
    row.price_micro_per_kwh = one_price(clearing, hubs)
    row.price_low_micro_per_kwh = low.micro_per_kwh if low else None
    row.price_high_micro_per_kwh = high.micro_per_kwh if high else None
    row.hub_prices = market.hub_prices_text(hubs)
    row.fallback = clearing.fallback or None


def one_price(clearing: Clearing, hubs: Iterable[HubPrice]) -> int | None:
    """Return the price of all local trades and hubs, None where they differ or nothing trades."""
    prices = {trade.price.micro_per_kwh for trade in clearing.local_trades}
    one = len(prices) == 1 and prices.issuperset(hub.price_micro_per_kwh for hub in hubs)
    return prices.pop() if one else None


def hub_prices(book: Book, clearing: Clearing) -> tuple[HubPrice, ...]:
    """Return what energy cost at each hub with a local trade, where orders say where they stand."""
    if not any(str(order.place) or str(order.wish) for order in book.orders):
        return ()
    traded = {(trade.level, trade.product) for trade in clearing.local_trades}
    return tuple(
        HubPrice(
            level=market.LEVEL_WORDS[hub.place.level],
            price_micro_per_kwh=hub.price.micro_per_kwh,
            product="green" if hub.product is Product.GREEN else "any",
            place=str(hub.place),
        )
        for hub in clearing.hubs
        if (hub.place.level, hub.product) in traded
    )


def _traded_wh(trades: Iterable[Trade]) -> Counter[str]:
    """Return what each order sold or bought locally."""
    traded: Counter[str] = Counter()
    for trade in trades:
        traded[trade.seller] += trade.energy.wh
        traded[trade.buyer] += trade.energy.wh
    return traded


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
    return with_wishes(Book(tuple(kept)), stands)


def _expected(session: Session, key: str, standing: Iterable[agents.Version]) -> Price | None:
    """Return the interval's expected price where some strategy asks for it."""
    asked = (each.standing.instruction.strategy is Strategy.BY_FORECAST for each in standing)
    return expected_price(session, key) if any(asked) else None


def eligible(session: Session) -> frozenset[str]:
    """Return who may buy locally: everybody whose wallet is above the end of their credit line.

    Judged on the journal as the intervals before left it, since consumption cannot be un-cleared.
    """
    wallets = journal.balances(session, "wallet:")
    return frozenset(
        participant
        for participant, row in people.participants(session).items()
        if wallets.get(f"wallet:{participant}", 0) > -row.credit_limit_micro
    )

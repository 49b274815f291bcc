"""An exported interval cleared once more, by what its seal says of mode and rule."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from app.files.interval import IntervalFile
from app.services.market.prices import hub_prices, one_price
from ledger_client.verify import (
    HubPrice,
    LayoutError,
    Order,
    Report,
    Seal,
    UnjudgedError,
    parse,
    require,
)
from market.book import Book
from market.contracts import Contract as Agreement
from market.contracts import match_contracts
from market.delivery import Contract, DeliveryError, settle_contracts
from market.money import Price
from market.order import Order as MarketOrder
from market.order import Side
from market.parties import MeteredPoint, OwnTransfer, metered_book
from market.place import Place, Wish
from market.pricing import Rule
from market.sharing import RULE, Key, Kind, Share, SharingError, share_market
from market.trade import Trade
from metering.interval import LENGTH_MS, Interval
from metering.quantities import Energy
from optimizer.clearing import NO_ANSWER, clear
from optimizer.fallback import fall_back
from optimizer.metered import bounds, metered_problem


@dataclass(frozen=True, slots=True)
class Replayed:
    """What clearing gives: the book, local trades, the one price of all, and every place's."""

    book: Book
    trades: Sequence[Trade]
    price: int | None
    hubs: tuple[HubPrice, ...] = ()


def replay(
    file: IntervalFile,
    seal: Seal,
    orders: Sequence[Order],
    points: Sequence[MeteredPoint],
    own: Sequence[OwnTransfer],
    report: Report,
) -> Replayed:
    """Return what the orders, or the keys or contracts behind them, come to.

    Raises:
        RefusedError: the orders, floor or ceiling are not what meters and tariffs make of them.
        UnjudgedError: the engine gives no answer here, or does not know the rule.
    """
    owners = {point.point: point.participant for point in points}
    for order in orders:
        require(order.point in owners, f"{order.order_id} is of a point outside the roster")
    book = Book(tuple(_market_order(order, owners[order.point]) for order in orders))
    metered = metered_book(points, own, {})
    barred = _buyers(metered) - _buyers(book)
    _needless(file, report)
    report.begin("orders")
    if seal.mode == "sharing":
        return _shared(file, book, points, own, barred)
    if seal.mode == "forward":
        return _delivered(file, book, points, own, barred, report)
    _same_book(book, metered, barred, quantities_only=True)
    if barred:
        report.remark(
            f"{len(barred)} participants drew energy and have no bid: whether their credit line "
            "was used up cannot be told from this file."
        )
    matched, rest = match_contracts(book.orders, agreed(orders, owners), seal.interval.encode())
    found = _cleared(file, seal, Book(rest), points, report)
    trades = (*(trade for _, trade in matched), *found.trades)
    return replace(found, book=book, trades=trades)


def agreed(orders: Sequence[Order], owners: Mapping[str, str]) -> list[Agreement]:
    """Return the bilateral contracts that the leaves of the orders on both sides name.

    One that a single order of a side names is that point's, as far as this interval goes.

    Raises:
        RefusedError: its two sides name other terms.
    """
    named: dict[str, dict[str, list[Order]]] = {}
    terms: dict[str, set[tuple[int, int]]] = {}
    for order in orders:
        for item in order.agreed:
            named.setdefault(item.contract, {}).setdefault(order.side, []).append(order)
            terms.setdefault(item.contract, set()).add((item.price_micro_per_kwh, item.cap_wh))
    found = []
    for contract, sides in sorted(named.items()):
        require(len(terms[contract]) == 1, f"the orders of {contract} name different terms")
        if len(sides) == 2:
            (price, cap), offers, bids = *terms[contract], sides["offer"], sides["bid"]
            found.append(
                Agreement(
                    contract,
                    owners[offers[0].point],
                    owners[bids[0].point],
                    Price(price),
                    Energy(cap),
                    offers[0].point if len(offers) == 1 else "",
                    bids[0].point if len(bids) == 1 else "",
                )
            )
    return found


def _needless(file: IntervalFile, report: Report) -> None:
    """Refuse what the mode has no use for: nothing would check it."""
    for mode, names in (
        ("metered", ("floor_micro_per_kwh", "ceiling_micro_per_kwh")),
        ("forward", ("contracts", "session")),
        ("sharing", ("sharing_keys",)),
    ):
        for name in names if file.mode != mode else ():
            report.begin(name)
            require(getattr(file, name) in (None, ()), f"{file.mode} mode has none")


def _buyers(book: Book) -> frozenset[str]:
    return frozenset(order.participant for order in book.orders if order.side is Side.BID)


def _market_order(order: Order, participant: str) -> MarketOrder:
    return MarketOrder(
        order.order_id,
        Side(order.side),
        participant,
        order.point,
        Energy(order.wh),
        Price(order.limit_micro_per_kwh),
        Place.parse(order.place),
        Wish.parse(order.wish),
    )


def _same_book(
    says: Book, due: Book, barred: Collection[str], *, quantities_only: bool = False
) -> None:
    """Compare the sealed book with the due one; bids of the barred may be missing."""
    wanted = {
        order.order_id: order
        for order in due.orders
        if order.side is Side.OFFER or order.participant not in barred
    }
    found = {order.order_id: order for order in says.orders}
    for order_id in sorted(wanted.keys() ^ found.keys()):
        has = "has no metered energy behind it" if order_id in found else "is missing"
        require(order_id in wanted and order_id in found, f"{order_id} {has}")
    for order_id, order in found.items():
        other = wanted[order_id]
        says_so = f"{order_id} is of {order.quantity}, its meter leaves {other.quantity}"
        require(order.quantity == other.quantity, says_so)
        same = quantities_only or order.limit == other.limit
        limits = f"limit {order.limit.micro_per_kwh}, due is {other.limit.micro_per_kwh}"
        require(same, f"{order_id} has the {limits}")


def _cleared(
    file: IntervalFile, seal: Seal, book: Book, points: Sequence[MeteredPoint], report: Report
) -> Replayed:
    """Clear a book of the metered market by the sealed rule, or by the fallback."""
    for name, says, due in zip(
        ("floor_micro_per_kwh", "ceiling_micro_per_kwh"),
        (file.floor_micro_per_kwh, file.ceiling_micro_per_kwh),
        bounds(book, points),
        strict=True,
    ):
        report.begin(name)
        micro = None if due is None else due.micro_per_kwh
        require(says == micro, f"the file says {says}, the tariffs give {micro}")
    report.begin("clearing")
    if seal.rule not in set(Rule):
        raise UnjudgedError(f"this version does not know the rule {seal.rule!r}")
    try:
        given = metered_problem(seal.interval, seal.rule, book, points)
        found = fall_back(given) if seal.fallback else clear(given)
    except NO_ANSWER as error:
        raise UnjudgedError(f"the engine gives no answer here: {error}") from error
    if seal.fallback:
        report.remark("It was closed by the fallback rule, since the engine gave no answer then.")
    hubs = hub_prices(book, found)
    return Replayed(book, found.local_trades, one_price(found.local_trades, hubs), hubs)


def _shared(
    file: IntervalFile,
    book: Book,
    points: Sequence[MeteredPoint],
    own: Sequence[OwnTransfer],
    barred: Collection[str],
) -> Replayed:
    """Share the surplus out by the keys in the file, which no seal holds."""
    require(file.rule == RULE, f"the rule {file.rule} is not that of sharing")
    try:
        keys = [
            Key(
                key.generator,
                Kind(key.rule),
                tuple(Share(share.point, share.ppm) for share in key.members),
                bool(key.redistribute),
                Price(key.price_micro_per_kwh),
            )
            for key in file.sharing_keys
        ]
        found = share_market(points, own, keys, barred, file.tie_key.encode())
    except SharingError as error:
        raise LayoutError(f"the sharing keys cannot hold: {error}") from error
    _same_book(book, found.book, ())
    return Replayed(book, found.trades, one_price(found.trades))


def _delivered(
    file: IntervalFile,
    book: Book,
    points: Sequence[MeteredPoint],
    own: Sequence[OwnTransfer],
    barred: Collection[str],
    report: Report,
) -> Replayed:
    """Deliver on the session's contracts at its price, which the log holds."""
    report.begin("session")
    price = _session_price(file)
    report.tick("its price stands in the log")
    report.remark(
        "The session's auction was not run again: its contracts stand as the file has them."
    )
    report.begin("orders")
    contracts = [Contract(item.seller, item.buyer, item.wh) for item in file.contracts]
    limits = {order.order_id: order.limit for order in book.orders}
    try:
        found = settle_contracts(
            points,
            own,
            contracts,
            price,
            limits,
            lambda participant: participant not in barred,
            file.tie_key.encode(),
        )
    except DeliveryError as error:
        raise LayoutError(f"the contracts cannot hold: {error}") from error
    _same_book(book, found.book, ())
    return Replayed(book, found.trades, one_price(found.trades))


def _session_price(file: IntervalFile) -> Price | None:
    """Return what the session's entry says of this interval's price."""
    entry = None if file.session is None else parse(file.session.entry.encode())
    if not isinstance(entry, dict):
        raise LayoutError("a forward interval needs its session's entry")
    first, prices = entry.get("first"), entry.get("prices")
    if not isinstance(first, str) or not isinstance(prices, list):
        raise LayoutError("the session's entry has no first interval or no prices")
    start_ms = Interval.parse(file.interval).start_ms
    index = (start_ms - Interval.parse(first).start_ms) // LENGTH_MS
    require(0 <= index < len(prices), "the session does not hold this interval")
    price = prices[index]
    return Price(price) if isinstance(price, int) else None

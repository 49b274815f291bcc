"""What if: another rule, another limit, more or less energy of one's own, with the real engine.

The book that is cleared is the interval's, but each order of somebody else has the middle of its
band (``market_bands``) in place of its limit. So the answer is made of what the market page shows
anyway, and no number of questions finds out more. Contracts between others are left out for the
same reason; one's own stand as they were. Where every band is one price tick, as where all
stand on one tariff, that is the very book. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.services.market.bands import side_of
from app.tables import OrderRow
from market.book import Book
from market.money import Price, round_half_up
from market.order import Order, OrderError, Side
from market.parties import MeteredPoint, own_transfers
from market.place import Place, Wish
from market.pricing import Rule
from market.settlement import Direction, settle
from market.trade import Trade, traded_wh
from metering.quantities import Energy
from optimizer.clearing import clear
from optimizer.problem import Fees, Problem
from web.ports.market import Outcome, QuestionError

MAX_ORDERS: Final = 20_000  # a larger book is for `wattloom clear`
MAX_PERCENT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Change:
    """What is asked of one participant's orders; None keeps what was.

    Limits in micro-euros per kWh; percentages of the quantity, 100 being what it was.
    """

    rule: Rule | None = None
    bid_limit: int | None = None
    offer_limit: int | None = None
    bid_percent: int = 100
    offer_percent: int = 100

    def of(self, order: Order) -> Order | None:
        """Return an order as changed, None where nothing is left of it.

        Raises:
            QuestionError: a limit or a quantity that no order may have.
        """
        bids = order.side is Side.BID
        limit = self.bid_limit if bids else self.offer_limit
        percent = self.bid_percent if bids else self.offer_percent
        wh = round_half_up(order.quantity.wh * percent, 100)
        try:
            changed = replace(
                order,
                limit=order.limit if limit is None else Price(limit),
                quantity=Energy(max(wh, 1)),
            )
        except OrderError as error:
            raise QuestionError(str(error)) from error
        return changed if wh else None


@dataclass(frozen=True, slots=True)
class Scene:
    """An interval as one participant may ask about it.

    ``problem`` holds the book as seen (:func:`seen`), less what the participant's own contracts
    took of it (``agreed``, which stay as they are); ``book`` is the whole one, and ``points`` are
    the metered ones of all.
    """

    key: str
    participant: str
    problem: Problem
    book: Book
    points: Sequence[MeteredPoint]
    agreed: Sequence[Trade] = ()

    def outcome(self, change: Change) -> Outcome:
        """Return what the participant would have traded and paid.

        Raises:
            QuestionError: the change is no order, or the rule cannot price the book.
            PricingError: the rule cannot price this book.
        """
        changed = {o.order_id: change.of(o) for o in self.problem.book.orders if self._mine(o)}
        orders = [changed.get(o.order_id, o) for o in self.problem.book.orders]
        book = Book(tuple(order for order in orders if order is not None))
        clearing = clear(replace(self.problem, book=book, rule=change.rule or self.problem.rule))
        mine = {order_id for order_id, order in changed.items() if order is not None}
        trades = [t for t in clearing.local_trades if mine & {t.seller, t.buyer}]
        price = clearing.price if clearing.local_trades else None
        return self._settled([*self.agreed, *trades], changed, price)

    def _mine(self, order: Order) -> bool:
        return order.participant == self.participant

    def _settled(
        self,
        trades: Sequence[Trade],
        changed: Mapping[str, Order | None],
        price: Price | None,
    ) -> Outcome:
        """Settle the participant's points, and those of their partners, which trades name."""
        traded = {order_id for t in trades for order_id in (t.seller, t.buyer)}
        partners = {order.point for order in self.book.orders if order.order_id in traded}
        was = {order.order_id: order.quantity.wh for order in self.problem.book.orders}
        points = [
            _changed_point(p, was, changed)
            for p in self.points
            if p.participant == self.participant or p.point in partners
        ]
        own = own_transfers(p for p in self.points if p.participant == self.participant)
        settlement = settle(self.key, points, own, self.book, trades, {}, {})
        statement = next(s for s in settlement.statements if s.participant == self.participant)

        def wh(direction: Direction) -> tuple[int, int]:
            rows = [row for row in statement.metered if row.direction is direction]
            return sum(row.local_wh for row in rows), sum(row.residual_wh for row in rows)

        (bought, drawn), (sold, fed_in) = wh(Direction.IMPORT), wh(Direction.EXPORT)
        return Outcome(
            price_micro_per_kwh=None if price is None else price.micro_per_kwh,
            bought_wh=bought,
            sold_wh=sold,
            drawn_wh=drawn,
            fed_in_wh=fed_in,
            all_in_micro=(statement.sum + statement.memo).micro,
        )


def _changed_point(
    point: MeteredPoint, was: Mapping[str, int], changed: Mapping[str, Order | None]
) -> MeteredPoint:
    """Return a point that drew and fed in as much more or less as its orders say."""

    def more(side: Side) -> Energy:
        order_id = f"{point.point}-{side}"
        if order_id not in changed:
            return Energy(0)
        order = changed[order_id]
        return Energy((order.quantity.wh if order else 0) - was[order_id])

    return replace(
        point,
        imported=point.imported + more(Side.BID),
        exported=point.exported + more(Side.OFFER),
    )


def less(book: Book, agreed: Sequence[Trade]) -> Book:
    """Return a book less what trades took of it."""
    taken = traded_wh(agreed)
    return Book(
        tuple(
            replace(order, quantity=Energy(order.quantity.wh - taken[order.order_id]))
            for order in book.orders
            if order.quantity.wh > taken[order.order_id]
        )
    )


def middles(orders: Sequence[OrderRow], own: frozenset[str]) -> dict[str, int]:
    """Return the middle of their band for others' orders, of the bands that hold several limits."""
    return {
        order.order_id: (band.low_micro_per_kwh + band.high_micro_per_kwh) // 2
        for side in Side
        for band, group in side_of(orders, side, own).bands
        for order in group
        if not band.exact and order.participant not in own
    }


def seen(problem: Problem, middles: Mapping[str, int]) -> Problem:
    """Return the problem as an outsider may know it: one place, others' limits by their bands.

    ``middles`` holds the limits of other people's orders by order id. Places and wishes are left
    out, since few stand at one place: all energy crosses the district, whose fee is in the limits
    of the bids and in the ceiling then.
    """
    fee = problem.fees.district

    def one(order: Order) -> Order:
        limit = Price(middles.get(order.order_id, order.limit.micro_per_kwh))
        net = limit - fee if order.side is Side.BID else limit
        return replace(order, limit=net, place=Place(), wish=Wish())

    return replace(
        problem,
        book=Book(tuple(one(order) for order in problem.book.orders)),
        ceiling=None if problem.ceiling is None else problem.ceiling - fee,
        fees=Fees(),
    )

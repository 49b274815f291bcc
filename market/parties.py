"""Metering points as the market sees them in one interval, and what they bring to the book."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from market.book import Book
from market.errors import MarketError
from market.money import Price
from market.order import Order, Side
from market.place import Place
from market.tariff import Tariff
from market.trade import Trade
from metering.quantities import Energy


class PointError(MarketError):
    """A metering point is refused for good: its energies cannot be settled."""


@dataclass(frozen=True, slots=True)
class MeteredPoint:
    """What a metering point drew and fed in during one interval, and on which tariff it is.

    ``supplier`` sells and buys its residual ('' where a district has one), ``balance_party``
    answers for it, ``place`` is where it stands.

    Raises:
        PointError: a negative energy, or an estimate with an export (estimates export nothing).
    """

    point: str
    participant: str
    imported: Energy
    exported: Energy
    estimated: bool
    tariff: Tariff
    supplier: str = ""
    balance_party: str = ""
    place: Place = Place()

    def __post_init__(self) -> None:
        if min(self.imported, self.exported) < Energy(0):
            raise PointError(f"point {self.point}: metered energy cannot be negative")
        if self.estimated and self.exported.wh:
            raise PointError(f"point {self.point}: an estimate exports nothing")


class OwnTransfer(NamedTuple):
    """Energy that one point of a participant fed in and another one of the same drew."""

    from_point: str
    to_point: str
    wh: int


def own_transfers(points: Iterable[MeteredPoint]) -> tuple[OwnTransfer, ...]:
    """Match the points of each participant among each other, at price 0, before the book.

    In the order of the points' ids, each exporter serves the participant's other importers. A
    point never serves itself, and estimates take no part.
    """
    by_participant: dict[str, list[MeteredPoint]] = defaultdict(list)
    for point in sorted(points, key=lambda p: p.point):
        if not point.estimated:
            by_participant[point.participant].append(point)
    transfers: list[OwnTransfer] = []
    for own in by_participant.values():
        wanted_wh = {p.point: p.imported.wh for p in own}
        for exporter in own:
            left_wh = exporter.exported.wh
            for importer in own:
                wh = min(left_wh, wanted_wh[importer.point]) if importer is not exporter else 0
                left_wh -= wh
                wanted_wh[importer.point] -= wh
                if wh:
                    transfers.append(OwnTransfer(exporter.point, importer.point, wh))
    return tuple(transfers)


def as_near(
    trades: Iterable[Trade], book: Book, points: Iterable[MeteredPoint]
) -> tuple[Trade, ...]:
    """Return trades at the level of the nearest place that holds both points.

    Only where the buyer's local fee goes by it: others stay as they are.
    """
    by_name = {p.point: p for p in points}
    point_of = {order.order_id: by_name[order.point] for order in book.orders}
    found = []
    for trade in trades:
        seller, buyer = point_of[trade.seller], point_of[trade.buyer]
        level = seller.place.level_to(buyer.place) if buyer.tariff.by_level else trade.level
        found.append(replace(trade, level=level))
    return tuple(found)


def metered_book(
    points: Iterable[MeteredPoint],
    own: Iterable[OwnTransfer],
    limits: Mapping[str, Price],
) -> Book:
    """Return the book of metered mode: a bid for what a point drew, an offer for what it fed in.

    ``own`` is left out, estimates never enter, and an order id is ``GSRN-bid`` or ``GSRN-offer``.
    ``limits`` holds standing net limits by order id; without one it is the point's own tariff:
    its ceiling for a bid, its floor for an offer.
    """
    used: dict[str, int] = defaultdict(int)
    for transfer in own:
        used[f"{transfer.from_point}-{Side.OFFER}"] += transfer.wh
        used[f"{transfer.to_point}-{Side.BID}"] += transfer.wh
    orders: list[Order] = []
    for p in sorted(points, key=lambda p: p.point):
        sides = (
            (Side.BID, p.imported.wh, p.tariff.ceiling),
            (Side.OFFER, p.exported.wh, p.tariff.floor),
        )
        for side, metered_wh, default in sides:
            order_id = f"{p.point}-{side}"
            wh = metered_wh - used[order_id]
            if wh and not p.estimated:
                limit = limits.get(order_id, default)
                orders.append(Order(order_id, side, p.participant, p.point, Energy(wh), limit))
    return Book(tuple(orders))

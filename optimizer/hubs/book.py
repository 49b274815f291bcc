"""A book as the hubs see it: the places that matter, stations, and ticks of equal orders.

A place matters if it can trade and makes a difference: some bid and some offer below it may meet
there, and meeting there is cheaper than one level up, or as far as one of them may go, or near
enough to please one that is local first. All other places vanish, so that orders which differ in
nothing else become equal. A *station* is where equal ways begin: the nearest place of an order
that matters, and the farthest that it may use. A *tick* holds the orders of a station with the
same limit and wish; they are told apart only when its energy is shared out to them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from market.order import Order, Side
from market.place import Level, Place, Product
from market.trade import tie_hash
from optimizer.problem import Fees, Problem

ROOT = 0


class Station(NamedTuple):
    """Orders with the same ways: ``places`` from home to the farthest, as numbers of places.

    Bids have the product ANY here: which one they draw is theirs to choose.
    """

    places: tuple[int, ...]
    product: Product
    local_first: bool


class Tick(NamedTuple):
    """Equal orders of one station, in the order of their hashes."""

    station: int
    limit: int
    premium: int
    only: bool
    wants_green: bool
    orders: tuple[Order, ...]
    tie: bytes

    @property
    def wh(self) -> int:
        """How much they want together, in Wh."""
        return sum(order.quantity.wh for order in self.orders)


@dataclass(frozen=True, slots=True)
class HubBook:
    """The places that matter, the district first, and the ticks of both sides by station.

    ``stranded`` are the orders that nobody could ever meet: they get nothing.
    """

    places: tuple[Place, ...]
    offer_stations: tuple[Station, ...]
    bid_stations: tuple[Station, ...]
    offers: tuple[Tick, ...]
    bids: tuple[Tick, ...]
    stranded: tuple[Order, ...]

    def name(self, station: Station) -> str:
        """Return what a station is called where ties are broken by hash."""
        ends = (self.places[station.places[0]], self.places[station.places[-1]])
        words = [f"{place.level.label}:{place}" for place in ends]
        return " ".join([*words, station.product, "local-first" if station.local_first else ""])


def hub_book(problem: Problem) -> HubBook:
    """Return the book of a problem as the hubs see it, whatever the order of its rows."""
    orders = sorted(
        problem.book.orders, key=lambda order: tie_hash(problem.tie_key, order.order_id)
    )
    places = (Place(), *sorted(_places_that_matter(orders, problem.fees)))
    number = {place: i for i, place in enumerate(places)}
    by_station: defaultdict[tuple[Side, Station], list[Order]] = defaultdict(list)
    stranded = []
    for order in orders:
        ways = _ways(order, number)
        is_offer = order.side is Side.OFFER
        station = Station(
            ways,
            order.wish.product if is_offer else Product.ANY,
            order.wish.local_first and not is_offer,
        )
        if ways:
            by_station[order.side, station].append(order)
        else:
            stranded.append(order)
    stations = {
        side: tuple(sorted(station for s, station in by_station if s is side)) for side in Side
    }
    ticks = {
        side: tuple(
            tick
            for i, station in enumerate(stations[side])
            for tick in _ticks(i, by_station[side, station], problem.tie_key)
        )
        for side in Side
    }
    return HubBook(
        places,
        stations[Side.OFFER],
        stations[Side.BID],
        ticks[Side.OFFER],
        ticks[Side.BID],
        tuple(stranded),
    )


def _places_that_matter(orders: Sequence[Order], fees: Fees) -> set[Place]:
    below: defaultdict[Place, list[Order]] = defaultdict(list)
    for order in orders:
        for level in (Level.BUILDING, Level.FEEDER):
            if order.place.level <= level <= order.wish.level:
                below[order.place.at(level)].append(order)
    return {place for place, inside in below.items() if _matters(place.level, inside, fees)}


def _matters(level: Level, inside: Sequence[Order], fees: Fees) -> bool:
    can_trade = len({order.side for order in inside}) == 2
    return can_trade and (
        fees.of(level) < fees.of(Level(level + 1))
        or any(order.wish.level is level for order in inside)
        or any(order.side is Side.BID and order.wish.local_first for order in inside)
    )


def _ways(order: Order, number: dict[Place, int]) -> tuple[int, ...]:
    """Return the places that matter where an order may meet others, nearest first."""
    reach = [level for level in Level if order.place.level <= level <= order.wish.level]
    return tuple(number[p] for level in reach if (p := order.place.at(level)) in number)


def _ticks(station: int, orders: Sequence[Order], tie_key: bytes) -> list[Tick]:
    """Return the ticks of a station in ascending order of limit and wish."""
    equal: defaultdict[tuple[int, int, bool, bool], list[Order]] = defaultdict(list)
    for order in orders:
        wish = order.wish
        bid = order.side is Side.BID
        key = (
            order.limit.micro_per_kwh,
            wish.premium.micro_per_kwh if bid else 0,
            wish.only and bid,
            bid and wish.product is Product.GREEN,
        )
        equal[key].append(order)
    return [
        Tick(station, *key, tuple(members), tie_hash(tie_key, members[0].order_id))
        for key, members in sorted(equal.items())
    ]

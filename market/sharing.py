"""Sharing keys: what generating points fed in is shared out among the members of their keys.

Metered surplus is handed out by a key, not by bids: the legal form of most energy communities. The
rules stand in ``docs/market.md``, "Sharing keys"; everything here is integers and blind to order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Final, NamedTuple

from market.book import Book
from market.errors import MarketError
from market.money import PPM, Price, largest_remainder
from market.order import GRID, MAX_PRICE_MICRO_PER_KWH, Order, Side
from market.parties import MeteredPoint, OwnTransfer, as_near, metered_book
from market.trade import Trade, make_trade, tie_hash

RULE: Final = "sharing"  # what the seal of an interval calls it


class SharingError(MarketError):
    """The key is refused for good: mend what the message names."""


class Kind(StrEnum):
    """How a key shares out."""

    STATIC = "static"
    EQUAL = "equal"
    VOLUME = "by-volume"


class Share(NamedTuple):
    """A member of a key, by metering point, and its share of the surplus in ppm."""

    point: str
    ppm: int


class Pair(NamedTuple):
    """A generating point and a member that it may serve."""

    generator: str
    member: str


@dataclass(frozen=True, slots=True)
class Key:
    """One version of the key of a generating point; without members it shares out nothing.

    Ppm count for STATIC alone. ``redistribute`` (STATIC alone): what members leave of their shares
    goes round once more. ``price`` is the net internal price at the hub.

    Raises:
        SharingError: shares that are negative or exceed 1,000,000 ppm together, a member twice,
            the generating point among its own members, redistribution of another kind than
            STATIC, or a price beyond 10^9 micro-euros per kWh.
    """

    generator: str
    kind: Kind
    shares: tuple[Share, ...]
    redistribute: bool = False
    price: Price = Price(0)

    def __post_init__(self) -> None:
        members = [share.point for share in self.shares]
        if doubled := [point for point, times in Counter(members).items() if times > 1]:
            raise SharingError(f"member {doubled[0]} stands twice in the key of {self.generator}")
        if self.generator in members:
            raise SharingError(f"{self.generator} cannot be a member of its own key: leave it out")
        if negative := [share for share in self.shares if share.ppm < 0]:
            raise SharingError(f"member {negative[0].point} has a negative share: give 0 or more")
        if (total := sum(share.ppm for share in self.shares)) > PPM:
            raise SharingError(
                f"the shares of {self.generator} add up to {total} ppm, more than {PPM}"
            )
        if self.redistribute and self.kind is not Kind.STATIC:
            raise SharingError(f"only a static key redistributes, this one is {self.kind}")
        if abs(self.price.micro_per_kwh) > MAX_PRICE_MICRO_PER_KWH:
            raise SharingError(
                f"the price {self.price.micro_per_kwh} is beyond +-{MAX_PRICE_MICRO_PER_KWH} "
                "micro-euros per kWh; check its unit"
            )


@dataclass(frozen=True, slots=True)
class Shared:
    """What came of an interval: its orders, and a trade per pair that shared, in pair order."""

    book: Book
    trades: tuple[Trade, ...]


def share_out(
    keys: Iterable[Key],
    surplus_wh: Mapping[str, int],
    needs_wh: Mapping[str, int],
    tie_key: bytes,
    apart: Collection[Pair] = frozenset(),
) -> dict[Pair, int]:
    """Return who gets how many Wh of whom; pairs that get nothing are left out.

    ``surplus_wh`` by generating point, ``needs_wh`` by member; who is missing in it has none. Pairs
    of ``apart`` do not share. In each round every generating point offers parts of what it has
    left to the members that still draw, and each member takes from all offers in proportion to
    them; rounds go on until nothing is offered. Nobody gets more than they need, and no point gives
    more than it has.

    Raises:
        SharingError: two keys of one generating point.
    """
    rounds = _Rounds(_by_generator(keys), surplus_wh, needs_wh, tie_key, frozenset(apart))
    for number in count():
        if not rounds.play(number) and number:  # the second hands out what the first one left
            break
    return dict(sorted(rounds.given.items()))


def share_market(
    points: Iterable[MeteredPoint],
    own: Iterable[OwnTransfer],
    keys: Iterable[Key],
    barred: Collection[str],
    tie_key: bytes,
) -> Shared:
    """Share out one interval: the energies of ``points`` less ``own``, estimates left aside.

    An offer stands for whatever a point fed in, a bid for what a member drew, except for the
    participants ``barred`` (their credit is used up). Limits are the point's tariff; a generating
    point whose key names no price (0) offers at 0 where its feed-in price is above. A pair whose
    price is beyond one of the two limits stays apart, so that nobody is worse off by it.
    """
    found = _by_generator(keys)
    free = {f"{g}-{Side.OFFER}" for g, key in found.items() if key.price == Price(0)}
    points = list(points)
    limits = {
        f"{p.point}-{Side.OFFER}": min(Price(0), p.tariff.floor)
        for p in points
        if f"{p.point}-{Side.OFFER}" in free
    }
    members = {share.point for key in found.values() for share in key.shares}
    book = Book(
        tuple(
            order
            for order in metered_book(points, own, limits).orders
            if order.side is Side.OFFER
            or (order.point in members and order.participant not in barred)
        )
    )
    offers = {order.point: order for order in book.orders if order.side is Side.OFFER}
    bids = {order.point: order for order in book.orders if order.side is Side.BID}
    shared = share_out(
        found.values(), _quantities(offers), _quantities(bids), tie_key, _apart(found, offers, bids)
    )
    trades = [
        make_trade(
            offers[pair.generator].order_id,
            bids[pair.member].order_id,
            wh,
            found[pair.generator].price,
        )
        for pair, wh in shared.items()
    ]
    return Shared(book, as_near(trades, book, points))


def _by_generator(keys: Iterable[Key]) -> dict[str, Key]:
    """Return the keys in the order of their generating points."""
    found: dict[str, Key] = {}
    for key in sorted(keys, key=lambda key: key.generator):
        if key.generator in found:
            raise SharingError(f"{key.generator} has two keys at once: withdraw one")
        found[key.generator] = key
    return found


def _quantities(orders: Mapping[str, Order]) -> dict[str, int]:
    return {point: order.quantity.wh for point, order in orders.items()}


def _apart(
    keys: Mapping[str, Key], offers: Mapping[str, Order], bids: Mapping[str, Order]
) -> frozenset[Pair]:
    """Return the pairs whose price is beyond the seller's or the buyer's limit."""
    return frozenset(
        Pair(generator, share.point)
        for generator, key in keys.items()
        for share in key.shares
        if generator in offers
        and share.point in bids
        and not offers[generator].limit <= key.price <= bids[share.point].limit
    )


class _Rounds:
    """The rounds of one interval: what is left and still needed, and what was given so far."""

    def __init__(
        self,
        keys: Mapping[str, Key],
        surplus_wh: Mapping[str, int],
        needs_wh: Mapping[str, int],
        tie_key: bytes,
        apart: frozenset[Pair],
    ) -> None:
        self.keys, self.tie_key, self.apart = keys, tie_key, apart
        self.left_wh = {generator: surplus_wh.get(generator, 0) for generator in keys}
        self.needs_wh = Counter(needs_wh)
        self.given: Counter[Pair] = Counter()
        self._unshared_wh: dict[str, int] = {}  # of static keys: what no member has a share in

    def play(self, number: int) -> bool:
        """Play one round; return whether anything was handed over."""
        offers: dict[Pair, int] = {}
        for key in self.keys.values():
            offers |= self._offers(key, number)
        taken = self._taken(offers)
        for pair, wh in taken.items():
            self.given[pair] += wh
            self.left_wh[pair.generator] -= wh
            self.needs_wh[pair.member] -= wh
        return bool(taken)

    def _offers(self, key: Key, number: int) -> dict[Pair, int]:
        pairs = [Pair(key.generator, share.point) for share in key.shares]
        drawing = [pair for pair in pairs if self.needs_wh[pair.member] and pair not in self.apart]
        if key.kind is Kind.STATIC:
            return self._static(key, drawing, number)
        if key.kind is Kind.EQUAL:
            return self._equal(drawing, self.left_wh[key.generator])
        needs = [self.needs_wh[pair.member] for pair in drawing]
        return self._split(min(self.left_wh[key.generator], sum(needs)), drawing, needs)

    def _static(self, key: Key, drawing: Sequence[Pair], number: int) -> dict[Pair, int]:
        """Offer each member its share at first; then, once, what was left of the shares."""
        ppm = {Pair(key.generator, share.point): share.ppm for share in key.shares}
        if number == 0:
            rest = Pair(key.generator, GRID)
            weights = ppm | {rest: PPM - sum(ppm.values())}
            shares = self._split(self.left_wh[key.generator], list(weights), list(weights.values()))
            self._unshared_wh[key.generator] = shares.get(rest, 0)
            return {pair: shares[pair] for pair in drawing if pair in shares}
        if number == 1 and key.redistribute:
            unused = self.left_wh[key.generator] - self._unshared_wh[key.generator]
            return self._split(unused, drawing, [ppm[pair] for pair in drawing])
        return {}

    def _equal(self, drawing: Sequence[Pair], left_wh: int) -> dict[Pair, int]:
        """Offer the same to each that draws; when it is too little, 1 Wh to who got least."""
        if drawing and left_wh >= len(drawing):
            return dict.fromkeys(drawing, left_wh // len(drawing))
        ranked = sorted(drawing, key=lambda pair: (self.given[pair], self._tie(pair)))
        return dict.fromkeys(ranked[:left_wh], 1)

    def _taken(self, offers: Mapping[Pair, int]) -> dict[Pair, int]:
        """Return what each member takes of its offers: all, or its need in proportion to them."""
        by_member: dict[str, list[Pair]] = defaultdict(list)
        for pair in offers:
            by_member[pair.member].append(pair)
        taken: dict[Pair, int] = {}
        for member, pairs in by_member.items():
            offered = [offers[pair] for pair in pairs]
            taken |= self._split(min(self.needs_wh[member], sum(offered)), pairs, offered)
        return taken

    def _split(self, wh: int, pairs: Sequence[Pair], weights: Sequence[int]) -> dict[Pair, int]:
        """Return ``wh`` split by ``weights``; parts of 0 are left out."""
        if not any(weights):
            return {}
        parts = largest_remainder(wh, weights, [self._tie(pair) for pair in pairs])
        return {pair: part for pair, part in zip(pairs, parts, strict=True) if part}

    def _tie(self, pair: Pair) -> bytes:
        return tie_hash(self.tie_key, f"{pair.generator}>{pair.member}")

"""What of a forward contract was delivered, once the meters have told. ``docs/market.md``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from market.book import Book
from market.errors import MarketError
from market.money import Price, largest_remainder
from market.order import Side
from market.parties import MeteredPoint, OwnTransfer, as_near, metered_book
from market.trade import Trade, make_trade, tie_hash


class DeliveryError(MarketError):
    """The contracts cannot be delivered on: stop and ask a person, settle nothing."""


class Contract(NamedTuple):
    """Energy that two points agreed on for one interval: ``GSRN-offer`` sells to ``GSRN-bid``."""

    seller: str
    buyer: str
    wh: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """An interval's book (what each meter has to trade) and its contracts as far as delivered."""

    book: Book
    trades: tuple[Trade, ...]


_Pair = tuple[str, str]
_SELLER: Final = 0
_BUYER: Final = 1


def deliver(
    contracts: Iterable[Contract], able_wh: Mapping[str, int], tie_key: bytes
) -> tuple[Contract, ...]:
    """Return what of the contracts both sides' meters cover, in the order of their tie hashes.

    ``able_wh`` says what each order id has to trade by its meter; one that is not there has
    nothing. Both sides of a trade shrink alike. In rounds, until one moves nothing: over the
    contracts that both parties could still meet, each party spreads what it has left in proportion
    to what they lack (never more than that, largest remainder), and each contract gets the smaller
    of the two shares. Watt-hours that rounding kept apart go to the contracts in the order of
    SHA-256(tie key || 0x00 || seller || ``>`` || buyer). So no contract stays short that both
    could meet, and neither the places of the contracts nor the side that is looked at first matter.

    Raises:
        DeliveryError: a contract of less than 1 Wh.
    """
    lacking = _merged(contracts, tie_key)
    left = dict(able_wh)
    given: dict[_Pair, int] = dict.fromkeys(lacking, 0)

    def move(pair: _Pair, wh: int) -> None:
        given[pair] += wh
        lacking[pair] -= wh
        for party in pair:
            left[party] -= wh

    while True:
        live = {p: wh for p, wh in lacking.items() if wh and left.get(p[0]) and left.get(p[1])}
        sold, bought = _shares(live, left, _SELLER), _shares(live, left, _BUYER)
        steps = {pair: min(sold[pair], bought[pair]) for pair in live}
        if not any(steps.values()):
            break
        for pair, wh in steps.items():
            move(pair, wh)
    for pair in live:
        move(pair, min(lacking[pair], left[pair[_SELLER]], left[pair[_BUYER]]))
    return tuple(Contract(*pair, wh) for pair, wh in given.items() if wh)


def settle_contracts(
    points: Sequence[MeteredPoint],
    own: Sequence[OwnTransfer],
    contracts: Iterable[Contract],
    price: Price | None,
    limits: Mapping[str, Price],
    admits: Callable[[str], bool],
    tie_key: bytes,
) -> Delivery:
    """Return an interval's book after metering, and its contracts' trades at the session's price.

    The book is that of metered mode: what a meter drew or fed in less own energy. ``limits`` holds
    the limit by order id of those who have a contract. Bids of a participant whom ``admits`` does
    not admit (their credit is used up) stay out, and with them what they contracted.

    Raises:
        DeliveryError: there are contracts and no price.
    """
    full = metered_book(points, own, limits)
    book = Book(
        tuple(o for o in full.orders if o.side is Side.OFFER or admits(o.participant)),
    )
    found = deliver(contracts, {o.order_id: o.quantity.wh for o in book.orders}, tie_key)
    if found and price is None:
        raise DeliveryError(f"{len(found)} contracts are delivered on, and there is no price")
    trades = [make_trade(*contract, price) for contract in found] if price is not None else []
    return Delivery(book, as_near(trades, book, points))


def _merged(contracts: Iterable[Contract], tie_key: bytes) -> dict[_Pair, int]:
    """Return the contracted energy by pair, in the order of the pairs' hashes."""
    total: dict[_Pair, int] = defaultdict(int)
    for contract in contracts:
        if contract.wh < 1:
            raise DeliveryError(f"{contract.seller} and {contract.buyer} agreed on {contract.wh}")
        total[contract.seller, contract.buyer] += contract.wh
    return dict(sorted(total.items(), key=lambda item: tie_hash(tie_key, ">".join(item[0]))))


def _shares(live: Mapping[_Pair, int], left: Mapping[str, int], side: int) -> dict[_Pair, int]:
    """Return what the parties of a side give to each pair of theirs out of what they have left."""
    by_party: dict[str, list[_Pair]] = defaultdict(list)
    for pair in live:
        by_party[pair[side]].append(pair)
    shares: dict[_Pair, int] = {}
    for party, pairs in by_party.items():
        weights = [live[pair] for pair in pairs]
        # The pairs stand in the order of their hashes: so their places break ties.
        ties = [place.to_bytes(4, "big") for place in range(len(pairs))]
        total = min(left[party], sum(weights))
        shares |= dict(zip(pairs, largest_remainder(total, weights, ties), strict=True))
    return shares

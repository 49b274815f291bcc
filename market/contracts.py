"""Bilateral contracts: energy between named partners at an agreed price, before the book.

Self-consumption and the ``own`` transfers of a participant come before them
(``market.parties.own_transfers``); what they leave goes into the book.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from market.errors import MarketError
from market.money import Price, largest_remainder
from market.order import MAX_PRICE_MICRO_PER_KWH, MAX_QUANTITY_WH, Order, Side
from market.trade import Fill, Trade, north_west, tie_hash
from metering.quantities import Energy

Amounts: TypeAlias = dict[str, int]  # Wh by order id


class ContractError(MarketError):
    """The contract is refused for good: mend what the message names."""


@dataclass(frozen=True, slots=True)
class Contract:
    """``seller`` gives ``buyer`` what both have, up to ``cap`` an interval, at ``price``.

    ``price`` is the net energy price; fees, levies and VAT come on top as for any local energy. A
    point (GSRN) narrows a side to the orders of that metering point; empty, all of the
    participant's count.

    Raises:
        ContractError: an empty name, one party on both sides, a cap outside 1..10^12 Wh, or a
            price beyond 10^9 micro-euros per kWh either way.
    """

    contract_id: str
    seller: str
    buyer: str
    price: Price
    cap: Energy
    seller_point: str = ""
    buyer_point: str = ""

    def __post_init__(self) -> None:
        if not (self.contract_id and self.seller and self.buyer):
            raise ContractError(
                f"contract {self.contract_id!r}: id, seller and buyer cannot be empty"
            )
        if self.seller == self.buyer:
            raise ContractError(
                f"contract {self.contract_id!r}: {self.seller!r} cannot sell to itself; its own "
                "points supply each other without a contract"
            )
        if not 0 < self.cap.wh <= MAX_QUANTITY_WH:
            raise ContractError(
                f"contract {self.contract_id!r}: cap {self.cap} is outside 1..{MAX_QUANTITY_WH} Wh"
            )
        if abs(self.price.micro_per_kwh) > MAX_PRICE_MICRO_PER_KWH:
            raise ContractError(
                f"contract {self.contract_id!r}: price {self.price.micro_per_kwh} is beyond "
                f"+-{MAX_PRICE_MICRO_PER_KWH} micro-euros per kWh; check its unit"
            )

    def covers(self, order: Order) -> bool:
        """Whether an order is one of the contract's seller or buyer."""
        if order.side is Side.OFFER:
            party, point = self.seller, self.seller_point
        else:
            party, point = self.buyer, self.buyer_point
        return order.participant == party and point in ("", order.point)


class ContractTrade(NamedTuple):
    """A trade and the contract behind it."""

    contract_id: str
    trade: Trade


class _Line(NamedTuple):
    """A contract's way to energy: its orders on both sides, and its rank."""

    contract: Contract
    offers: tuple[str, ...]
    bids: tuple[str, ...]
    tie: bytes


def match_contracts(
    orders: Sequence[Order], contracts: Iterable[Contract], tie_key: bytes
) -> tuple[tuple[ContractTrade, ...], tuple[Order, ...]]:
    """Return the trades under contracts, and the orders less what these took.

    In each round every contract asks for what it may still have: the least of its cap and what its
    offers and its bids have left, from each side's orders in proportion to what they have. An
    order of which more is asked than it has grants pro-rata to what is left of the caps, to none
    more than it asks. A contract gets the smaller of what both sides grant. Rounds go on until
    nothing moves; Wh that rounding still holds back go to the contracts in the order of their
    hashes. So neither the place of an order nor that of a contract matters. Limits and wishes do
    not: partners have agreed.

    Raises:
        ContractError: two contracts share an id.
    """
    lines = _lines(orders, contracts, tie_key)
    left = {order.order_id: order.quantity.wh for order in orders}
    taken: dict[str, Counter[str]] = {line.contract.contract_id: Counter() for line in lines}
    caps = {line.contract.contract_id: line.contract.cap.wh for line in lines}
    while any(_ask(line, left, caps) for line in lines):
        moves = _round(lines, left, caps, tie_key)
        if not any(sum(move.values()) for move in moves.values()):
            first = next(line for line in lines if _ask(line, left, caps))
            ask = _ask(first, left, caps)
            moves = {first.contract.contract_id: _asked(first, ask, left, tie_key)}
        for line in lines:
            move = moves.get(line.contract.contract_id, {})
            taken[line.contract.contract_id].update(move)
            caps[line.contract.contract_id] -= sum(move.get(name, 0) for name in line.offers)
            for order_id, wh in move.items():
                left[order_id] -= wh
    by_id = {order.order_id: order for order in orders}
    found = [t for line in lines for t in _trades(line, taken[line.contract.contract_id], by_id)]
    rest = [
        order if wh == order.quantity.wh else replace(order, quantity=Energy(wh))
        for order in orders
        if (wh := left[order.order_id])
    ]
    return tuple(found), tuple(rest)


def _lines(orders: Sequence[Order], contracts: Iterable[Contract], tie_key: bytes) -> list[_Line]:
    """Return the contracts in the order of their hashes, each with its orders by hash."""
    of_party: defaultdict[str, list[Order]] = defaultdict(list)
    for order in sorted(orders, key=lambda o: tie_hash(tie_key, o.order_id)):
        of_party[order.participant].append(order)
    lines = []
    for contract in contracts:
        offers = [o for o in of_party[contract.seller] if o.side is Side.OFFER]
        bids = [o for o in of_party[contract.buyer] if o.side is Side.BID]
        lines.append(
            _Line(
                contract,
                tuple(o.order_id for o in offers if contract.covers(o)),
                tuple(o.order_id for o in bids if contract.covers(o)),
                tie_hash(tie_key, contract.contract_id),
            )
        )
    counts = Counter(line.contract.contract_id for line in lines)
    for contract_id, count in counts.items():
        if count > 1:
            raise ContractError(f"contract id {contract_id!r} stands {count} times: ids differ")
    return sorted(lines, key=lambda line: line.tie)


def _ask(line: _Line, left: Mapping[str, int], caps: Mapping[str, int]) -> int:
    """Return how much a contract may still have."""
    sides = (sum(left[name] for name in side) for side in (line.offers, line.bids))
    return min(caps[line.contract.contract_id], *sides)


def _asked(line: _Line, ask: int, left: Mapping[str, int], tie_key: bytes) -> Amounts:
    """Return what a contract asks of each of its orders: in proportion to what they have."""
    return {
        name: wh
        for side in (line.offers, line.bids)
        for name, wh in _split(ask, {name: left[name] for name in side}, tie_key).items()
    }


def _split(total: int, weights: Amounts, tie_key: bytes) -> Amounts:
    ties = [tie_hash(tie_key, name) for name in weights]
    parts = largest_remainder(total, list(weights.values()), ties)
    return dict(zip(weights, parts, strict=True))


def _round(
    lines: Sequence[_Line], left: Mapping[str, int], caps: Mapping[str, int], tie_key: bytes
) -> dict[str, Amounts]:
    """Return what every contract gets of each of its orders in one round."""
    wanted: defaultdict[str, Amounts] = defaultdict(dict)  # by order, then by contract
    for line in lines:
        for name, wh in _asked(line, _ask(line, left, caps), left, tie_key).items():
            wanted[name][line.contract.contract_id] = wh
    granted = {
        name: asks if sum(asks.values()) <= left[name] else _shares(left[name], asks, caps, tie_key)
        for name, asks in wanted.items()
    }
    moves = {}
    for line in lines:
        contract_id = line.contract.contract_id
        sides = [{n: granted[n][contract_id] for n in side} for side in (line.offers, line.bids)]
        both = min(sum(side.values()) for side in sides)
        moves[contract_id] = {
            name: wh for side in sides for name, wh in _split(both, side, tie_key).items()
        }
    return moves


def _shares(wh: int, asks: Amounts, caps: Mapping[str, int], tie_key: bytes) -> Amounts:
    """Return what an order grants of its ``wh``: by caps, and to none more than it asks."""
    by_cap = _split(wh, {name: caps[name] for name, ask in asks.items() if ask}, tie_key)
    return {name: min(ask, by_cap.get(name, 0)) for name, ask in asks.items()}


def _trades(
    line: _Line, taken: Mapping[str, int], by_id: Mapping[str, Order]
) -> list[ContractTrade]:
    """Return a contract's trades, by the north-west corner rule over the hashes of its orders."""
    offers, bids = (
        [Fill(name, by_id[name].participant, taken[name]) for name in side if taken[name]]
        for side in (line.offers, line.bids)
    )
    found = []
    for seller, buyer, wh in north_west(offers, bids):
        energy, price = Energy(wh), line.contract.price
        trade = Trade(
            seller,
            buyer,
            energy,
            price,
            price.of(energy),
            by_id[seller].place.level_to(by_id[buyer].place),
            by_id[seller].wish.product,
        )
        found.append(ContractTrade(line.contract.contract_id, trade))
    return found

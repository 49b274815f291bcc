"""Slots, orders and trades as the market's objects, and statements back as rows."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, NamedTuple

from sqlmodel import Session, col, select

from app.store import intervals, leaves, registry
from app.store.bulk import insert_all
from app.tables import IntervalRow, OrderRow, ParticipantRow, SettlementLine, StatementRow, TradeRow
from ledger_client.verify import Agreed, HubPrice, canonical, parse
from ledger_client.verify import Statement as StatementLeaf
from market.book import Book
from market.contracts import Contract
from market.money import Money, Price
from market.order import Order, Side
from market.parties import MeteredPoint
from market.place import Level, Place, Product, Wish
from market.settlement import Direction, Line, SettledEnergy, Statement
from market.trade import Trade
from metering.quantities import Energy

LEVEL_WORDS: Final[Mapping[Level, Literal["building", "feeder", "district"]]] = {
    Level.BUILDING: "building",
    Level.FEEDER: "feeder",
    Level.DISTRICT: "district",
}


def metered_points(session: Session, key: str) -> Sequence[MeteredPoint]:
    """Return what each roster point drew and fed in, as first settled, and what held for it then.

    Points that measure alone (their ``purpose`` is set) are left out.
    """
    held = registry.standing(session, key)
    return [
        MeteredPoint(
            point=slot.point,
            participant=held[slot.point].participant,
            imported=Energy(slot.import_wh),
            exported=Energy(slot.export_wh),
            estimated=slot.estimated,
            tariff=leaves.tariff_of(slot),
            supplier=held[slot.point].supplier,
            balance_party=held[slot.point].balance_party,
            place=held[slot.point].place,
        )
        for slot in intervals.slots(session, key)
        if held[slot.point].purpose is None
    ]


class Offered(NamedTuple):
    """An order as it enters the book: what of it was cleared, and what gave it its limit.

    ``instruction`` is the version of the point's standing instruction; ``contracts`` are those
    that may take of the order before the book.
    """

    order: Order
    cleared_wh: int
    instruction: int | None = None
    contracts: Sequence[Contract] = ()


def write_orders(session: Session, key: str, offered: Iterable[Offered]) -> Sequence[OrderRow]:
    """Write an interval's orders, with fresh salts for their leaves; return them as in the tree."""
    insert_all(session, OrderRow, [_order_values(key, each) for each in offered])
    return leaves.orders(session, key)


def _order_values(key: str, offered: Offered) -> dict[str, object]:
    order = offered.order
    agreed = [
        Agreed(each.cap.wh, each.contract_id, each.price.micro_per_kwh)
        for each in sorted(offered.contracts, key=lambda each: each.contract_id)
        if each.covers(order)
    ]
    return {
        "interval": key,
        "order_id": order.order_id,
        "point": order.point,
        "participant": order.participant,
        "side": order.side.value,
        "wh": order.quantity.wh,
        "limit_micro_per_kwh": order.limit.micro_per_kwh,
        "cleared_wh": offered.cleared_wh,
        "salt": secrets.token_bytes(32),
        "place": str(order.place) or None,
        "wish": str(order.wish) or None,
        "instruction": offered.instruction,
        "agreed": canonical(agreed).decode() if agreed else None,
    }


def book(session: Session, key: str) -> Book:
    """Return an interval's order book."""
    return Book(
        tuple(
            Order(
                order_id=row.order_id,
                side=Side(row.side),
                participant=row.participant,
                point=row.point,
                quantity=Energy(row.wh),
                limit=Price(row.limit_micro_per_kwh),
                place=Place.parse(row.place or ""),
                wish=Wish.parse(row.wish or ""),
            )
            for row in leaves.orders(session, key)
        )
    )


def hub_prices(row: IntervalRow) -> tuple[HubPrice, ...]:
    """Return an interval's prices by place and product; () where one price holds for all."""
    found = parse(row.hub_prices.encode()) if row.hub_prices else None
    return tuple(map(HubPrice.load, found)) if isinstance(found, list) else ()


def hub_prices_text(prices: Sequence[HubPrice]) -> str | None:
    """Return prices by place and product as an interval's row holds them: canonical JSON."""
    return canonical(prices).decode() if prices else None


def open_book(session: Session, key: str) -> Book:
    """Return an interval's order book less what bilateral contracts took before it."""
    taken: Counter[str] = Counter()
    rows = select(TradeRow).where(TradeRow.interval == key, col(TradeRow.contract).is_not(None))
    for row in session.exec(rows):
        taken.update({row.seller_order: row.wh, row.buyer_order: row.wh})
    return Book(
        tuple(
            replace(order, quantity=order.quantity - Energy(taken[order.order_id]))
            for order in book(session, key).orders
            if order.quantity.wh > taken[order.order_id]
        )
    )


def write_trades(session: Session, key: str, trades: Iterable[tuple[Trade, str | None]]) -> None:
    """Write an interval's trades in their order, each with the bilateral contract behind it."""
    insert_all(
        session,
        TradeRow,
        [
            {
                "interval": key,
                "number": number,
                "seller_order": trade.seller,
                "buyer_order": trade.buyer,
                "wh": trade.energy.wh,
                "price_micro_per_kwh": trade.price.micro_per_kwh,
                "amount_micro": trade.amount.micro,
                "level": None if trade.level is Level.DISTRICT else int(trade.level),
                "product": None if trade.product is Product.ANY else trade.product.value,
                "contract": contract,
            }
            for number, (trade, contract) in enumerate(trades)
        ],
    )


def trades(session: Session, key: str) -> Sequence[Trade]:
    """Return an interval's trades in their order."""
    rows = session.exec(
        select(TradeRow).where(TradeRow.interval == key).order_by(col(TradeRow.number))
    )
    return [
        Trade(
            seller=row.seller_order,
            buyer=row.buyer_order,
            energy=Energy(row.wh),
            price=Price(row.price_micro_per_kwh),
            amount=Money(row.amount_micro),
            level=Level.DISTRICT if row.level is None else Level(row.level),
            product=Product(row.product or Product.ANY),
        )
        for row in rows
    ]


def statement_values(
    key: str, district: str, position: int, statement: Statement, saving: Money
) -> dict[str, object]:
    """Return a statement's row, with a fresh salt for its leaf."""
    return {
        "interval": key,
        "participant": statement.participant,
        "position": position,
        "payload": canonical(statement.payload(district, key)),
        "salt": secrets.token_bytes(32),
        "sum_micro": statement.sum.micro,
        "closing_carry_micro": statement.closing_carry.micro,
        "saving_micro": saving.micro,
    }


def line_values(key: str, version: int, participant: str, line: Line) -> dict[str, object]:
    """Return the row of one statement line (version 0) or of a correction's (1, 2, ...)."""
    return {
        "interval": key,
        "version": version,
        "participant": participant,
        "point": line.point,
        "kind": line.kind.value,
        "wh": line.wh,
        "price_micro_per_kwh": line.price.micro_per_kwh,
        "micro": line.micro,
    }


def line_row(key: str, version: int, participant: str, line: Line) -> SettlementLine:
    """Return :func:`line_values` as a row."""
    return SettlementLine.model_validate(line_values(key, version, participant, line))


def carries(session: Session, before: str | None = None) -> Mapping[str, Money]:
    """Return each participant's closing carry of their latest statement (before an interval).

    One look at the index per participant, however many statements there are.
    """
    latest = select(StatementRow.closing_carry_micro).where(
        StatementRow.participant == ParticipantRow.id
    )
    if before is not None:
        latest = latest.where(StatementRow.interval < before)
    carry = latest.order_by(col(StatementRow.interval).desc()).limit(1)
    rows = session.exec(
        select(ParticipantRow.id, carry.correlate(ParticipantRow).scalar_subquery())
    )
    return {participant: Money(micro) for participant, micro in rows if micro is not None}


def settled_energies(
    session: Session, key: str, participant: str, point: str
) -> tuple[SettledEnergy, SettledEnergy]:
    """Return what a point drew and fed in and how it was split, as its statement says."""
    row = session.get_one(StatementRow, (key, participant))
    statement = StatementLeaf.read(row.payload)
    found = {
        item.direction: SettledEnergy(
            point=item.point,
            direction=Direction(item.direction),
            estimated=bool(item.estimated),
            wh=item.wh,
            local_wh=item.local_wh,
            own_wh=item.own_wh,
            residual_wh=item.residual_wh,
        )
        for item in statement.metered
        if item.point == point
    }

    def part(direction: Direction) -> SettledEnergy:
        return found.get(direction.value) or SettledEnergy(
            point, direction, estimated=True, wh=0, local_wh=0, own_wh=0, residual_wh=0
        )

    return part(Direction.IMPORT), part(Direction.EXPORT)

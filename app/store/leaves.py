"""Rows as the records that stand in leaves, in their trees' order."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlmodel import Session, col, select

from app.tables import EnrolmentRow, OrderRow, SlotRow, StatementRow
from ledger_client.merkle import leaf_hash
from ledger_client.proof import order_leaf, roster_leaf, statement_leaf, tariff_leaf
from ledger_client.verify import Agreed, Order, RosterEntry, parse
from market.tariff import Tariff


def roster_entries(session: Session, key: str) -> Sequence[RosterEntry]:
    """Return what the roster leaves of a metered interval say, in roster order."""
    rows = session.exec(
        select(SlotRow, EnrolmentRow)
        .join(EnrolmentRow, col(EnrolmentRow.id) == SlotRow.enrolment)
        .where(SlotRow.interval == key)
        .order_by(col(SlotRow.position))
    )
    return [
        RosterEntry(
            enrolment=enrolment.log_index,
            epoch=enrolment.epoch,
            key=bytes.fromhex(enrolment.key),
            point=slot.point,
            slot=slot.position,
            valid_from=enrolment.valid_from,
        )
        for slot, enrolment in rows
    ]


def roster_hashes(entries: Sequence[RosterEntry]) -> list[bytes]:
    """Return the leaf hashes of a roster tree."""
    return [leaf_hash(roster_leaf(entry.text)) for entry in entries]


def orders(session: Session, key: str) -> Sequence[OrderRow]:
    """Return an interval's orders in the order of their tree."""
    return session.exec(
        select(OrderRow).where(OrderRow.interval == key).order_by(OrderRow.order_id)
    ).all()


def order_text(district: str, order: OrderRow) -> str:
    """Return the canonical text of an order's leaf."""
    return Order(
        district=district,
        interval=order.interval,
        limit_micro_per_kwh=order.limit_micro_per_kwh,
        order_id=order.order_id,
        point=order.point,
        side="bid" if order.side == "bid" else "offer",
        wh=order.wh,
        place=order.place or "",
        wish=order.wish or "",
        agreed=agreed(order),
    ).text


def agreed(order: OrderRow) -> tuple[Agreed, ...]:
    """Return what bilateral contracts let an order trade."""
    found = parse(order.agreed.encode()) if order.agreed else None
    return tuple(map(Agreed.load, found)) if isinstance(found, list) else ()


def order_hashes(district: str, rows: Sequence[OrderRow]) -> list[bytes]:
    """Return the leaf hashes of an order tree."""
    return [leaf_hash(order_leaf(row.salt, order_text(district, row))) for row in rows]


def tariff_of(slot: SlotRow) -> Tariff:
    """Return the tariff on which a point was in an interval."""
    return Tariff.of(json.loads(slot.tariff))


def tariff_hashes(slots: Sequence[SlotRow]) -> list[bytes]:
    """Return the leaf hashes of a tariff tree: one per slot, in roster order."""
    return [leaf_hash(tariff_leaf(slot.point, slot.salt, slot.tariff)) for slot in slots]


def statements(session: Session, key: str) -> Sequence[StatementRow]:
    """Return an interval's statements in the order of their tree."""
    return session.exec(
        select(StatementRow)
        .where(StatementRow.interval == key)
        .order_by(col(StatementRow.position))
    ).all()


def statement_hashes(rows: Sequence[StatementRow]) -> list[bytes]:
    """Return the leaf hashes of a settlement tree."""
    return [leaf_hash(statement_leaf(row.salt, row.payload.decode())) for row in rows]

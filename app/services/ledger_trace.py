"""Where the house's rows stand on the ledger: anchors, payments, addresses, and the way back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func, select

from app.tables import (
    AddressRow,
    CheckpointRow,
    IntervalRow,
    OwnAddressRow,
    ParticipantRow,
    Payment,
)
from web.ports import LedgerTrace


def traces(session: Session, keys: Collection[str]) -> Mapping[str, LedgerTrace]:
    """Return each interval's anchor (the first over its seal) and its payments' transactions."""
    anchor = (
        select(CheckpointRow.block_id)
        .where(
            col(CheckpointRow.size) > col(IntervalRow.seal_index),
            col(CheckpointRow.block_id).is_not(None),
        )
        .order_by(col(CheckpointRow.size))
        .limit(1)
        .correlate(IntervalRow)
        .scalar_subquery()
    )
    anchors = session.exec(select(IntervalRow.key, anchor).where(col(IntervalRow.key).in_(keys)))
    paid: dict[str, list[str]] = {key: [] for key in keys}
    rows = session.exec(
        select(Payment.interval, Payment.transaction_id)
        .where(col(Payment.interval).in_(keys), col(Payment.transaction_id).is_not(None))
        .order_by(col(Payment.id))
    )
    for key, transaction_id in rows:
        paid[key or ""].append(transaction_id or "")
    return {key: LedgerTrace(block_id, tuple(paid[key])) for key, block_id in anchors}


def trace(session: Session, key: str) -> LedgerTrace:
    """Return one interval's anchor and payments."""
    return traces(session, [key]).get(key, LedgerTrace())


def addresses_of(session: Session, participants: Collection[str]) -> Mapping[bytes, str]:
    """Return every address that participants ever had in our custody or registered, by address.

    A registered one that belongs to anybody else as well does not count: who names a neighbour's
    address as their own must not see through it.
    """
    custodial = (
        select(ParticipantRow.address, ParticipantRow.id).where(
            col(ParticipantRow.id).in_(participants)
        ),
        select(AddressRow.address, AddressRow.participant)
        .where(col(AddressRow.participant).in_(participants))
        .order_by(col(AddressRow.month)),
    )
    another = aliased(OwnAddressRow)
    registered = select(OwnAddressRow.address, OwnAddressRow.participant).where(
        col(OwnAddressRow.participant).in_(participants),
        col(OwnAddressRow.address).not_in(select(ParticipantRow.address)),
        col(OwnAddressRow.address).not_in(select(AddressRow.address)),
        ~select(another.id)
        .where(
            another.address == OwnAddressRow.address,
            another.participant != OwnAddressRow.participant,
        )
        .exists(),
    )
    rows = [row for query in (*custodial, registered) for row in session.exec(query)]
    return {bytes.fromhex(address): participant for address, participant in rows}


def sealed_between(session: Session, start: int, end: int, limit: int) -> tuple[Sequence[str], int]:
    """Return the first intervals sealed at log positions [start, end), and how many there are."""
    within = (col(IntervalRow.seal_index) >= start, col(IntervalRow.seal_index) < end)
    keys = session.exec(
        select(IntervalRow.key).where(*within).order_by(col(IntervalRow.seal_index)).limit(limit)
    ).all()
    return keys, session.exec(select(func.count()).where(*within)).one()


def interval_settled_by(session: Session, transaction_id: str, root: bytes) -> str | None:
    """Return the interval that a payment settles: by its transaction, else by the root it names."""
    paid = select(Payment.interval).where(Payment.transaction_id == transaction_id)
    rooted = select(IntervalRow.key).where(IntervalRow.settlement_root == root)
    return session.exec(paid).first() or session.exec(rooted).first()

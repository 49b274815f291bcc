"""Corrections of settled energy, version by version, and what one is measured against."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from sqlmodel import Session, col, select

from app.store import leaves, log, market, registry
from app.tables import (
    CorrectionRow,
    MonthlyStatementRow,
    RefusedCorrectionRow,
    SettledRow,
    SettlementLine,
    SlotRow,
)
from ledger_client.log import decode_entry
from market.correction import Settled
from market.money import Money
from market.settlement import Kind


def newest(session: Session, key: str, point: str) -> CorrectionRow | None:
    """Return the newest version of a point's correction in an interval, if there is one."""
    return session.exec(
        select(CorrectionRow)
        .where(CorrectionRow.interval == key, CorrectionRow.point == point)
        .order_by(col(CorrectionRow.version).desc())
        .limit(1)
    ).first()


def leaf_of(session: Session, row: CorrectionRow) -> bytes:
    """Return the leaf hash that a version gave the slot; older rows have it in the log alone."""
    if row.new_leaf is not None:
        return row.new_leaf
    _, entry = decode_entry(log.entry(session, row.log_index))
    return bytes.fromhex(json.loads(entry)["new_leaf"])


def settled(session: Session, slot: SlotRow) -> Settled:
    """Return how a slot's point was settled at first, as its statement says."""
    key, point = slot.interval, slot.point
    row = session.get_one(SettledRow, (key, point))
    drawn, fed_in = market.settled_energies(session, key, row.participant, point)
    lines = session.exec(
        select(SettlementLine).where(
            SettlementLine.interval == key,
            SettlementLine.point == point,
            SettlementLine.version == 0,
        )
    ).all()

    def wh(kind: Kind) -> int:
        return sum(line.wh for line in lines if line.kind == kind.value)

    return Settled(
        row.participant,
        leaves.tariff_of(slot),
        drawn,
        fed_in,
        Money(-sum(line.micro for line in lines if line.kind == Kind.LOCAL_BUY.value)),
        row.supplier,
        wh(Kind.LOCAL_FEE_FEEDER),
        wh(Kind.LOCAL_FEE_BUILDING),
    )


def statement_number(session: Session, participant: str, month: str) -> str | None:
    """Return the number of a participant's statement of a local month, if it was issued."""
    return session.exec(
        select(MonthlyStatementRow.number).where(
            MonthlyStatementRow.participant == participant, MonthlyStatementRow.month == month
        )
    ).first()


def newest_first(
    session: Session, limit: int, participants: Collection[str] | None = None
) -> Sequence[CorrectionRow]:
    """Return the newest corrections, of everybody or of some participants."""
    query = select(CorrectionRow).order_by(col(CorrectionRow.log_index).desc()).limit(limit)
    if participants is not None:
        query = query.where(col(CorrectionRow.participant).in_(participants))
    return session.exec(query).all()


def refused(
    session: Session, limit: int, participants: Collection[str] | None = None
) -> Sequence[RefusedCorrectionRow]:
    """Return what came too late, the newest first: all, or of what was some people's then."""
    row = RefusedCorrectionRow
    query = select(row).order_by(col(row.id).desc()).limit(limit)
    if participants is not None:
        query = query.where(registry.held_by(participants, row.point, row.interval))
    return session.exec(query).all()

"""Bilateral contracts as rows: who holds one in an interval."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, or_, select

from app.tables import ContractRow
from market.contracts import Contract
from market.money import Price
from metering.quantities import Energy


def holding(session: Session, key: str) -> list[Contract]:
    """Return the contracts that are valid in an interval, by id."""
    rows = session.exec(
        select(ContractRow)
        .where(
            ContractRow.valid_from <= key,
            or_(col(ContractRow.ends).is_(None), col(ContractRow.ends) > key),
        )
        .order_by(ContractRow.id)
    )
    return [to_contract(row) for row in rows]


def everything(session: Session) -> Sequence[ContractRow]:
    """Return every contract there ever was, by id."""
    return session.exec(select(ContractRow).order_by(ContractRow.id)).all()


def to_contract(row: ContractRow) -> Contract:
    """Return a row as the market's contract."""
    return Contract(
        contract_id=row.id,
        seller=row.seller,
        buyer=row.buyer,
        price=Price(row.price_micro_per_kwh),
        cap=Energy(row.cap_wh),
        seller_point=row.seller_point,
        buyer_point=row.buyer_point,
    )

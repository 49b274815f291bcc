"""Custodial addresses, the coins that they own, how payments move between them, and withdrawals."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlmodel import Field, SQLModel


class AddressRow(SQLModel, table=True):
    """A custodial address of a participant: one per month in which payments were planned."""

    __tablename__ = "wallet_address"
    __table_args__ = (UniqueConstraint("participant", "month"),)
    address: str = Field(primary_key=True)  # hex, 32 bytes
    participant: str = Field(foreign_key="participant.id", index=True)
    month: int  # months since the district's first one: the key's SLIP-10 index
    planned_micro: int = Field(sa_type=BigInteger)  # what all planned payments make it hold


class OwnAddressRow(SQLModel, table=True):
    """A ledger address that a participant holds the key of: it only receives payouts."""

    __tablename__ = "own_address"
    id: int | None = Field(default=None, primary_key=True)
    participant: str = Field(foreign_key="participant.id", index=True)
    address: str = Field(index=True)  # hex, 32 bytes
    from_ms: int = Field(sa_type=BigInteger)
    until_ms: int | None = Field(default=None, sa_type=BigInteger)


class PaymentMove(SQLModel, table=True):
    """What one address receives (> 0) or pays (< 0) in a payment; the treasury takes the rest."""

    __tablename__ = "payment_move"
    payment: int = Field(primary_key=True, foreign_key="payment.id")
    position: int = Field(primary_key=True)
    participant: str = Field(foreign_key="participant.id")
    address: str
    micro: int = Field(sa_type=BigInteger)


class CoinRow(SQLModel, table=True):
    """An output of a custodial address that is not spent for good.

    Written in the commit of the signed transaction that makes it, reserved in the commit of the
    one that spends it, and gone once that one is confirmed (``payment_input`` keeps the evidence).
    """

    __tablename__ = "coin"
    __table_args__ = (Index("ix_coin_address_spent_by", "address", "spent_by"),)
    output_id: str = Field(primary_key=True)
    address: str  # hex
    units: int = Field(sa_type=BigInteger)
    output_bytes: bytes
    made_by: int | None = Field(default=None, foreign_key="payment.id", index=True)
    spent_by: int | None = Field(default=None, foreign_key="payment.id", index=True)


class WithdrawalRow(SQLModel, table=True):
    """Money on its way out of a wallet; ``target`` is an account number or a ledger address."""

    __tablename__ = "wallet_withdrawal"
    ref: str = Field(primary_key=True)
    participant: str = Field(foreign_key="participant.id", index=True)
    micro: int = Field(sa_type=BigInteger)
    target: str
    state: str  # reserved, cancelled, completed
    asked_ms: int = Field(sa_type=BigInteger)  # district clock

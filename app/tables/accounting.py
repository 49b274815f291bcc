"""The journal, the statements, and the payments' outbox."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlmodel import Field, SQLModel


class JournalEntry(SQLModel, table=True):
    """A set of postings that sum to 0; (ref, kind) makes a repeated step write it once."""

    __tablename__ = "journal_entry"
    __table_args__ = (UniqueConstraint("ref", "kind"),)
    id: int | None = Field(default=None, primary_key=True)
    ref: str
    kind: str
    interval: str | None = Field(default=None, index=True)
    booked_ms: int = Field(sa_type=BigInteger, index=True)  # district clock


class PostingRow(SQLModel, table=True):
    """One posting; immutable, corrections are further postings."""

    __tablename__ = "posting"
    __table_args__ = (Index("posting_account", "account", "entry"),)
    id: int | None = Field(default=None, primary_key=True)
    entry: int = Field(foreign_key="journal_entry.id", index=True)
    account: str
    micro: int = Field(sa_type=BigInteger)


class AccountMonthRow(SQLModel, table=True):
    """What was booked on an account in a local month (of ``booked_ms``), written with the entries.

    ``credit_micro`` sums the postings above 0, ``debit_micro`` those below, as a positive number.
    """

    __tablename__ = "account_month"
    month: str = Field(primary_key=True)  # YYYY-MM, local
    account: str = Field(primary_key=True)
    debit_micro: int = Field(sa_type=BigInteger)
    credit_micro: int = Field(sa_type=BigInteger)


class SettlementLine(SQLModel, table=True):
    """One line of a statement, or (version > 0) of a correction to it."""

    __tablename__ = "settlement_line"
    id: int | None = Field(default=None, primary_key=True)
    interval: str = Field(foreign_key="interval.key", index=True)
    version: int
    participant: str = Field(foreign_key="participant.id", index=True)
    point: str
    kind: str
    wh: int = Field(sa_type=BigInteger)
    price_micro_per_kwh: int
    micro: int = Field(sa_type=BigInteger)


class StatementRow(SQLModel, table=True):
    """A participant's statement leaf of one interval, verbatim."""

    __tablename__ = "interval_statement"
    __table_args__ = (Index("interval_statement_latest", "participant", "interval"),)
    interval: str = Field(primary_key=True, foreign_key="interval.key")
    participant: str = Field(primary_key=True, foreign_key="participant.id")
    position: int  # index in the settlement tree
    payload: bytes  # canonical JSON
    salt: bytes
    sum_micro: int = Field(sa_type=BigInteger)
    closing_carry_micro: int = Field(sa_type=BigInteger)
    saving_micro: int = Field(sa_type=BigInteger)


class Payment(SQLModel, table=True):
    """One group of transfers, paid by one transaction; the outbox works them off in id order."""

    __tablename__ = "payment"
    id: int | None = Field(default=None, primary_key=True)
    ref: str = Field(unique=True)  # 'INTERVAL/0' or 'top-up/0'
    interval: str | None = Field(default=None, index=True)
    tagged_data: bytes  # what the transaction carries
    state: str = Field(index=True)  # planned, signed, submitted, confirmed
    payload: bytes | None = None  # the signed transaction, stored before it is sent
    transaction_id: str | None = None


class PaymentParty(SQLModel, table=True):
    """A participant's part of a payment; the treasury takes what is left."""

    __tablename__ = "payment_party"
    payment: int = Field(primary_key=True, foreign_key="payment.id")
    participant: str = Field(primary_key=True, foreign_key="participant.id", index=True)
    address: str  # hex
    micro: int = Field(sa_type=BigInteger)


class PaymentInput(SQLModel, table=True):
    """An output that a signed payment spends: reserved until it is confirmed, evidence after."""

    __tablename__ = "payment_input"
    output_id: str = Field(primary_key=True)
    payment: int = Field(foreign_key="payment.id", index=True)
    position: int
    output_bytes: bytes

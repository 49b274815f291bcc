"""The bank rail: statement files, their entries, payments out and the files that carry them."""

from __future__ import annotations

from sqlalchemy import BigInteger, UniqueConstraint
from sqlmodel import Field, SQLModel


class BankFileRow(SQLModel, table=True):
    """A statement file, kept verbatim as evidence: shown for confirmation first, then taken."""

    __tablename__ = "bank_file"
    id: int | None = Field(default=None, primary_key=True)
    sha256: str = Field(unique=True)  # of the content, hex
    name: str
    decimal: str | None = None  # comma or point, for a CSV
    content: bytes
    taken: bool
    at_ms: int = Field(sa_type=BigInteger)  # district clock


class BankStatementRow(SQLModel, table=True):
    """One statement of a file, with what the account held before and after it."""

    __tablename__ = "bank_statement"
    __table_args__ = (UniqueConstraint("account", "ref", "closes"),)
    id: int | None = Field(default=None, primary_key=True)
    file: int = Field(foreign_key="bank_file.id", index=True)
    account: str  # IBAN
    ref: str  # the statement's own id
    closes: str = Field(index=True)  # day of the closing balance, ISO
    opening_micro: int = Field(sa_type=BigInteger)
    closing_micro: int = Field(sa_type=BigInteger)


class BankEntryRow(SQLModel, table=True):
    """One booked line of the account; its bank reference is what keeps it from counting twice."""

    __tablename__ = "bank_entry"
    __table_args__ = (UniqueConstraint("account", "bank_ref"),)
    id: int | None = Field(default=None, primary_key=True)
    file: int = Field(foreign_key="bank_file.id", index=True)
    # Whose balances hold it; a CSV has none until a statement tells the entry again.
    statement: int | None = Field(default=None, foreign_key="bank_statement.id", index=True)
    account: str  # IBAN
    bank_ref: str
    booked: str = Field(index=True)  # day, ISO
    micro: int = Field(sa_type=BigInteger)  # > 0 came in, < 0 went out


class BankMovementRow(SQLModel, table=True):
    """One transaction of an entry and what became of it."""

    __tablename__ = "bank_movement"
    ref: str = Field(primary_key=True)
    entry: int = Field(foreign_key="bank_entry.id", index=True)
    position: int
    micro: int = Field(sa_type=BigInteger)
    remittance: str
    name: str
    iban: str
    state: str = Field(index=True)  # top-up, payout, open, assigned, charges, returning, returned
    participant: str | None = Field(default=None, foreign_key="participant.id", index=True)
    note: str = ""  # why it was not matched, or what a person said


class BankExportRow(SQLModel, table=True):
    """A pain.001 file, verbatim: written again it carries the same message id."""

    __tablename__ = "bank_export"
    id: int | None = Field(default=None, primary_key=True)
    message_id: str = Field(unique=True)
    at_ms: int = Field(sa_type=BigInteger)
    content: bytes
    payments: int
    micro: int = Field(sa_type=BigInteger)


class BankPayoutRow(SQLModel, table=True):
    """Money on its way out: a withdrawal of a participant, or a credit that is sent back."""

    __tablename__ = "bank_payout"
    ref: str = Field(primary_key=True)  # also the end-to-end id of the bank's payment
    kind: str  # bank, ledger, return
    participant: str | None = Field(default=None, foreign_key="participant.id", index=True)
    movement: str | None = Field(default=None, foreign_key="bank_movement.ref", index=True)
    micro: int = Field(sa_type=BigInteger)
    name: str  # whom the bank pays
    target: str  # IBAN, or the ledger address (bech32)
    state: str = Field(index=True)  # asked, approved, exported, paid, rejected, cancelled
    reason: str = ""
    asked_ms: int = Field(sa_type=BigInteger)
    decided_ms: int | None = Field(default=None, sa_type=BigInteger)
    export: int | None = Field(default=None, foreign_key="bank_export.id", index=True)

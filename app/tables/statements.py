"""Monthly statements: numbered, final once issued; what people pay and dispute of them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlmodel import Field, SQLModel


class StatementRunRow(SQLModel, table=True):
    """One issue of statements: their tree's root stands in the log, and so on the ledger."""

    __tablename__ = "statement_run"
    id: int | None = Field(default=None, primary_key=True)
    month: str = Field(index=True)  # YYYY-MM, local
    issued_ms: int = Field(sa_type=BigInteger)  # district clock
    root: bytes
    log_index: int
    issued_by: str  # a role, 'worker' or 'command'


class MonthlyStatementRow(SQLModel, table=True):
    """A participant's statement of one month, verbatim. ``final``: they leave with it.

    ``number`` is ``S-YEAR-NNNNNN``; ``credit_note`` is that of the self-billed credit note in it,
    ``C-YEAR-NNNNNN``, where they sold something. Both run without a gap within their year.
    """

    __tablename__ = "monthly_statement"
    __table_args__ = (UniqueConstraint("month", "participant"),)
    number: str = Field(primary_key=True)
    run: int = Field(foreign_key="statement_run.id", index=True)
    position: int  # index in the run's tree
    month: str
    participant: str = Field(foreign_key="participant.id", index=True)
    final: bool
    payload: bytes  # canonical JSON
    salt: bytes
    due_micro: int = Field(sa_type=BigInteger)  # whole cents; > 0: the participant pays
    credit_note: str | None = Field(default=None, unique=True)


class StatementPaymentRow(SQLModel, table=True):
    """Money at the bank for a statement: a credit that paid it, or a payout of what it owes.

    ``booked_ms`` is None while the bank has not made a payout; how far it is, its own row tells.
    """

    __tablename__ = "statement_payment"
    ref: str = Field(primary_key=True)  # of the bank movement, or of the payout
    statement: str = Field(foreign_key="monthly_statement.number", index=True)
    micro: int = Field(sa_type=BigInteger)  # whole cents; > 0 came in, < 0 goes out
    booked_ms: int | None = Field(default=None, sa_type=BigInteger)  # district clock


class DisputeRow(SQLModel, table=True):
    """A line of a statement that its participant does not accept, and what came of it."""

    __tablename__ = "dispute"
    __table_args__ = (Index("dispute_state", "state", "opened_ms"),)
    id: int | None = Field(default=None, primary_key=True)
    statement: str = Field(foreign_key="monthly_statement.number", index=True)
    participant: str = Field(foreign_key="participant.id")
    line: str  # the line's reference on the statement
    held_micro: int = Field(sa_type=BigInteger)  # not to be collected while it is open
    text: str
    opened_ms: int = Field(sa_type=BigInteger)
    state: str  # open, corrected, refused, withdrawn
    answer: str = ""
    answered_by: str = ""
    remedy: str | None = None  # what corrected it: INTERVAL/POINT/VERSION
    closed_ms: int | None = Field(default=None, sa_type=BigInteger)

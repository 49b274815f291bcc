"""Issued statements and previews, ready to be shown, written to files and proved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlmodel import Session

from app.files.statement_csv import statement_csv
from app.files.statement_document import load
from app.files.statement_pdf import statement_pdf
from app.services.house import House
from app.services.statements import gather, issuing
from app.services.statements.span import Span
from app.store import statements
from app.tables import MonthlyStatementRow, StatementRunRow
from ledger_client.merkle import leaf_hash
from ledger_client.verify import canonical
from web.ports.statements import Document, Seal

MEDIA: Final = {
    "pdf": "application/pdf",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}


class UnknownStatementError(LookupError):
    """There is no such statement: check its number (404)."""


def find(session: Session, number: str) -> tuple[MonthlyStatementRow, StatementRunRow]:
    """Return an issued statement and its issue.

    Raises:
        UnknownStatementError: there is none.
    """
    found = statements.find(session, number)
    if found is None:
        raise UnknownStatementError(
            f"there is no statement {number[:40]!r}: its number looks like S-2026-000001"
        )
    return found


def seal_of(session: Session, row: MonthlyStatementRow, run: StatementRunRow) -> Seal:
    """Return where a statement stands in the log."""
    return Seal(
        leaf=leaf_hash(statements.leaf(row.salt, row.payload)).hex(),
        salt=row.salt.hex(),
        root=run.root.hex(),
        log_index=run.log_index,
        anchored=statements.is_anchored(session, run.log_index),
    )


def previews(
    house: House, session: Session, span: Span, participants: Sequence[str]
) -> Mapping[str, Document]:
    """Return what statements would say if they were issued now; nothing is written.

    Of a running month they say what there is so far.
    """
    found = drafts(house, session, span, participants)
    return {who: load(payload) for who, payload in found.items()}


def drafts(
    house: House, session: Session, span: Span, participants: Sequence[str]
) -> Mapping[str, bytes]:
    """Return the same as :func:`previews`, as the canonical JSON that would be issued."""
    ground = gather.ground(session, span, house.clock.now_ms())
    made = issuing.documents(house, session, ground, participants)
    return {who: canonical(built.document) for who, built in made.items()}


def rendered(payload: bytes, seal: Seal | None, form: str) -> bytes:
    """Return a statement as pdf, csv or json: always the same bytes of the same statement."""
    if form == "json":
        return payload + b"\n"
    document = load(payload)
    return statement_csv(document) if form == "csv" else statement_pdf(document, seal)

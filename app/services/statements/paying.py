"""Where issued statements' money stands, as lists and pages show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlmodel import Session

from app.bankfiles.girocode import girocode
from app.bankfiles.identifiers import grouped, statement_reference
from app.files.statement_document import load
from app.services.bank_account import own_account
from app.services.dues import local_day
from app.services.house import House
from app.store import dues
from app.store.dues import Standing
from app.tables import MonthlyStatementRow
from market.dues import due_day
from market.statement import MICRO_PER_CENT
from web.ports.statements import Document, Settling, StatementLine


def lines(
    session: Session,
    house: House,
    rows: Sequence[MonthlyStatementRow],
    names: Mapping[str, str],
) -> list[StatementLine]:
    """Return issued statements as lines of a list, each with where its money stands."""
    standing = dues.standing(session, [row.number for row in rows])
    return [_line(house, row, standing[row.number], names) for row in rows]


def _line(
    house: House, row: MonthlyStatementRow, found: Standing, names: Mapping[str, str]
) -> StatementLine:
    today, issued = (local_day(house, at) for at in (house.clock.now_ms(), found.issued_ms))
    return replace(
        line_of(load(row.payload), names),
        state=found.dues.state.value,
        open_cents=found.dues.open_micro // MICRO_PER_CENT,
        overdue=found.dues.is_overdue(issued, today),
    )


def line_of(document: Document, names: Mapping[str, str]) -> StatementLine:
    """Return what a document says in a list; a preview has no state."""
    return StatementLine(
        number=document.number,
        credit_note=document.credit_note.number if document.credit_note else "",
        month=document.month,
        participant=document.participant,
        name=names.get(document.participant, document.participant),
        final=document.final == 1,
        issued_ms=document.issued_ms,
        due_cents=document.due_cents,
        saving_micro=document.saving.month_micro,
    )


def settling(
    session: Session, house: House, row: MonthlyStatementRow, names: Mapping[str, str]
) -> Settling:
    """Return how one statement is paid, and how far that is."""
    found = dues.standing(session, [row.number])[row.number]
    account = own_account(session, house.settings)
    reference = statement_reference(row.number)
    # What is disputed is not asked for: the code names the rest.
    asked = max(0, found.dues.open_micro - found.dues.held_micro)
    return Settling(
        line=_line(house, row, found, names),
        held_cents=max(0, min(found.dues.held_micro, found.dues.open_micro)) // MICRO_PER_CENT,
        due_day=due_day(local_day(house, found.issued_ms)).isoformat(),
        reference=grouped(reference),
        holder=account.name if account else "",
        account=grouped(account.iban) if account else "",
        code=girocode(account, reference, asked) if account and asked else "",
        payout=found.payout.state if found.payout else "",
        target=grouped(found.payout.target) if found.payout else "",
    )

"""The money pages' view of the house: satisfies :class:`web.ports.bank.Bank`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sqlmodel import Session

from app.bankfiles.amounts import MICRO_PER_CENT, Decimal, euros, typed
from app.bankfiles.csvfile import write_csv
from app.bankfiles.errors import BankFileError
from app.bankfiles.girocode import girocode
from app.bankfiles.identifiers import grouped
from app.services import bank_import, bank_payouts, bank_reconcile, bank_suspense, treasury
from app.services.bank_account import own_account, reference
from app.services.bank_errors import BankError, NotThereError
from app.services.bank_payouts import shown_target
from app.services.house import House
from app.store import bank, dues, journal, people, wallets
from app.tables import BankMovementRow, BankPayoutRow
from ledger_client.stardust.bech32 import encode_address_text
from market.journal import wallet
from web.ports import NotFoundError, RefusedError
from web.ports.bank import (
    BalanceLine,
    BankLine,
    ExportLine,
    MoneyLine,
    MoneyPage,
    PayoutLine,
    Preview,
    TreasuryPage,
    Withdrawal,
)

_EXPORTS: Final = 8
_ALL: Final = 100_000
_IN: Final = ("top-up", "assigned", "statement")


@contextmanager
def _on_the_page() -> Iterator[None]:
    try:
        yield
    except BankError as error:
        raise RefusedError(str(error), error.field) from error
    except treasury.OwnAddressError as error:
        raise RefusedError(str(error), "address") from error
    except (BankFileError, treasury.TreasuryError) as error:
        raise RefusedError(str(error)) from error


class BankDesk:
    """Money in and out of one district, for its pages."""

    def __init__(self, house: House) -> None:
        self._house = house

    def money(self, participant: str) -> MoneyPage:
        """Return a participant's own money page."""
        settings = self._house.settings
        with self._house.database.read() as session:
            row = people.participants(session)[participant]
            account = own_account(session, settings)
            own = reference(settings, participant)
            address = wallets.own_address(session, participant)
            return MoneyPage(
                participant=participant,
                name=row.name,
                wallet_micro=_balance(session, wallet(participant)),
                available_micro=treasury.available_micro(session, participant, MICRO_PER_CENT),
                account=grouped(account.iban) if account else "",
                holder=account.name if account else "",
                bic=account.bic if account else "",
                reference=grouped(own),
                code=girocode(account, own) if account else "",
                own_address=encode_address_text(settings.hrp, bytes.fromhex(address.address))
                if address
                else "",
                nonce=secrets.token_urlsafe(12),
                lines=_money_lines(session, participant),
            )

    def withdraw(self, participant: str, asked: Withdrawal) -> None:
        """Reserve a withdrawal; the manager decides about it."""
        try:
            micro = typed(asked.amount)
        except BankFileError as error:
            raise RefusedError(str(error), "amount") from error
        with _on_the_page():
            if asked.kind == "ledger":
                bank_payouts.ask_ledger(self._house, participant, micro, nonce=asked.nonce)
            else:
                bank_payouts.ask_bank(
                    self._house,
                    participant,
                    micro,
                    iban=asked.iban,
                    holder=asked.holder,
                    nonce=asked.nonce,
                )

    def cancel(self, participant: str, ref: str) -> None:
        """Undo a withdrawal of one's own."""
        with _on_the_page():
            bank_payouts.cancel(self._house, ref, participant)

    def set_address(self, participant: str, address: str) -> None:
        """Register a ledger address of one's own for payouts; '' ends the registration."""
        with _on_the_page(), self._house.database.write() as session:
            if address.strip():
                treasury.register_address(session, self._house, participant, address)
            else:
                treasury.revoke_address(session, self._house, participant)

    def lines_csv(self, participant: str) -> bytes:
        """Return a participant's movements as CSV."""
        with self._house.database.read() as session:
            lines = _money_lines(session, participant)
        rows = [
            (each.ref, each.day, each.kind, each.state, euros(each.micro), each.text, each.reason)
            for each in lines
        ]
        return write_csv(("reference", "day", "kind", "state", "euros", "text", "reason"), rows)

    def treasury(self) -> TreasuryPage:
        """Return the manager's page."""
        found = bank_reconcile.reconcile(self._house)
        with self._house.database.read() as session:
            account = own_account(session, self._house.settings)
            names = {who: row.name for who, row in people.participants(session).items()}
            waiting = bank.movements(session, "open", limit=_ALL)
            payouts = bank.payouts(session, "asked", "approved", "exported", limit=_ALL)
            return TreasuryPage(
                account=grouped(account.iban) if account else "",
                holder=account.name if account else "",
                day=found.day,
                statement=found.statement,
                balances=[BalanceLine(each.text, each.micro, each.total) for each in found.lines],
                reasons=found.reasons,
                open=[_bank_line(row, day, names) for row, day in waiting],
                asked=_payout_lines(payouts, "asked", names),
                approved=_payout_lines(payouts, "approved", names),
                exported=_payout_lines(payouts, "exported", names),
                exports=[
                    ExportLine(row.message_id, row.at_ms, row.payments, row.micro)
                    for row in bank.exports(session, _EXPORTS)
                ],
                people=[*sorted(names.items(), key=lambda each: each[1]), *_unpaid(session, names)],
            )

    def preview(self, name: str, content: bytes, decimal: str) -> Preview:
        """Read a statement file and say what it would change."""
        mark: Decimal | None = None
        if decimal in {"comma", "point"}:
            mark = "comma" if decimal == "comma" else "point"
        with _on_the_page():
            digest, plan = bank_import.preview(self._house, name, content, mark)
        with self._house.database.read() as session:
            names = {who: row.name for who, row in people.participants(session).items()}
        return Preview(
            digest=digest,
            name=plan.name,
            statements=len(plan.statements),
            lines=[
                BankLine(
                    ref=each.ref,
                    day=each.day,
                    micro=each.transaction.micro,
                    name=each.transaction.name,
                    iban=each.transaction.iban,
                    text=each.transaction.remittance,
                    state=each.state,
                    participant=names.get(each.participant or "", ""),
                    note=each.note,
                )
                for each in plan.movements
            ],
            known=plan.known,
        )

    def confirm(self, digest: str) -> int:
        """Book a file that was shown; return how many movements were new."""
        with _on_the_page():
            return len(bank_import.confirm(self._house, digest).movements)

    def assign(self, ref: str, participant: str) -> None:
        """Give a credit to a participant, or to a statement by its number."""
        with _on_the_page():
            bank_suspense.assign_to(self._house, ref, participant)

    def charge(self, ref: str, note: str) -> None:
        """Book a movement as the district's own charges or interest."""
        with _on_the_page():
            bank_suspense.charge(self._house, ref, note)

    def send_back(self, ref: str) -> None:
        """Send a credit back with the next file."""
        with _on_the_page():
            bank_payouts.send_back(self._house, ref)

    def decide(self, ref: str, decision: str, reason: str) -> None:
        """Approve or reject a withdrawal, or say that the bank refused it."""
        with _on_the_page():
            if decision == "approve":
                bank_payouts.approve(self._house, ref)
            elif decision == "reject":
                bank_payouts.reject(self._house, ref, reason)
            elif decision == "refused":
                bank_payouts.refused_by_bank(self._house, ref, reason)
            else:
                raise RefusedError("choose to approve or to reject")

    def export(self) -> str:
        """Hand the approved payments to a file; return its message id, '' when none is ready."""
        with _on_the_page():
            made, _ = bank_payouts.export(self._house)
        return made.message_id if made else ""

    def export_file(self, message_id: str) -> bytes:
        """Return an exported file."""
        try:
            return bank_payouts.exported_file(self._house, message_id)
        except NotThereError as error:
            raise NotFoundError(str(error)) from error

    def entries_csv(self) -> bytes:
        """Return every movement of the bank's account as CSV."""
        with self._house.database.read() as session:
            return movements_csv(bank.movements(session, limit=_ALL))


def movements_csv(movements: Sequence[tuple[BankMovementRow, str]]) -> bytes:
    """Return movements of the bank's account as CSV, safe to open."""
    header = ("reference", "day", "euros", "name", "iban", "text", "state", "participant", "note")
    rows = [
        (
            row.ref,
            day,
            euros(row.micro),
            row.name,
            row.iban,
            row.remittance,
            row.state,
            row.participant or "",
            row.note,
        )
        for row, day in movements
    ]
    return write_csv(header, rows)


def _unpaid(session: Session, names: dict[str, str]) -> list[tuple[str, str]]:
    """Return the statements that a credit can pay, by number, in words."""
    return [
        (each.number, f"{each.number}, {names[each.participant]}: €{euros(each.dues.open_micro)}")
        for each in dues.unsettled(session).values()
        if each.dues.open_micro > 0
    ]


def _balance(session: Session, account: str) -> int:
    return journal.balances(session, account).get(account, 0)


def _money_lines(session: Session, participant: str) -> list[MoneyLine]:
    """Return what a participant paid in and took out, newest first."""
    lines = [_payout_line(session, row) for row in bank.payouts(session, participant=participant)]
    credits_ = bank.movements(session, *_IN, participant=participant)
    lines += [
        MoneyLine(
            ref=row.ref,
            at_ms=None,
            day=day,
            kind="statement-paid" if row.state == "statement" else "top-up",
            state="paid" if row.state == "statement" else "booked",
            micro=row.micro,
            text=row.name,
            reason="",
            can_cancel=False,
        )
        for row, day in credits_
    ]
    lines.sort(key=lambda line: (line.day, line.at_ms or 0, line.ref), reverse=True)
    founding, at_ms = bank.founding_top_up(session, wallet(participant))
    if founding:
        day = bank_payouts.local_day(session, at_ms).isoformat()
        lines.append(
            MoneyLine(
                ref="founding",
                at_ms=at_ms,
                day=day,
                kind="founding",
                state="booked",
                micro=founding,
                text="when the district was founded",
                reason="",
                can_cancel=False,
            )
        )
    return lines


def _payout_line(session: Session, row: BankPayoutRow) -> MoneyLine:
    return MoneyLine(
        ref=row.ref,
        at_ms=row.asked_ms,
        day=bank_payouts.local_day(session, row.asked_ms).isoformat(),
        kind=row.kind,
        state=row.state,
        micro=-row.micro,
        text=shown_target(row),
        reason=row.reason,
        can_cancel=row.state in {"asked", "approved"},
    )


def _bank_line(row: BankMovementRow, day: str, names: dict[str, str]) -> BankLine:
    return BankLine(
        ref=row.ref,
        day=day,
        micro=row.micro,
        name=row.name,
        iban=row.iban,
        text=row.remittance,
        state=row.state,
        participant=names.get(row.participant or "", ""),
        note=row.note,
        can_return=row.micro > 0 and bool(row.iban) and bool(row.name),
    )


def _payout_lines(
    rows: Sequence[BankPayoutRow], state: str, names: dict[str, str]
) -> list[PayoutLine]:
    return [
        PayoutLine(
            ref=row.ref,
            asked_ms=row.asked_ms,
            kind=row.kind,
            micro=row.micro,
            participant=names.get(row.participant or "", ""),
            holder=row.name,
            target=shown_target(row),
        )
        for row in rows
        if row.state == state
    ]

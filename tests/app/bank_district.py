"""A district with a bank account: the kit of district_kit, its bank, and what holds at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlmodel import Session

from app.services import bank_import, bank_payouts, bank_reconcile
from app.services.bank_account import reference
from app.services.bank_import import Plan
from app.services.bank_reconcile import Reconciliation
from app.store import bank, dues, journal
from app.store.dues import Standing
from app.tables import BankMovementRow, BankPayoutRow, MonthlyStatementRow, StatementRunRow
from ledger_client.localnode.reader import LocalReader
from market.journal import SUPPLIER, entry_of, receivable
from tests.app.bank_kit import PAYER, Line, camt
from tests.app.district_kit import TOP_UP, Kit

NAMES = ("solar", "flat", "shop")
FOUNDED = TOP_UP * len(NAMES)


class BankKit(Kit):
    """The kit, with short ways to bank."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.house = replace(self.house, reader=LocalReader(self.node))

    def reference(self, name: str) -> str:
        return reference(self.settings, name)

    def take(
        self, *lines: Line, ref: str = "S1", opening: int = 0, closes: str = "2026-06-23"
    ) -> Plan:
        content = camt(lines, ref=ref, opening=opening, closes=closes)
        return bank_import.take(self.house, f"{ref}.xml", content, None)

    def withdraw(self, name: str, micro: int, nonce: str = "1") -> str:
        return bank_payouts.ask_bank(self.house, name, micro, iban=PAYER, holder="", nonce=nonce)

    def owe(self, number: str, who: str, due_micro: int) -> None:
        """Issue a statement that says nothing but what is due (< 0: to the participant)."""
        now_ms = self.clock.now_ms()
        with self.database.write() as session:
            run = StatementRunRow(
                month=number, issued_ms=now_ms, root=b"", log_index=0, issued_by="test"
            )
            session.add(run)
            session.flush()
            row = MonthlyStatementRow(
                number=number,
                run=run.id or 0,
                position=0,
                month=number,
                participant=who,
                final=False,
                payload=b"{}",
                salt=b"",
                due_micro=due_micro,
            )
            session.add(row)
            moved = [(receivable(who), -due_micro), (SUPPLIER, due_micro)]
            entry = entry_of(f"statement/{number}", "statement", moved)
            journal.book(session, entry, interval=None, booked_ms=now_ms)

    def standing(self, number: str) -> Standing:
        found: Standing = self.look(lambda session: dues.standing(session, [number])[number])
        return found

    def pay(self) -> None:
        """Let the ledger confirm whatever is planned."""
        for _ in range(4):
            self.worker.run_due()

    def export(self) -> bytes:
        self.pay()
        made, _ = bank_payouts.export(self.house)
        assert made is not None
        return made.content

    def movements(self) -> dict[str, BankMovementRow]:
        rows: Sequence[tuple[BankMovementRow, str]] = self.look(bank.movements)
        return {row.ref: row for row, _ in rows}

    def payout(self, ref: str) -> BankPayoutRow:
        found = self.look(lambda session: bank.payout(session, ref))
        assert found is not None
        return found

    def look(self, question: Callable[[Session], Any]) -> Any:
        with self.database.read() as session:
            return question(session)

    def balances(self, prefix: str = "") -> dict[str, int]:
        found = self.look(lambda session: dict(journal.balances(session, prefix)))
        return {account: micro for account, micro in found.items() if micro}

    def reconcile(self) -> Reconciliation:
        return bank_reconcile.reconcile(self.house)

    def check(self) -> None:
        """The journal sums to 0, and bank, journal and ledger agree with every line named."""
        super().check()
        assert self.reconcile().reasons == ()


@contextmanager
def bank_kit(folder: Path, url: str) -> Iterator[BankKit]:
    kit = BankKit(folder, url, NAMES)
    try:
        kit.pay()
        yield kit
    finally:
        kit.close()

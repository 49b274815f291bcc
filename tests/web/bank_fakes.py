"""The district's money in memory: an account, the treasury, and what was asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.web.web_fakes import CLOCK_MS
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

EURO = 1_000_000
IBAN = "DE02 1203 0000 0000 2020 51"
REFERENCE = "RF58 4CMN 8Y8W 9W"
ADDRESS = "wl1qpszqzadsym6wpppd6z037dvlejmjuke7s24hm95s9fg9vpua7vluehe53e"
HOSTILE = "<script>alert(1)</script>"


def line(ref: str, kind: str, state: str, euros: int, reason: str = "") -> MoneyLine:
    return MoneyLine(
        ref=ref,
        at_ms=CLOCK_MS,
        day="2026-06-23",
        kind=kind,
        state=state,
        micro=euros * EURO,
        text=IBAN,
        reason=reason,
        can_cancel=state in {"asked", "approved"},
    )


LINES = (
    line("W1", "bank", "asked", -5),
    line("W2", "bank", "exported", -6),
    line("W3", "ledger", "paid", -7),
    line("W4", "bank", "rejected", -8, HOSTILE),
    line("W5", "bank", "cancelled", -9),
    line("B1", "top-up", "booked", 20),
    line("founding", "founding", "booked", 50),
)
MONEY = MoneyPage(
    participant="weber",
    name="Family Weber",
    wallet_micro=42_123_456,
    available_micro=42_120_000,
    account=IBAN,
    holder="Lindenhof",
    bic="",
    reference=REFERENCE,
    code="BCD\n002\n1\nSCT\n\nLindenhof\nDE02120300000000202051\n\n\nRF584CMN8Y8W9W",
    own_address="",
    nonce="once",
    lines=LINES,
)
PAYOUT = PayoutLine("W1", CLOCK_MS, "bank", 5 * EURO, "Family Weber", "Erika Weber", IBAN)
OPEN = BankLine(
    ref="B2",
    day="2026-06-23",
    micro=12 * EURO,
    name=HOSTILE,
    iban="DE02120300000000202051",
    text="thanks a lot",
    state="open",
    participant="",
    note="no participant’s reference in it",
    can_return=True,
)
TREASURY = TreasuryPage(
    account=IBAN,
    holder="Lindenhof",
    day="2026-06-23",
    statement="7 of 2026-06-23",
    balances=(
        BalanceLine("At the bank, by its statement", 100 * EURO, total=False),
        BalanceLine("There before the first statement", 0, total=False),
        BalanceLine("At the bank, by the journal", 100 * EURO, total=True),
        BalanceLine("Units in circulation on the ledger", 99_123_456, total=False),
        BalanceLine("Carried over, and credit drawn", 876_544, total=False),
        BalanceLine("At the bank, by the ledger", 100 * EURO, total=True),
    ),
    reasons=(),
    open=(OPEN, replace(OPEN, ref="B3", micro=-2 * EURO, name="", can_return=False)),
    asked=(PAYOUT,),
    approved=(replace(PAYOUT, ref="W6"), replace(PAYOUT, ref="W7", kind="return", participant="")),
    exported=(replace(PAYOUT, ref="W8"),),
    exports=(ExportLine("WL-20260623-ABC", CLOCK_MS, 1, 6 * EURO),),
    people=(("bakery", "Bakery Korn"), ("weber", "Family Weber")),
)


@dataclass
class FakeBank:
    """Answers from the constants; ``refuses`` is raised by every change."""

    page: MoneyPage = MONEY
    manager_page: TreasuryPage = TREASURY
    refuses: RefusedError | None = None
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def money(self, participant: str) -> MoneyPage:
        return self.page

    def withdraw(self, participant: str, asked: Withdrawal) -> None:
        self._note("withdraw", participant, asked)

    def cancel(self, participant: str, ref: str) -> None:
        self._note("cancel", participant, ref)

    def set_address(self, participant: str, address: str) -> None:
        self._note("address", participant, address)

    def lines_csv(self, participant: str) -> bytes:
        return b"reference\r\n"

    def treasury(self) -> TreasuryPage:
        return self.manager_page

    def preview(self, name: str, content: bytes, decimal: str) -> Preview:
        self._note("preview", name, content, decimal)
        shown = replace(OPEN, ref="B9", state="top-up", participant="Family Weber", note="")
        return Preview("d1", name, 1, (shown, OPEN), 3)

    def confirm(self, digest: str) -> int:
        self._note("confirm", digest)
        return 2

    def assign(self, ref: str, participant: str) -> None:
        self._note("assign", ref, participant)

    def charge(self, ref: str, note: str) -> None:
        self._note("charge", ref, note)

    def send_back(self, ref: str) -> None:
        self._note("return", ref)

    def decide(self, ref: str, decision: str, reason: str) -> None:
        self._note("decide", ref, decision, reason)

    def export(self) -> str:
        self._note("export")
        return "WL-20260623-ABC"

    def export_file(self, message_id: str) -> bytes:
        if message_id != "WL-20260623-ABC":
            raise NotFoundError("no such file")
        return b"<Document/>"

    def entries_csv(self) -> bytes:
        return b"reference\r\n"

    def _note(self, *what: object) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append(what)

"""A state machine that banks at random: nothing is paid twice, nothing is lost."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from app.bankfiles.identifiers import statement_reference
from app.services import bank_payouts, bank_suspense, dues
from app.services.bank_errors import BankError
from app.store import bank
from tests.app.bank_district import FOUNDED, NAMES, BankKit
from tests.app.bank_kit import CENT, PAYER, Line, Payment, payments_of
from tests.conftest import LONG

CENTS = st.integers(1, 700)
WHO = st.sampled_from(NAMES)
OWED = {  # cents; < 0: the district owes them
    "S-2026-000001": ("solar", -900),
    "S-2026-000002": ("flat", 500),
    "S-2026-000003": ("flat", 1),
    "S-2026-000004": ("shop", 0),
}


class Banking(RuleBasedStateMachine):
    """People pay in and ask, the manager decides, the bank does what its files say."""

    refs = Bundle("refs")
    source: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp()) / "district"
        shutil.copytree(self.source, self.folder)
        self.kit = BankKit(self.folder, f"sqlite:///{self.folder / 'district.db'}", NAMES)
        self.balance = FOUNDED  # what the bank itself says
        self.statements = 0
        self.handed_over: dict[str, Payment] = {}  # what its files asked the bank to pay
        self.not_debited: dict[str, Payment] = {}
        self.paid_in = 0
        self.paid_out = 0

    def teardown(self) -> None:
        self.kit.close()
        shutil.rmtree(self.folder.parent)

    @initialize()
    def begin(self) -> None:
        self._statement()

    def _statement(self, *lines: Line) -> None:
        """The bank writes a statement, and it is read twice."""
        self.statements += 1
        for _ in range(2):
            self.kit.take(*lines, ref=f"S{self.statements}", opening=self.balance)
        self.balance += sum(line.micro for line in lines)

    @rule(who=WHO, cents=CENTS, knows=st.booleans())
    def pay_in(self, who: str, cents: int, knows: bool) -> None:
        text = self.kit.reference(who) if knows else "hello"
        self._statement(Line(f"in-{self.statements}", cents * CENT, text))
        self.paid_in += cents * CENT

    @rule(target=refs, who=WHO, cents=CENTS, nonce=st.integers(0, 9))
    def ask(self, who: str, cents: int, nonce: int) -> object:
        with suppress(BankError):
            return self.kit.withdraw(who, cents * CENT, str(nonce))
        return multiple()

    @rule(ref=refs, action=st.sampled_from(["approve", "approve", "reject", "cancel"]))
    def decide(self, ref: str, action: str) -> None:
        with suppress(BankError):
            if action == "approve":
                bank_payouts.approve(self.kit.house, ref)
            elif action == "reject":
                bank_payouts.reject(self.kit.house, ref, "no")
            else:
                owner = self.kit.payout(ref).participant or ""
                bank_payouts.cancel(self.kit.house, ref, owner)

    @rule(who=WHO, action=st.sampled_from(["assign", "return", "charge"]))
    def tidy(self, who: str, action: str) -> None:
        waiting = [ref for ref, row in self.kit.movements().items() if row.state == "open"]
        for ref in sorted(waiting)[:1]:
            with suppress(BankError):
                if action == "assign":
                    bank_suspense.assign(self.kit.house, ref, who)
                elif action == "return":
                    bank_payouts.send_back(self.kit.house, ref)
                else:
                    bank_suspense.charge(self.kit.house, ref, "ours")

    @rule(number=st.sampled_from(sorted(OWED)), cents=CENTS, by_name=st.booleans())
    def pay_a_statement(self, number: str, cents: int, by_name: bool) -> None:
        was = self.kit.standing(number).dues
        text = number if by_name else statement_reference(number)
        micro = cents * CENT
        self._statement(Line(f"s-{self.statements}", micro, text))
        self.paid_in += micro
        now = self.kit.standing(number).dues
        assert now.in_micro - was.in_micro == (micro if was.open_micro > 0 else 0)

    @rule(number=st.sampled_from(sorted(OWED)))
    def pay_out_what_is_owed(self, number: str) -> None:
        dues.look_daily(self.kit.house)
        with suppress(BankError):
            who = OWED[number][0]
            dues.ask_payout(self.kit.house, who, number, iban=PAYER, holder="")
        asked = self.kit.standing(number).payout
        if asked is not None and asked.state == "asked":
            bank_payouts.approve(self.kit.house, asked.ref)

    @rule()
    def ledger_works(self) -> None:
        self.kit.pay()

    @rule()
    def export(self) -> None:
        made, _ = bank_payouts.export(self.kit.house)
        for payment in payments_of(made.content) if made else []:
            assert payment.end_to_end not in self.handed_over, "handed over twice"
            self.handed_over[payment.end_to_end] = payment
            self.not_debited[payment.end_to_end] = payment

    @rule(number=st.integers(0, 5))
    def bank_pays(self, number: int) -> None:
        for payment in list(self.not_debited.values())[number : number + 1]:
            del self.not_debited[payment.end_to_end]
            name = f"out-{self.statements}"
            self._statement(Line(name, -payment.micro, end_to_end=payment.end_to_end))
            self.paid_out += payment.micro

    @rule(number=st.integers(0, 5))
    def bank_refuses(self, number: int) -> None:
        for payment in list(self.not_debited.values())[number : number + 1]:
            del self.not_debited[payment.end_to_end]
            bank_payouts.refused_by_bank(self.kit.house, payment.end_to_end, "closed")

    @invariant()
    def everything_agrees(self) -> None:
        self.kit.check()
        accounts = self.kit.balances()
        assert -accounts.get("bank", 0) == FOUNDED + self.paid_in - self.paid_out == self.balance

    @invariant()
    def receivables_are_what_statements_leave_open(self) -> None:
        left = dict.fromkeys(NAMES, 0)
        for number, (who, _) in OWED.items():
            left[who] += self.kit.standing(number).dues.open_micro
        held = self.kit.balances("receivable:")
        assert {who: -held.get(f"receivable:{who}", 0) for who in NAMES} == left

    @invariant()
    def what_is_under_way_is_at_the_bank(self) -> None:
        exported = self.kit.look(lambda session: bank.payouts(session, "exported"))
        assert {row.ref for row in exported} == set(self.not_debited)
        assert all(row.micro == self.not_debited[row.ref].micro for row in exported)


def test_banking_at_random(tmp_path_factory: pytest.TempPathFactory) -> None:
    source = tmp_path_factory.mktemp("banking")
    kit = BankKit(source, f"sqlite:///{source / 'district.db'}", NAMES)
    kit.pay()
    for number, (who, cents) in OWED.items():
        kit.owe(number, who, cents * CENT)
    kit.close()
    Banking.source = source
    run_state_machine_as_test(
        Banking,
        settings=settings(max_examples=150 if LONG else 4, stateful_step_count=20, deadline=None),
    )

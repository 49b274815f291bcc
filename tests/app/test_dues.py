"""What happens to money once a statement is issued: scenarios, the rail, lists and pages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bankfiles.identifiers import grouped, mod97, statement_reference, statements_in
from app.commands import statement_run
from app.jobs import statements as job
from app.services import bank_payouts, bank_suspense, dues
from app.services.bank_errors import AskedError, NotThereError, StateError
from app.services.statements.desk import StatementDesk
from app.tables import DisputeRow, MonthlyStatementRow, NoticeRow, PostingRow
from market.dues import PAYMENT_DAYS, Dues, State, due_day
from metering.interval import Interval
from tests.app.bank_district import NAMES, BankKit
from tests.app.bank_kit import CENT, PAYER, Line, payments_of
from web.ports import NotFoundError, RefusedError

START = Interval.parse("2026-06-30T21:30:00Z")  # two quarters before the local month's end

# Money in cents. Credits name the statement; "disputed" is what its open disputes hold.
STATES = """
due    disputed  came in   went out  | still open  state        overdue after the day
1250   0         0         0         | 1250        open         yes
1250   0         1250      0         | 0           paid         no
1250   0         400       0         | 850         partly-paid  yes
1250   0         1300      0         | -50         paid         no
1250   0         1300      50        | 0           paid         no
1250   300       0         0         | 1250        disputed     yes
1250   300       950       0         | 300         disputed     no
1250   1250      0         0         | 1250        disputed     no
1250   300       1250      0         | 0           paid         no
-480   0         0         0         | -480        open         no
-480   0         0         480       | 0           paid-out     no
0      0         0         0         | 0           paid         no
"""

# A statement of 12.50 EUR is paid by credits, one after the other; what each becomes.
CREDITS = """
credits, in cents and what they say           | become           receivable  suspense  state
1250 {reference}                              | statement        0           0         paid
1250 {number}                                 | statement        0           0         paid
1250 Rechnung {number}, danke                 | statement        0           0         paid
400 {reference}; 850 {number}                 | statement 2x     0           0         paid
400 {reference}                               | statement        -850        0         partly-paid
1300 {reference}                              | statement        50          0         paid
1250 {reference}; 1250 {reference}            | statement, open  0           1250      paid
1250 {number} {other}                         | open             -1250       1250      open
1250 {reference} {wallet}                     | open             -1250       1250      open
1250 S-2026-999999                            | open             -1250       1250      open
1250 {broken}                                 | open             -1250       1250      open
"""


@pytest.mark.parametrize("line", STATES.strip().splitlines()[1:])
def test_where_a_statement_stands(line: str) -> None:
    left, right = (part.split() for part in line.split("|"))
    due, held, came, went = (int(each) * CENT for each in left)
    found = Dues(due, came, went, held)
    shown = found.open_micro // CENT, found.state.value
    assert shown == (int(right[0]), right[1])
    issued = date(2026, 7, 3)
    last = due_day(issued)
    assert (last - issued).days == PAYMENT_DAYS
    assert not found.is_overdue(issued, last)
    assert found.is_overdue(issued, last + timedelta(days=1)) == (right[2] == "yes")


@settings(max_examples=50)
@given(st.integers(-5000, 5000), st.integers(0, 6000), st.integers(0, 6000), st.integers(0, 5000))
def test_what_is_open_is_never_paid_and_the_reverse(
    due: int, came: int, went: int, held: int
) -> None:
    found = Dues(due, came, went, min(held, max(0, due)))
    assert due == found.in_micro - found.out_micro + found.open_micro
    assert (found.open_micro > 0) == (
        found.state in (State.OPEN, State.PARTLY_PAID, State.DISPUTED) and found.open_micro >= 0
    )
    assert not (found.state is State.PAID_OUT and found.open_micro)


@settings(max_examples=50)
@given(st.integers(2000, 2999), st.integers(1, 999_999), st.integers(0, 14), st.sampled_from("07"))
def test_a_reference_carries_its_number_and_no_other(
    year: int, count: int, place: int, other: str
) -> None:
    number = f"S-{year}-{count:06d}"
    reference = statement_reference(number)
    assert mod97(reference) == 1
    assert len(reference) <= 25  # ISO 11649
    for text in (
        reference,
        grouped(reference),
        f"x {reference.lower()} 12,50",
        number,
        number[:6] + number[7:],
    ):
        assert statements_in(text) == {number}, text
    place = min(place, len(reference) - 1)
    if place > 1 and reference[place].isdigit() and reference[place] != other:
        typo = reference[:place] + other + reference[place + 1 :]
        assert number not in statements_in(typo)


# --- The rail ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankKit]:
    """June's last half hour and a quarter of July, June's statements issued."""
    folder = tmp_path_factory.mktemp("dues")
    changes: dict[str, object] = {"statement_days": 0}
    url = f"sqlite:///{folder / 'district.db'}"
    kit = BankKit(folder, url, NAMES, changes, start=START)
    for _ in range(3):
        kit.live(solar=(0, 3000), flat=(1200, 0), shop=(900, 0))
    job.issue(kit.house, "2026-06", "command")
    yield kit
    kit.close()


class Bank:
    """The statements of an account, one after the other."""

    count, held = 0, 0

    def tell(self, kit: BankKit, *lines: tuple[int, str, str]) -> list[str]:
        """Book entries (cents, text, end-to-end id); return what they become."""
        made = []
        for cents, text, end_to_end in lines:
            Bank.count += 1
            made.append(Line(f"D{Bank.count}", cents * CENT, text, end_to_end or "NOTPROVIDED"))
        plan = kit.take(*made, ref=f"D{Bank.count}", opening=Bank.held)
        Bank.held += sum(line.micro for line in made)
        return [each.state for each in plan.movements]


def moved(kit: BankKit, before: Mapping[str, int], account: str) -> int:
    return (kit.balances().get(account, 0) - before.get(account, 0)) // CENT


@pytest.mark.parametrize("place", range(len(CREDITS.strip().splitlines()) - 1))
def test_credits_pay_what_they_name(kit: BankKit, place: int) -> None:
    left, right = CREDITS.strip().splitlines()[place + 1].split("|")
    becomes, receivable, suspense, state = (e.strip() for e in right.split("  ") if e.strip())
    number, other = f"S-2021-{place:06d}", f"S-2022-{place:06d}"
    before = kit.balances()
    kit.owe(number, "shop", 1250 * CENT)
    kit.owe(other, "flat", 100 * CENT)
    reference = statement_reference(number)
    words = {
        "number": number,
        "other": other,
        "reference": reference,
        "broken": reference[:-1] + str((int(reference[-1]) + 1) % 10),
        "wallet": kit.reference("shop"),
    }
    lines = []
    for credit in left.strip().split(";"):
        cents, _, text = credit.strip().partition(" ")
        lines.append((int(cents), text.format(**words), ""))
    wanted = ["statement"] * 2 if becomes.endswith("2x") else becomes.split(", ")
    assert Bank().tell(kit, *lines) == wanted
    assert moved(kit, before, "receivable:shop") == int(receivable)
    assert moved(kit, before, "suspense") == int(suspense)
    assert kit.standing(number).dues.state == state
    kit.check()


def test_a_credit_that_waited_is_given_to_a_statement(kit: BankKit) -> None:
    kit.owe("S-2023-000001", "flat", 700 * CENT)
    Bank().tell(kit, (700, "for my flat", ""))
    (ref,) = [r for r, row in kit.movements().items() if row.remittance == "for my flat"]
    with pytest.raises(NotThereError, match="statement list"):
        bank_suspense.assign_to(kit.house, ref, "S-2023-000009")
    bank_suspense.assign_to(kit.house, ref, "S-2023-000001")
    assert kit.standing("S-2023-000001").dues.state is State.PAID
    assert kit.movements()[ref].state == "statement"
    Bank().tell(kit, (10, "once more", ""))
    (again,) = [r for r, row in kit.movements().items() if row.remittance == "once more"]
    with pytest.raises(StateError, match="it is paid"):
        bank_suspense.assign_to(kit.house, again, "S-2023-000001")
    kit.check()


def test_what_the_district_owes_is_paid_out_once(kit: BankKit) -> None:
    number = "S-2023-000002"
    kit.owe(number, "shop", -480 * CENT)
    dues.look_daily(kit.house)
    assert kit.standing(number).payout is None  # the shop never named an account
    ask = dues.ask_payout
    with pytest.raises(AskedError, match="no IBAN"):
        ask(kit.house, "shop", number, iban="x", holder="")
    with pytest.raises(NotThereError):
        ask(kit.house, "flat", number, iban=PAYER, holder="")
    row = ask(kit.house, "shop", number, iban=PAYER, holder="")
    with pytest.raises(StateError, match="already"):
        ask(kit.house, "shop", number, iban=PAYER, holder="")
    bank_payouts.reject(kit.house, row.ref, "call me")
    dues.look_daily(kit.house)
    assert kit.standing(number).payout is None  # what was rejected is asked for by a person
    row = ask(kit.house, "shop", number, iban=PAYER, holder="")
    bank_payouts.approve(kit.house, row.ref)
    before = kit.balances()
    (payment,) = [p for p in payments_of(kit.export()) if p.end_to_end == row.ref]
    assert (payment.micro, payment.iban) == (480 * CENT, PAYER)
    assert moved(kit, before, "receivable:shop") == 0
    assert Bank().tell(kit, (-480, "", row.ref)) == ["payout"]
    assert (moved(kit, before, "receivable:shop"), moved(kit, before, "bank")) == (-480, 480)
    assert kit.standing(number).dues.state is State.PAID_OUT
    kit.check()


def test_an_account_that_was_used_before_is_asked_for_at_once(kit: BankKit) -> None:
    kit.owe("S-2023-000003", "shop", 100 * CENT)
    Bank().tell(kit, (150, "S-2023-000003", ""))  # the shop has had money paid out before
    asked = kit.standing("S-2023-000003").payout
    assert asked is not None
    assert (asked.state, asked.kind, asked.micro) == ("asked", "statement", 50 * CENT)
    bank_payouts.cancel(kit.house, asked.ref, "shop")
    kit.check()


def test_what_is_late_is_told_once_and_not_while_it_is_disputed(kit: BankKit) -> None:
    kit.owe("S-2023-000004", "flat", 100 * CENT)
    kit.owe("S-2023-000005", "flat", 100 * CENT)
    dispute = DisputeRow(
        statement="S-2023-000005",
        participant="flat",
        line="1.1",
        held_micro=100 * CENT,
        text="?",
        opened_ms=0,
        state="open",
    )
    with kit.database.write() as session:
        session.add(dispute)
    kit.clock.advance_to(kit.clock.now_ms() + (PAYMENT_DAYS + 1) * 86_400_000)
    for _ in range(2):
        dues.look_daily(kit.house)
    told = {row.ref for row in kit.rows(NoticeRow) if row.ref.startswith("overdue/")}
    assert "overdue/S-2023-000004" in told
    assert "overdue/S-2023-000005" not in told


def test_lists_files_and_pages_say_how_far_it_is(
    kit: BankKit, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the statements of June, which were issued for real."""
    issued = {r.participant: r for r in kit.rows(MonthlyStatementRow) if r.month == "2026-06"}
    shop, solar = issued["shop"], issued["solar"]
    document = json.loads(shop.payload)
    terms = document["payment"]
    assert terms["reference"] == statement_reference(shop.number)
    assert terms["due_day"] == due_day(date.fromisoformat(document["issued_day"])).isoformat()
    assert json.loads(solar.payload)["payment"] is None  # they are paid
    desk = StatementDesk(kit.house, frozenset(NAMES), job.issue_shown)
    page = desk.one("shop", shop.number).settling
    assert page is not None
    assert page.line.overdue
    assert f"EUR{shop.due_micro // CENT / 100:.2f}" in page.code
    Bank().tell(kit, (shop.due_micro // CENT, terms["reference"], ""))
    statement_run.list_issued(kit.house, "2026-06", None, as_json=True)
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    states = {each["participant"]: (each["state"], each["overdue"]) for each in shown}
    assert states == {"flat": ("open", True), "shop": ("paid", False), "solar": ("open", False)}
    statement_run.list_issued(kit.house, "2026-06", "flat", as_json=False)
    assert "overdue" in capsys.readouterr().out
    with pytest.raises(RefusedError) as caught:
        desk.ask_payout("solar", solar.number, "DE", "")
    assert caught.value.field == "iban"
    with pytest.raises(NotFoundError):
        desk.ask_payout("flat", solar.number, PAYER, "")
    desk.ask_payout("solar", solar.number, PAYER, "Sol Ar")
    page = desk.one("solar", solar.number).settling
    assert page is not None
    assert (page.payout, page.target) == ("asked", grouped(PAYER))
    assert page.code == ""
    assert sum(row.micro for row in kit.rows(PostingRow)) == 0
    kit.check()

"""Statements become postings, payouts become files, and everything agrees at any time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.bankfiles.errors import StatementFileError
from app.services import bank_import, bank_payouts, bank_reconcile, bank_suspense, treasury
from app.services.bank_account import DEMO_IBAN
from app.services.bank_errors import AskedError, BankError, NotThereError, StateError
from app.store import bank, journal, people
from ledger_client.stardust.bech32 import encode_address_text
from market.journal import entry_of
from tests.app.bank_district import FOUNDED, BankKit, bank_kit
from tests.app.bank_kit import (
    CENT,
    EURO,
    PAYER,
    Line,
    camt,
    csv,
    document,
    payments_of,
    statement,
)
from tests.app.district_kit import TOP_UP


@pytest.fixture(scope="session")
def founded_bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A founded and paid district's folder to copy, since that takes longer than most tests."""
    folder = tmp_path_factory.mktemp("bank") / "district"
    folder.mkdir()
    with bank_kit(folder, f"sqlite:///{folder / 'wattloom.db'}"):
        return folder


@pytest.fixture
def kit(founded_bank: Path, tmp_path: Path) -> Iterator[BankKit]:
    folder = tmp_path / "district"
    shutil.copytree(founded_bank, folder)
    with bank_kit(folder, f"sqlite:///{folder / 'wattloom.db'}") as kit:
        yield kit


@pytest.fixture
def each_kit(tmp_path: Path, database_url: str) -> Iterator[BankKit]:
    with bank_kit(tmp_path, database_url) as kit:
        yield kit


# Statements


# text, euros -> state, who, and what the accounts hold afterwards beside the founding
CREDITS = [
    ("{solar}", 7, "top-up", {"wallet:solar": 7}),
    ("top up {solar} thanks", 7, "top-up", {"wallet:solar": 7}),
    ("{solar:lower} und nochmal {solar}", 7, "top-up", {"wallet:solar": 7}),
    ("{solar} {flat}", 7, "open", {"suspense": 7}),
    ("no idea", 7, "open", {"suspense": 7}),
    ("{nobody}", 7, "open", {"suspense": 7}),
    ("{solar:broken}", 7, "open", {"suspense": 7}),
    ("{solar}", -7, "open", {"suspense": -7}),
    ("account fee", -7, "open", {"suspense": -7}),
]


def fill(kit: BankKit, text: str) -> str:
    solar = kit.reference("solar")
    spaced = " ".join(solar.lower())
    broken = solar[:-1] + ("2" if solar[-1] != "2" else "3")
    for name, value in (
        ("{solar:lower}", spaced),
        ("{solar:broken}", broken),
        ("{solar}", solar),
        ("{flat}", kit.reference("flat")),
        ("{nobody}", kit.reference("somebody-else")),
    ):
        text = text.replace(name, value)
    return text


@pytest.mark.parametrize("form", ["camt", "csv"])
def test_entries_become_postings(kit: BankKit, form: str) -> None:
    opening = 0
    for number, (text, euros, state, accounts) in enumerate(CREDITS):
        line = Line(f"A{number}", euros * EURO, fill(kit, text))
        content = csv([line])
        if form == "camt":
            content = camt([line], ref=f"S{number}", opening=opening)
        before = kit.balances()
        plan = bank_import.take(kit.house, "file", content, "comma")
        assert [each.state for each in plan.movements] == [state], text
        after = kit.balances()
        wanted = {name: micro * EURO for name, micro in accounts.items()}
        wanted["bank"] = -euros * EURO
        moved = {name: after.get(name, 0) - before.get(name, 0) for name in before | after}
        assert {name: micro for name, micro in moved.items() if micro} == wanted, text
        kit.check()
        opening += line.micro
    kit.pay()
    kit.check()


def test_a_top_up_arrives_on_the_ledger(each_kit: BankKit) -> None:
    each_kit.take(Line("A1", 7 * EURO, each_kit.reference("solar")))
    account = each_kit.accounts()["solar"]
    assert (account.wallet_micro, account.unconfirmed_micro) == (TOP_UP + 7 * EURO, 7 * EURO)
    each_kit.pay()
    assert each_kit.accounts()["solar"].ledger_micro == TOP_UP + 7 * EURO
    lines = {line.key: line.micro for line in each_kit.reconcile().lines}
    assert lines["bank_closing"] == 7 * EURO
    assert lines["founding"] == FOUNDED
    assert lines["journal_bank"] == lines["explained"] == FOUNDED + 7 * EURO
    assert lines["supply_less_treasury"] == lines["circulation"] == FOUNDED + 7 * EURO
    each_kit.check()


def test_the_same_file_again_and_the_same_entry_elsewhere(kit: BankKit) -> None:
    lines = [Line("A1", 7 * EURO, kit.reference("solar")), Line("A2", 2 * EURO, "?")]
    kit.take(*lines)
    once = kit.balances()
    again = kit.take(*lines)
    assert (again.movements, again.known) == ((), 2)
    bank_import.take(kit.house, "as.csv", csv(lines), "comma")  # the same entries, another file
    more = [*lines, Line("A3", EURO, kit.reference("solar"))]
    plan = kit.take(*more, ref="S1b")
    assert (len(plan.movements), plan.known) == (1, 2)
    assert kit.balances("wallet:solar") == {"wallet:solar": once["wallet:solar"] + EURO}


def test_csv_first_and_the_statement_later(kit: BankKit) -> None:
    lines = [Line("A1", 7 * EURO, kit.reference("solar"))]
    bank_import.take(kit.house, "as.csv", csv(lines), "comma")
    kit.check()
    kit.take(*lines, opening=3 * EURO)
    lines_now = {line.key: line.micro for line in kit.reconcile().lines}
    assert lines_now["bank_closing"] == 10 * EURO
    assert lines_now["opening"] == -3 * EURO
    kit.check()


def test_any_order_of_files_gives_the_same(tmp_path: Path) -> None:
    seen = set()
    for number, order in enumerate(permutations(range(4))):
        if number % 9:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        with bank_kit(folder, f"sqlite:///{folder / 'a.db'}") as kit:
            solar, flat = kit.reference("solar"), kit.reference("flat")
            day = "2026-06-22"
            one = [Line("A1", 7 * EURO, solar, day=day), Line("A2", 2 * EURO, "?", day=day)]
            two = [Line("B1", 4 * EURO, flat, day="2026-06-23")]
            three = [Line("C1", -EURO, "fee", day="2026-06-23")]
            files = [
                camt(one, closes="2026-06-22"),
                camt(two, ref="S2", opening=9 * EURO),
                camt(three, ref="S3", opening=13 * EURO),
                csv(one + two),
            ]
            for at in order:
                bank_import.take(kit.house, str(at), files[at], "comma")
            kit.pay()
            kit.check()
            states = sorted((ref, row.state, row.micro) for ref, row in kit.movements().items())
            seen.add((str(sorted(kit.balances().items())), str(states)))
            closing = {line.key: line.micro for line in kit.reconcile().lines}
            seen.add(str(closing))
    assert len(seen) == 2


def test_a_missing_statement_is_noticed_and_heals(kit: BankKit) -> None:
    first = Line("A1", 7 * EURO, kit.reference("solar"), day="2026-06-21")
    kit.take(first, closes="2026-06-21")
    kit.take(Line("C1", EURO, "x"), ref="S3", opening=9 * EURO)
    found = bank_reconcile.watch(kit.house)
    assert len(found.reasons) == 1
    assert "between the statements S1 (2026-06-21) and S3 (2026-06-23) 2.00" in found.reasons[0]
    bank_reconcile.watch(kit.house)
    assert len(kit.notices("alarm/reconcile/")) == 1
    earlier = bank_reconcile.reconcile(kit.house, date(2026, 6, 21))
    assert (earlier.statement, earlier.reasons) == ("S1 of 2026-06-21", ())
    second = Line("B1", 2 * EURO, "y", day="2026-06-22")
    kit.take(second, ref="S2", opening=7 * EURO, closes="2026-06-22")
    kit.check()


def test_a_tampered_journal_is_noticed(kit: BankKit) -> None:
    with kit.database.write() as session:
        wrong = entry_of("x", "x", [("bank", -EURO), ("elsewhere", EURO)])
        journal.book(session, wrong, interval=None, booked_ms=0)
    reasons = kit.reconcile().reasons
    assert len(reasons) == 2
    assert "the journal’s bank account to 16.00" in reasons[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (camt([Line("A1", EURO)], account=PAYER), f"account {PAYER}, the district's is"),
        (camt([Line("A1", 2 * EURO)], ref="S9"), "stands for 1.00 euros of 2026-06-23 already"),
        (csv([Line("A1", EURO, day="2026-06-24")]), "stands for 1.00 euros of 2026-06-23"),
        (camt([Line("A1", EURO)], opening=5), "with other balances"),
        (b"PK\x03\x04zip", "unpack"),
        (b"  ", "empty"),
        (b"x" * (4 * 2**20 + 1), "more than 4 MiB"),
    ],
)
def test_a_file_is_taken_whole_or_not_at_all(kit: BankKit, content: bytes, says: str) -> None:
    kit.take(Line("A1", EURO, kit.reference("solar")))
    before = kit.balances(), kit.look(bank.taken_files_count)
    with pytest.raises(StatementFileError, match=says):
        bank_import.take(kit.house, "x", content, "comma")
    assert (kit.balances(), kit.look(bank.taken_files_count)) == before


def test_one_bad_statement_spoils_the_file(kit: BankKit) -> None:
    good = statement([Line("A1", EURO, kit.reference("solar"))], "S1", (0, EURO), "2026-06-22")
    bad = statement([Line("A2", EURO)], "S2", (EURO, 3 * EURO), "2026-06-23")
    before = kit.balances()
    with pytest.raises(StatementFileError):
        bank_import.take(kit.house, "x", document(good + bad), None)
    assert kit.balances() == before


def test_a_csv_needs_its_decimal_mark(kit: BankKit) -> None:
    with pytest.raises(AskedError, match="decimal") as caught:
        bank_import.take(kit.house, "x.csv", csv([Line("A1", EURO)]), None)
    assert caught.value.field == "decimal"


def test_a_preview_books_nothing_until_it_is_confirmed(kit: BankKit) -> None:
    content = camt([Line("A1", 7 * EURO, kit.reference("solar"))])
    before = kit.balances()
    digest, plan = bank_import.preview(kit.house, "x", content, None)
    assert len(plan.movements) == 1
    assert kit.balances() == before
    assert len(bank_import.confirm(kit.house, digest).movements) == 1
    assert bank_import.confirm(kit.house, digest).movements == ()
    assert kit.balances("wallet:solar") == {"wallet:solar": TOP_UP + 7 * EURO}
    with pytest.raises(NotThereError):
        bank_import.confirm(kit.house, "0" * 64)
    kit.check()


def test_a_district_without_a_bank(kit: BankKit) -> None:
    with kit.database.write() as session:
        people.district(session).simulated = False
    with pytest.raises(BankError, match="set bank_iban"):
        kit.take(Line("A1", EURO))


# Suspense


def test_a_person_says_what_it_is(each_kit: BankKit) -> None:
    kit = each_kit
    kit.take(Line("A1", 7 * EURO, "?"), Line("A2", 2 * EURO, "??"), Line("A3", -EURO, "fee"))
    ref = {row.micro: row.ref for row in kit.movements().values()}
    assert len(kit.notices("bank-file/")) == 1
    bank_suspense.assign(kit.house, ref[7 * EURO], "solar")
    with pytest.raises(StateError):
        bank_suspense.assign(kit.house, ref[7 * EURO], "flat")
    with pytest.raises(AskedError):
        bank_suspense.assign(kit.house, ref[2 * EURO], "nobody")
    with pytest.raises(StateError):
        bank_suspense.assign(kit.house, ref[-EURO], "solar")
    with pytest.raises(NotThereError):
        bank_suspense.assign(kit.house, "B", "solar")
    bank_suspense.charge(kit.house, ref[-EURO], "account fee")
    with pytest.raises(AskedError):
        bank_suspense.charge(kit.house, ref[2 * EURO], " ")
    kit.pay()
    assert kit.balances("wallet:solar") == {"wallet:solar": TOP_UP + 7 * EURO}
    assert kit.balances("charges") == {"charges": -EURO}
    assert kit.balances("suspense") == {"suspense": 2 * EURO}
    kit.check()


def test_a_credit_goes_back_once(kit: BankKit) -> None:
    kit.take(Line("A1", 7 * EURO, "?", name="Jürgen Groß"))
    (ref,) = kit.movements()
    payout = bank_payouts.send_back(kit.house, ref)
    with pytest.raises(StateError):
        bank_payouts.send_back(kit.house, ref)
    bank_payouts.reject(kit.house, payout, "rather not")  # back on the list
    assert kit.movements()[ref].state == "open"
    second = bank_payouts.send_back(kit.house, ref)
    assert second != payout
    (paid,) = payments_of(kit.export())
    assert (paid.end_to_end, paid.micro) == (second, 7 * EURO)
    assert (paid.name, paid.iban) == ("Juergen Gross", PAYER)
    kit.check()
    kit.take(Line("A2", -7 * EURO, end_to_end=second), ref="S2", opening=7 * EURO)
    assert kit.movements()[ref].state == "returned"
    assert kit.balances("suspense") == {}
    kit.check()


# Withdrawals


def test_a_withdrawal_from_asking_to_paid(each_kit: BankKit) -> None:
    kit = each_kit
    ref = kit.withdraw("solar", 3 * EURO)
    assert kit.withdraw("solar", 3 * EURO) == ref  # the same form, sent twice
    assert kit.balances("w") == {
        "wallet:solar": TOP_UP - 3 * EURO,
        "wallet:flat": TOP_UP,
        "wallet:shop": TOP_UP,
        "withdrawal:solar": 3 * EURO,
    }
    assert bank_payouts.export(kit.house) == (None, 0)
    bank_payouts.approve(kit.house, ref)
    with pytest.raises(StateError):
        bank_payouts.approve(kit.house, ref)
    assert bank_payouts.export(kit.house) == (None, 1)  # the ledger has not collected it yet
    content = kit.export()
    (paid,) = payments_of(content)
    assert (paid.end_to_end, paid.micro, paid.name, paid.iban) == (ref, 3 * EURO, "Solar", PAYER)
    assert bank_payouts.export(kit.house) == (None, 0)
    (made,) = kit.look(lambda session: bank.exports(session, 9))
    assert bank_payouts.exported_file(kit.house, made.message_id) == content
    with pytest.raises(StateError):
        bank_payouts.cancel(kit.house, ref, "solar")
    kit.check()
    kit.take(Line("A1", -3 * EURO, end_to_end=ref), opening=FOUNDED)
    assert kit.payout(ref).state == "paid"
    assert kit.balances("withdrawal:") == {}
    kit.check()


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (Line("A1", -2 * EURO, end_to_end="{}"), "is over 3.00 euros"),
        (Line("A1", -3 * EURO, end_to_end="W0000000000"), "no payment of ours"),
        (Line("A1", 3 * EURO, end_to_end="{}"), "comes back from the payment"),
    ],
)
def test_debits_that_do_not_fit(kit: BankKit, line: Line, note: str) -> None:
    ref = kit.withdraw("solar", 3 * EURO)
    bank_payouts.approve(kit.house, ref)
    kit.export()
    end_to_end = line.end_to_end.format(ref)
    kit.take(Line("A1", line.micro, end_to_end=end_to_end), opening=FOUNDED)
    (row,) = kit.movements().values()
    assert row.state == "open"
    assert note in row.note
    assert kit.payout(ref).state == "exported"
    kit.check()


def test_a_debit_twice_is_one_payment(kit: BankKit) -> None:
    ref = kit.withdraw("solar", 3 * EURO)
    bank_payouts.approve(kit.house, ref)
    kit.export()
    kit.take(
        Line("A1", -3 * EURO, end_to_end=ref),
        Line("A2", -3 * EURO, text=f"Lindenhof {ref}"),
        opening=FOUNDED,
    )
    assert sorted(row.state for row in kit.movements().values()) == ["open", "payout"]
    assert kit.balances("suspense") == {"suspense": -3 * EURO}
    kit.check()


def test_what_is_undone_comes_back(kit: BankKit) -> None:
    cancelled, rejected, refused = (kit.withdraw("solar", EURO, nonce) for nonce in ("1", "2", "3"))
    with pytest.raises(NotThereError):
        bank_payouts.cancel(kit.house, cancelled, "flat")
    bank_payouts.cancel(kit.house, cancelled, "solar")
    with pytest.raises(AskedError):
        bank_payouts.reject(kit.house, rejected, " ")
    bank_payouts.reject(kit.house, rejected, "not now")
    bank_payouts.approve(kit.house, refused)
    with pytest.raises(StateError):
        bank_payouts.refused_by_bank(kit.house, refused, "closed")
    kit.export()
    with pytest.raises(StateError):
        bank_payouts.reject(kit.house, refused, "too late")
    bank_payouts.refused_by_bank(kit.house, refused, "account closed")
    kit.pay()
    assert kit.balances("wallet:solar") == {"wallet:solar": TOP_UP}
    assert kit.payout(refused).reason == "account closed"
    kit.check()


def test_a_withdrawal_to_an_address_of_ones_own(each_kit: BankKit) -> None:
    kit = each_kit
    with pytest.raises(AskedError, match="register"):
        bank_payouts.ask_ledger(kit.house, "solar", EURO, nonce="1")
    own = encode_address_text(kit.settings.hrp, bytes(range(32)))
    with kit.database.write() as session:
        treasury.register_address(session, kit.house, "solar", own)
    ref = bank_payouts.ask_ledger(kit.house, "solar", 2 * EURO, nonce="1")
    kit.check()
    bank_payouts.approve(kit.house, ref)
    kit.check()
    kit.pay()
    assert kit.ledger.balance(bytes(range(32))).units == 2 * EURO
    assert kit.balances("paid-out:") == {"paid-out:solar": 2 * EURO}
    assert kit.balances("bank") == {"bank": -FOUNDED}
    kit.check()


@pytest.mark.parametrize(
    ("micro", "iban", "field"),
    [
        (TOP_UP + CENT, PAYER, "amount"),
        (0, PAYER, "amount"),
        (-EURO, PAYER, "amount"),
        (CENT + 1, PAYER, "amount"),
        (10**18, PAYER, "amount"),
        (EURO, "DE02120300000000202052", "iban"),
        (EURO, "", "iban"),
    ],
)
def test_withdrawals_that_cannot_be(kit: BankKit, micro: int, iban: str, field: str) -> None:
    before = kit.balances()
    with pytest.raises(AskedError) as caught:
        bank_payouts.ask_bank(kit.house, "solar", micro, iban=iban, holder="", nonce="1")
    assert caught.value.field == field
    assert kit.balances() == before


def test_the_demo_s_account_is_no_bank_s() -> None:
    assert DEMO_IBAN[4:12] == "00000000"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 400)), max_size=6))
def test_statements_never_lose_a_cent(kit: BankKit, drawn: list[tuple[int, int]]) -> None:
    """Whatever comes in, twice and in overlapping files, is booked once and adds up."""
    texts = [kit.reference("solar"), kit.reference("flat"), "?", "", "RF", "W0000000000", "x"]
    lines = [
        Line(f"E{kind}-{cents}", cents * CENT, texts[kind]) for kind, cents in dict(drawn).items()
    ]
    for part in (lines[::2], lines, lines[1::2]):
        if part:
            bank_import.take(kit.house, "x.csv", csv(part), "comma")
    assert sum(kit.balances().values()) == 0
    kit.check()

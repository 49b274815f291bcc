"""Statements and forms made to hurt: none gives somebody money that is not theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import event

from app.bankfiles.amounts import typed
from app.bankfiles.camt import read_camt
from app.bankfiles.errors import AmountError, BankFileError, IdentifierError, StatementFileError
from app.bankfiles.identifiers import check_iban, mod97
from app.services import bank_import, bank_payouts, treasury
from app.services.bank_account import DEMO_IBAN
from app.services.bank_desk import BankDesk
from app.services.bank_errors import AskedError, NoAccountError, StateError
from app.services.founding import treasury_address
from app.store import people
from ledger_client.stardust.bech32 import encode_address_text
from ledger_client.wallet import TransferInput, Wallet, build_transfer
from tests.app.bank_district import BankKit, bank_kit
from tests.app.bank_kit import CENT, EURO, PAYER, Line, camt, csv
from tests.app.district_kit import TOP_UP
from tests.app.test_coin_book import move
from web.ports import NotFoundError, RefusedError
from web.ports.bank import Withdrawal


@pytest.fixture
def kit(tmp_path: Path, sqlite_url: str) -> Iterator[BankKit]:
    with bank_kit(tmp_path, sqlite_url) as kit:
        yield kit


def taken(kit: BankKit, content: bytes) -> list[tuple[str, str]]:
    """What became of a file's movements, and why; the books agree afterwards."""
    plan = bank_import.take(kit.house, "day.xml", content, "point")
    kit.check()
    return [(each.state, each.note) for each in plan.movements]


# --- Statements ----------------------------------------------------------------------------------


def test_a_batch_without_amounts_is_not_all_the_one_s_who_wrote_a_reference(kit: BankKit) -> None:
    """Two people paid; one wrote a reference, and the file does not say who paid what."""
    parts = [(EURO, kit.reference("solar")), (200 * EURO, "somebody else")]
    text = camt([Line("A1", 201 * EURO, parts=parts)]).decode()
    for part in ("1.00", "200.00"):
        text = text.replace(f'</Refs><Amt Ccy="EUR">{part}</Amt>', "</Refs>")
    assert taken(kit, text.encode()) == [("open", "2 payments in one, and not how much each is")]
    assert kit.wallets()["solar"] == TOP_UP


@pytest.mark.parametrize("flag", ["true", "1"])
def test_a_reversal_is_for_a_person(kit: BankKit, flag: str) -> None:
    lines = [Line("A1", EURO, kit.reference("solar")), Line("A2", -EURO, kit.reference("solar"))]
    reversed_ = camt(lines).replace(b"<Sts>", f"<RvslInd>{flag}</RvslInd><Sts>".encode())
    assert [state for state, _ in taken(kit, reversed_)] == ["open", "open"]
    assert kit.wallets()["solar"] == TOP_UP


def test_a_reversed_debit_pays_no_payment_off(kit: BankKit) -> None:
    ref = kit.withdraw("solar", EURO)
    bank_payouts.approve(kit.house, ref)
    kit.export()
    line = Line("A1", -EURO, end_to_end=ref)
    assert taken(kit, camt([line]).replace(b"<Sts>", b"<RvslInd>true</RvslInd><Sts>")) == [
        ("open", "the bank reversed an earlier entry")
    ]
    assert kit.payout(ref).state == "exported"


def detail_amount(content: bytes, old: str, new: str) -> bytes:
    before, after = f"</Refs>{old}", f"</Refs>{new}"
    assert content.decode().count(before) == 1
    return content.decode().replace(before, after).encode()


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ('<Amt Ccy="USD">108.00</Amt>', "top-up"),  # what was sent in dollars came in as euros
        ('<AmtDtls><TxAmt><Amt Ccy="CHF">95.5</Amt></TxAmt></AmtDtls>', "top-up"),
        ('<Amt Ccy="EUR">105.00</Amt>', "open"),  # the bank kept charges: somebody looks at it
        ('<AmtDtls><TxAmt><Amt Ccy="EUR">105.00</Amt></TxAmt></AmtDtls>', "open"),
    ],
)
def test_foreign_currency_and_charges_do_not_refuse_the_day(
    kit: BankKit, told: str, state: str
) -> None:
    content = camt([Line("A1", 100 * EURO, kit.reference("solar")), Line("A2", EURO, "?")])
    changed = detail_amount(content, '<Amt Ccy="EUR">100.00</Amt>', told)
    assert [each for each, _ in taken(kit, changed)] == [state, "open"]
    assert kit.wallets()["solar"] == TOP_UP + (100 * EURO if state == "top-up" else 0)
    assert kit.balances("bank") == {"bank": -3 * TOP_UP - 101 * EURO}


def test_fractions_of_a_cent_wait_for_a_person(kit: BankKit) -> None:
    lines = [Line("A1", 10, kit.reference("solar")), Line("A2", EURO + 1, kit.reference("solar"))]
    assert taken(kit, camt(lines)) == [("open", "no amount of whole cents")] * 2
    for ref in kit.movements():
        with pytest.raises(AskedError, match="whole cents"):
            bank_payouts.send_back(kit.house, ref)
    assert bank_payouts.export(kit.house) == (None, 0)


def test_the_same_entry_by_camt_and_csv_counts_once(kit: BankKit) -> None:
    line = Line("A1", EURO, kit.reference("solar"))
    for content in (camt([line]), csv([line], decimal="point")):
        taken(kit, content)
    assert kit.wallets()["solar"] == TOP_UP + EURO


@pytest.mark.parametrize("changed", [Line("A1", 2 * EURO), Line("A1", EURO, day="2026-06-22")])
def test_a_bank_reference_that_comes_back_changed_refuses_the_file(
    kit: BankKit, changed: Line
) -> None:
    taken(kit, camt([Line("A1", EURO, kit.reference("solar"))]))
    before = kit.balances()
    for content in (csv([changed], decimal="point"), camt([changed], ref="S9", opening=5)):
        with pytest.raises(StatementFileError, match="A1"):
            bank_import.take(kit.house, "x", content, "point")
    assert kit.balances() == before


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_gap_between_statements_is_told_and_heals(kit: BankKit, order: tuple[int, int]) -> None:
    days = ["2026-06-21", "2026-06-23"]
    files = [
        camt([Line("A0", EURO, kit.reference("flat"), day=days[0])], ref="S0", closes=days[0]),
        camt([Line("A2", EURO, "?", day=days[1])], ref="S2", opening=8 * EURO, closes=days[1]),
    ]
    for number in order:
        bank_import.take(kit.house, "x.xml", files[number], None)
    (reason,) = kit.reconcile().reasons
    assert "7.00" in reason
    assert "missing" in reason
    between = Line("A1", 7 * EURO, "?", day="2026-06-22")
    taken(kit, camt([between], ref="S1", opening=EURO, closes="2026-06-22"))


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace('encoding="UTF-8"', 'encoding="UTF-16"').encode("utf-16"),
        lambda text: b"\n " + text.split("?>", 1)[1].encode(),
    ],
)
def test_marks_and_encodings(kit: BankKit, encode: Callable[[str], bytes]) -> None:
    content = encode(camt([Line("A1", EURO, kit.reference("solar"))]).decode())
    assert taken(kit, content) == [("top-up", "")]


def test_deep_nesting_is_refused_or_passed_over() -> None:
    deep = "<a>" * 500_000
    with pytest.raises(BankFileError):
        read_camt(deep.encode())
    inside = camt([Line("A1", EURO)]).decode()
    nested = f"<x>{'<a>' * 200_000}{'</a>' * 200_000}</x>"
    (found,) = read_camt(inside.replace("<Stmt>", f"<Stmt>{nested}").encode())
    assert len(found.entries) == 1


def test_hundreds_of_cents_for_one_are_one_payment_and_few_statements(kit: BankKit) -> None:
    """Somebody sends a cent a thousand times: nobody else waits for that."""
    statements: list[str] = []
    event.listen(kit.database.engine, "before_cursor_execute", lambda *a: statements.append(a[2]))

    def import_(name: str, count: int) -> int:
        statements.clear()
        texts = [kit.reference("solar"), "?", kit.reference("flat")]
        lines = [Line(f"{name}{n}", CENT, texts[n % 3]) for n in range(count)]
        bank_import.take(kit.house, f"{name}.csv", csv(lines), "comma")
        return len(statements)

    # The entry's row and the journal's; all else is written in one go.
    assert import_("B", 630) - import_("A", 30) < 2 * 600 + 60
    planned = [ref for ref, state in kit.payments().items() if state == "planned"]
    assert [ref.split("/")[0] for ref in planned] == ["top-up"] * 2
    kit.pay()
    assert kit.accounts()["solar"].ledger_micro == TOP_UP + 220 * CENT
    assert kit.balances("suspense") == {"suspense": 220 * CENT}
    kit.check()


def test_what_somebody_sends_to_the_treasury_is_named_and_no_alarm(kit: BankKit) -> None:
    own = Wallet(bytes(range(32))).key(0)
    with kit.database.write() as session:
        text = encode_address_text("wl", own.address)
        treasury.register_address(session, kit.house, "solar", text)
    bank_payouts.approve(kit.house, bank_payouts.ask_ledger(kit.house, "solar", EURO, nonce="n"))
    kit.pay()
    kit.check()
    (paid,) = kit.ledger.balance(own.address).outputs
    outputs = [(treasury_address(kit.keyring), 500), (own.address, EURO - 500)]
    inputs = [TransferInput(paid, own)]
    kit.ledger.transfer(build_transfer(kit.settings.network, inputs, outputs).payload)
    kit.node.issue_milestone()
    found = kit.reconcile()
    assert {line.key: line.micro for line in found.lines}["given"] == 500
    assert found.agrees
    move(kit, 0, (bytes(32), 1_000))  # what leaves it behind our back is one
    assert any("ledger itself" in each for each in kit.reconcile().reasons)


# --- Forms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["1e3", "١٢", "-5", "NaN", "inf", "0x10", "1 000", "0", "", "1" * 13]
)
def test_amounts_that_are_none(text: str) -> None:
    with pytest.raises(AmountError):
        typed(text)


def test_amounts_with_spaces_around() -> None:
    assert typed(" 5 ") == 5 * EURO


def alias(iban: str) -> str:
    """The other check digits that leave the same remainder: no bank takes them."""
    body = iban[:2] + "00" + iban[4:]
    digits = 98 - mod97(body)
    other = digits + 97 if digits <= 2 else digits - 97
    return f"{iban[:2]}{other:02d}{iban[4:]}"


def test_check_digits_that_only_look_right() -> None:
    for number in range(2_000):
        iban = f"DE00{number:018d}"
        digits = 98 - mod97(iban)
        good = f"DE{digits:02d}{number:018d}"
        assert check_iban(good) == good
        if not 0 <= digits - 97 <= 99 and digits > 2:
            continue
        with pytest.raises(IdentifierError):
            check_iban(alias(good))


def test_the_district_pays_not_itself(kit: BankKit) -> None:
    with pytest.raises(AskedError, match="own account"):
        bank_payouts.ask_bank(kit.house, "solar", EURO, iban=DEMO_IBAN, holder="", nonce="1")
    assert kit.wallets()["solar"] == TOP_UP


def test_without_an_account_nothing_is_set_aside(kit: BankKit) -> None:
    with kit.database.write() as session:
        people.district(session).simulated = False
    with pytest.raises(NoAccountError):
        kit.withdraw("solar", EURO)
    assert kit.wallets()["solar"] == TOP_UP


def test_one_form_asks_for_one_thing(kit: BankKit) -> None:
    """Somebody goes back in the browser and changes the amount: nobody says that it was done."""
    ref = kit.withdraw("solar", EURO)
    assert kit.withdraw("solar", EURO) == ref
    with pytest.raises(StateError, match=r"1\.00 euros \(asked\)"):
        kit.withdraw("solar", 2 * EURO)
    bank_payouts.cancel(kit.house, ref, "solar")
    with pytest.raises(StateError, match="cancelled"):
        kit.withdraw("solar", EURO)
    assert kit.wallets()["solar"] == TOP_UP


@pytest.mark.parametrize(
    "asked",
    [
        Withdrawal("bank", "5", PAYER, "", ""),
        Withdrawal("nonsense", "5", PAYER, "", "n"),
        Withdrawal("ledger", "5", PAYER, "", "n"),
        Withdrawal("bank", "5", PAYER, "漢字", "n"),
        Withdrawal("bank", "5", "DE٠٢120300000000202051", "", "n"),
        Withdrawal("bank", "5", PAYER, "=HYPERLINK(1)<script>", "\0" * 9),
    ],
)
def test_forged_fields_are_asked_once_or_refused(kit: BankKit, asked: Withdrawal) -> None:
    desk = BankDesk(kit.house)
    for _ in range(2):
        with suppress(RefusedError):
            desk.withdraw("flat", asked)
    assert kit.wallets()["flat"] in {TOP_UP, TOP_UP - 5 * EURO}
    desk.money("flat")
    desk.treasury()
    kit.check()


@pytest.mark.parametrize(
    ("micro", "goes"),
    [(CENT, True), (TOP_UP, True), (TOP_UP + CENT, False), (10**18, False), (-CENT, False)],
)
def test_the_last_cent(kit: BankKit, micro: int, goes: bool) -> None:
    if goes:
        kit.withdraw("flat", micro)
    else:
        with pytest.raises(AskedError):
            kit.withdraw("flat", micro)
    kit.pay()
    assert kit.accounts()["flat"].ledger_micro == TOP_UP - (micro if goes else 0)
    kit.check()
    assert set(kit.payments().values()) == {"confirmed"}


@pytest.mark.parametrize("ref", ["", "B" * 4_000, "%00\0", "B\0"])
def test_references_that_nothing_has(database_url: str, tmp_path: Path, ref: str) -> None:
    with bank_kit(tmp_path, database_url) as kit:
        desk = BankDesk(kit.house)
        for call in (
            lambda: desk.assign(ref, "solar"),
            lambda: desk.charge(ref, "x"),
            lambda: desk.send_back(ref),
            lambda: desk.decide(ref, "approve", ""),
            lambda: desk.decide(ref, "reject", "x"),
            lambda: desk.decide(ref, "refused", "x"),
            lambda: desk.cancel("solar", ref),
            lambda: desk.confirm(ref),
        ):
            with pytest.raises(RefusedError):
                call()
        with pytest.raises(NotFoundError):
            desk.export_file(ref)

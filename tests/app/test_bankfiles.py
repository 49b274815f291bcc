"""Bank files without a district: amounts, identifiers, camt.053, the neutral CSV, pain.001."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bankfiles.amounts import MAX_MICRO, euros, signed, typed, unsigned
from app.bankfiles.camt import read_camt
from app.bankfiles.csvfile import read_csv, write_csv
from app.bankfiles.errors import (
    AmountError,
    IdentifierError,
    PaymentFileError,
    StatementFileError,
)
from app.bankfiles.girocode import girocode
from app.bankfiles.identifiers import (
    check_bic,
    check_iban,
    creditor_reference,
    grouped,
    mod97,
    references_in,
)
from app.bankfiles.pain import BankAccount, Order, Transfer, sepa_text, write_pain
from tests.app.bank_kit import (
    CENT,
    EURO,
    PAYER,
    Line,
    amount,
    camt,
    csv,
    document,
    payments_of,
    statement,
)

REF = creditor_reference("lindenhof.wattloom.example", "home-5")


# Amounts


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("12.50", 12_500_000),
        ("12,5", 12_500_000),
        ("0.01", CENT),
        ("€ 3", 3 * EURO),
        ("999999999.99", MAX_MICRO),
    ],
)
def test_what_people_type(text: str, micro: int) -> None:
    assert typed(text) == micro


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "1.234", "1,234", "1.000,00", "1e3", "1.", "NaN", "٣", "1000000000", "1 000"],
)
def test_what_people_should_not_type(text: str) -> None:
    with pytest.raises(AmountError):
        typed(text)


@given(st.integers(-(10**15), 10**15))
def test_amounts_survive_as_text(micro: int) -> None:
    assert signed(euros(micro), "point") == micro
    assert signed(euros(micro).replace(".", ","), "comma") == micro


@pytest.mark.parametrize("text", ["1,5", "1.5.0", "--1", "1_0", "+-1", " ", "0x1", "1.2345678"])
def test_the_other_mark_is_never_guessed(text: str) -> None:
    with pytest.raises(AmountError):
        signed(text, "point")


def test_a_tenth_is_a_tenth() -> None:
    assert sum(unsigned("0.1") for _ in range(3)) == unsigned("0.3") == 300_000


# Identifiers


@pytest.mark.parametrize(
    "text",
    [
        "DE02120300000000202051",
        "de02 1203 0000 0000 2020 51",
        "NO9386011117947",
        "BE68539007547034",
    ],
)
def test_ibans(text: str) -> None:
    assert check_iban(text) == text.upper().replace(" ", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no IBAN"),
        ("DE0212030000000020205", "has 22 characters"),
        ("DE02120300000000202052", "check digits"),
        ("DE02120300000000200251", "check digits"),
        ("US02120300000000202051", "no country"),
        ("DE02-1203", "no IBAN"),
    ],
)
def test_ibans_with_mistakes(text: str, says: str) -> None:
    with pytest.raises(IdentifierError, match=says):
        check_iban(text)


def test_bics() -> None:
    assert check_bic("bylademm 001") == "BYLADEMM001"
    with pytest.raises(IdentifierError):
        check_bic("BYLADEMM0")


def test_iso_11649_example() -> None:
    """RF18 5390 0754 7034 is the standard's own example: the same check digits, other letters."""
    assert mod97("RF18539007547034") == 1


def test_a_reference_is_found_however_it_was_written() -> None:
    spaced = grouped(REF).lower()
    for text in (
        REF,
        f"Abschlag {spaced} danke",
        f"SVWZ+{REF[:9]} {REF[9:]}EREF",
        "-".join(REF),
        f"{REF}{REF}",
        f"RF{REF}",
    ):
        assert references_in(text) == {REF}
    assert references_in("RF00 0000 0000 00") == frozenset()


@given(st.integers(0, len(REF) - 1), st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_one_wrong_character_is_noticed(at: int, letter: str) -> None:
    wrong = REF[:at] + letter + REF[at + 1 :]
    assert references_in(wrong) == ({REF} if wrong == REF else frozenset())


def test_references_differ() -> None:
    own = {creditor_reference("a.example", f"home-{n}") for n in range(2_000)}
    assert len(own) == 2_000
    assert creditor_reference("b.example", "home-1") not in own
    assert all(references_in(each) == {each} for each in own)


def test_girocode() -> None:
    lines = girocode(BankAccount("Lindenhof eG", PAYER), REF).split("\n")
    assert lines == ["BCD", "002", "1", "SCT", "", "Lindenhof eG", PAYER, "", "", REF]


# camt.053


@pytest.mark.parametrize("version", ["02", "04", "06", "08"])
def test_camt_versions(version: str) -> None:
    lines = [
        Line("A1", 5 * EURO, f"Top up {REF}", day="2026-06-22"),
        Line("A2", -2 * EURO - CENT, "out", end_to_end="W1"),
        Line("A3", 3 * EURO, parts=[(EURO, "one"), (2 * EURO, "two")]),
    ]
    (found,) = read_camt(camt(lines, opening=-EURO, version=version))
    assert found.balances is not None
    assert (found.ref, found.balances.opening_micro, found.balances.closing_micro) == (
        "S1",
        -EURO,
        5 * EURO - CENT,
    )
    first, second, third = found.entries
    assert (first.bank_ref, first.booked, first.micro) == ("A1", date(2026, 6, 22), 5 * EURO)
    (paid,) = first.transactions
    assert (paid.name, paid.iban, paid.end_to_end) == ("Erika Beispiel", PAYER, "")
    assert references_in(paid.remittance) == {REF}  # cut into lines of 27 characters by the bank
    assert second.transactions[0].micro == -2 * EURO - CENT
    assert second.transactions[0].end_to_end == "W1"
    assert [(each.micro, each.remittance) for each in third.transactions] == [
        (EURO, "one"),
        (2 * EURO, "two"),
    ]


def test_several_statements_and_pending_entries() -> None:
    booked = Line("A1", EURO)
    pending = '<Ntry><Amt Ccy="EUR">9</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>PDNG</Sts></Ntry>'
    one = statement([booked], "S1", (0, EURO), "2026-06-22").replace("</Stmt>", f"{pending}</Stmt>")
    two = statement([], "S2", (EURO, EURO), "2026-06-23")
    first, second = read_camt(document(one + two))
    assert len(first.entries) == 1
    assert second.entries == ()


def test_structured_references_and_entries_without_a_bank_reference() -> None:
    text = camt([Line("NONREF", EURO, "x"), Line("", 2 * EURO, "y")], ref="2026/7").decode()
    structured = f"<RmtInf><Strd><CdtrRefInf><Ref>{REF}</Ref></CdtrRefInf></Strd></RmtInf>"
    (found,) = read_camt(text.replace("<RmtInf><Ustrd>x</Ustrd></RmtInf>", structured).encode())
    assert [each.bank_ref for each in found.entries] == ["2026/7#0", "2026/7#1"]
    assert references_in(found.entries[0].transactions[0].remittance) == {REF}


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY a{n} "{"&a;" * 10}">' for n in range(9))
    + "]><Document>&a8;</Document>"
)
GOOD = camt([Line("A1", 5 * EURO), Line("A2", -EURO)]).decode()


@pytest.mark.parametrize(
    ("content", "where", "says"),
    [
        (BOMB, "the file", "entities"),
        ("", "the file", "no XML"),
        (GOOD[:-40], "the file", "no XML"),
        ('<?xml version="1.0" encoding="martian"?><a/>', "the file", "no XML"),
        (GOOD.replace("camt.053.001.08", "camt.052.001.08"), "the file", "not a camt.053"),
        (GOOD.replace("camt.053.001.08", "camt.053.001.99"), "the file", "not a camt.053"),
        ("<Document/>", "the file", "not a camt.053"),
        (document("").decode(), "/Document", "no statement"),
        (GOOD.replace('Ccy="EUR">5.00', 'Ccy="CHF">5.00'), "Ntry[1]/Amt", "not EUR"),
        (GOOD.replace("<Ccy>EUR", "<Ccy>USD"), "Acct/Ccy", "not held in EUR"),
        (GOOD.replace(">5.00<", ">-5.00<"), "Ntry[1]/Amt", "negative"),
        (GOOD.replace(">5.00<", ">5,00<"), "Ntry[1]/Amt", "no amount"),
        (GOOD.replace(">5.00<", ">5e2<"), "Ntry[1]/Amt", "no amount"),
        (GOOD.replace(">1.00<", ">9999999999.00<"), "Ntry[2]/Amt", "beyond"),
        (GOOD.replace(">1.00<", ">1.01<"), "Stmt[1]", "is not the closing balance"),
        (GOOD.replace("CLBD", "XXXX"), "Stmt[1]", "closing balance (CLBD)"),
        (GOOD.replace("<BookgDt><Dt>2026-06-23", "<BookgDt><Dt>23.06.26"), "BookgDt", "no date"),
        (GOOD.replace("<Cd>BOOK", "<Cd>WHAT"), "Ntry[1]", "status"),
        (GOOD.replace("<Id>S1</Id>", ""), "Stmt[1]", "no Id"),
        (GOOD.replace(">A2<", ">A1<"), "Stmt[1]", "share the bank reference A1"),
    ],
)
def test_bad_camt(content: str, where: str, says: str) -> None:
    with pytest.raises(StatementFileError) as caught:
        read_camt(content.encode())
    assert any(where in str(fault.where) and says in fault.text for fault in caught.value.faults)


def test_broken_batches_and_many_faults() -> None:
    broken = Line("A3", 3 * EURO, parts=[(EURO, "one"), (EURO, "two")])
    with pytest.raises(StatementFileError, match="add up to"):
        read_camt(camt([broken]))
    wrong = camt([Line(f"A{n}", EURO) for n in range(9)]).decode().replace("BOOK", "XXXX")
    with pytest.raises(StatementFileError, match=r"Ntry\[5\].*and 4 more") as caught:
        read_camt(wrong.encode())
    assert len(caught.value.faults) == 9


def test_a_batch_that_tells_no_amounts_is_one_movement() -> None:
    text = camt([Line("A1", 3 * EURO, parts=[(EURO, f"a {REF}"), (2 * EURO, "b")])]).decode()
    for part in ("1.00", "2.00"):
        text = text.replace(f'</Refs><Amt Ccy="EUR">{part}</Amt>', "</Refs>")
    (found,) = read_camt(text.encode())
    ((only,),) = (each.transactions for each in found.entries)
    assert (only.micro, only.name) == (3 * EURO, "")


def test_ten_megabytes_are_refused() -> None:
    with pytest.raises(StatementFileError, match="more than 4 MiB"):
        read_camt(b" " * 10 * 2**20 + GOOD.encode())
    with pytest.raises(StatementFileError, match="more than 4 MiB"):
        read_csv(csv([Line("A1", EURO)]) + b"\n" * 10 * 2**20, "comma")


@given(st.data())
def test_a_damaged_camt_is_read_or_refused_in_words(data: st.DataObject) -> None:
    content = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    try:
        (found,) = read_camt(bytes(content))
    except StatementFileError:
        return
    assert found.balances is not None
    moved = sum(each.micro for each in found.entries)
    assert found.balances.opening_micro + moved == found.balances.closing_micro


# CSV


@pytest.mark.parametrize("separator", [";", ","])
@pytest.mark.parametrize("decimal", ["comma", "point"])
def test_csv(separator: str, decimal: str) -> None:
    lines = [Line("A1", 5 * EURO, f'"x" {REF}; y'), Line("A2", -EURO - CENT, end_to_end="W1")]
    (found,) = read_csv(
        csv(lines, separator=separator, decimal=decimal),
        "comma" if decimal == "comma" else "point",
    )
    assert (found.account, found.balances) == ("", None)
    assert [(e.bank_ref, e.micro) for e in found.entries] == [
        ("A1", 5 * EURO),
        ("A2", -EURO - CENT),
    ]
    assert references_in(found.entries[0].transactions[0].remittance) == {REF}


SHEET = csv([Line("A1", 5 * EURO), Line("A2", -EURO)]).decode()


@pytest.mark.parametrize(
    ("content", "where", "says"),
    [
        ("", "line 1", "missing columns"),
        (SHEET.replace("bank_reference", "number"), "line 1", "missing columns ['bank_reference']"),
        (SHEET.replace("currency", "amount"), "line 1", "missing columns ['currency']"),
        (SHEET.replace('"EUR"', '"CHF"', 1), "line 2", "not EUR"),
        (SHEET.replace("5,00", "5.00"), "line 2", "decimal comma"),
        (SHEET.replace("5,00", "1.005,00"), "line 2", "thousands"),
        (SHEET.replace("5,00", "0,00"), "line 2", "is 0"),
        (SHEET.replace("-1,00", "1000000000,00"), "line 3", "more than SEPA"),
        (SHEET.replace("2026-06-23", "23.06.2026", 1), "line 2", "no date"),
        (SHEET.replace("2026-06-23", "20260623", 1), "line 2", "no date"),
        (SHEET.replace('"A2"', '""'), "line 3", "no bank_reference"),
        (SHEET.replace('"A2"', '"A1"'), "the file", "share the bank_reference"),
        (SHEET.replace(';"A2"', ""), "line 3", "6 fields where the header has 7"),
        (SHEET[: SHEET.index('"A2"') + 1], "line 3", "quote"),
        (SHEET.split("\n")[0], "line 1", "no entry"),
    ],
)
def test_bad_csv(content: str, where: str, says: str) -> None:
    with pytest.raises(StatementFileError) as caught:
        read_csv(content.encode(), "comma")
    assert any(where == fault.where and says in fault.text for fault in caught.value.faults)


def test_csv_in_another_encoding() -> None:
    with pytest.raises(StatementFileError, match="not UTF-8"):
        read_csv("ä".encode("latin-1"), "comma")


@given(st.binary(max_size=300))
def test_noise_is_refused_in_words(noise: bytes) -> None:
    header = SHEET.split("\n", maxsplit=1)[0].encode() + b"\n"
    for content in (noise, header + noise):
        try:
            read_csv(content, "comma")
        except StatementFileError:
            continue
        raise AssertionError(content)


def test_formulas_do_not_run_in_a_spreadsheet() -> None:
    cells = ["=1+1", "+cmd|x", "-2+3", "@SUM(A1)", "\t=1", " =1", "-12.50", "+3", "plain", 7]
    out = write_csv(["text"] * len(cells), [cells]).decode("utf-8-sig").split("\r\n")[1]
    assert out == "'=1+1;'+cmd|x;'-2+3;'@SUM(A1);'\t=1;' =1;-12.50;+3;plain;7"


# pain.001


def order(*transfers: Transfer, name: str = "Quartier Süd & Töchter") -> Order:
    moment = datetime(2026, 6, 24, 9, 30, tzinfo=UTC)
    return Order("WL-1", moment, moment.date(), BankAccount(name, PAYER), transfers)


def transfer(ref: str, micro: int, name: str = "Erika", remittance: str = "x") -> Transfer:
    return Transfer(ref, micro, BankAccount(name, "AT611904300234573201"), remittance)


def test_pain_says_what_it_should() -> None:
    content = write_pain(order(transfer("W1", 1_230_000), transfer("W2", CENT, "Łukasz Ñandú")))
    text = content.decode()
    assert text.count("<NbOfTxs>2</NbOfTxs>") == 2
    assert text.count("<CtrlSum>1.24</CtrlSum>") == 2
    assert "<Nm>Quartier Sued + Toechter</Nm>" in text
    assert "<Othr>\n            <Id>NOTPROVIDED</Id>" in text
    assert '<InstdAmt Ccy="EUR">1.23</InstdAmt>' in text
    assert "<CreDtTm>2026-06-24T09:30:00Z</CreDtTm>" in text
    assert [(p.end_to_end, p.micro, p.name) for p in payments_of(content)] == [
        ("W1", 1_230_000, "Erika"),
        ("W2", CENT, "Lukasz Nandu"),
    ]
    assert content == write_pain(
        order(transfer("W1", 1_230_000), transfer("W2", CENT, "Łukasz Ñandú"))
    )


@pytest.mark.parametrize(
    "wrong",
    [
        order(),
        order(transfer("W1", 1)),
        order(transfer("W1", 0)),
        order(transfer("W1", -CENT)),
        order(transfer("W1", MAX_MICRO + CENT)),
        order(transfer("W1", CENT), transfer("W1", CENT)),
        order(transfer("W/", CENT)),
        order(transfer("W" * 36, CENT)),
        order(transfer("", CENT)),
        order(transfer("W1", CENT, "漢字")),
        order(transfer("W1", CENT), name="  "),
    ],
)
def test_pain_that_no_bank_would_take(wrong: Order) -> None:
    with pytest.raises(PaymentFileError):
        write_pain(wrong)


@given(st.text(max_size=200), st.integers(1, 140))
def test_sepa_texts(text: str, most: int) -> None:
    found = sepa_text(text, most)
    allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-?:().,'+ "
    assert set(found) <= set(allowed)
    assert len(found) <= most
    assert "//" not in found
    assert found == found.strip(" /")
    assert sepa_text(found, most) == found


def test_amounts_in_the_kit_are_never_negative() -> None:
    assert amount(-EURO) == '<Amt Ccy="EUR">1.00</Amt><CdtDbtInd>DBIT</CdtDbtInd>'

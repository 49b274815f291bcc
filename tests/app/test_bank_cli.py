"""What ``wattloom bank`` says and does, beside a district that may be running."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.bankfiles.errors import StatementFileError
from app.cli import cli
from app.services import bank_import
from app.store import bank as store
from tests.app.bank_district import FOUNDED, BankKit, bank_kit
from tests.app.bank_kit import EURO, Line, camt, csv, payments_of

SAMPLES = Path(__file__).parents[2] / "docs" / "samples"


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankKit]:
    folder = tmp_path_factory.mktemp("district")
    with bank_kit(folder, f"sqlite:///{folder / 'district.db'}") as kit:
        yield kit


def bank(kit: BankKit, *arguments: object) -> Result:
    given = [*map(str, arguments), "--data", str(kit.folder)]
    return CliRunner().invoke(cli, ["bank", *given])


def parsed(kit: BankKit, *arguments: object) -> Any:
    result = bank(kit, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_day_at_the_command_line(kit: BankKit, tmp_path: Path) -> None:
    told = parsed(kit, "references")["references"]
    reference = next(row["reference"] for row in told if row["participant"] == "solar")
    file = tmp_path / "day.xml"
    lines = [Line("A1", 7 * EURO, f"x {reference}"), Line("A2", 2 * EURO, "[b]?")]
    file.write_bytes(camt([*lines, Line("A3", -EURO, "fee")], opening=FOUNDED))
    dry = parsed(kit, "import", file, "--dry-run")
    assert (dry["booked"], len(dry["movements"])) == (False, 3)
    assert "[b]?" in " ".join(bank(kit, "import", file).output.split())
    again = parsed(kit, "import", file)
    assert (again["movements"], again["known_entries"]) == ([], 3)

    waiting = {row["micro"]: row["ref"] for row in parsed(kit, "open")}
    assert bank(kit, "assign", waiting[2 * EURO], "flat").exit_code == 0
    assert bank(kit, "charge", waiting[-EURO], "--note", "fee").exit_code == 0
    assert bank(kit, "charge", waiting[-EURO], "--note", "fee").exit_code == 1
    assert parsed(kit, "open") == []

    refs = [kit.withdraw("solar", EURO, str(number)) for number in range(3)]
    asked = parsed(kit, "withdrawals", "--state", "asked")
    assert {row["ref"] for row in asked} == set(refs)
    assert bank(kit, "approve", *refs[:2]).exit_code == 0
    assert bank(kit, "reject", refs[2], "--reason", "not now").exit_code == 0
    kit.pay()
    out = tmp_path / "pay.xml"
    assert bank(kit, "export", "--out", out).exit_code == 0
    assert {paid.end_to_end for paid in payments_of(out.read_bytes())} == set(refs[:2])
    message = kit_message(kit)
    copy = tmp_path / "again.xml"
    assert bank(kit, "export", "--out", copy, "--message", message).exit_code == 0
    assert copy.read_bytes() == out.read_bytes()
    nothing = bank(kit, "export", "--out", tmp_path / "none.xml")
    assert nothing.exit_code == 0
    assert "no approved payment is ready" in nothing.output
    assert not (tmp_path / "none.xml").exists()
    assert bank(kit, "refused", refs[1], "--reason", "closed").exit_code == 0
    found = parsed(kit, "reconcile", "--date", "2026-06-23")
    assert found["agrees"]
    assert found["lines_micro"]["journal_bank"] == FOUNDED + 8 * EURO
    table = tmp_path / "movements.csv"
    assert bank(kit, "movements", "--out", table).exit_code == 0
    assert len(table.read_text("utf-8-sig").splitlines()) == 4


def kit_message(kit: BankKit) -> str:
    (made,) = kit.look(lambda session: store.exports(session, 9))
    return str(made.message_id)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("import", "nowhere.xml"), "No such file"),
        (("import", __file__), "decimal comma or a decimal point"),
        (("import", __file__, "--decimal", "comma"), "line 1: missing columns"),
        (("assign", "B0", "solar"), "there is no bank movement"),
        (("return", "B0"), "there is no bank movement"),
        (("approve", "W0"), "there is no withdrawal 'W0'"),
        (("reject", "W0", "--reason", " "), "write the reason"),
        (("reconcile", "--date", "yesterday"), "is no day"),
        (("export", "--out", "."), "cannot be written"),
        (("export", "--out", "x.xml", "--message", "WL-1"), "no file with the message id"),
    ],
)
def test_what_goes_wrong_is_said(kit: BankKit, arguments: tuple[str, ...], says: str) -> None:
    result = bank(kit, *arguments)
    assert result.exit_code == 1
    assert says in " ".join(result.output.split())


def test_an_unknown_state_is_not_an_empty_list(kit: BankKit) -> None:
    result = bank(kit, "withdrawals", "--state", "aksed")
    assert result.exit_code == 2
    assert "'aksed' is not one of 'asked'," in result.output


def test_an_exported_file_that_cannot_be_written_is_not_lost(kit: BankKit, tmp_path: Path) -> None:
    ref = kit.withdraw("shop", EURO, "lost")
    assert bank(kit, "approve", ref).exit_code == 0
    kit.pay()
    result = bank(kit, "export", "--out", "/dev/full")
    assert result.exit_code == 1
    message = result.output.split("--message ")[1].split()[0]
    out = tmp_path / "out.xml"
    assert bank(kit, "export", "--out", out, "--message", message).exit_code == 0
    assert [paid.end_to_end for paid in payments_of(out.read_bytes())] == [ref]


def test_a_folder_without_a_district(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["bank", "open", "--data", str(tmp_path)])
    assert result.exit_code == 1
    assert "holds no district" in result.output
    assert list(tmp_path.iterdir()) == []


def test_the_samples_are_the_same_day_twice() -> None:
    xml = bank_import.read_statements((SAMPLES / "statement.xml").read_bytes(), None)
    table = bank_import.read_statements((SAMPLES / "statement.csv").read_bytes(), "comma")
    kept = [
        [(e.bank_ref, e.booked, e.micro, e.transactions) for each in read for e in each.entries]
        for read in (xml, table)
    ]
    assert kept[0] == kept[1]
    with pytest.raises(StatementFileError):
        bank_import.read_statements(csv([Line("A1", EURO)]), "point")

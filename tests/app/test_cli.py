"""What the commands say when files are wrong, and under which name."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli import cli

HEADER = "order_id,side,participant,quantity_wh,price_micro_per_kwh"
BOOK = f"{HEADER}\nb1,bid,ann,1000,300000\ns1,offer,cat,800,100000\n"


def wattloom(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments])


def words(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.csv"
    path.write_text(BOOK)
    return path


def test_the_book_is_never_overwritten(book: Path, tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(book)
    (tmp_path / "hard.csv").hardlink_to(book)
    for out in (book, tmp_path / "link.csv", tmp_path / "hard.csv", tmp_path / "." / "book.csv"):
        result = wattloom("clear", book, "--out", out)
        assert result.exit_code == 1
        assert "is the order book itself" in words(result)
        assert book.read_text() == BOOK


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("nowhere/result.json", "there is no folder"),
        (".", "is a folder"),
        ("book.csv/result.json", "there is no folder"),
        ("x" * 300, "File name too long"),
    ],
)
def test_results_that_cannot_be_written(book: Path, out: str, says: str) -> None:
    result = wattloom("clear", book, "--out", book.parent / out)
    assert result.exit_code == 1
    assert says in words(result)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOOK.replace(",", ";"), "the columns are separated by ';': save the file with commas"),
        (BOOK.replace(",", "\t"), "the columns are separated by tabs: save the file with commas"),
        (BOOK.replace("s1", "s\x001"), r"row 3: order_id 's\x001' holds a control character"),
        (BOOK.replace("ann", "a\x1bnn"), r"row 2: participant 'a\x1bnn' holds a control character"),
    ],
)
def test_books_of_another_kind(book: Path, tmp_path: Path, text: str, says: str) -> None:
    book.write_text(text)
    result = wattloom("clear", book, "--out", tmp_path / "result.json")
    assert result.exit_code == 1
    assert says in words(result)
    assert not (tmp_path / "result.json").exists()


def test_a_good_book_still_clears(book: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    out.write_text("of an earlier run")
    assert wattloom("clear", book, "--out", out).exit_code == 0
    assert '"cleared_wh": 800' in out.read_text()


@pytest.mark.parametrize(
    "command",
    [
        "bank open",
        "certificate list",
        "contract list",
        "correct list",
        "device list",
        "exchange export master out",
        "export journal --out journal.csv",
        "point list",
        "price list",
        "share list",
        "statement list",
        "tariff list",
    ],
)
def test_a_folder_without_a_district_is_said_to_hold_none(command: str, tmp_path: Path) -> None:
    asked = wattloom(*command.split(), "--data", tmp_path)
    assert asked.exit_code == 1
    assert f"wattloom {command.split(maxsplit=1)[0]}: {tmp_path} holds no district" in asked.output
    assert not list(tmp_path.iterdir())


def test_verify_bears_the_name_it_was_called_by(capsys: pytest.CaptureFixture[str]) -> None:
    assert wattloom("verify", "--help").exit_code == 0
    assert wattloom("verify", "--help").output.startswith("usage: wattloom verify ")
    assert capsys.readouterr().out == ""

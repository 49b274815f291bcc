"""A month's statements are derived again from its file; whatever is changed in either is named.

The district: windows by the wall clock, fees by level, a spot price, standing charges and a
capacity fee; a switch of supplier, a move of a point to somebody who sells next door (own energy),
a gap that a later reading makes good after the statement was issued, and a final statement.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from typer.testing import CliRunner

from app.audit.month import audit_month
from app.audit.monthfile import MonthFile
from app.cli import cli
from app.commands.audit_month import judge
from app.commands.interval_export import ExportError
from app.commands.journal_export import Asked, export_journal
from app.commands.month_export import export_month
from app.jobs import statements as job
from app.store import journal
from app.tables import (
    LinkRow,
    MonthlyStatementRow,
    ParticipantRow,
    PriceRow,
    SupplierRow,
    TariffVersionRow,
)
from ledger_client.verify import Report, VerifyError, canonical
from market.money import Price
from market.tariffs import (
    Component,
    Fees,
    Fixed,
    Part,
    Payee,
    Spot,
    TariffVersion,
    Window,
    Windows,
)
from metering.interval import Interval
from tests.app.district_kit import Kit

START = Interval.parse("2026-06-30T21:00:00Z")  # an hour before the local month's end
JUNE, JULY = "2026-06", "2026-07"
WEEK = tuple(range(7))


def at(number: int) -> str:
    return Interval.containing_ms(START.start_ms + number * 900_000).key


def price(micro: int) -> Fixed:
    return Fixed(Price(micro))


def fees(scale: int) -> Fees:
    return Fees(Price(10_000 * scale), Price(20_000 * scale), Price(30_000), Price(90_000))


LATE = Fees(Price(7_001), Price(8_003), Price(30_007), Price(77_777))
VERSION = TariffVersion(
    190_000,
    (
        Component(Part.ENERGY, Payee.SUPPLIER, "Energy", Spot(Price(90_001), Price(250_003))),
        Component(
            Part.GRID_FEE,
            Payee.GRID,
            "Grid fee",
            Windows(
                (
                    Window(WEEK, 0, 1410, fees(1)),  # to 23:30
                    Window(WEEK, 1410, 1440, LATE),
                )
            ),
        ),
        Component(Part.LEVY, Payee.LEVY, "Levy", price(13_337)),
        Component(Part.TAX, Payee.TAX, "Tax", price(20_500)),
        Component(Part.FEED_IN, Payee.SUPPLIER, "Feed-in", price(80_009)),
        Component(Part.STANDING, Payee.SUPPLIER, "Basic price", price(333_333)),
        Component(Part.CAPACITY, Payee.GRID, "Capacity", price(4_567_891)),
    ),
)  # fmt: skip


def found(kit: Kit) -> None:
    """Give the district its tariff, a spot price, a switch of supplier and a move."""
    points = {name: home.point for name, home in kit.homes.items()}
    with kit.database.write() as session:
        for row in session.exec(select(TariffVersionRow)):
            row.definition, row.digest = VERSION.text, VERSION.digest
        session.add(SupplierRow(id="s2", name="Second"))
        session.get_one(ParticipantRow, "solar").vat_liable = True
        prices = {0: 41_111, 1: -200_007, 3: 55_555, 4: 61_001, 5: 70_003}
        for number, micro in prices.items():
            session.add(
                PriceRow(
                    series="spot", interval=at(number), micro_per_kwh=micro, source="t", known_ms=0
                )
            )
        for name, role, target, number in (
            ("flat", "supplier", "s2", 1),
            ("shop", "participant", "solar", 2),
        ):
            change = select(LinkRow).where(LinkRow.point == points[name], LinkRow.role == role)
            link = session.exec(change).one()
            link.valid_to = at(number)
            session.add(
                LinkRow(
                    point=points[name],
                    role=role,
                    target=target,
                    valid_from=at(number),
                    known_ms=0,
                    entered_by="test",
                )
            )
        session.get_one(ParticipantRow, "flat").left_from = at(6)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    folder = tmp_path_factory.mktemp("audit-month")
    kit = Kit(
        folder,
        f"sqlite:///{folder / 'district.db'}",
        start=START,
        changes={"statement_days": 0, "issuer_name": "Lindenhof eG"},
    )
    found(kit)
    kit.live(solar=(0, 3001), flat=(1207, 0), shop=(903, 0))
    kit.live(solar=(0, 1003), flat=(1201, 0), shop=(907, 5))
    kit.live(solar=(0, 3011), shop=(911, 0), flat=(1003, 0), silent=["flat"])
    kit.live(solar=(17, 701), shop=(919, 0), flat=(1009, 0), silent=["flat"])
    kit.live(solar=(0, 103), shop=(929, 0), flat=(401, 0), silent=["flat"])
    job.issue(kit.house, JUNE, "command")
    kit.live(solar=(0, 107), shop=(937, 0), flat=(409, 0))  # the flat's meter is back
    job.issue(kit.house, JULY, "command")
    kit.settle()
    yield kit
    kit.close()


@pytest.fixture(scope="module")
def files(kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("months")
    for month in (JUNE, JULY):
        export_month(kit.house, month, folder / month, force=False)
    (folder / "keys.json").write_bytes(kit.keys())
    return {each.name: each for each in folder.iterdir()}


@pytest.mark.parametrize("month", [JUNE, JULY])
def test_a_month_agrees_with_its_statements(files: Mapping[str, Path], month: str) -> None:
    verdict, differences = judge(month, files[month], files["keys.json"])
    assert differences == []
    assert verdict.code == 0, verdict
    yet = () if month == JUNE else ("No statement of 2026-07 yet: solar.",)
    assert verdict.remarks == yet


def test_the_month_holds_what_this_file_promises(kit: Kit) -> None:
    rows = {
        (row.month, row.participant): json.loads(row.payload)
        for row in kit.rows(MonthlyStatementRow)
    }
    flat, solar = rows[JUNE, "flat"], rows[JUNE, "solar"]
    assert {section["supplier"] for section in flat["sections"]} == {"", "s2"}
    kinds = {line["kind"] for section in flat["sections"] for line in section["lines"]}
    assert {"tax", "standing", "capacity", "local-buy"} <= kinds
    assert any(section["energy"]["import_own_wh"] for section in solar["sections"])
    assert solar["credit_note"]["vat_cents"] > 0
    assert rows[JULY, "flat"]["corrections"]
    assert rows[JULY, "flat"]["final"] == 1


# --- What toy markets get wrong, on the books ----------------------------------------------------


def balance(kit: Kit, account: str) -> int:
    return int(kit.ask(lambda session: journal.balances(session, account)).get(account, 0))


def documents(kit: Kit, month: str) -> list[dict[str, Any]]:
    rows = kit.rows(MonthlyStatementRow, MonthlyStatementRow.month == month)
    return [json.loads(row.payload) for row in rows]


def test_item_8_what_cents_leave_over_is_on_the_rounding_account(kit: Kit) -> None:
    issued = [*documents(kit, JUNE), *documents(kit, JULY)]
    left_over = sum(document["rounding_micro"] for document in issued)
    assert left_over != 0
    assert balance(kit, "rounding") == left_over
    assert all(abs(document["rounding_micro"]) < 50_000 for document in issued)
    due_cents = sum(d["due_cents"] for d in issued if d["participant"] == "flat")
    assert balance(kit, "receivable:flat") == -due_cents * 10_000
    assert kit.ask(journal.total) == 0


def test_item_13_each_supplier_gets_what_statements_say_of_it(kit: Kit, tmp_path: Path) -> None:
    """The flat's new supplier has nobody else, so that all of its account is on statements."""
    lines = [
        line
        for document in (*documents(kit, JUNE), *documents(kit, JULY))
        for line in (
            *document["corrections"],
            *(line for section in document["sections"] for line in section["lines"]),
        )
        if line["account"] == "supplier:s2"
    ]
    assert {line["kind"] for line in lines} == {"residual-import", "standing"}
    assert balance(kit, "supplier:s2") == -sum(line["micro"] for line in lines) > 0
    asked = Asked("", "", ("supplier:",), "", "csv", tmp_path / "f", force=False)
    totals = export_journal(kit.database, "o", asked)
    assert set(totals.accounts) == {"supplier:s2"}
    assert totals.micro == balance(kit, "supplier:s2")


# --- What is changed is named --------------------------------------------------------------------


Change = Callable[[dict[str, Any]], None]


def changed(file: Path, part: str, number: int, change: Change) -> io.BytesIO:
    """Return the file with one record changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            lines = old.read(name).splitlines()
            if name == f"{part}.jsonl":
                record = json.loads(lines[number])
                change(record)
                lines[number] = canonical(record)
            new.writestr(name, b"".join(line + b"\n" for line in lines))
    return out


def verdict_of(file: io.BytesIO, month: str = JUNE) -> tuple[int, str]:
    """Return the code, and what the last step or the differences say."""
    report = Report()
    differences: list[Any] = []
    verdict = report.judge(
        lambda: differences.extend(audit_month(month, MonthFile(file), None, report))
    )
    if verdict.code:
        return verdict.code, verdict.steps[-1].text
    return int(bool(differences)), "; ".join(f"{each.line}" for each in differences)


def set_to(name: str, value: object) -> Change:
    return lambda record: record.update({name: value})


def set_estimated(record: dict[str, Any]) -> None:
    """Let a point that fed nothing in and drew nothing pass for one without readings."""
    record["slots"][0]["estimated"] = 1
    record["trades"] = []


def more(*path: str | int) -> Change:
    """Raise a number in a record by 1; in a canonical text on the way, too."""

    def change(record: Any) -> None:
        *way, last = path
        outer: list[tuple[Any, str | int]] = []
        for step in way:
            value = record[step]
            if isinstance(value, str):
                outer.append((record, step))
                value = json.loads(value)
                record[step] = value
            record = value
        record[last] += 1
        for holder, step in reversed(outer):
            holder[step] = canonical(holder[step]).decode()

    return change


@pytest.mark.parametrize(
    ("part", "number", "change", "says"),
    [
        ("intervals", 0, more("slots", 0, "import_wh"), "the readings give"),
        ("intervals", 0, more("readings", 0, "payload", "import_wh"), "signature does not hold"),
        ("intervals", 0, more("trades", 0, "amount_micro"), "price and energy give"),
        ("intervals", 0, more("trades", 0, "wh"), "price and energy give"),
        ("intervals", 0, more("orders", 0, "leaf", "wh"), "sealed order_root"),
        ("intervals", 0, more("slots", 0, "tariff", "levy_micro_per_kwh"), "sealed tariff_hash"),
        ("intervals", 0, more("seal", "index"), "not in the log"),
        ("intervals", 0, set_to("trades", []), "local-buy"),
        ("intervals", 0, set_to("interval", at(9)), "lies -"),
        ("tariffs", 0, more("definition", "vat_ppm"), "vat_ppm of"),
        ("tariffs", 0, more("definition", "components", 5, "rate"), "standing Basic price"),
        ("tariffs", 0, more("definition", "components", 6, "rate"), "capacity Capacity"),
        ("prices", 0, more("micro_per_kwh"), "energy of"),
        ("people", 2, set_to("vat_liable", 0), "credit_note 190000 ppm"),
        ("movements", 0, more("micro"), "wallet top-up"),
        ("month", 0, more("intervals"), "are there"),
        ("month", 0, set_to("zone", "Europe/Nowhere"), "is no time zone"),
        ("intervals", 0, set_estimated, "estimates"),
        ("enrolments", 0, more("index"), "not in the log"),
    ],
)
def test_evidence_that_is_changed_is_named(
    files: Mapping[str, Path], part: str, number: int, change: Change, says: str
) -> None:
    code, told = verdict_of(changed(files[JUNE], part, number, change))
    assert code == (2 if "time zone" in says else 1)
    assert says in told


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (("due_cents",), "due_cents"),
        (("rounding_micro",), "rounding_micro"),
        (("saving", "month_micro"), "saving month_micro"),
        (("invoice", "paid_cents"), "invoice paid_cents"),
        (("invoice", "gross_cents"), "invoice gross_cents"),
        (("invoice", "vat", 0, "net_cents"), "invoice 190000 ppm"),
        (("wallet", "closing_micro"), "wallet closing_micro"),
        (("sections", 0, "energy", "import_wh"), "import_wh"),
        (("sections", 0, "lines", 0, "micro"), "ppm"),
        (("sections", 0, "lines", 0, "low_micro_per_kwh"), "ppm"),
    ],
)
def test_a_statement_that_is_changed_is_named(
    files: Mapping[str, Path], path: tuple[str | int, ...], says: str
) -> None:
    code, told = verdict_of(changed(files[JUNE], "statements", 0, more("payload", *path)))
    assert code == 1
    assert says in told
    assert len(told.split("; ")) <= 2  # and nothing else is


def test_a_later_correction_that_is_changed_is_named(files: Mapping[str, Path]) -> None:
    code, told = verdict_of(changed(files[JULY], "corrections", 0, more("import_wh")), JULY)
    assert code == 1
    assert "of 2026-06 residual-import" in told


def test_a_month_without_statements_cannot_be_judged(files: Mapping[str, Path]) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(files[JUNE]) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"" if name.startswith("statements") else old.read(name))
    code, told = verdict_of(out)
    assert code == 2
    assert "no statement of 2026-06 is issued yet" in told


def test_a_statement_that_is_not_there_is_named(files: Mapping[str, Path]) -> None:
    out = changed(files[JUNE], "statements", 0, set_to("participant", "nobody"))
    code, told = verdict_of(out)
    assert code == 1
    assert "statement" in told


# --- The commands --------------------------------------------------------------------------------


def test_the_commands(kit: Kit, files: Mapping[str, Path], tmp_path: Path) -> None:
    out, runner = tmp_path / "june.zip", CliRunner()
    line = ["export", "month", JUNE, "--data", str(kit.folder), "--out", str(out)]
    done = runner.invoke(cli, line)
    assert done.exit_code == 0, done.output
    assert [each.name for each in tmp_path.iterdir()] == ["june.zip"]
    assert "add --force" in runner.invoke(cli, line).stderr
    assert out.read_bytes()[:2] == b"PK"
    judged = runner.invoke(cli, ["audit", JUNE, str(out), "--keys", str(files["keys.json"])])
    assert judged.exit_code == 0, judged.output
    assert "3 compared, 0 differences" in judged.output
    unpinned = runner.invoke(cli, ["audit", JUNE, str(out)])
    assert (unpinned.exit_code, "No KEYS were given" in unpinned.output) == (0, True)
    out.write_bytes(changed(out, "movements", 0, more("micro")).getvalue())
    differs = runner.invoke(cli, ["audit", JUNE, str(out), "--json"])
    told = json.loads(differs.output)
    assert (differs.exit_code, told["code"]) == (1, 1)
    assert {each["line"] for each in told["differences"]} == {
        "wallet top-up",
        "wallet closing_micro",
    }
    assert runner.invoke(cli, ["audit", JULY, str(out)]).exit_code == 1
    for content in (b"", b"PK", out.read_bytes()[:-30]):
        out.write_bytes(content)
        assert runner.invoke(cli, ["audit", JUNE, str(out)]).exit_code == 2
    assert runner.invoke(cli, ["audit", JUNE, str(tmp_path / "none")]).exit_code == 2


@pytest.mark.parametrize("month", ["2026-05", "2026-13", "x"])
def test_a_month_without_anything_is_refused(kit: Kit, tmp_path: Path, month: str) -> None:
    with pytest.raises(ExportError):
        export_month(kit.house, month, tmp_path / "f", force=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_part_cannot_be_judged() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as parts:
        parts.writestr("month.jsonl", b"")
    with pytest.raises(VerifyError):
        audit_month(JUNE, MonthFile(out), None, Report())

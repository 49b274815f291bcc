"""Versions of a correction: bills, proofs, notes, refusals, the form and the commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import col
from typer.testing import CliRunner, Result

from app.cli import cli
from app.files.values import ValuesFileError, read_values
from app.jobs.correct import correct_estimates
from app.jobs.statements import issue
from app.services.corrections import values
from app.services.corrections.desk import CorrectionsDesk, local_interval
from app.services.corrections.values import Authorised, ValuesError
from app.services.proofs import settlement_proof
from app.services.registry import changes
from app.services.registry.wanted import Change
from app.store import log
from app.tables import (
    BillLineRow,
    CorrectionRow,
    MonthlyStatementRow,
    RefusedCorrectionRow,
    RollupRow,
    SettledRow,
    SettlementLine,
    ValueFileRow,
)
from ledger_client.log import decode_entry
from ledger_client.verify import canonical, render, verify_bytes
from market.registry import Role
from metering.interval import LENGTH_MS, Interval
from tests.app.district_kit import GRACE_MS, Kit
from web.ports import RefusedError
from web.ports.corrections import AskedValue

START = Interval.parse("2026-06-30T21:15:00Z")  # the last three quarter-hours of June, local
TRADE = {"solar": (0, 900), "flat": (300, 0), "shop": (300, 0)}
DAY_MS = 96 * LENGTH_MS


def at(number: int) -> str:
    return Interval.containing_ms(START.start_ms + number * LENGTH_MS).key


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """Three quarter-hours of June with a gap of the flat's in two, and one of July; issued June."""
    folder = tmp_path_factory.mktemp("corrections")
    changes = {"correction_days": 0, "correction_months": 1}
    kit = Kit(folder, f"sqlite:///{folder / 'district.db'}", changes=changes, start=START)
    kit.live(**TRADE)
    kit.live(silent=["flat"], **TRADE)
    kit.live(**TRADE)
    kit.live(**TRADE)
    kit.live(**TRADE)
    yield kit
    kit.close()


def csv(kit: Kit, *rows: str) -> bytes:
    text = "\n".join(["point,interval,import_wh,export_wh", *rows])
    for name, home in kit.homes.items():
        text = text.replace(f"<{name}>", home.point)
    return text.encode()


def file(kit: Kit, *rows: str, reason: str = "grid operator") -> Authorised:
    return Authorised("v.csv", csv(kit, *rows), reason, "administrator")


def versions(kit: Kit, name: str, key: str) -> list[CorrectionRow]:
    found = kit.rows(
        CorrectionRow, CorrectionRow.point == kit.homes[name].point, CorrectionRow.interval == key
    )
    return sorted(found, key=lambda row: row.version)


def settled(kit: Kit, name: str, key: str) -> SettledRow:
    (row,) = kit.rows(
        SettledRow, SettledRow.interval == key, SettledRow.point == kit.homes[name].point
    )
    return row


def receivable(kit: Kit, name: str) -> int:
    return sum(micro for _, _, account, micro in kit.postings() if account == f"receivable:{name}")


def test_pitfall_3_a_second_correction_and_back_to_the_first(told: Kit) -> None:
    """The gap gave version 1; a value and its withdrawal follow, and leave nothing behind."""
    (first,) = versions(told, "flat", at(1))
    estimated = 60_000 + 27_000 + 6_000 + 17_670  # at 0 Wh, for want of history
    assert (first.source, first.import_wh, first.micro) == ("readings", 300, -estimated)
    before, owed = settled(told, "flat", at(1)), receivable(told, "flat")
    found = values.enter(told.house, file(told, f"<flat>,{at(1)},450,20"))
    assert (len(found.drafts), found.unchanged) == (1, 0)
    changed = settled(told, "flat", at(1))
    assert (changed.version, changed.import_wh, changed.export_wh) == (2, 450, 20)
    assert not changed.estimated
    # retail all-in 36.89 ct/kWh on 150 Wh more, 8 ct/kWh for 20 Wh fed in
    assert receivable(told, "flat") - owed == -(30_000 + 13_500 + 3_000 + 8_835) + 1_600
    normal = -55_335 + 1_600  # it costs on the normal tariff just that
    assert changed.saving_micro - before.saving_micro == -53_735 - normal
    values.enter(told.house, file(told, f"<flat>,{at(1)},300,0"))
    one, two, three = versions(told, "flat", at(1))
    assert (one.micro, two.micro + three.micro) == (first.micro, 0)
    assert receivable(told, "flat") == owed
    after = settled(told, "flat", at(1))
    assert after.model_dump() == before.model_dump() | {"version": 3}
    assert [row.source for row in (one, two, three)] == ["readings", "values", "values"]
    told.check()


def _chain(kit: Kit, rows: list[CorrectionRow]) -> list[str]:
    """Each version's old leaf is the new leaf of the one before; the reason is a fixed text."""
    slot = kit.slot(rows[0].interval, "flat")
    leaf = slot.leaf.hex()
    reasons = []
    for row in rows:
        found = kit.ask(lambda session, row=row: log.entry(session, row.log_index))
        entry = json.loads(decode_entry(found)[1])
        assert entry["old_leaf"] == leaf
        leaf = entry["new_leaf"]
        assert leaf == (row.new_leaf or b"").hex()
        reasons.append(entry["reason"])
    return reasons


def test_the_log_chains_the_versions_and_a_proof_shows_them_all(told: Kit) -> None:
    rows = versions(told, "flat", at(1))
    assert len(rows) == 3
    reasons = _chain(told, rows)
    assert reasons[1] == reasons[2]
    assert all("grid operator" not in reason for reason in reasons)
    told.live(**TRADE)  # a checkpoint over them
    proof = settlement_proof(told.house, at(1), "flat")
    verdict = verify_bytes(proof, told.keys())
    assert verdict.code == 0, render(verdict)
    texts = [step.text for step in verdict.steps if step.name == "correction"]
    assert [text.rpartition(", version ")[2] for text in texts[1:]] == ["2", "3"]
    content = json.loads(proof)
    items = content["corrections"]["items"]
    for wrong in (items[1:], [items[0], items[2]], [items[0], items[2], items[1]], items[::-1]):
        content["corrections"]["items"] = wrong
        bent = verify_bytes(canonical(content) + b"\n", told.keys())
        assert (bent.code, bent.steps[-1].name) == (1, "correction")
    content["corrections"]["items"] = items[:2]  # what is left out at the end cannot be seen
    assert verify_bytes(canonical(content) + b"\n", told.keys()).code == 0


def test_pitfall_3_a_buyer_and_a_seller_short_touch_nobody_else(told: Kit) -> None:
    wallets = told.wallets()
    booked = len(told.postings())
    found = values.enter(told.house, file(told, f"<shop>,{at(0)},100,0", f"<solar>,{at(0)},0,300"))
    assert len(found.drafts) == 2
    shop, solar = settled(told, "shop", at(0)), settled(told, "solar", at(0))
    assert (shop.import_local_wh, shop.import_residual_wh) == (100, 0)
    assert (solar.export_local_wh, solar.export_residual_wh) == (300, 0)
    assert told.wallets() == wallets
    new = told.postings()[booked:]
    assert {account for *_, account, _ in new} == {
        "receivable:shop", "receivable:solar", "supplier", "grid", "levy", "vat"
    }  # fmt: skip
    # The shop gives 200 Wh back at 8 ct/kWh, less fees and VAT on them.
    (row,) = versions(told, "shop", at(0))
    assert row.micro == 16_000 + 8_000 + 4_000 + 2_280
    # The roof buys back 300 Wh of the 600 sold at retail, and fed in 300 Wh less at 8 ct/kWh.
    (row,) = versions(told, "solar", at(0))
    assert row.micro == -(60_000 + 27_000 + 6_000 + 17_670) - 24_000
    assert told.state(at(0)) == "final"
    assert row.note == "debit"
    told.check()


def test_sums_and_bills_follow(told: Kit) -> None:
    """Settled rows, roll-ups, bill lines and postings tell the same, corrections included."""
    for name in told.homes:
        lines = told.rows(SettlementLine, SettlementLine.participant == name)
        bills = told.rows(BillLineRow, BillLineRow.participant == name)
        days = told.rows(RollupRow, RollupRow.participant == name, RollupRow.span == "day")
        rows = told.rows(SettledRow, SettledRow.participant == name)
        money = sum(line.micro for line in lines)
        assert sum(bill.micro for bill in bills) == money
        assert sum(day.wallet_micro + day.memo_micro for day in days) == money
        for column in ("import_wh", "import_local_wh", "export_residual_wh", "saving_micro"):
            assert sum(getattr(day, column) for day in days) == sum(
                getattr(row, column) for row in rows
            )


def test_once_the_statement_is_issued_a_note_names_it(told: Kit) -> None:
    issue(told.house, "2026-06", "manager")
    (june,) = told.rows(MonthlyStatementRow, MonthlyStatementRow.participant == "flat")
    shown = values.preview(told.house, file(told, f"<flat>,{at(2)},301,0"))
    assert versions(told, "flat", at(2))[-1].version == 1  # a preview writes nothing
    values.enter(told.house, file(told, f"<flat>,{at(2)},301,0"))
    _, row = versions(told, "flat", at(2))
    assert (row.month, row.original, row.note) == ("2026-07", june.number, "debit")
    assert row.micro == shown.drafts[0].done.amount.micro < 0
    late = told.rows(BillLineRow, BillLineRow.month == "2026-07", BillLineRow.origin == "2026-06")
    assert sum(line.micro for line in late) == row.micro
    values.enter(told.house, file(told, f"<flat>,{at(3)},299,0"))
    (own,) = versions(told, "flat", at(3))
    assert (own.month, own.original, own.note) == ("2026-07", None, "credit")


def test_a_file_is_kept_and_its_people_are_told(told: Kit) -> None:
    given = file(told, f"<shop>,{at(3)},310,0", f"<shop>,{at(2)},300,0", reason="letter of 1 July")
    found = values.enter(told.house, given)
    assert (len(found.drafts), found.unchanged) == (1, 1)
    row = told.rows(ValueFileRow)[-1]
    assert (row.content, row.reason) == (given.content, "letter of 1 July")
    assert row.digest == sha256(given.content).digest()
    (notice,) = told.notices(f"values/{row.id}/")
    assert notice.point == told.homes["shop"].point
    assert "letter" not in notice.text
    assert "EUR" not in notice.text  # the grid operator reads notices


REFUSED = {
    "not a file": ("", ["missing columns"]),
    "unknown point": ("570000000000000999,<0>,1,0", ["row 2: there is no metering point"]),
    "naive time": ("<flat>,2026-06-30T23:15:00,1,0", ["row 2: interval", "naive time"]),
    "off the grid": ("<flat>,2026-06-30T21:20:00Z,1,0", ["row 2: interval", "off the grid"]),
    "no time": ("<flat>,yesterday,1,0", ["row 2: interval 'yesterday'"]),
    "below 0": ("<flat>,<0>,-1,0", ["row 2: -1 Wh is below 0"]),
    "kWh": ("<flat>,<0>,0.3,0", ["row 2: import_wh '0.3' is not a whole number"]),
    "more than the fuse": ("<flat>,<0>,13751,0", ["row 2: 13751 Wh", "(13750 Wh)"]),
    "twice": ("<flat>,<0>,1,0\n<flat>,2026-06-30T23:15:00+02:00,2,0", ["row 3:", "in row 2"]),
    "to come": ("<flat>,2027-01-01T00:00:00Z,1,0", ["row 2: 2027-01-01T00:00:00Z is not there"]),
    "nothing new": ("<solar>,<3>,0,900", ["nothing would change"]),
    "nothing": (None, ["no row follows"]),
    "several": ("<flat>,<0>,-1,0\n1,<0>,1,0\nflat,<0>,x,0", ["row 2:", "row 4:"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_file_is_refused_whole_with_its_rows(told: Kit, case: str) -> None:
    text, reasons = REFUSED[case]
    rows = [] if text is None else [text.replace("<0>", at(0)).replace("<3>", at(3))]
    given = file(told, *rows)
    if case == "not a file":
        given = Authorised("v.csv", b"a,b\n1,2\n", "why", "administrator")
    before = told.rows(CorrectionRow), told.postings()
    for step in (values.preview, values.enter):
        with pytest.raises(ValuesError) as refused:
            step(told.house, given)
        for reason in reasons:
            assert reason in str(refused.value)
    assert (told.rows(CorrectionRow), told.postings()) == before


def test_reasons_are_required(told: Kit) -> None:
    for reason in ("", "  ", "x" * 501, "a\x00b"):
        with pytest.raises(ValuesError, match="reason"):
            values.enter(told.house, file(told, f"<flat>,{at(0)},1,0", reason=reason))


def test_a_manager_corrects_only_whom_they_manage(told: Kit) -> None:
    desk = CorrectionsDesk(told.house, frozenset({"flat"}))
    page = desk.page()
    assert [point for point, _ in page.points] == [told.homes["flat"].point]
    assert {line.participant for line in page.lines} == {"Flat"}
    asked = AskedValue(
        told.homes["flat"].point, "2026-07-01", "00:00", "305", "0", "the caretaker read it"
    )
    shown = desk.preview(asked)
    assert (shown.participant, shown.import_wh_before, shown.import_wh) == ("Flat", 299, 305)
    desk.enter(asked, "building-manager")
    assert versions(told, "flat", at(3))[-1].import_wh == 305
    other = AskedValue(told.homes["shop"].point, "2026-07-01", "00:00", "305", "0", "why")
    with pytest.raises(RefusedError, match=r"no metering point .* of yours"):
        desk.enter(other, "building-manager")


@pytest.mark.parametrize(
    ("day", "time", "expected"),
    [
        ("2026-06-23", "11:15", "2026-06-23T09:15:00Z"),
        ("2026-06-23", "09:15+00:00", "2026-06-23T09:15:00Z"),
        ("2026-10-25", "02:15+02:00", "2026-10-25T00:15:00Z"),
        ("2026-10-25", "02:15+01:00", "2026-10-25T01:15:00Z"),
        ("2026-10-25", "02:15", "time: that time comes twice on this day: write 02:15+02:00 or"),
        ("2027-03-28", "02:15", "time: that time does not exist"),
        ("2026-06-23", "11:20", "time: a quarter-hour begins at minute 0"),
        ("2026-06-23", "quarter past", "time: write the quarter-hour's start"),
        ("23.6.2026", "11:15", "day: choose the day"),
    ],
)
def test_pitfall_4_local_times_of_a_form(day: str, time: str, expected: str) -> None:
    try:
        found = local_interval(day, time, ZoneInfo("Europe/Oslo")).key
    except RefusedError as error:
        found = f"{error.field}: {error}"
    assert found.startswith(expected)


def test_too_many_faults_are_counted() -> None:
    rows = "\n".join(f"1,{n},x,0" for n in range(30))
    with pytest.raises(ValuesFileError, match="and 10 more"):
        read_values(f"point,interval,import_wh,export_wh\n{rows}".encode())


# --- The command line ----------------------------------------------------------------------------


def correct(kit: Kit, *arguments: object) -> Result:
    given = [*map(str, arguments), "--data", str(kit.folder)]
    return CliRunner().invoke(cli, ["correct", *given], env={"WATTLOOM_DATABASE_URL": kit.url})


def parsed(kit: Kit, *arguments: object) -> Any:
    result = correct(kit, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_values_at_the_command_line(told: Kit, tmp_path: Path) -> None:
    point = told.homes["shop"].point
    value = ("value", point, at(4), "--import-wh", 320, "--export-wh", 0, "--reason", "by phone")
    shown = parsed(told, *value, "--dry-run")
    assert shown["written"] is False
    (change,) = shown["changes"]
    assert (change["participant"], change["import_wh_before"]) == ("shop", 300)
    assert versions(told, "shop", at(4)) == []
    result = correct(told, *value)
    assert "shop: +20 Wh drawn, +0 Wh fed in, -0.0" in result.output
    assert len(versions(told, "shop", at(4))) == 1
    path = tmp_path / "values.csv"
    path.write_bytes(csv(told, f"<shop>,{at(4)},300,0"))
    assert parsed(told, "file", path, "--reason", "letter")["changes"][0]["version"] == 2
    newest = parsed(told, "list", "--limit", 1)["corrections"][0]
    assert (newest["point"], newest["version"], newest["reason"]) == (point, 2, "letter")
    assert point in correct(told, "list").output
    result = correct(told, "file", tmp_path / "none.csv", "--reason", "why")
    assert (result.exit_code, "Traceback" in result.output) == (1, False)
    assert "none.csv" in result.output


# --- Too old, at last: the clock goes on ---------------------------------------------------------


def test_pitfall_3_after_the_closing_day_it_is_refused_and_kept(told: Kit) -> None:
    """Last in this file: a month and more goes by."""
    interval = told.quarter(silent=["shop"], **TRADE)
    late = told.sign("shop", told.clock.now_ms())  # read in time, sent a month later
    told.settle()
    told.clock.advance_to(told.clock.now_ms() + 40 * DAY_MS + GRACE_MS)
    assert told.send([late]) == [200]
    before = told.rows(CorrectionRow), told.postings()
    assert correct_estimates(told.house)
    assert not correct_estimates(told.house)  # once is enough
    (row,) = told.rows(RefusedCorrectionRow)
    assert (row.interval, row.import_wh, row.source) == (interval, 300, "readings")
    assert "correction_months: 1" in row.reason
    given = file(told, f"<flat>,{at(0)},1,0", f"<flat>,{at(1)},2,0")
    with pytest.raises(ValuesError, match=r"row 2: energy from before .* row 3: ") as refused:
        values.enter(told.house, given)
    assert len(refused.value.faults) == 2
    kept = told.rows(RefusedCorrectionRow, col(RefusedCorrectionRow.source) == "values")
    assert [(each.interval, each.import_wh) for each in kept] == [(at(0), 1), (at(1), 2)]
    assert len(told.notices("refused-correction/")) == 2
    assert (told.rows(CorrectionRow), told.postings()) == before
    begin = Interval.containing_ms(told.clock.now_ms()).next()
    moved = Change([told.homes["flat"].point], begin, {Role.PARTICIPANT: "shop"})
    changes.enter(told.house, moved, "manager")  # whose the point was then sees its values
    page = CorrectionsDesk(told.house, frozenset({"shop"})).page()
    assert [(line.key, line.source) for line in page.late] == [(interval, "readings")]
    assert [each["source"] for each in parsed(told, "list")["refused"]] == [
        "values", "values", "readings"
    ]  # fmt: skip

"""Monthly statements of a small district: issue, numbers, journal, log, corrections, files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.commands import statement_run
from app.files.statement_document import DocumentError, load
from app.files.statement_pdf import printable, statement_pdf
from app.jobs import statements as job
from app.services.registry import changes
from app.services.registry.managed import ManagedPeople
from app.services.registry.wanted import Change, ChangeError
from app.services.statements import issuing, proving, reading
from app.services.statements.desk import StatementDesk
from app.services.statements.span import Span
from app.store import journal, log, statements
from app.tables import (
    BillLineRow,
    JournalEntry,
    MonthlyStatementRow,
    NoticeRow,
    ParticipantRow,
    PostingRow,
    StatementRunRow,
)
from ledger_client.log import decode_entry
from ledger_client.merkle import leaf_hash, root
from market.registry import Role
from metering.interval import Interval
from metering.localtime import LocalTimeError
from tests.app.district_kit import Kit, gsrn
from tests.web.statement_fakes import DOCUMENT, SEAL
from web.ports import NotFoundError, RefusedError

START = Interval.parse("2026-06-30T21:00:00Z")  # an hour before the local month's end
JUNE = "2026-06"


def at(number: int) -> str:
    return Interval.containing_ms(START.start_ms + number * 900_000).key


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """June's last hour and a quarter of July; a gap of the flat's meter is still open."""
    folder = tmp_path_factory.mktemp("statements")
    kit = Kit(
        folder,
        f"sqlite:///{folder / 'district.db'}",
        start=START,
        changes={"statement_days": 0, "issuer_name": "Lindenhof eG"},
    )
    kit.live(solar=(0, 3000), flat=(1200, 0), shop=(900, 0))
    kit.live(solar=(0, 3000), flat=(1200, 0), shop=(900, 0))
    kit.live(solar=(0, 3000), shop=(900, 0), flat=(1000, 0), silent=["flat"])
    kit.live(solar=(0, 3000), shop=(900, 0), flat=(1000, 0), silent=["flat"])
    yield kit
    kit.close()


def documents(kit: Kit, month: str) -> Mapping[str, Mapping[str, Any]]:
    rows = kit.rows(MonthlyStatementRow, MonthlyStatementRow.month == month)
    return {row.participant: json.loads(row.payload) for row in rows}


def balance(kit: Kit, account: str) -> int:
    return sum(row.micro for row in kit.rows(PostingRow, PostingRow.account == account))


def test_01_a_month_that_runs_is_refused_and_says_why(kit: Kit) -> None:
    with pytest.raises(issuing.NotReadyError, match="not over yet"):
        job.issue(kit.house, "2026-07", "command")
    with pytest.raises(LocalTimeError, match="YYYY-MM"):
        job.issue(kit.house, "2026-13", "command")
    kit.quarter(solar=(0, 100), flat=(400, 0), shop=(900, 0), silent=["flat"])
    kit.worker.run_due()
    with pytest.raises(issuing.NobodyError, match="nobody has anything"):
        job.issue(kit.house, "2026-05", "command")
    with pytest.raises(issuing.NobodyError, match="'stranger' has nothing"):
        job.issue(kit.house, JUNE, "command", only="stranger")


def test_02_the_running_month_is_paper_too(kit: Kit) -> None:
    desk = StatementDesk(kit.house, frozenset(), job.issue_shown)
    files = {form: desk.file("flat", "current", form) for form in ("pdf", "csv", "json")}
    assert files["pdf"][0].startswith(b"%PDF")
    document = json.loads(files["json"][0])
    assert (document["participant"], document["number"]) == ("flat", "")
    assert files == {form: desk.file("flat", "current", form) for form in files}
    with kit.database.read() as session:
        assert not statements.listed(session, month=JUNE)


def test_02_a_preview_writes_nothing(kit: Kit) -> None:
    before = len(kit.rows(JournalEntry))
    span = Span.of(JUNE, kit.settings.tz)
    with kit.database.read() as session:
        found = reading.previews(kit.house, session, span, ["flat"])["flat"]
    assert (found.number, found.month, found.invoice.number) == ("", JUNE, "")
    assert len(kit.rows(JournalEntry)) == before
    assert kit.rows(MonthlyStatementRow) == []


def test_03_bills_that_differ_from_the_journal_stop_the_issue(kit: Kit) -> None:
    with kit.database.write() as session:
        row = session.get_one(BillLineRow, (JUNE, "shop", gsrn(3), JUNE, "levy", 190_000, ""))
        row.micro -= 1
    with pytest.raises(issuing.JournalDiffersError, match="receivable:shop"):
        job.issue(kit.house, JUNE, "command")
    assert kit.rows(StatementRunRow) == []
    with kit.database.write() as session:
        key = (JUNE, "shop", gsrn(3), JUNE, "levy", 190_000, "")
        session.get_one(BillLineRow, key).micro += 1


def test_04_one_person_first_then_all_others_without_a_gap(kit: Kit) -> None:
    first = job.issue(kit.house, JUNE, "command", only="shop")
    assert first.numbers == ("S-2026-000001",)
    told: list[tuple[int, int]] = []
    rest = job.issue(
        kit.house, JUNE, "building-manager", on_progress=lambda *done: told.append(done)
    )
    assert rest.numbers == ("S-2026-000002", "S-2026-000003")
    assert (rest.credit_notes, told) == (1, [(2, 2)])
    assert [row.credit_note for row in kit.rows(MonthlyStatementRow)] == [
        None,
        None,
        "C-2026-000001",
    ]
    for only, says in ((None, "S-2026-000001 to S-2026-000003"), ("flat", "S-2026-000002")):
        with pytest.raises(issuing.AlreadyIssuedError, match=says):
            job.issue(kit.house, JUNE, "command", only=only)


def test_05_each_account_holds_what_its_statement_says(kit: Kit) -> None:
    july = {
        who: sum(
            row.micro
            for row in kit.rows(BillLineRow, BillLineRow.month == "2026-07")
            if (row.participant == who and not row.kind.startswith("local-"))
            or (row.participant == who and row.kind == "local-fee")
        )
        for who in ("flat", "shop", "solar")
    }
    for who, document in documents(kit, JUNE).items():
        held = balance(kit, f"receivable:{who}")
        assert held == -document["due_cents"] * 10_000 + july[who]
        assert document["clock"] == "simulated"
        assert document["issuer"]["name"] == "Lindenhof eG"
        refs = [line["ref"] for each in document["sections"] for line in each["lines"]]
        assert len(set(refs)) == len(refs) > 0
    assert kit.ask(journal.total) == 0


def test_06_the_log_holds_the_root_and_the_proof_leads_there(kit: Kit) -> None:
    rows = kit.rows(StatementRunRow)
    kind, text = decode_entry(kit.ask(lambda s: log.entry(s, rows[1].log_index)))
    hashes = kit.ask(lambda session: statements.run_hashes(session, rows[1].id))
    assert kind == "statements"
    assert json.loads(text) == {
        "count": 2,
        "district": kit.settings.origin,
        "first": "S-2026-000002",
        "last": "S-2026-000003",
        "month": JUNE,
        "root": root(hashes).hex(),
    }
    kit.settle()
    proof = kit.ask(lambda session: proving.proof_of(session, "S-2026-000003"))
    payload = str(proof["statement"]).encode()
    leaf = b"wattloom-leaf-monthly-v1\0" + bytes.fromhex(str(proof["salt"])) + payload
    assert leaf_hash(leaf) == hashes[1]
    assert proof["path"] == [hashes[0].hex()]
    assert proof["entry"] == text
    with pytest.raises(reading.UnknownStatementError, match="looks like"):
        kit.ask(lambda session: proving.proof_of(session, "S-1"))


def test_07_what_the_meter_tells_later_stands_on_the_next_statement(kit: Kit) -> None:
    assert kit.corrections("flat") == {}
    kit.live(solar=(0, 100), flat=(400, 0), shop=(900, 0))
    assert set(kit.corrections("flat")) >= {at(2), at(3)}
    span = Span.of("2026-07", kit.settings.tz)
    with kit.database.read() as session:
        found = reading.previews(kit.house, session, span, ["flat"])["flat"]
    (line, *_) = found.corrections
    assert (line.corrects, line.origin, line.intervals) == ("S-2026-000002", JUNE, 2)
    assert (line.first_interval, line.last_interval) == (at(2), at(3))
    assert found.sections[0].energy.estimated == 0


def test_08_who_leaves_gets_a_final_statement_before_the_months_end(kit: Kit) -> None:
    with kit.database.write() as session:
        session.get_one(ParticipantRow, "flat").left_from = at(6)
    done = job.issue(kit.house, "2026-07", "worker")
    assert done.numbers == ("S-2026-000004",)
    assert done.waiting == ("shop", "solar")
    document = documents(kit, "2026-07")["flat"]
    assert document["final"] == 1
    assert {line["corrects"] for line in document["corrections"]} == {"S-2026-000002"}
    assert balance(kit, "receivable:flat") == -10_000 * (
        documents(kit, JUNE)["flat"]["due_cents"] + document["due_cents"]
    )
    with pytest.raises(issuing.NotReadyError, match="not over yet"):
        job.issue(kit.house, "2026-07", "worker")
    opening, closing = document["wallet"]["opening_micro"], documents(kit, JUNE)["flat"]["wallet"]
    assert opening == closing["closing_micro"]


def test_08_who_has_a_final_statement_comes_back_in_a_later_month(kit: Kit) -> None:
    def back(begin: str) -> Change:
        return Change([gsrn(3)], Interval.parse(begin), {Role.PARTICIPANT: "flat"})

    with pytest.raises(ChangeError, match=r"final statement of 2026-07 \(S-2026-000004\)"):
        changes.enter(kit.house, back(at(20)), "manager")
    assert changes.preview(kit.house, back("2026-07-31T22:00:00Z")).links[0].after == "flat"


def test_09_the_worker_issues_by_the_day_and_tells_what_waits(kit: Kit) -> None:
    house = kit.house
    settings = house.settings.model_copy(update={"statement_days": 1})
    object.__setattr__(house, "settings", settings)
    today = job.issue_daily(house, "")
    assert today == "2026-07-01"
    assert job.issue_daily(house, today) == today
    assert kit.rows(NoticeRow, NoticeRow.ref == "statements/2026-07") == []
    kit.clock.advance_to(Span.of("2026-08", settings.tz).start_ms + 2 * 86_400_000)
    assert job.issue_daily(house, today) == "2026-08-03"
    (notice,) = kit.rows(NoticeRow, NoticeRow.ref == "statements/2026-07")
    assert "statements of 2026-07 wait" in notice.text


def test_10_the_desk_shows_each_their_own(kit: Kit) -> None:
    desk = StatementDesk(kit.house, ManagedPeople(kit.house, {"shop"}), job.issue_shown)
    own = desk.own("flat")
    assert [line.number for line in own.lines] == ["S-2026-000004", "S-2026-000002"]
    page = desk.one("flat", "S-2026-000002")
    assert page.seal is not None
    assert page.document.participant == "flat"
    with pytest.raises(NotFoundError, match="among yours"):
        desk.one("shop", "S-2026-000002")
    with pytest.raises(NotFoundError):
        desk.file("flat", "S-2026-000002", "exe")
    month = desk.month(JUNE)
    assert [line.participant for line in month.issued] == ["shop"]
    assert (month.others, month.ready, month.why_not) == (2, 0, "")
    assert month.months[-1] == JUNE
    with pytest.raises(RefusedError, match="are issued"):
        desk.issue(JUNE, "building-manager")
    with pytest.raises(NotFoundError, match="no month"):
        desk.month("June")


def test_11_files_are_the_same_bytes_each_time(kit: Kit, tmp_path: Path) -> None:
    for form in ("pdf", "csv", "json"):
        out = tmp_path / form
        assert statement_run.export_month(kit.house, JUNE, None, form, out) == 0
        assert {path.name for path in out.iterdir()} == {
            f"S-2026-00000{n}.{form}" for n in (1, 2, 3)
        }
    again = tmp_path / "again"
    statement_run.export_month(kit.house, JUNE, "flat", "pdf", again)
    written = (again / "S-2026-000002.pdf").read_bytes()
    assert written == (tmp_path / "pdf" / "S-2026-000002.pdf").read_bytes()
    assert written.startswith(b"%PDF")
    table = (tmp_path / "csv" / "S-2026-000003.csv").read_text("utf-8-sig").splitlines()
    assert [row.split(";")[3] for row in table[1:]] == [
        "line",
        "line",
        "part",
        "vat",
        "part",
        "due",
    ]
    with pytest.raises(issuing.NobodyError):
        statement_run.export_month(kit.house, "2026-05", None, "pdf", tmp_path)


def test_12_commands_say_what_they_did(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    statement_run.list_issued(kit.house, JUNE, None, as_json=True)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["number"] for row in rows] == ["S-2026-000002", "S-2026-000001", "S-2026-000003"]
    statement_run.show_one(kit.house, "S-2026-000003", as_json=False)
    shown = capsys.readouterr().out
    assert "You get €0.48" in shown
    assert "Local energy" in shown
    statement_run.show_preview(kit.house, "2026-07", "shop", as_json=True)
    assert json.loads(capsys.readouterr().out)["number"] == ""
    with pytest.raises(issuing.AlreadyIssuedError):
        statement_run.show_preview(kit.house, JUNE, "shop", as_json=False)


def test_a_document_of_another_kind_is_refused() -> None:
    with pytest.raises(DocumentError, match="no monthly statement"):
        load(b"{}")


def test_pdf_text_keeps_umlauts_and_euros_and_loses_what_it_cannot_show() -> None:
    assert printable("Jörg Łukasz Čapek €\u00a05\u22121\x00 世") == "Jörg Lukasz Capek €\u00a05-1 ?"


def test_the_pdf_of_a_long_statement_repeats_its_headings() -> None:
    line = DOCUMENT.sections[0].lines[0]
    many = replace(
        DOCUMENT.sections[0], lines=tuple(replace(line, ref=f"1.{n}") for n in range(40))
    )
    content = statement_pdf(replace(DOCUMENT, sections=(many,)), SEAL)
    assert content.count(b"/Type /Page\n") > 2

"""A person's readings go for good; the seals and proofs of all others hold as before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import col, select, update
from typer.testing import CliRunner

from app.audit.month import audit_month
from app.audit.monthfile import MonthFile
from app.cli import cli
from app.commands.month_export import export_month
from app.services.erasure import erase
from app.services.erasure.plan import ErasureError
from app.services.events import EventDoor
from app.services.founding import GATEWAY_NAME
from app.services.ingest import RemovedReadingError
from app.services.proofs import ErasedProofError
from app.services.retention import run
from app.store import log
from app.store.bulk import insert_all
from app.tables import (
    DisputeRow,
    ErasureRow,
    ErasureSpanRow,
    EvidenceRow,
    ForecastRow,
    ForecastRunRow,
    GatewayEventRow,
    LinkRow,
    MeterChangeRow,
    ReadingRow,
    SlotRow,
)
from ledger_client.log import decode_entry
from ledger_client.verify import Report
from metering import canonical
from metering.event import Event, Finding, Kind
from metering.event_spool import Reporter
from metering.interval import Interval
from metering.reading import FIRST_PREV, Clock
from tests.app.removal_kit import JULY, JUNE, RemovalKit, alive, reopened
from tests.conftest import LONG

FLAT_DAY = 4 * 3  # three readings in each quarter; the border at the end belongs to the next one


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[RemovalKit]:
    kit = reopened(tmp_path)
    yield kit
    kit.close()


def test_a_person_s_readings_go_and_all_else_holds(database_url: str, tmp_path: Path) -> None:
    kit = alive(tmp_path, database_url)
    roots, finals = kit.roots(), kit.final()
    size = kit.ask(log.size)
    head = kit.ask(lambda session: log.root(session, size))
    others = {(key, who): kit.proof(key, who) for key in finals for who in ("solar", "shop")}
    found = kit.plan("flat")
    count = 3 * len(finals)
    assert (found.readings, found.quarters, found.statements) == (count, len(finals), 0)
    assert kit.erase("flat") == count

    assert kit.roots() == roots
    assert kit.ask(lambda session: log.root(session, size)) == head
    assert {(key, who): kit.proof(key, who) for key, who in others} == others
    assert all(kit.prove(key, who).code == 0 for key, who in others)
    with pytest.raises(ErasedProofError, match="erased on request"):
        kit.proof(finals[0], "flat")
    with pytest.raises(RemovedReadingError, match="removed, on request"):
        kit.door.receipt(_key(kit, "flat"), 1, 1)

    assert kit.plan("flat").is_empty
    answers = kit.send(kit.signed["flat"])
    assert answers == [410] * count + [200]
    left = kit.readings("flat")
    assert [row.seq for row in left if row.payload] == [count + 1]
    assert {(row.import_wh, row.power_w, row.salt) for row in left if not row.payload} == {
        (None, None, b"")
    }
    kit.quarter_with_minutes()
    assert kit.prove(JUNE.key, "solar").code == 0
    kit.check()
    erase.scrub(kit.house, found.spans)
    kit.check()
    kit.close()


def _key(kit: RemovalKit, name: str) -> str:
    return json.loads(kit.signed[name][0].payload)["key"]


def test_no_byte_of_it_stays_in_the_file(kit: RemovalKit) -> None:
    erased = [row.model_dump() for row in kit.readings("flat")][:FLAT_DAY]
    kept = [row.model_dump() for row in kit.readings("shop")]
    found = kit.plan("flat")
    kit.erase("flat")
    erase.scrub(kit.house, found.spans)
    files = [path.read_bytes() for path in kit.folder.glob("district.db*")]
    parts = ("payload", "signature", "salt")
    assert not any(row[part] in raw for raw in files for row in erased for part in parts)
    assert all(any(row[part] in raw for raw in files) for row in kept for part in parts)


def test_the_log_holds_a_hash_of_who_asked_for_it(kit: RemovalKit) -> None:
    kit.erase("flat")
    (row,) = kit.rows(ErasureRow)
    kind, body = decode_entry(kit.ask(lambda session: log.entry(session, row.log_index)))
    spans = kit.ask(lambda session: erase.spans_of(session, row.id or 0))
    said = erase.record("flat", spans, "asked", "administrator", row.asked_ms)
    assert kind == "audit"
    assert json.loads(body) == {
        "action": "erasure",
        "at_ms": kit.clock.now_ms(),
        "digest": hashlib.sha256(row.salt + canonical.dumps(said)).hexdigest(),
        "district": kit.settings.origin,
    }
    assert b"flat" not in body.encode()
    assert row.finished_ms == kit.clock.now_ms()


def test_a_border_goes_with_the_last_interval_that_needs_it(kit: RemovalKit) -> None:
    flat = kit.homes["flat"].point
    kit.erase(flat, begin=JULY)
    (border,) = [row for row in kit.readings("flat") if row.answered_ms == JULY.start_ms]
    assert border.payload  # it closes the last quarter-hour of June
    assert kit.prove(JULY.previous().key, "flat").code == 0
    with pytest.raises(ErasedProofError):
        kit.proof(JULY.key, "flat")
    kit.erase(flat, end=JULY)
    (border,) = [row for row in kit.readings("flat") if row.answered_ms == JULY.start_ms]
    assert not border.payload
    assert kit.roots()


def test_only_what_was_theirs_goes(kit: RemovalKit) -> None:
    """A participant who moved out takes nothing along of who came after."""
    flat = kit.homes["flat"].point
    with kit.database.write() as session:
        whose = (LinkRow.point == flat, LinkRow.role == "participant")
        link = session.exec(select(LinkRow).where(*whose)).one()
        link.valid_to = JULY.key
        session.add(
            LinkRow(
                point=flat, role="participant", target="shop", valid_from=JULY.key, known_ms=0,
                entered_by="test",
            )
        )  # fmt: skip
    found = kit.plan("flat")
    assert [(span.first, span.after) for span in found.spans] == [(JUNE.key, JULY.key)]
    kit.erase("flat")
    july = [row for row in kit.readings("flat") if row.answered_ms >= JULY.start_ms]
    assert all(row.payload for row in july)


def test_what_may_not_be_erased_yet(kit: RemovalKit) -> None:
    with pytest.raises(ErasureError, match="neither a participant nor a metering point"):
        kit.plan("nobody")
    with pytest.raises(ErasureError, match="what may still be corrected cannot be erased"):
        kit.plan("flat", end=Interval.containing_ms(kit.clock.now_ms()).next())
    found = kit.plan("flat")
    with pytest.raises(ErasureError, match="say why"):
        erase.erase(kit.house, found, " ", "administrator")
    kit.dispute()
    with pytest.raises(ErasureError, match="statement S-2026-000001 is disputed"):
        kit.plan("flat")
    with pytest.raises(ErasureError, match="is disputed"):  # since the plan was made
        erase.erase(kit.house, found, "asked", "administrator")
    with kit.database.write() as session:
        session.exec(update(DisputeRow).values(state="withdrawn"))
        slot = (SlotRow.interval == JULY.key, SlotRow.point == kit.homes["flat"].point)
        session.exec(update(SlotRow).where(*slot).values(estimated=True))
    with pytest.raises(ErasureError, match=f"from {JULY.key} on still wait for the meter"):
        kit.plan("flat")
    assert kit.plan("flat", end=JULY).readings == 6
    with kit.database.write() as session:
        late = ReadingRow.seq == 2
        session.exec(update(ReadingRow).where(late).values(seal_interval="2027-01-01T00:00:00Z"))
    with pytest.raises(ErasureError, match="came late and is sealed in 2027"):
        kit.plan("flat", end=JULY)
    assert kit.rows(ErasureRow) == []


@pytest.mark.parametrize("stop", range(4))
def test_it_goes_on_where_it_stopped(
    kit: RemovalKit, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StoppedError(Exception):
        pass

    monkeypatch.setattr(erase, "BATCH", 5)
    roots, steps = kit.roots(), []

    def told(_count: int) -> None:
        steps.append(sum(not row.payload for row in kit.readings("flat")))
        assert kit.roots() == roots
        if len(steps) > stop:
            raise StoppedError

    with pytest.raises(StoppedError):
        erase.erase(kit.house, kit.plan("flat"), "asked", "administrator", told)
    while erase.resume(kit.house, 1):
        assert kit.roots() == roots
    assert kit.plan("flat").is_empty
    (row,) = kit.rows(ErasureRow)
    assert (row.readings, row.finished_ms is None) == (FLAT_DAY, False)


def test_forecasts_and_doubles_go_too(kit: RemovalKit) -> None:
    flat, key = kit.homes["flat"].point, _key(kit, "flat")
    double = kit.signed["flat"][1]
    with kit.database.write() as session:
        session.add(ForecastRunRow(id=77, issued_ms=1, first=JULY.key, quarters=1, model="b"))
        session.flush()
        rows = [
            {"run": 77, "point": kit.homes[name].point, "import_wh": "[1]", "export_wh": "[1]",
             "import_model": "b", "export_model": "b"}
            for name in ("flat", "shop")
        ]  # fmt: skip
        insert_all(session, ForecastRow, rows)
        session.add(
            EvidenceRow(
                key=key, epoch=1, seq=2, link=b"x", payload=double.payload, signature=b"s",
                received_ms=0,
            )
        )  # fmt: skip
    found = kit.plan("flat")
    assert (found.doubles, found.forecasts) == (1, 1)
    kit.erase("flat")
    assert [row.point for row in kit.rows(ForecastRow, ForecastRow.run == 77)] != [flat]
    assert kit.rows(ForecastRow, col(ForecastRow.point) == flat, ForecastRow.run == 77) == []
    assert len(kit.rows(ForecastRow, ForecastRow.run == 77)) == 1
    assert kit.rows(EvidenceRow) == []


def test_a_month_s_audit_says_what_was_erased(kit: RemovalKit) -> None:
    kit.erase("flat")
    out = kit.folder / "july.zip"
    export_month(kit.house, "2026-07", out, force=False)
    report = Report()
    with out.open("rb") as file:
        verdict = report.judge(lambda: audit_month("2026-07", MonthFile(file), kit.keys(), report))
    assert verdict.code == 2  # for no statement is issued; not for what was erased
    assert "no statement of 2026-07" in verdict.steps[-1].text
    assert any(
        "4 quarter-hours of a point rest on readings that were" in r for r in verdict.remarks
    )


def test_the_command_asks_first(kit: RemovalKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTLOOM_CORRECTION_DAYS", "0")

    def wattloom(*arguments: str, answer: str = "", code: int = 0) -> str:
        given = ["erase", "flat", "--reason", "asked", *arguments, "--data", str(kit.folder)]
        done = CliRunner().invoke(cli, given, input=answer)
        assert done.exit_code == code, done.output
        return done.output

    assert "12 readings: values, signatures, salts" in wattloom("--dry-run")
    wattloom(answer="n\n", code=1)
    assert "say --yes" in wattloom("--json", code=1)
    assert len(kit.readings("flat")) == FLAT_DAY + 1
    assert "6 readings erased" in wattloom("--to", JULY.key, answer="y\n")
    assert json.loads(wattloom("--json", "--yes"))["erased"] == 6
    assert "Nothing is left" in wattloom()
    assert "names no begin" in wattloom("--to", "soon", code=1)


HOMES = ("solar", "flat", "shop")
BORDERS = st.integers(0, 4).map(lambda n: Interval.containing_ms(JUNE.start_ms + n * 900_000))
SPANS = st.lists(
    st.tuples(st.sampled_from(HOMES), BORDERS, BORDERS).filter(lambda s: s[1] < s[2]),
    min_size=1,
    max_size=3,
)


@settings(
    max_examples=60 if LONG else 3,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(spans=SPANS, retention=st.booleans())
def test_whatever_is_erased_seals_and_others_proofs_hold(
    spans: list[tuple[str, Interval, Interval]], retention: bool, tmp_path_factory
) -> None:
    kit = reopened(tmp_path_factory.mktemp("erasing"))
    roots, keys = kit.roots(), list(kit.roots())
    proofs = {(key, who): kit.proof(key, who) for key in roots for who in HOMES}
    erased: set[tuple[str, str]] = set()
    for name, first, after in spans:
        kit.erase(kit.homes[name].point, first, after)
        erased |= {(key, name) for key in keys if first.key <= key < after.key}
        if retention:
            run.run(kit.later)
        assert kit.roots() == roots
    for (key, who), before in proofs.items():
        place = keys.index(key)
        beside = [each for each in (place - 1, place + 1) if 0 <= each < len(keys)]
        # A border goes with both of the quarter-hours that share it; before the first is none.
        alone = place > 0 and not any((keys[each], who) in erased for each in beside)
        if (key, who) in erased and not alone:
            with pytest.raises(ErasedProofError):
                kit.proof(key, who)
        else:
            assert kit.proof(key, who) == before
            assert kit.prove(key, who).code == 0
    assert len(kit.rows(ErasureSpanRow)) == len(spans)
    kit.close()


def test_what_gateways_told_of_it_goes_as_well(database_url: str, tmp_path: Path) -> None:
    kit = alive(tmp_path, database_url)
    finding = Finding(Kind.STUCK, {"register": "import", "power_w": 1_777, "expected_wh": 333_777})
    door = EventDoor(kit.database, kit.settings.origin, kit.clock)
    reporter = Reporter(kit.settings.origin, GATEWAY_NAME, kit.keyring.gateway)
    prev = FIRST_PREV
    for seq, name in enumerate(("flat", "shop"), 1):
        event = Event(finding, kit.homes[name].point, JUNE.start_ms, Clock.SYNCHRONISED)
        signed = reporter.sign(event, seq, prev)
        assert [each.status for each in door.receive([signed])] == [200]
        prev = signed.link
    flat, shop = kit.homes["flat"].point, kit.homes["shop"].point
    changes = [
        MeterChangeRow(
            point=flat, kind="reset", state=state, old_key="a", old_epoch=1, old_serial="s",
            new_key="a", new_epoch=epoch, new_serial="s", closing_ms=JUNE.start_ms,
            closing_import_wh=333_777, opening_ms=JUNE.start_ms, opening_import_wh=0,
            proposed_by="gateway", proposed_ms=0, salt=bytes(32),
        )
        for epoch, state in enumerate(("approved", "proposed"), 2)
    ]  # fmt: skip
    with kit.database.write() as session:
        session.add_all(changes)
    found = kit.plan("flat")
    kit.erase("flat")
    assert [row.point for row in kit.rows(GatewayEventRow)] == [shop]
    assert [row.point for row in kit.notices("event/")] == [shop]
    values = {row.state: (row.closing_import_wh, row.salt) for row in kit.rows(MeterChangeRow)}
    assert values == {"approved": (None, None), "proposed": (333_777, bytes(32))}
    assert {row.opening_ms for row in kit.rows(MeterChangeRow)} == {JUNE.start_ms}
    erase.scrub(kit.house, found.spans)
    kit.close()

"""Readings between the borders go when they were kept long enough; nothing that they prove does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlmodel import col, update
from typer.testing import CliRunner

from app.api import problems, readings
from app.cli import cli
from app.clock import SimulatedClock
from app.jobs.retention import Tidier
from app.services.ingest import RemovedReadingError
from app.services.retention import plan, run
from app.services.retention.removal import RemovalError
from app.services.waiting import WaitingReadings
from app.settings import SettingsError, load_settings
from app.store import removed
from app.store.removed import Remains
from app.tables import DisputeRow, DistrictRow, EvidenceRow, ReadingRow, RemovedRow, RetentionRow
from metering.interval import LENGTH_MS
from tests.app.removal_kit import JUNE, RemovalKit, alive, reopened

IN_BETWEEN = {2, 3, 5, 6, 8, 9, 11, 12}  # by number: those that are no border
OF_JUNE = {2, 3, 5, 6}


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[RemovalKit]:
    kit = reopened(tmp_path)
    yield kit
    kit.close()


def seqs(kit: RemovalKit, name: str) -> set[int]:
    return {row.seq for row in kit.readings(name)}


def months(kit: RemovalKit) -> list[plan.MonthPlan]:
    return kit.ask(lambda session: plan.plan(kit.later, session))


def test_what_goes_what_stays_and_what_holds(database_url: str, tmp_path: Path) -> None:
    kit = alive(tmp_path, database_url)
    roots, whole = kit.roots(), seqs(kit, "flat")
    proofs = {name: kit.proof(JUNE.key, name) for name in kit.homes}
    (june,) = months(kit)
    assert (str(june.month), june.readings, june.kept, june.waits) == ("2026-06", 12, 6, "")
    assert run.run(kit.later) == 12
    assert seqs(kit, "flat") == whole - OF_JUNE
    assert all(row.answered_ms % LENGTH_MS <= 10_000 for row in kit.readings() if row.seq < 7)
    assert kit.roots() == roots
    assert {name: kit.proof(JUNE.key, name) for name in kit.homes} == proofs
    assert run.run(kit.later) == 0
    assert months(kit) == []

    answers = kit.send(kit.signed["flat"])
    assert [seq for seq, status in enumerate(answers, 1) if status == 410] == sorted(OF_JUNE)
    assert set(answers) == {200, 410}
    assert seqs(kit, "flat") == whole - OF_JUNE
    kit.quarter_with_minutes()  # life goes on
    assert not kit.notices("gap/")
    kit.check()
    kit.close()


def test_months_wait_for_what_may_still_change(kit: RemovalKit) -> None:
    house = replace(kit.house, clock=SimulatedClock(kit.clock.now_ms()))
    assert kit.ask(lambda session: plan.plan(house, session)) == []  # not old enough
    keep = kit.settings.model_copy(update={"retention_days": 0})
    assert kit.ask(lambda s: plan.plan(replace(kit.later, settings=keep), s)) == []
    kit.set_state(JUNE.key, "sealed")
    (june,) = months(kit)
    assert june.waits == f"{JUNE.key} is not final: corrections are still possible"
    assert (run.due(kit.later), run.run(kit.later)) == (None, 0)
    kit.set_state(JUNE.key, "final")
    number = kit.dispute()
    (june,) = months(kit)
    assert june.waits == f"statement {number} is disputed: close that first"
    assert run.run(kit.later) == 0
    with kit.database.write() as session:
        session.exec(update(DisputeRow).values(state="withdrawn"))
    assert run.run(kit.later) == 12


@pytest.mark.parametrize("stop", range(4))
def test_it_goes_on_where_it_stopped(
    kit: RemovalKit, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "BATCH", 5)
    roots, (june,) = kit.roots(), [each.month for each in months(kit)]
    for _ in range(stop):
        run.step(kit.later, june)
        assert kit.roots() == roots
    left = sum(row.seq in OF_JUNE for row in kit.readings())
    assert left == max(0, 12 - 5 * stop)
    assert run.run(kit.later) == left
    assert kit.roots() == roots
    (row,) = kit.rows(RetentionRow)
    assert (row.month, row.readings, row.finished_ms is None) == ("2026-06", 12, False)


def test_a_step_that_would_break_a_seal_changes_nothing(kit: RemovalKit) -> None:
    (row,) = [each for each in kit.readings("flat") if each.seq == 2]
    with kit.database.write() as session:
        session.exec(update(ReadingRow).where(col(ReadingRow.id) == row.id).values(leaf=bytes(32)))
    before = kit.readings()
    with pytest.raises(RemovalError, match="no longer give what was sealed"):
        run.run(kit.later)
    assert (kit.readings(), kit.rows(RemovedRow), kit.rows(RetentionRow)) == (before, [], [])
    Tidier(kit.later).run()  # the worker tells people, once, and goes on with its other work
    Tidier(kit.later).run()
    assert len(kit.notices("alarm/retention/")) == 1


def test_the_worker_removes_a_little_at_a_time(
    kit: RemovalKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "BATCH", 2)
    tidier = Tidier(kit.later)
    counts = []
    for _ in range(4):
        tidier.run()
        counts.append(len(kit.readings()))
    assert counts == [31, 27, 27, 27]


def test_a_removed_number_is_not_free_again(kit: RemovalKit) -> None:
    run.run(kit.later)
    key = kit.readings("flat")[0].key
    with pytest.raises(RemovedReadingError, match="reading 2 was acknowledged and later removed"):
        kit.door.receipt(key, 1, 2)
    app = FastAPI()
    problems.install(app)
    app.include_router(readings.build_router(kit.door, WaitingReadings(2**20, 100)))
    answer = TestClient(app).get(f"/api/v1/readings/{key}/1/2/receipt")
    assert (answer.status_code, answer.headers["content-type"]) == (410, problems.MEDIA_TYPE)
    home = kit.homes["flat"]
    home.seq, moment = 1, kit.clock.now_ms()
    assert kit.send([kit.sign("flat", moment)]) == [409]  # other bytes under number 2
    assert [row.seq for row in kit.rows(EvidenceRow)] == [2]
    assert 2 not in seqs(kit, "flat")


def test_flagged_readings_stay(kit: RemovalKit) -> None:
    (row,) = [each for each in kit.readings("shop") if each.seq == 5]
    with kit.database.write() as session:
        session.exec(
            update(ReadingRow)
            .where(col(ReadingRow.id) == row.id)
            .values(flags="gap impossible_power", quality="questionable")
        )
    assert run.run(kit.later) == 11
    assert 5 in seqs(kit, "shop")


def test_what_stays_is_packed_in_eighty_bytes() -> None:
    remains = [Remains(n, 10**12 + n, bytes([n]) * 32, bytes([n + 1]) * 32) for n in (3, 1, 2)]
    packed = removed.pack(remains)
    assert len(packed) == 3 * 80
    assert removed.unpack(packed) == sorted(remains)


def test_the_command_shows_and_does(kit: RemovalKit, monkeypatch: pytest.MonkeyPatch) -> None:
    with kit.database.write() as session:
        session.exec(update(DistrictRow).values(clock_ms=kit.later.clock.now_ms()))
    monkeypatch.setenv("WATTLOOM_CORRECTION_DAYS", "0")
    monkeypatch.setenv("WATTLOOM_RETENTION_DAYS", "31")

    def wattloom(*arguments: str) -> str:
        given = ["retention", *arguments, "--data", str(kit.folder)]
        answer = CliRunner().invoke(cli, given)
        assert answer.exit_code == 0, answer.output
        return answer.stdout

    shown = json.loads(wattloom("--dry-run", "--json"))
    assert shown["removed"] == 0
    assert [(month["month"], month["readings"]) for month in shown["months"]] == [("2026-06", 12)]
    assert "2026-06  12" in wattloom("--dry-run")
    assert json.loads(wattloom("--json"))["removed"] == 12
    assert "nothing to remove" in wattloom()
    monkeypatch.setenv("WATTLOOM_RETENTION_DAYS", "0")
    assert "for ever" in wattloom()


def test_readings_are_kept_while_they_may_be_corrected() -> None:
    with pytest.raises(SettingsError, match="keep them longer, or 0 for ever"):
        load_settings(correction_days=30, retention_days=30)
    assert load_settings(correction_days=30, retention_days=0).retention_days == 0

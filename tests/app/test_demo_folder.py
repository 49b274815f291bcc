"""Beginning the story again, and a database that does not answer for a while."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app import db
from app.demo.folder import NoRunError, check_run, put_aside
from app.demo.run import run
from app.demo.steps import DemoOptions
from app.serve.folder import LOCK, FolderInUseError, alone
from app.services.summary import Summary
from app.settings import Settings

MADE = ["district.db", "district.db-wal", "keys.json", "ledger.db", "spool.db"]


def a_run(folder: Path) -> Path:
    """A folder as a run leaves it, and a file that is somebody's own."""
    for name in MADE:
        (folder / name).write_text(name)
    for name in ("keys", "proofs"):
        (folder / name).mkdir()
        (folder / name / "inside").write_text(name)
    (folder / "notes.txt").write_text("mine")
    return folder


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def aside(folder: Path) -> Path | None:
    check_run(folder)
    with alone(folder):
        return put_aside(folder)


def test_what_a_run_made_is_kept_beside_and_nothing_else_moves(tmp_path: Path) -> None:
    a_run(tmp_path)
    assert aside(tmp_path) == tmp_path / "old-1"
    assert contents(tmp_path) == {"old-1", "notes.txt", ".lock"}
    assert contents(tmp_path / "old-1") == {*MADE, "keys", "proofs"}
    assert (tmp_path / "old-1" / "keys" / "inside").read_text() == "keys"
    assert aside(tmp_path) is None
    (tmp_path / "district.db").write_text("next")
    assert aside(tmp_path) == tmp_path / "old-2"


@pytest.mark.parametrize("there", [True, False])
def test_there_may_be_nothing_yet(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "run"
    if there:
        folder.mkdir()
    assert aside(folder) is None


@pytest.mark.parametrize("name", ["notes.txt", "ledger.db", "proofs"])
def test_what_is_no_run_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(NoRunError, match="holds no run"):
        check_run(tmp_path)
    assert contents(tmp_path) == {name}


@pytest.mark.parametrize("name", [*MADE, "keys", "proofs", ".lock"])
def test_links_are_never_followed(tmp_path: Path, name: str) -> None:
    folder, other = tmp_path / "run", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    a_run(folder)
    (other / "precious").write_text("mine")
    path = folder / name
    if path.exists():
        path.rename(folder / "elsewhere")
    path.symlink_to(other if name in ("keys", "proofs") else other / "precious")
    with pytest.raises(NoRunError, match="not what a run makes"):
        check_run(folder)
    assert (other / "precious").read_text() == "mine"


def test_the_folder_itself_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    link = tmp_path / "link"
    link.symlink_to(a_run(tmp_path / "run"))
    with pytest.raises(NoRunError, match="no folder of its own"):
        check_run(link)


def test_a_lock_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"), alone(tmp_path / "run"):
        pass
    assert precious.read_text() == "mine"


# Whole runs


def options(folder: Path, **changes: Any) -> DemoOptions:
    plain = DemoOptions(
        settings=Settings(data=folder, port=0),
        headless=True,
        intervals=1,
        speed=None,
        seed=1,
        fresh=False,
        on_step=lambda _sealed, _now: None,
        on_sealed=lambda _line: None,
        on_ready=lambda _url: None,
        on_notice=lambda _text: None,
    )
    return replace(plain, **changes)


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Path, Summary]:
    folder = tmp_path / "run"
    return folder, asyncio.run(run(options(folder)))


def test_the_story_begins_again(finished: tuple[Path, Summary]) -> None:
    folder, before = finished
    key = (folder / "keys.json").read_bytes()
    said: list[str] = []
    with alone(folder), pytest.raises(FolderInUseError):
        asyncio.run(run(options(folder, fresh=True)))
    again = asyncio.run(run(options(folder, fresh=True, seed=2, on_notice=said.append)))
    assert said == [f"the earlier run is kept in {folder / 'old-1'}"]
    assert again["intervals"] == before["intervals"]
    assert (folder / "keys.json").read_bytes() != key == (folder / "old-1/keys.json").read_bytes()


def test_a_database_elsewhere_is_emptied_by_hand(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "run", database_url="postgresql+psycopg://u@nowhere/d")
    with pytest.raises(NoRunError, match="empty it by hand"):
        asyncio.run(run(options(tmp_path, settings=settings, fresh=True)))
    assert not (tmp_path / "run").exists()


def test_a_locked_database_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "_BUSY_TIMEOUT_S", 0.1)
    said: list[str] = []
    steps = 0
    with closing(sqlite3.connect(":memory:")) as nothing:
        locks = [nothing]

        def lock(_sealed: int, _now_ms: int) -> None:
            nonlocal steps
            steps += 1
            if steps == 3:
                other = sqlite3.connect(tmp_path / "district.db", isolation_level=None)
                other.execute("BEGIN IMMEDIATE")
                locks.append(other)

        def notice(text: str) -> None:
            said.append(text)
            if len(locks) > 1:
                locks.pop().close()

        summary = asyncio.run(run(options(tmp_path, on_step=lock, on_notice=notice)))
    assert ["does not answer" in text for text in said] == [True, False]
    assert summary["intervals"] == 1
    assert summary["postings_sum_micro"] == 0


def test_the_names_of_a_run_are_those_it_makes(finished: tuple[Path, Summary]) -> None:
    folder, _ = finished
    check_run(folder)
    put_aside(folder)
    assert contents(folder) == {LOCK, "old-1"}

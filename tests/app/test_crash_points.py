"""The power goes at every write step: the district comes to what an unbroken life comes to."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import inspect

from app.db import Database
from app.services.keyring import Keyring
from tests.app.power_cuts import (
    COMMITTED,
    HOMES,
    Fuse,
    PowerCutError,
    Story,
    copied,
    fused_database,
)
from tests.conftest import LONG, PostgresCluster


def _sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'district.db'}"


@dataclass
class Calm:
    """A folder to begin with, the steps of an unbroken life, and what that comes to."""

    template: Path
    steps: list[str]
    outcome: dict[str, object]

    def begin(self, folder: Path) -> Story:
        return copied(self.template, folder, _sqlite(folder))

    def points(self, *, committed: bool) -> list[int]:
        """After how many steps to cut: those behind a commit, or the others."""
        return _points(self.steps, committed=committed)


def _points(steps: list[str], *, committed: bool) -> list[int]:
    return [n for n, name in enumerate(steps[:-1], 1) if (name == COMMITTED) is committed]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calm:
    folder = tmp_path_factory.mktemp("calm")
    template = folder / "template"
    template.mkdir(mode=0o700)
    ring = Keyring.open(template / "keys")
    for home in HOMES:
        ring.meter(home.name)
    database = Database(_sqlite(template))
    database.migrate()
    database.close()
    story = copied(template, folder / "life", _sqlite(folder / "life"))
    whole = Fuse()
    story.tell(whole)
    return Calm(template, whole.steps, story.outcome())


def _cut_at(calm: Calm, folder: Path, points: Iterable[int]) -> None:
    for point in points:
        story = calm.begin(folder / str(point))
        with pytest.raises(PowerCutError):
            story.tell(Fuse(point))
        story.tell(Fuse())
        assert story.outcome() == calm.outcome, f"cut after step {point}"


def test_the_unbroken_life_is_worth_comparing(calm: Calm) -> None:
    figures = calm.outcome["summary"]
    assert isinstance(figures, dict)
    assert figures["intervals"] == 2
    assert figures["trades"] > 0
    assert figures["ledger"]["transfers_confirmed"] == 3  # the top-ups and two intervals
    corrections = calm.outcome["corrections"]
    assert isinstance(corrections, list)
    assert len(corrections) == 2
    assert len(calm.steps) > 250


# What a cut leaves on disk changes with each commit only; the steps between have to leave nothing.


def test_a_cut_after_every_third_commit(calm: Calm, tmp_path: Path) -> None:
    _cut_at(calm, tmp_path, calm.points(committed=True)[::3])


def test_a_cut_within_transactions_and_around_ledger_calls(calm: Calm, tmp_path: Path) -> None:
    _cut_at(calm, tmp_path, calm.points(committed=False)[::41])


@pytest.mark.long
def test_a_cut_at_every_step(calm: Calm, tmp_path: Path) -> None:
    _cut_at(calm, tmp_path, range(len(calm.steps)))


@pytest.mark.parametrize("first", [1, 40])
def test_repeated_cuts_end_well_too(calm: Calm, tmp_path: Path, first: int) -> None:
    story = calm.begin(tmp_path / "story")
    cuts = 0
    for steps in range(first, 400, 3):
        try:
            story.tell(Fuse(steps))
        except PowerCutError:
            cuts += 1
        else:
            break
    assert story.outcome() == calm.outcome
    assert cuts > 3


@pytest.fixture
def fresh_url(postgres_cluster: PostgresCluster) -> Iterator[Callable[[], str]]:
    """Makes migrated PostgreSQL databases, all from one template."""
    names = [f"cuts_{uuid.uuid4().hex}"]
    postgres_cluster.execute(f"CREATE DATABASE {names[0]}")
    database = Database(postgres_cluster.url(names[0]))
    database.migrate()
    database.close()

    def make() -> str:
        names.append(f"cuts_{uuid.uuid4().hex}")
        postgres_cluster.execute(f"CREATE DATABASE {names[-1]} TEMPLATE {names[0]}")
        return postgres_cluster.url(names[-1])

    yield make
    for name in names:
        postgres_cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("stride", [1 if LONG else 9])
def test_a_cut_on_postgresql(
    calm: Calm, tmp_path: Path, fresh_url: Callable[[], str], stride: int
) -> None:
    whole = Fuse()
    story = copied(calm.template, tmp_path / "calm", fresh_url())
    story.tell(whole)
    assert story.outcome() == calm.outcome
    for point in _points(whole.steps, committed=True)[::stride]:
        story = copied(calm.template, tmp_path / str(point), fresh_url())
        with pytest.raises(PowerCutError):
            story.tell(Fuse(point))
        story.tell(Fuse())
        assert story.outcome() == calm.outcome, f"cut after step {point}"


def test_a_cut_within_the_migration(tmp_path: Path) -> None:
    whole = Fuse()
    _migrate(tmp_path / "calm.db", whole)
    tables = _tables(tmp_path / "calm.db")
    assert len(tables) > 20
    for point in {*range(0, len(whole.steps), 6), len(whole.steps) - 1}:
        path = tmp_path / f"{point}.db"
        with pytest.raises(PowerCutError):
            _migrate(path, Fuse(point))
        assert _tables(path) in ([], tables)  # all of it or nothing
        _migrate(path, Fuse())
        assert _tables(path) == tables


def _migrate(path: Path, fuse: Fuse) -> None:
    database = fused_database(f"sqlite:///{path}", fuse)
    try:
        database.migrate()
    finally:
        database.close()


def _tables(path: Path) -> list[str]:
    database = Database(f"sqlite:///{path}")
    try:
        return sorted(inspect(database.engine).get_table_names())
    finally:
        database.close()


def test_a_cut_while_keys_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that was ever seen is never replaced, and half a key is never seen."""
    fuse = Fuse()
    for name in ("open", "link", "fsync", "unlink"):
        monkeypatch.setattr(os, name, _fused(getattr(os, name), fuse))
    Keyring.open(tmp_path / "calm")
    total = len(fuse.steps)
    assert total > 20
    for point in range(total):
        folder = tmp_path / str(point)
        fuse.steps_left, fuse.steps = point, []
        with pytest.raises(PowerCutError):
            Keyring.open(folder)
        fuse.steps_left = None
        seen = {path.name: path.read_bytes() for path in folder.glob("*.key")}
        Keyring.open(folder)
        assert seen.items() <= {p.name: p.read_bytes() for p in folder.glob("*.key")}.items()


def _fused(call, fuse: Fuse):
    def cut(*arguments, **options):
        fuse.step("call")
        return call(*arguments, **options)

    return cut

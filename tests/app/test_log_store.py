from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlmodel import Session

from app.db import Database
from app.store import log
from ledger_client import merkle
from ledger_client.log import LogError


def fill(session: Session, count: int) -> None:
    for number in range(count):
        log.append(session, "audit", {"number": number})


@pytest.fixture
def database(database_url: str) -> Database:
    database = Database(database_url)
    database.migrate()
    yield database
    database.close()


def test_roots_and_paths_of_every_size_match_the_plain_tree(database: Database) -> None:
    size = 21
    with database.write() as session:
        fill(session, size)
    with database.read() as session:
        leaves = list(log.leaves(session))
        assert log.size(session) == size == len(leaves)
        for upto in range(size + 1):
            part = leaves[:upto]
            assert log.leaves(session, upto) == part
            assert log.root(session, upto) == merkle.root(part)
            for position in range(upto):
                path = merkle.inclusion_path(part, position)
                assert log.inclusion_path(session, position, upto) == path
            for old in range(1, upto + 1):
                path = merkle.consistency_path(part, old)
                assert log.consistency_path(session, old, upto) == path


def test_the_log_goes_on_after_a_restart(database_url: str) -> None:
    first = Database(database_url)
    first.migrate()
    with first.write() as session:
        fill(session, 5)
        before = log.root(session)
    first.close()
    again = Database(database_url)
    with again.write() as session:
        assert log.root(session) == before
        assert log.append(session, "audit", {"number": 5}) == 5
        assert log.root(session) == merkle.root(log.leaves(session))
        assert log.entry(session, 5) == b'wattloom-entry-audit-v1\0{"number":5}'
    again.close()


def test_writers_at_once_leave_one_gapless_log(database: Database) -> None:
    def work(worker: int) -> list[int]:
        places = []
        for number in range(5):
            with database.write() as session:
                places.append(log.append(session, "audit", {"n": number, "w": worker}))
        return places

    with ThreadPoolExecutor(4) as pool:
        places = sorted(place for found in pool.map(work, range(4)) for place in found)
    assert places == list(range(20))
    with database.read() as session:
        assert log.root(session) == merkle.root(log.leaves(session))


def test_what_is_rolled_back_was_never_there(database: Database) -> None:
    class ChangedMindError(Exception):
        pass

    def write_and_fail() -> None:
        with database.write() as session:
            fill(session, 3)
            raise ChangedMindError

    with pytest.raises(ChangedMindError):
        write_and_fail()
    with database.read() as session:
        assert log.size(session) == 0
        assert log.root(session) == merkle.EMPTY_ROOT


def test_unknown_entries_and_sizes_are_refused(database: Database) -> None:
    with database.write() as session:
        fill(session, 3)
        for wrong in (
            lambda: log.entry(session, 3),
            lambda: log.root(session, 4),
            lambda: log.root(session, -1),
            lambda: log.leaves(session, 4),
            lambda: log.inclusion_path(session, 3),
            lambda: log.inclusion_path(session, 0, 4),
            lambda: log.consistency_path(session, 0),
            lambda: log.consistency_path(session, 3, 2),
        ):
            with pytest.raises(log.LogStoreError):
                wrong()
        with pytest.raises(LogError):
            log.append(session, "gossip", {})
        with pytest.raises(LogError):
            log.append(session, "audit", '{"b":1,"a":1}')


@pytest.mark.long
def test_a_path_through_a_long_log_reads_few_rows(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    database.migrate()
    with database.write() as session:
        fill(session, 100_000)
        path = log.inclusion_path(session, 77_777)
        assert path == merkle.inclusion_path(log.leaves(session), 77_777)
    database.close()

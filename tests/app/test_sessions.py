"""Web sessions: by the wall clock, only a hash at rest, demo logins in the demo alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.services import sessions as module
from app.services.sessions import IDLE_MS, LONGEST_MS, SessionStore
from app.tables import SessionRow
from tests.app.district_kit import Kit
from web.ports import NotFoundError, Role

MINUTE_MS = 60_000


class FakeWall:
    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> FakeWall:
    wall = FakeWall()
    monkeypatch.setattr(module, "wall_ms", wall)
    return wall


@pytest.fixture
def kit(database_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, database_url)
    yield kit
    kit.close()


@pytest.fixture
def store(kit: Kit, wall: FakeWall) -> SessionStore:
    return SessionStore(kit.database, "flat")


def test_a_role_and_its_participant(store: SessionStore) -> None:
    for role in Role:
        viewer = store.viewer(store.demo_enter(role))
        assert viewer is not None
        assert viewer.role is role
        assert viewer.participant == ("flat" if role is Role.PROSUMER else None)
        assert len(viewer.csrf_token) >= 32


def test_cookies_and_tokens_are_never_the_same(store: SessionStore) -> None:
    cookies = {store.demo_enter(Role.PROSUMER) for _ in range(20)}
    viewers = [store.viewer(cookie) for cookie in cookies]
    tokens = {viewer.csrf_token for viewer in viewers if viewer is not None}
    assert len(cookies) == len(tokens) == 20
    assert cookies.isdisjoint(tokens)


def test_only_the_cookies_hash_is_at_rest(kit: Kit, store: SessionStore) -> None:
    cookie = store.demo_enter(Role.MANAGER)
    (row,) = kit.rows(SessionRow)
    assert row.cookie_hash == hashlib.sha256(cookie.encode()).hexdigest()
    assert cookie not in repr(row.model_dump())
    assert store.viewer(row.cookie_hash) is None  # what is at rest opens nothing


def test_strange_cookies_open_nothing(store: SessionStore) -> None:
    store.demo_enter(Role.MANAGER)
    for cookie in (None, "", "x", "x" * 10_000, "' OR 1=1 --", "\x00", "é"):
        assert store.viewer(cookie) is None, cookie


@pytest.mark.parametrize(("idle_ms", "lives"), [(0, True), (IDLE_MS, True), (IDLE_MS + 1, False)])
def test_idle_sessions_end(store: SessionStore, wall: FakeWall, idle_ms: int, lives: bool) -> None:
    cookie = store.demo_enter(Role.MANAGER)
    wall.now_ms += idle_ms
    assert (store.viewer(cookie) is not None) is lives


def test_use_keeps_a_session_alive_for_twelve_hours(store: SessionStore, wall: FakeWall) -> None:
    cookie = store.demo_enter(Role.MANAGER)
    began = wall.now_ms
    while wall.now_ms + 29 * MINUTE_MS - began <= LONGEST_MS:
        wall.now_ms += 29 * MINUTE_MS
        assert store.viewer(cookie) is not None
    wall.now_ms = began + LONGEST_MS
    assert store.viewer(cookie) is not None
    wall.now_ms += 1
    assert store.viewer(cookie) is None


def test_use_within_a_minute_is_not_written(kit: Kit, store: SessionStore, wall: FakeWall) -> None:
    cookie, began = store.demo_enter(Role.MANAGER), wall.now_ms
    seen = []
    for after_ms in (MINUTE_MS, 1):
        wall.now_ms += after_ms
        assert store.viewer(cookie) is not None
        seen.append(kit.rows(SessionRow)[0].seen_ms - began)
    assert seen == [0, MINUTE_MS + 1]


def test_leaving_ends_one_session(store: SessionStore) -> None:
    one, other = store.demo_enter(Role.MANAGER), store.demo_enter(Role.OPERATOR)
    store.leave(one)
    store.leave(one)
    store.leave("unknown")
    assert store.viewer(one) is None
    assert store.viewer(other) is not None


def test_outside_the_demo_nobody_enters(kit: Kit, wall: FakeWall) -> None:
    store = SessionStore(kit.database, None)
    assert not store.demo()
    for role in Role:
        with pytest.raises(NotFoundError):
            store.demo_enter(role)
    assert kit.rows(SessionRow) == []


def test_expired_sessions_do_not_pile_up(kit: Kit, store: SessionStore, wall: FakeWall) -> None:
    for _ in range(3):
        store.demo_enter(Role.MANAGER)
    wall.now_ms += LONGEST_MS + 1
    store.demo_enter(Role.MANAGER)
    assert len(kit.rows(SessionRow)) == 1

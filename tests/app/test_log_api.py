"""The log's public routes: note, list, consistency; and the transparency page over real data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.services.sessions import SessionStore
from app.tables import CheckpointRow
from ledger_client.verify import open_note, render, verify_bytes
from tests.app.district_kit import Kit, key

TRADE = {"solar": (0, 900), "flat": (300, 0)}


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, f"sqlite:///{tmp_path / 'district.db'}")
    yield kit
    kit.close()


@pytest.fixture
def client(kit: Kit) -> TestClient:
    app = create_app(kit.house, kit.board, kit.views(), SessionStore(kit.database, "flat"))
    return TestClient(app, "http://127.0.0.1:8000", raise_server_exceptions=False)


def sizes(kit: Kit) -> list[int]:
    return sorted(row.size for row in kit.rows(CheckpointRow))


def test_before_the_first_seal_there_is_no_checkpoint(client: TestClient) -> None:
    assert client.get("/api/v1/log/checkpoint").status_code == 404
    listed = client.get("/api/v1/log/checkpoints").json()
    assert (listed["checkpoints"], listed["next"]) == ([], None)
    assert "no checkpoint yet" in client.get("/transparency").text


def test_the_newest_note_is_signed_and_the_list_says_what_it_seals(
    client: TestClient, kit: Kit
) -> None:
    for _ in range(3):
        kit.live(**TRADE)
    answer = client.get("/api/v1/log/checkpoint")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    head = open_note(answer.text, kit.settings.origin, [bytes(kit.keyring.log.verify_key)])
    listed = client.get("/api/v1/log/checkpoints").json()
    assert [item["size"] for item in listed["checkpoints"]] == sizes(kit)[::-1]
    newest = listed["checkpoints"][0]
    assert (newest["size"], newest["root"]) == (head.size, head.root.hex())
    assert newest["intervals"] == [key(2)]
    assert newest["state"] == "confirmed"
    assert newest["previous_size"] == sizes(kit)[1]
    assert listed["checkpoints"][-1]["previous_size"] == 0
    assert listed["next"] is None
    assert listed["entries"] >= head.size


def test_the_list_is_paged(client: TestClient, kit: Kit) -> None:
    for _ in range(5):
        kit.live(**TRADE)
    seen, before = [], ""
    while True:
        listed = client.get(f"/api/v1/log/checkpoints?limit=2{before}").json()
        seen += [(item["size"], item["previous_size"]) for item in listed["checkpoints"]]
        if listed["next"] is None:
            break
        before = f"&before={listed['next']}"
    expected = sizes(kit)
    assert seen == list(zip(expected, [0, *expected], strict=False))[::-1]


def test_each_pair_of_checkpoints_is_proven_consistent(client: TestClient, kit: Kit) -> None:
    for _ in range(4):
        kit.live(**TRADE)
    keys = client.get("/api/v1/keys").content
    found = sizes(kit)
    for old in found:
        for new in found:
            answer = client.get(f"/api/v1/log/consistency?from={old}&to={new}")
            assert answer.status_code == (200 if old <= new else 404)
            if old <= new:
                verdict = verify_bytes(answer.content, keys)
                assert verdict.code == 0, render(verdict)
                page = client.get(f"/transparency/consistency/{old}/{new}")
                assert page.content == answer.content


@pytest.mark.parametrize(
    ("status", "query"),
    [
        (422, "from=0&to=5"),
        (422, "from=-1&to=5"),
        (422, "from=x&to=5"),
        (422, "from=5"),
        (422, f"from=1&to={2**53}"),
        (422, f"from=1&to={'9' * 5000}"),
        (404, "from=1&to=2"),
        (404, f"from=1&to={2**53 - 1}"),
    ],
)
def test_what_is_no_checkpoint_is_a_problem(
    client: TestClient, kit: Kit, status: int, query: str
) -> None:
    kit.live(**TRADE)
    answer = client.get(f"/api/v1/log/consistency?{query}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("query", ["before=0", "before=x", "limit=0", "limit=101"])
def test_odd_pages_are_a_problem(client: TestClient, query: str) -> None:
    assert client.get(f"/api/v1/log/checkpoints?{query}").status_code == 422


def test_the_page_shows_the_keys_that_are_pinned(client: TestClient, kit: Kit) -> None:
    kit.live(**TRADE)
    html = client.get("/transparency").text
    keys = client.get("/api/v1/keys").json()
    for name in ("log", "registry", "receipts"):
        assert keys[name][0] in html
    assert keys["milestones"]["keys"][0]["key"] in html
    assert kit.settings.origin in html

"""What anybody may ask: health, the district's flows, the public keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.db import DatabaseUnavailableError
from app.main import create_app
from app.services.live import LiveValue
from app.services.proofs import settlement_proof
from app.services.sessions import SessionStore
from ledger_client.verify import verify_bytes
from tests.app.district_kit import Kit, key


@pytest.fixture
def kit(database_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, database_url)
    yield kit
    kit.close()


@pytest.fixture
def client(kit: Kit) -> TestClient:
    app = create_app(kit.house, kit.board, kit.views(), SessionStore(kit.database, "flat"))
    return TestClient(app, "http://127.0.0.1:8000", raise_server_exceptions=False)


def test_health(client: TestClient) -> None:
    answer = client.get("/api/v1/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_health_without_a_database_asks_to_retry(
    client: TestClient, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked() -> None:
        raise DatabaseUnavailableError("locked")

    monkeypatch.setattr(kit.database, "read", locked)
    answer = client.get("/api/v1/health")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_district_tells_flows_and_neither_prices_nor_people(
    client: TestClient, kit: Kit
) -> None:
    kit.live(solar=(0, 900), flat=(300, 0))
    now = kit.clock.now_ms()
    kit.board.update(kit.homes["solar"].point, LiveValue(-900, now))
    kit.board.update(kit.homes["flat"].point, LiveValue(1_000, now))
    kit.board.update(kit.homes["shop"].point, LiveValue(None, now))
    answer = client.get("/api/v1/district").json()
    clock = datetime.fromisoformat(answer.pop("clock"))
    assert clock.timestamp() * 1000 == now
    assert clock.tzinfo is not None
    assert answer == {
        "district": "lindenhof.wattloom.example",
        "name": "Lindenhof",
        "clock_simulated": True,
        "exporting_w": 900,
        "importing_w": 1_000,
        "shared_w": 900,
        "from_grid_w": 100,
        "to_grid_w": 0,
    }


def test_stale_live_values_are_not_told_as_flows(client: TestClient, kit: Kit) -> None:
    kit.board.update(kit.homes["solar"].point, LiveValue(-900, kit.clock.now_ms()))
    assert client.get("/api/v1/district").json()["exporting_w"] == 900
    kit.to(2.1)
    assert client.get("/api/v1/district").json()["exporting_w"] == 0


def test_the_keys_verify_the_districts_proofs(client: TestClient, kit: Kit) -> None:
    kit.live(solar=(0, 900), flat=(300, 0))
    answer = client.get("/api/v1/keys")
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.content == kit.keys()
    proof = settlement_proof(kit.house, key(0), "flat")
    assert verify_bytes(proof, answer.content).code == 0


def test_only_get(client: TestClient) -> None:
    for path in ("/api/v1/health", "/api/v1/district", "/api/v1/keys"):
        answer = client.post(path)
        assert answer.status_code == 405, path
        assert answer.headers["content-type"] == "application/problem+json", path


HOSTS = {
    "127.0.0.1:8000": 200,
    "localhost": 200,
    "LocalHost:8000": 200,
    "[::1]:8000": 200,
    "district.example": 200,
    "a.lindenhof.example:443": 200,
    "lindenhof.example": 400,
    "attacker.example": 400,
    "127.0.0.1.attacker.example": 400,
    "[::2]": 400,
    "": 400,
}


def test_only_the_districts_own_names_are_answered(tmp_path: Path, sqlite_url: str) -> None:
    names = ("district.example", "*.lindenhof.example")
    kit = Kit(tmp_path, sqlite_url, changes={"allowed_hosts": names})
    app = create_app(kit.house, kit.board, kit.views(), SessionStore(kit.database, "flat"))
    client = TestClient(app)
    for host, status in HOSTS.items():
        answer = client.get("/api/v1/health", headers={"Host": host})
        assert answer.status_code == status, host
        assert answer.headers["content-security-policy"]
    kit.close()

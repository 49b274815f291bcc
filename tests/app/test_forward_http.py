"""Forward orders through the whole application: a browser's requests, and what is in the tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from app.main import create_app
from app.services.sessions import SessionStore
from tests.app.district_kit import FEED_IN
from tests.app.forward_kit import FIRST, ForwardKit, interval, steps
from web.ports import Role

PAGE = "/participants/flat/orders"


@pytest.fixture
def kit(sqlite_url: str, tmp_path: Path) -> Iterator[ForwardKit]:
    kit = ForwardKit(tmp_path, sqlite_url)
    kit.run()
    yield kit
    kit.close()


@pytest.fixture
def client(kit: ForwardKit) -> Iterator[TestClient]:
    app = create_app(kit.house, kit.board, kit.views("flat"), SessionStore(kit.database, "flat"))
    with TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False) as client:
        client.post("/enter", data={"role": Role.PROSUMER.value})
        yield client


def post(client: TestClient, path: str, **data: str) -> Response:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/district").text)
    assert found
    answer: Response = client.post(
        path,
        data={"csrf_token": found[1], "session": FIRST, **data},
        headers={"Accept": "text/html"},
    )
    return answer


def test_orders_by_browser(kit: ForwardKit, client: TestClient) -> None:
    assert '<a href="/orders"' in client.get("/intervals").text
    order = {
        "kind": "step",
        "point": kit.homes["flat"].point,
        "side": "bid",
        "first": interval(0),
        "last": interval(1),
        "energy": "0.4",
        "price": "25",
    }
    assert post(client, PAGE, **order).status_code == 303
    assert post(client, PAGE, **order, order_id="1").status_code == 303
    assert post(client, PAGE, **(order | {"energy": "900"})).status_code == 422
    assert post(client, PAGE, **(order | {"point": kit.homes["shop"].point})).status_code == 422
    assert post(client, f"{PAGE}/cancel", order_id="1").status_code == 303
    assert post(client, f"{PAGE}/undo", order_id="1").status_code == 303
    assert post(client, f"{PAGE}/cancel", order_id="shop.1").status_code == 422
    assert post(client, PAGE.replace("flat", "shop"), **order).status_code == 404
    assert kit.versions() == [
        ("flat.1", 1, "entered", "flat"),
        ("flat.1", 2, "cancelled", "flat"),
        ("flat.1", 3, "entered", "flat"),
    ]
    kit.enter("solar", steps("offer", 800, 800, limit=FEED_IN))
    kit.to(45)
    late = post(client, PAGE, **order)
    assert late.status_code == 409
    assert "closed at 11:45 CEST on 23 June 2026" in late.text
    kit.run()
    text = client.get(PAGE).text
    assert "Taken" in text
    assert "0.80\u00a0kWh" in text
    assert "Neighbours agreed on energy in 2 of 4\u00a0quarter-hours" in text


@pytest.mark.parametrize("size", [1_000, 300_000])
def test_a_long_file_is_refused_whole(kit: ForwardKit, client: TestClient, size: int) -> None:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/district").text)
    assert found
    answer = client.post(
        f"{PAGE}/preview",
        data={"csrf_token": found[1]},
        files={"orders": ("day.csv", b"x" * size)},
        headers={"Accept": "text/html"},
    )
    assert answer.status_code == (422 if size < 262_144 else 413)
    assert kit.versions() == []


def test_a_manager_acts_under_their_own_name(kit: ForwardKit, client: TestClient) -> None:
    client.post("/enter", data={"role": Role.MANAGER.value})
    assert f'href="{PAGE}"' in client.get("/orders").text
    order = {"kind": "flexible", "point": kit.homes["flat"].point, "energy": "1", "power": "4"}
    times = {"first": interval(0), "last": interval(3), "price": "20"}
    assert post(client, PAGE, **order, **times).status_code == 303
    assert kit.versions() == [("flat.1", 1, "entered", "building-manager")]
    assert "by the building manager" in client.get(PAGE).text

"""The page of people and points: who may open it, what its forms ask, what a refusal shows."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from tests.web.page_kit import audit, enter, token
from tests.web.people_fakes import HOSTILE, POINT, FakePeople
from tests.web.web_fakes import keys
from web.ports import RefusedError, Role
from web.ports.people import AskedChange, PeoplePage

MOVE = {"kind": "move", "point": POINT, "day": "2026-07-01", "name": "Ada Ek"}
ASKED = AskedChange(kind="move", point=POINT, day="2026-07-01", name="Ada Ek")


@pytest.fixture
def manager(client: TestClient) -> TestClient:
    enter(client, Role.MANAGER)
    return client


@pytest.mark.parametrize("role", [Role.PROSUMER, Role.OPERATOR])
def test_it_is_the_managers(client: TestClient, people: FakePeople, role: Role) -> None:
    enter(client, role)
    assert client.get("/people").status_code == 404
    sent = client.post("/people", data={**MOVE, "csrf_token": token(client)})
    assert sent.status_code == 404
    assert people.asked == []


def test_it_tells_who_is_behind_what_and_who_left(manager: TestClient) -> None:
    text = manager.get("/people").text
    assert not audit(text).forbidden
    assert HOSTILE not in text
    said = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", text))
    for words in ("Participant: Ada Ek", "Participant: Holm", "measures only", "overdrawn"):
        assert words in said


def test_a_change_is_shown_before_it_is_entered(manager: TestClient, people: FakePeople) -> None:
    csrf = {"csrf_token": token(manager)}
    shown = manager.post("/people", data={**MOVE, "step": "preview", **csrf})
    assert shown.status_code == 200
    assert "participant Ada Ek instead of Weber" in shown.text
    assert "Enter it" in shown.text
    done = manager.post("/people", data={**MOVE, "step": "save", **csrf})
    assert done.status_code == 303
    assert "Until it begins you can take it back" in manager.get(done.headers["location"]).text
    taken = {"point": POINT, "kind": "participant", "begin": keys()[0]}
    back = manager.post("/people/undo", data={**taken, **csrf})
    assert "Taken back" in manager.get(back.headers["location"]).text
    assert people.asked == [
        ("preview", ASKED),
        ("building-manager", ASKED),
        ("building-manager", (POINT, "participant", keys()[0])),
    ]


def test_nothing_is_done_without_the_token(manager: TestClient, people: FakePeople) -> None:
    for path in ("/people", "/people/undo"):
        assert manager.post(path, data={**MOVE, "step": "save"}).status_code == 403
    assert people.asked == []


@pytest.mark.parametrize("field", ["point", "begin", "to", "name", ""])
def test_a_refusal_stands_beside_its_field(
    manager: TestClient, people: FakePeople, field: str
) -> None:
    people.refusal = RefusedError("this cannot be", field)
    answer = manager.post("/people", data={**MOVE, "csrf_token": token(manager)})
    assert answer.status_code == 422
    assert answer.text.count("This cannot be") == 1
    assert 'value="Ada Ek"' in answer.text


def test_without_points_it_says_what_to_do(manager: TestClient, people: FakePeople) -> None:
    people.shown = PeoplePage("Europe/Berlin", 0, [], [], [], [], "2026-06-24")
    text = manager.get("/people").text
    assert "No metering point is yours to manage" in text
    assert "<form" not in text.split("<main")[1]

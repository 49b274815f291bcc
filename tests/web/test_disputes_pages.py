"""The pages of disputes: opened by whose statement it is, answered by the manager."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.web.corrections_fakes import HOSTILE, KEY, NUMBER, POINT, FakeDisputes, dispute
from tests.web.page_kit import audit, enter, token
from tests.web.web_fakes import FakeViews
from web.ports import RefusedError, Role

WEBER = [("weber", "Weber")]
OF_STATEMENT = f"/statements/{NUMBER}/disputes"


@pytest.fixture
def client(client: TestClient, views: FakeViews) -> TestClient:
    """As everybody but the grid operator sees it: the manager manages Weber, too."""
    views.participants = lambda viewer: [] if viewer.role is Role.OPERATOR else WEBER
    return client


@pytest.mark.parametrize("path", ["/disputes", OF_STATEMENT])
@pytest.mark.parametrize("role", [Role.PROSUMER, Role.MANAGER, Role.OPERATOR])
def test_who_sees_what(client: TestClient, role: Role, path: str) -> None:
    enter(client, role)
    answer = client.get(path)
    assert answer.status_code == (404 if role is Role.OPERATOR else 200)
    found = audit(answer.text)
    assert not found.forbidden
    assert len(found.ids) == len(set(found.ids))
    assert HOSTILE not in answer.text
    if role is Role.MANAGER and path == "/disputes":
        assert "/disputes/3/answer" in answer.text
        assert "/disputes/3/withdraw" not in answer.text
    if role is Role.PROSUMER:
        assert "/disputes/3/withdraw" in answer.text
        assert "/answer" not in answer.text
    assert "/disputes/2/" not in answer.text  # it is closed


def test_the_statement_says_what_is_held(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    text = client.get(OF_STATEMENT).text
    assert "Of €12.34 due, €0.29 are held" in text.replace("\u00a0", " ")
    assert "€12.05 are to be paid now" in text.replace("\u00a0", " ")
    assert f'By the correction <span class="code">{KEY}/{POINT}/1</span>' in text


def test_a_line_is_disputed_once_and_with_a_text(
    client: TestClient, disputes: FakeDisputes
) -> None:
    enter(client, Role.PROSUMER)
    data = {"line": "1.3", "text": "why so much?", "csrf_token": token(client)}
    done = client.post(OF_STATEMENT, data=data)
    assert done.headers["location"] == f"{OF_STATEMENT}?done=opened"
    assert disputes.asked == [("open", "weber", NUMBER, "1.3", "why so much?")]
    for field in ("line", "text"):
        disputes.refuses = RefusedError("mend it", field)
        answer = client.post(OF_STATEMENT, data=data)
        assert answer.status_code == 422
        assert f'id="dispute-{field}-error"' in answer.text
        assert "why so much?" in answer.text  # kept


def test_the_manager_disputes_nothing_and_the_participant_answers_nothing(
    client: TestClient, disputes: FakeDisputes
) -> None:
    enter(client, Role.MANAGER)
    data = {"csrf_token": token(client), "line": "1.3", "text": "x", "answer": "y"}
    assert client.post(OF_STATEMENT, data=data).status_code == 404
    assert client.post("/disputes/3/withdraw", data=data).status_code == 404
    enter(client, Role.PROSUMER)
    data["csrf_token"] = token(client)
    assert client.post("/disputes/3/answer", data=data).status_code == 404
    assert disputes.asked == []


def test_a_dispute_is_withdrawn(client: TestClient, disputes: FakeDisputes) -> None:
    enter(client, Role.PROSUMER)
    data = {"csrf_token": token(client)}
    done = client.post("/disputes/3/withdraw", data=data)
    assert done.headers["location"] == "/disputes?done=withdrawn"
    assert disputes.asked == [("withdraw", "weber", 3)]
    assert client.post(f"/disputes/{2**63}/withdraw", data=data).status_code == 404
    assert client.post("/disputes/3/withdraw", data={}).status_code == 403


def test_a_dispute_is_answered(client: TestClient, disputes: FakeDisputes) -> None:
    enter(client, Role.MANAGER)
    data = {
        "csrf_token": token(client),
        "decision": "corrected",
        "answer": "you are right",
        "remedy": f"{KEY}/{POINT}/1",
    }
    done = client.post("/disputes/3/answer", data=data)
    assert done.headers["location"] == "/disputes?done=answered"
    expected = ("answer", 3, "corrected", "you are right", data["remedy"], "building-manager")
    assert disputes.asked == [expected]
    disputes.refuses = RefusedError("name the correction", "remedy")
    answer = client.post("/disputes/3/answer", data=data)
    assert answer.status_code == 422
    assert 'id="dispute-3-error"' in answer.text
    assert "you are right" in answer.text


def test_no_disputes_say_so(client: TestClient, disputes: FakeDisputes) -> None:
    enter(client, Role.MANAGER)
    disputes.found = [dispute(1, "withdrawn")]
    assert "0 disputes are open" in client.get("/disputes").text.replace("\u00a0", " ")
    disputes.found = []
    assert "No statement line is or was disputed" in client.get("/disputes").text
    assert "No line of this statement is disputed" in client.get(OF_STATEMENT).text

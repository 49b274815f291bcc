"""The manager's page of corrections: what is on record, a preview first, errors beside fields."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.web.corrections_fakes import HOSTILE, NUMBER, POINT, FakeCorrections
from tests.web.page_kit import audit, enter, token
from web.ports import RefusedError, Role
from web.ports.corrections import AskedValue, CorrectionsPage

TYPED = {
    "point": POINT,
    "day": "2026-06-23",
    "time": "11:15",
    "import_wh": "150",
    "export_wh": "0",
    "reason": "grid operator, meter exchange",
}


@pytest.fixture
def manager(client: TestClient) -> TestClient:
    enter(client, Role.MANAGER)
    return client


def test_the_page_says_where_each_version_stands(manager: TestClient) -> None:
    answer = manager.get("/corrections")
    assert answer.status_code == 200
    found = audit(answer.text)
    assert not found.forbidden
    assert len(found.ids) == len(set(found.ids))
    assert HOSTILE not in answer.text
    assert f"Debit note on the statement of 2026-07, corrects {NUMBER}" in answer.text
    assert "Came too late" in answer.text
    assert "2, authorised value" in answer.text


@pytest.mark.parametrize("role", [Role.PROSUMER, Role.OPERATOR])
def test_it_is_the_managers_alone(client: TestClient, role: Role) -> None:
    enter(client, role)
    assert client.get("/corrections").status_code == 404
    posted = client.post("/corrections", data=TYPED | {"csrf_token": token(client)})
    assert posted.status_code == 404


def test_a_value_is_shown_first_and_written_when_confirmed(
    manager: TestClient, corrections: FakeCorrections
) -> None:
    data = TYPED | {"csrf_token": token(manager)}
    shown = manager.post("/corrections", data=data | {"step": "preview"})
    assert shown.status_code == 200
    assert "not saved yet" in shown.text
    assert "100 Wh → 150 Wh" in shown.text
    assert 'value="grid operator, meter exchange"' in shown.text
    saved = manager.post("/corrections", data=data | {"step": "save"})
    assert saved.headers["location"] == "/corrections?done=entered"
    asked = AskedValue(**TYPED)
    assert corrections.asked == [("preview", asked), ("enter", asked, "building-manager")]
    assert "Corrected." in manager.get("/corrections?done=entered").text


@pytest.mark.parametrize("field", ["time", "import_wh", "reason", "point", ""])
def test_a_refusal_stands_beside_its_field(
    manager: TestClient, corrections: FakeCorrections, field: str
) -> None:
    corrections.refuses = RefusedError("write it anew", field)
    answer = manager.post("/corrections", data=TYPED | {"csrf_token": token(manager)})
    assert answer.status_code == 422
    assert "Write it anew" in answer.text
    assert (f'id="value-{field}-error"' in answer.text) is bool(field)


def test_without_the_token_nothing_is_done(
    manager: TestClient, corrections: FakeCorrections
) -> None:
    assert manager.post("/corrections", data=TYPED | {"step": "save"}).status_code == 403
    assert corrections.asked == []


def test_an_empty_page_says_so(manager: TestClient, corrections: FakeCorrections) -> None:
    corrections.shown = CorrectionsPage("Europe/Berlin", "2023-06-23", [], [], [])
    text = manager.get("/corrections").text
    assert "Nothing was corrected yet" in text
    assert "You manage no metering point" in text

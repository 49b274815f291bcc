"""The page of meters: tokens shown once, keys compared, revocations taken back."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from tests.web.browsing import Open
from tests.web.meter_fakes import HOSTILE, KEY, POINT, TOKEN, FakeMeters
from tests.web.page_kit import audit, enter, token
from tests.web.test_browser import CONTRAST, SMALL_TARGETS
from web.ports import RefusedError, Role
from web.ports.meters import MetersPage

BY = "building-manager"


@pytest.fixture
def manager(client: TestClient) -> TestClient:
    enter(client, Role.MANAGER)
    return client


def said(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", text))


@pytest.mark.parametrize("role", [Role.PROSUMER, Role.OPERATOR])
def test_it_is_the_managers(client: TestClient, meters: FakeMeters, role: Role) -> None:
    enter(client, role)
    assert client.get("/meters").status_code == 404
    csrf = {"csrf_token": token(client)}
    for path in ("token", "decide", "revoke"):
        assert client.post(f"/meters/{path}", data=csrf).status_code == 404
    assert meters.asked == []


def test_it_shows_what_is_there_and_what_waits(manager: TestClient) -> None:
    text = manager.get("/meters").text
    assert not audit(text).forbidden
    assert HOSTILE not in text
    for words in (
        "1 meter waits",
        "1 point has no meter yet",
        "12 seconds ago",
        "none yet",
        "3f2a 91bc 04de 77a1 9c3e",
        "230.1 V",
        "50 to 300 V",
        "Mode A is",
        "1,234,500 Wh",
        "typed by hand",
        "An exchange is proposed",
        "No meter yet: make a token",
    ):
        assert words in said(text).replace("\N{NO-BREAK SPACE}", " "), words


def test_a_token_is_shown_once(manager: TestClient, meters: FakeMeters) -> None:
    made = manager.post("/meters/token", data={"point": POINT, "csrf_token": token(manager)})
    assert made.status_code == 200
    assert TOKEN.token in made.text
    assert "<svg" in made.text
    assert made.headers["cache-control"] == "no-store"
    assert TOKEN.token not in manager.get("/meters").text
    assert meters.asked == [("token", POINT, BY)]


def test_each_step_is_asked_for_and_said(manager: TestClient, meters: FakeMeters) -> None:
    csrf = {"csrf_token": token(manager)}
    steps = [
        ("decide", {"enrolment": 7, "typed": "77a1 9c3e"}, ("confirm", 7, "77a1 9c3e", BY)),
        ("decide", {"enrolment": 7, "decision": "withdraw"}, ("withdraw", 7, BY)),
        ("revoke", {"key": KEY, "begin": ""}, ("revoke", KEY, "", BY)),
        ("revoke", {"key": KEY, "decision": "keep"}, ("keep", KEY, BY)),
    ]
    for path, data, asked in steps:
        done = manager.post(f"/meters/{path}", data={**data, **csrf})
        assert done.status_code == 303
        assert 'role="status"' in manager.get(done.headers["location"]).text
        assert meters.asked[-1] == asked


@pytest.mark.parametrize(
    ("path", "data", "kept"),
    [
        ("decide", {"enrolment": 7, "typed": "dead beef"}, 'value="dead beef"'),
        ("revoke", {"key": KEY, "begin": "yesterday"}, 'value="yesterday"'),
        ("token", {"point": POINT}, ""),
        ("decide", {"enrolment": 8}, ""),
    ],
)
def test_a_refusal_stands_beside_its_field(
    manager: TestClient, meters: FakeMeters, path: str, data: dict[str, object], kept: str
) -> None:
    meters.refuses = RefusedError("this cannot be", "fingerprint")
    answer = manager.post(f"/meters/{path}", data={**data, "csrf_token": token(manager)})
    assert answer.status_code == 422
    assert "This cannot be" in answer.text
    assert kept in answer.text


@pytest.mark.parametrize("number", ["-1", "2147483648", "x", "1" * 30])
def test_strange_numbers_are_refused(manager: TestClient, meters: FakeMeters, number: str) -> None:
    data = {"enrolment": number, "csrf_token": token(manager)}
    assert manager.post("/meters/decide", data=data).status_code == 422
    assert meters.asked == []


def test_nothing_is_done_without_the_token(manager: TestClient, meters: FakeMeters) -> None:
    for path in ("token", "decide", "revoke"):
        assert manager.post(f"/meters/{path}", data={"point": POINT}).status_code == 403
    assert meters.asked == []


def test_without_points_it_says_what_to_do(manager: TestClient, meters: FakeMeters) -> None:
    meters.shown = MetersPage("Europe/Berlin", 0, "2026-06-23T09:00:00Z", [])
    assert "the administrator names" in manager.get("/meters").text


@pytest.mark.browser
@pytest.mark.parametrize(
    ("width", "scheme"), [(390, "dark"), pytest.param(1280, "light", marks=pytest.mark.long)]
)
def test_a_manager_confirms_in_a_browser(
    open_as: Open, meters: FakeMeters, width: int, scheme: str
) -> None:
    page, console = open_as(BY, width=width, color_scheme=scheme)
    page.goto("/meters")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(SMALL_TARGETS) == []
    page.get_by_label("Its last two groups").fill("77a1 9c3e")
    page.get_by_role("button", name="Confirm this key").click()
    page.get_by_text("The registry signed the key").wait_for()
    page.get_by_role("button", name="Exchange the meter").first.click()
    page.get_by_text(TOKEN.token).wait_for()
    assert page.evaluate(overflow) == 0
    assert page.evaluate(CONTRAST) == []
    assert [step[0] for step in meters.asked] == ["confirm", "token"]
    assert console.lines == []

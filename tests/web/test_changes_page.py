"""The page of meter changes: both values, decisions asked for and said, strange input refused."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.web.browsing import SCREENS, Open
from tests.web.change_fakes import HOSTILE, PAGE, FakeMeterChanges
from tests.web.page_kit import audit, enter, token
from tests.web.test_browser import CONTRAST, SMALL_TARGETS
from web.ports import RefusedError, Role
from web.ports.changes import ChangesPage, TypedValues

BY = "building-manager"
PATH = "/meters/changes"


@pytest.fixture
def manager(client: TestClient) -> TestClient:
    enter(client, Role.MANAGER)
    return client


@pytest.mark.parametrize("role", [Role.PROSUMER, Role.OPERATOR])
def test_it_is_the_managers(client: TestClient, changes: FakeMeterChanges, role: Role) -> None:
    enter(client, role)
    assert client.get(PATH).status_code == 404
    csrf = {"csrf_token": token(client)}
    for step in ("approve", "reject"):
        assert client.post(f"{PATH}/{step}", data=csrf).status_code == 404
    assert changes.asked == []


def test_it_shows_both_values_and_what_approving_does(manager: TestClient) -> None:
    text = manager.get(PATH).text
    assert not audit(text).forbidden
    assert HOSTILE not in text
    for words in (
        "2 changes wait", "1,234,567 Wh", "120 Wh", "no such counter",
        "entered in the log and stays",
        "Not yet: reading 1 has not come in yet", "rejected by building-manager",
        "approved by administrator", "The meter answers again",
    ):  # fmt: skip
        assert words in text.replace("\N{NO-BREAK SPACE}", " "), words


def test_each_step_is_asked_for_and_said(manager: TestClient, changes: FakeMeterChanges) -> None:
    csrf = {"csrf_token": token(manager)}
    for step, data, words in (
        ("approve", {"change": 3, "opening_import": "0"}, "Approved. What both counters measured"),
        ("reject", {"change": 3, "reason": "wrong unit"}, "Rejected. Its readings do not settle"),
    ):
        done = manager.post(f"{PATH}/{step}", data={**data, **csrf})
        assert done.status_code == 303
        assert words in manager.get(done.headers["location"]).text
    assert changes.asked == [
        ("approve", 3, TypedValues(opening_import="0"), BY),
        ("reject", 3, "wrong unit", BY),
    ]


@pytest.mark.parametrize("change", [3, 2, 99])
def test_a_refusal_stands_beside_its_form_and_keeps_what_was_typed(
    manager: TestClient, changes: FakeMeterChanges, change: int
) -> None:
    changes.refuses = RefusedError("this cannot be", "closing")
    answer = manager.post(
        f"{PATH}/approve",
        data={"change": change, "closing_import": HOSTILE[:20], "csrf_token": token(manager)},
    )
    assert answer.status_code == 422
    assert answer.text.count("This cannot be") == 1
    assert HOSTILE[:20] not in answer.text


@pytest.mark.parametrize("number", ["-1", "x", "99999999999999999999"])
def test_strange_numbers_are_refused(
    manager: TestClient, changes: FakeMeterChanges, number: str
) -> None:
    data = {"change": number, "csrf_token": token(manager)}
    assert manager.post(f"{PATH}/approve", data=data).status_code == 422
    assert changes.asked == []


def test_nothing_is_done_without_the_token(manager: TestClient, changes: FakeMeterChanges) -> None:
    for step in ("approve", "reject"):
        assert manager.post(f"{PATH}/{step}", data={"change": 3}).status_code == 403
    assert changes.asked == []


def test_without_any_it_says_so(manager: TestClient, changes: FakeMeterChanges) -> None:
    changes.shown = ChangesPage(PAGE.zone, [], [], [])
    text = manager.get(PATH).text
    assert "None waits for a decision" in text
    assert "Nothing odd was told" in text


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_a_manager_approves_in_a_browser(
    open_as: Open, changes: FakeMeterChanges, width: int, scheme: str
) -> None:
    page, console = open_as(BY, width=width, color_scheme=scheme)
    page.goto(PATH)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(SMALL_TARGETS) == []
    page.get_by_role("button", name="Approve this change").first.click()
    page.get_by_text("Approved. What both").wait_for()
    assert [step[0] for step in changes.asked] == ["approve"]
    assert console.lines == []

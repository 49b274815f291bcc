"""The page of standing limits: whose it is, what it says, and how mistakes read."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from tests.web.limits_fakes import CAPPED, GREEDY, HOSTILE, PAGE, POINT, VIEW, FakeLimits
from tests.web.page_kit import audit, enter, token
from tests.web.web_fakes import FakeViews
from web import limits_words
from web.ports import RefusedError, Role
from web.ports.limits import AskedLimits, Outcome

HERE = "/participants/weber/limits"


def post(client: TestClient, path: str = "", **data: str) -> Response:
    answer: Response = client.post(f"{HERE}{path}", data={"csrf_token": token(client), **data})
    return answer


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        (Role.PROSUMER, HERE, 200),
        (Role.PROSUMER, "/participants/bakery/limits", 404),
        (Role.PROSUMER, "/participants/x/limits", 404),
        (Role.MANAGER, HERE, 404),
        (Role.OPERATOR, HERE, 404),
    ],
)
def test_who_sees_whose_limits(client: TestClient, role: Role, path: str, status: int) -> None:
    enter(client, role)
    assert client.get(path).status_code == status


def test_a_manager_sees_the_limits_of_those_managed(
    client: TestClient, views: FakeViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "participants", lambda viewer: [("bakery", "Bakery Korn")])
    enter(client, Role.MANAGER)
    assert client.get("/participants/bakery/limits").status_code == 200
    assert client.get(HERE).status_code == 404


def test_without_a_session_there_is_only_the_entrance(client: TestClient) -> None:
    assert client.get(HERE).status_code == 303


def test_others_cannot_change_what_they_cannot_see(client: TestClient, limits: FakeLimits) -> None:
    enter(client, Role.OPERATOR)
    assert post(client, step="save", point=POINT).status_code == 404
    assert post(client, "/repeat", version="1", point=POINT).status_code == 404
    enter(client, Role.PROSUMER)
    assert client.post(HERE, data={"step": "save"}).status_code == 403
    assert client.post(f"{HERE}/repeat", data={"version": "1"}).status_code == 403
    assert limits.asked == []


def test_nothing_hostile_runs_and_every_number_has_its_unit(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    text = client.get(HERE).text
    found = audit(text)
    assert found.forbidden == []
    assert len(set(found.ids)) == len(found.ids)
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text
    figures = [each for each in found.figures if any(c.isdigit() for c in each)]
    assert all("ct/kWh" in each for each in figures), figures


def test_the_page_says_what_limit_comes_out_and_why(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    text = client.get(HERE).text
    for shown in (
        "at up to 32.84\u00a0ct/kWh all-in, 21.60\u00a0ct/kWh before grid fee, levy and VAT",
        "20.0\u00a0% of the spread between feed-in price and ceiling below your ceiling",
        "For green energy it is up to 35.22\u00a0ct/kWh all-in",
        "near energy first, from my feeder only",
        "Of 10.1\u00a0kWh bought locally",
        "what a meter counted cannot be taken back",
        "in steps of 0.10\u00a0ct/kWh",
        "a limit that the rate is beyond keeps you out",
        'aria-label="Take up version 1 again',
        'aria-label="Take up the default again',
        "own limits, buy up to 40",
        "16.50\u00a0ct/kWh net",
    ):
        assert shown.lower() in text.lower(), shown
    assert text.count("Take up again</button>") == 2  # neither what holds nor what is planned


def test_saving(client: TestClient, limits: FakeLimits) -> None:
    enter(client, Role.PROSUMER)
    answer = post(client, step="save", point=POINT, **asdict(GREEDY))
    assert (answer.status_code, answer.headers["location"]) == (303, f"{HERE}?done=entered")
    assert limits.asked == [("enter", "weber", POINT, GREEDY, "prosumer")]
    assert "holds from the next quarter-hour on" in client.get(answer.headers["location"]).text
    limits.changes = False
    again = post(client, step="save", point=POINT, **asdict(GREEDY))
    assert again.headers["location"].endswith("?done=same")
    assert "notice done" not in client.get(f"{HERE}?done=nonsense").text


def test_what_is_left_out_has_its_default(client: TestClient, limits: FakeLimits) -> None:
    enter(client, Role.PROSUMER)
    post(client, step="save", point=POINT, buy="x" * 500)
    assert limits.asked == [("enter", "weber", POINT, AskedLimits(buy="x" * 64), "prosumer")]


def test_a_preview_changes_nothing_and_keeps_what_was_typed(
    client: TestClient, limits: FakeLimits
) -> None:
    enter(client, Role.PROSUMER)
    typed = AskedLimits(strategy="own-limits", buy="40,5", sell="-2")
    answer = post(client, step="preview", point=POINT, **asdict(typed))
    assert answer.status_code == 200
    assert limits.asked == [("preview", "weber", POINT, typed)]
    for shown in ('value="40,5"', 'value="-2"', "not saved yet", "nobody pays more than on the"):
        assert shown in answer.text, shown
    assert "nothing to compare with" in answer.text
    assert audit(answer.text).forbidden == []


@pytest.mark.parametrize("step", ["save", "preview"])
@pytest.mark.parametrize("name", ["share", "buy", "sell", "premium", "level", "strategy", "green"])
def test_a_mistake_stands_beside_its_field(
    client: TestClient, limits: FakeLimits, name: str, step: str
) -> None:
    enter(client, Role.PROSUMER)
    limits.refuses = RefusedError(f"that is wrong {HOSTILE}", name)
    answer = post(client, step=step, point=POINT, strategy="own-limits", buy="nan")
    assert answer.status_code == 422
    assert f'id="p1-{name}-error" role="alert"' in answer.text
    assert "That is wrong &lt;script&gt;" in answer.text
    assert 'value="nan"' in answer.text
    if name in ("share", "buy", "sell", "premium", "level"):
        assert f'aria-describedby="p1-{name}-error"' in answer.text


@pytest.mark.parametrize("point", [POINT, "another", ""])
def test_a_mistake_of_no_field_stands_on_the_page(
    client: TestClient, limits: FakeLimits, point: str
) -> None:
    enter(client, Role.PROSUMER)
    limits.refuses = RefusedError("there is no such metering point", "point")
    answer = post(client, step="save", point=point)
    assert answer.status_code == 422
    assert "There is no such metering point." in answer.text


def test_taking_a_version_up_again(client: TestClient, limits: FakeLimits) -> None:
    enter(client, Role.PROSUMER)
    answer = post(client, "/repeat", point=POINT, version="0")
    assert answer.headers["location"] == f"{HERE}?done=repeated"
    assert limits.asked == [("repeat", "weber", POINT, 0, "prosumer")]
    limits.refuses = RefusedError("there is no version 7", "")
    assert "There is no version 7." in post(client, "/repeat", point=POINT, version="7").text
    assert post(client, "/repeat", point=POINT, version="x").status_code == 422


def test_a_participant_without_a_meter_sees_so(client: TestClient, limits: FakeLimits) -> None:
    enter(client, Role.PROSUMER)
    limits.page = replace(PAGE, points=())
    assert "no metering point here yet" in client.get(HERE).text


SENTENCES = {
    "tariff": "your ceiling, at which",
    "share": "below your ceiling of 25.00",
    "forecast": "the expected price and 20.0",
    "no-forecast": "since no price is expected",
    "own": "the limit that you set",
}


@pytest.mark.parametrize("reason", SENTENCES)
def test_each_reason_has_its_sentence(reason: str) -> None:
    (point,) = PAGE.points
    view = replace(VIEW, buy=replace(VIEW.buy, reason=reason), buy_green=None)
    assert SENTENCES[reason] in limits_words.buys(view, point)
    sold = limits_words.sells(replace(VIEW, sell=replace(VIEW.sell, reason=reason)), point)
    assert "Sells to neighbours from 11.40" in sold


def test_a_capped_limit_says_so_and_a_premium_may_exceed() -> None:
    (point,) = PAGE.points
    assert "27.61" in limits_words.buys(CAPPED, point)
    assert "below your feed-in price" in limits_words.sells(CAPPED, point)
    beyond = replace(VIEW, buy_green=replace(VIEW.buy, net_micro_per_kwh=250_001))
    assert "more than the normal tariff" in limits_words.buys(beyond, point)


def test_an_outcome_in_words() -> None:
    found = Outcome("offer", 12, 12, 3_000, 3_000, 255_000, 255_000)
    text = limits_words.outcome(found)
    assert "have let all through (12 of 12 quarter-hours)" in text
    assert "earned on top of the feed-in price" in text

"""The pages over HTTP: what they show, to whom, and how errors read."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from tests.web.page_kit import KEY, PROOF, ROLES, audit, enter, token
from tests.web.web_fakes import FakeViews, keys
from web.ports import FlowsNow, Role


@pytest.mark.parametrize("role", Role)
def test_every_figure_has_a_unit(client: TestClient, role: Role) -> None:
    enter(client, role)
    figures = [text for path in ROLES[role] for text in audit(client.get(path).text).figures]
    bare = re.compile(r"[+−]?[\d.,]+")
    numeric = [text for text in figures if re.match(r"[+−€]?[\d.,]+\u00a0|.*€", text)]
    assert len(numeric) > 20
    # The seal's fields are names and hashes; its log position is a plain number by nature.
    assert [text for text in figures if bare.fullmatch(text) and text != "17"] == []


def test_a_missing_meter_is_a_gap_and_never_a_zero(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    html = client.get("/district").text
    gap = re.search(r'<li class="meter gap".*?</li>', html, re.DOTALL)
    assert gap
    assert "House 11" in gap[0]
    assert "estimated" in gap[0]
    assert "no reading since 12:32 CEST" in gap[0]
    assert "kW" not in gap[0]


def test_the_first_sentence_and_the_stamp(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    text = client.get("/district").text.replace("\u00a0", " ")
    assert "Now: 62 kW solar surplus, 18 kW shared with neighbours, 0 kW from the grid</h1>" in text
    assert "as of <time>13:07 CEST</time>" in text
    assert "<strong>Demo data</strong>, simulated clock x60" in text


def test_silent_meters_are_said_and_never_shown_as_0(client: TestClient, views: FakeViews) -> None:
    enter(client, Role.MANAGER)
    assert "1 of 12\u00a0meters does not answer" in client.get("/district").text
    views.silent = True
    views.flows = FlowsNow(0, 0, 0, 0, 0)
    html = client.get("/district").text
    assert "Now: no meter answers, so nothing is known</h1>" in html
    assert "\u00a0kW<" not in html


def test_others_orders_hide_below_five_participants(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    few, many = (client.get(f"/intervals/{keys()[n]}").text for n in (0, 1))
    assert "others’ orders stay hidden" in few
    assert "The orders that may be shown" in few
    assert 'class="orders"' not in few
    assert "5 others" not in few
    assert "5 others" in many
    assert 'class="orders"' in many


def test_no_banner_over_real_data(client: TestClient, views: FakeViews) -> None:
    enter(client, Role.MANAGER)
    views.simulated = False
    assert "Demo data" not in client.get("/district").text


def test_empty_states_say_what_comes_next(client: TestClient, views: FakeViews) -> None:
    enter(client, Role.PROSUMER)
    views.empty = True
    district = client.get("/district").text
    assert "No meter yet" in district
    assert "No interval closed yet: the first closes at 13:15 CEST" in district
    assert "No receipt yet: the first quarter-hour closes at 13:15 CEST" in (
        client.get("/participants/weber").text
    )
    assert "the first closes at 13:15 CEST" in client.get("/intervals").text


def test_intervals_are_paged(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.pages.intervals.PAGE_SIZE", 4)
    enter(client, Role.MANAGER)
    seen: list[str] = []
    path: str | None = "/intervals"
    while path:
        html = client.get(path).text
        seen += re.findall(r'<tr data-start="([^"]+)"', html)
        older = re.search(r'href="(/intervals\?before=[^"]+)">Older', html)
        path = older[1] if older else None
    assert seen == list(reversed(keys()))


@pytest.mark.parametrize(
    "path",
    [
        "/intervals/2026-06-23T09:07:00Z",
        "/intervals/yesterday",
        "/intervals/2030-01-01T00:00:00Z",
        "/intervals?before=x",
        "/intervals?before=9999-12-31T23:45:00Z",
        "/intervals?before=3000-01-01T00:00:00Z",
        "/intervals?before=1999-12-31T23:45:00Z",
        "/intervals/9999-12-31T23:45:00Z",
        "/intervals/0001-01-01T00:00:00Z",
        "/proofs/9999-12-31T23:45:00Z/weber",
        "/intervals/2026-6-23T9:0:0Z",
        "/proofs/..%2f..%2fetc/weber",
        f"/proofs/{KEY}/%00",
    ],
)
def test_odd_addresses_are_404(client: TestClient, path: str) -> None:
    enter(client, Role.PROSUMER)
    assert client.get(path).status_code == 404


def test_downloads_are_json_attachments(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    for path, name in (
        (PROOF, "wattloom-proof-2026-06-23T093000Z.json"),
        ("/keys", "wattloom-keys.json"),
    ):
        answer = client.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert client.get(PROOF).json()["interval"] == KEY


def test_verify_shows_every_step_as_a_page_and_as_a_fragment(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    csrf = token(client)
    page = client.post(f"{PROOF}/verify", data={"csrf_token": csrf}).text
    fragment = client.post(
        f"{PROOF}/verify", headers={"HX-Request": "true", "X-CSRF-Token": csrf}
    ).text
    for html in (page, fragment):
        assert "The proof holds" in html
        for step in ("The meter signed", "energy adds up", "in that log", "ledger confirmed"):
            assert step in html
    assert "<html" in page
    assert "<html" not in fragment


def upload(client: TestClient, content: bytes, name: str = "proof.json") -> Response:
    csrf = {"csrf_token": token(client)}
    answer: Response = client.post("/verify", data=csrf, files={"proof": (name, content)})
    return answer


def test_an_uploaded_proof_is_judged(client: TestClient, views: FakeViews) -> None:
    enter(client, Role.MANAGER)
    assert "The proof holds" in upload(client, client.get("/keys").content + b'"interval"').text
    bad = upload(client, b"{}", name="<i>.json").text
    assert "The proof does not hold" in bad
    assert "does not fit" in bad
    assert "<i>" not in bad
    assert views.verified[-1] == b"{}"


@pytest.mark.parametrize(
    ("size", "status"), [(0, 422), (1, 200), (256 * 1024, 200), (256 * 1024 + 1, 413), (10**6, 413)]
)
def test_uploads_are_bounded(client: TestClient, views: FakeViews, size: int, status: int) -> None:
    enter(client, Role.MANAGER)
    answer = upload(client, b"x" * size)
    assert answer.status_code == status
    assert len(views.verified) == (status == 200)
    if status == 413:
        assert "256\u00a0KiB" in answer.text


def test_a_body_without_a_length_is_refused(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    answer = client.post("/verify", content=iter([b"x" * 1000] * 3))
    assert answer.status_code == 411


def test_missing_fields_are_a_page_not_json(client: TestClient) -> None:
    answer = client.post("/enter", data={"role": "admin"})
    assert answer.status_code == 422
    assert "<html" in answer.text
    enter(client, Role.MANAGER)
    nothing = client.post("/verify", data={"csrf_token": token(client)})
    assert nothing.status_code == 422
    assert "choose a proof file" in nothing.text.lower()


def test_pause_stops_stream_and_refresh(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    live, paused = client.get("/district").text, client.get("/district?pause=1").text
    for mark in (
        'src="/static/vendor/hx-sse.js"',
        'src="/static/live.js"',
        'hx-sse:connect="/stream"',
        'http-equiv="refresh"',
        'hx-trigger="revision',
    ):
        assert mark in live
        assert mark not in paused
    assert "Go on live" in paused


@pytest.mark.parametrize(
    ("sum_micro", "badge", "text"),
    [(0, "sum 0", "€0.000000"), (-1, "not 0: settlement stops", "−€0.000001")],
)
def test_postings_say_whether_they_add_up(
    client: TestClient, views: FakeViews, sum_micro: int, badge: str, text: str
) -> None:
    enter(client, Role.MANAGER)
    views.sum_micro = sum_micro
    html = client.get(f"/intervals/{KEY}").text
    assert badge in html
    assert text in html


def test_the_last_possible_key_is_a_page_and_a_wrong_one_is_explained(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    assert client.get("/intervals?before=2999-12-31T23:45:00Z").status_code == 200
    wrong = client.get("/intervals?before=yesterday").text
    assert "&#39;yesterday&#39; is not an interval key of the years 2000-2999: write its" in wrong
    assert (
        "not an interval key of the years 2000-2999"
        in client.get("/intervals/1999-12-31T23:45:00Z").text
    )


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html).replace("\u00a0", " "))


def test_prices_compare_like_with_like(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    text = plain(client.get("/district").text)
    assert (
        "A neighbour’s kWh costs 24.45 ct all-in, the grid’s 34.03; "
        "the seller gets 11.85, the grid would pay 8.20."
    ) in text
    widths = re.findall(r'x="0" y="0" width="([\d.]+)"', client.get("/district").text)
    shares = [float(width) for width in widths[-4:]]
    assert shares == pytest.approx([24.4545 / 0.3403, 100, 11.85 / 0.3403, 8.2 / 0.3403])


@pytest.mark.parametrize(
    ("last_traded", "said"),
    [
        (4, "No trade in 12:30–12:45 CEST; the last price was 11.85 ct/kWh at 12:00–12:15 CEST."),
        (-1, "No trade yet. Feed-in pays 8.20 ct/kWh, the normal tariff costs 34.03 ct/kWh"),
    ],
)
def test_a_night_without_trades_tells_the_last_price(
    client: TestClient, views: FakeViews, last_traded: int, said: str
) -> None:
    enter(client, Role.MANAGER)
    views.last_traded = last_traded
    text = plain(client.get("/district").text)
    assert said in text
    assert ("Buying a kWh costs" in text) == (last_traded >= 0)


def test_three_hours_without_a_trade_are_not_all_of_history(
    client: TestClient, views: FakeViews
) -> None:
    enter(client, Role.MANAGER)
    views.last_traded, views.listed_twice = -1, True
    assert "No trade in the last three hours." in plain(client.get("/district").text)


def rows(client: TestClient) -> dict[str, tuple[str, str]]:
    """Return by key how many points the chart hatches, and what the row says of its readings."""
    found = re.findall(
        r'<tr data-start="([^"]+)".*?data-estimated="(\d+)".*?data-label="Readings">(.*?)</td>',
        client.get("/intervals").text,
        re.DOTALL,
    )
    return {key: (hatched, plain(cell).strip()) for key, hatched, cell in found}


def test_readings_are_measured_estimated_corrected_or_not_there_yet(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    said = rows(client)
    assert said[keys()[1]] == ("0", "measured")
    assert said[keys()[2]] == ("0", "corrected: 2 meters")
    assert said[keys()[3]] == ("1", "1 meter estimated")
    assert said[keys()[-1]] == ("0", "–")
    page = plain(client.get(f"/intervals/{keys()[2]}").text)
    assert "corrected: 2 meters Estimated at first" in page
    assert "An estimate settles with the supplier" not in page


def test_errors_end_with_one_full_stop(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    odd = {"Content-Type": "multipart/form-data"}
    answer = client.post("/verify", content=b"x", headers=odd)
    assert answer.status_code == 400
    assert "boundary" in answer.text
    assert ".." not in plain(answer.text)


def test_the_foot_says_which_times_are_utc(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    text = plain(client.get("/verify").text)
    assert "Times are local (Europe/Berlin); addresses, proofs and verdicts speak UTC." in text


def test_a_prosumer_sees_their_own_meter_and_how_many_others_answer(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    html = client.get("/district").text
    assert re.findall(r'<li class="meter[^"]*" id="point-[^"]*">\s*<div><strong>([^<]+)', html) == [
        "Family Weber"
    ]
    assert "10 other meters answer, 1 does not." in plain(html)
    enter(client, Role.OPERATOR)
    assert client.get("/district").text.count('id="point-') == 12

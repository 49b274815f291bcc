"""What guards the pages: policy, headers, tokens, sessions, and what is not one's own."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from tests.web.page_kit import COMMON, KEY, OWN, PROOF, ROLES, audit, enter, token
from tests.web.web_fakes import FakeSessions, FakeViews
from web.pages import Ports, build_router
from web.pages.district import revisions
from web.ports import Role
from web.security import CSP


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("empty", [False, True])
def test_every_page_keeps_to_the_policy(
    client: TestClient, views: FakeViews, role: Role, empty: bool
) -> None:
    enter(client, role)
    views.empty = empty
    for path in ("/", *ROLES[role]):
        response = client.get(path)
        assert response.status_code == 200, path
        auditor = audit(response.text)
        assert auditor.forbidden == [], path
        assert len(auditor.ids) == len(set(auditor.ids)), path


def test_headers_stand_on_every_answer(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    for path in ("/", "/district", "/nowhere", "/keys", PROOF, "/participants/bakery"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == CSP
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in headers
    static = client.get("/static/wattloom.css")
    assert static.status_code == 200
    assert "no-store" not in static.headers.get("cache-control", "")
    assert static.headers["x-content-type-options"] == "nosniff"


def test_the_policy_is_the_strict_one() -> None:
    assert CSP == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def test_the_cookie_is_plain_on_loopback_and_host_bound_over_tls(
    app: FastAPI, client: TestClient
) -> None:
    plain = enter(client, Role.MANAGER).headers["set-cookie"]
    assert plain.startswith("wattloom=")
    assert "HttpOnly" in plain
    assert "SameSite=lax" in plain
    assert "Secure" not in plain
    with TestClient(app, base_url="https://district.example", follow_redirects=False) as tls:
        answer = enter(tls, Role.MANAGER)
        assert answer.headers["set-cookie"].startswith("__Host-wattloom=")
        assert "Secure" in answer.headers["set-cookie"]
        assert answer.headers["strict-transport-security"]
        assert tls.get("/district").status_code == 200


def test_entering_leads_to_the_own_page_and_leaving_ends_the_session(client: TestClient) -> None:
    assert enter(client, Role.PROSUMER).headers["location"] == "/participants/weber"
    assert client.post("/leave", data={"csrf_token": token(client)}).headers["location"] == "/"
    answer = client.get("/district")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert enter(client, Role.OPERATOR).headers["location"] == "/district"


def test_no_demo_no_doors(client: TestClient, sessions: FakeSessions) -> None:
    sessions.in_demo = False
    assert "/enter" not in client.get("/").text
    answer = enter(client, Role.MANAGER)
    assert answer.status_code == 404
    assert "set-cookie" not in answer.headers


def test_without_a_session_nothing_but_the_entrance_and_the_keys(client: TestClient) -> None:
    for path in (*COMMON, *OWN, PROOF, "/stream"):
        assert client.get(path).status_code == 303, path
    htmx = client.get("/district", headers={"HX-Request": "true"})
    assert (htmx.status_code, htmx.headers["hx-redirect"]) == (204, "/")
    assert client.get("/keys").status_code == 200


def post_paths(ports: Ports) -> set[str]:
    router = build_router(ports)
    return {
        r.path for r in router.routes if isinstance(r, APIRoute) and "POST" in (r.methods or ())
    }


def test_every_change_asks_for_the_token(ports: Ports, client: TestClient) -> None:
    managers = ("/treasury", "/sharing", "/corrections", "/people", "/statements/issue")
    managers += ("/disputes/{dispute}/answer", "/meters")
    paths = sorted(post_paths(ports) - {"/enter"}, key=lambda path: path.startswith(managers))
    assert {"/leave", "/verify", "/treasury/decide"} < set(paths)
    for path in paths:
        enter(client, Role.MANAGER if path.startswith(managers) else Role.PROSUMER)
        target = path.format(key=KEY, participant="weber", dispute=1, number="S-2026-000001")
        for wrong in ({}, {"csrf_token": "x"}, {"csrf_token": "ü"}):
            answer = client.post(target, data=wrong)
            assert answer.status_code == 403, (path, wrong)
            assert "load the page again" in answer.text.lower()
    assert client.get("/district").status_code == 200  # still logged in


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Origin": "http://127.0.0.1:8000"}, 303),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8000"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://127.0.0.1:9000"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": "http://[::1"}, 403),
    ],
)
def test_changes_from_other_sites_are_refused(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    answer = client.post("/enter", data={"role": "prosumer"}, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-security-policy"] == CSP
    assert ("set-cookie" in answer.headers) == (status == 303)


@pytest.mark.parametrize("role", [Role.PROSUMER, Role.MANAGER, Role.OPERATOR])
def test_what_is_not_ones_own_is_not_there(client: TestClient, role: Role) -> None:
    enter(client, role)
    csrf = {"csrf_token": token(client)}
    gone = {"/participants/bakery", f"/proofs/{KEY}/bakery", "/participants/nobody"}
    if role is not Role.PROSUMER:
        gone |= {"/participants/weber", PROOF}
    if role is Role.OPERATOR:
        gone |= {"/participants"}
    for path in gone:
        assert client.get(path).status_code == 404, path
    assert client.post(f"/proofs/{KEY}/bakery/verify", data=csrf).status_code == 404


def test_the_operator_sees_no_price_and_no_money(client: TestClient) -> None:
    enter(client, Role.OPERATOR)
    for path in COMMON:
        text = client.get(path).text
        for secret in ("ct/kWh", "€", "data-price", "wallet", "Family Weber</td>", "Local price"):
            assert secret not in text, (path, secret)
    assert "kWh" in client.get("/intervals").text


def test_names_are_escaped(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        __import__("tests.web.web_fakes", fromlist=["NAMES"]).NAMES, "weber", "<b>W"
    )
    enter(client, Role.PROSUMER)
    html = client.get("/participants/weber").text
    assert "&lt;b&gt;W" in html
    assert "<b>W" not in html


def test_entering_anew_ends_the_session_before(client: TestClient, sessions: FakeSessions) -> None:
    enter(client, Role.PROSUMER)
    (first,) = sessions.living
    enter(client, Role.MANAGER)
    assert sessions.viewer(first) is None
    assert len(sessions.living) == 1


def test_the_stream_ends_with_its_session(
    views: FakeViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.pages.district.POLL_SECONDS", 0.001)

    async def told() -> list[int]:
        seen: list[int] = []

        def living() -> bool:
            return len(seen) < 3

        async for revision in revisions(views, living):
            seen.append(revision)
            views.number += 1
        return seen

    # The one event after the end makes the page look again, which leads it to the entrance.
    assert asyncio.run(told()) == [1, 2, 3, 4]


def test_head_answers_as_get_does_without_the_body(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    for path in ("/", *COMMON, *OWN, PROOF, "/keys", "/static/wattloom.css"):
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["content-length"] == get.headers["content-length"], path
    assert client.head("/stream").status_code == 405
    assert client.head("/participants/bakery").status_code == 404


def test_a_surprise_keeps_the_headers(
    client: TestClient, views: FakeViews, caplog: pytest.LogCaptureFixture
) -> None:
    enter(client, Role.MANAGER)
    views.broken = True
    answer = client.get("/district")
    assert answer.status_code == 500
    assert answer.headers["content-security-policy"] == CSP
    assert answer.headers["cache-control"] == "no-store"
    assert "the fake is broken" not in answer.text
    assert "the fake is broken" in caplog.text

"""The enrolment routes over HTTP: strict bodies, tokens in the header, guesses bounded."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.api import enrolments, problems
from app.services.commissioning import tokens
from metering.signing import public_key
from tests.app.commissioning_kit import Cellar
from tests.app.doorway import District, key_of

KEY = key_of(501)
URL = "/api/v1/enrolments"


@pytest.fixture
def cellar(plain_district: District, tmp_path: Path) -> Cellar:
    return Cellar(plain_district, tmp_path)


@pytest.fixture
def client(cellar: Cellar) -> TestClient:
    app = FastAPI()
    problems.install(app)
    app.include_router(enrolments.build_router(cellar.house, lambda: cellar.wall_ms))
    return TestClient(app, raise_server_exceptions=False)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_an_enrolment_is_brought_and_asked_for(client: TestClient, cellar: Cellar) -> None:
    token = cellar.token(cellar.empty)
    offered = client.get(f"{URL}/offer", headers=bearer(token))
    assert offered.json()["point"] == cellar.empty
    body = cellar.request(cellar.offer(token), KEY).to_json()
    first = client.post(URL, content=body, headers=bearer(token))
    again = client.post(URL, content=body, headers=bearer(token))
    asked = client.get(f"{URL}/{public_key(KEY).hex}")
    assert (first.status_code, again.status_code, asked.status_code) == (202, 200, 200)
    assert first.json() == again.json() == asked.json()
    assert first.json()["state"] == "pending"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda body: body.replace(b'"by":', b'"by":"x","by":'), 400),
        (lambda body: body.replace(b'{"by"', b'{"zeal":1,"by"'), 400),
        (lambda body: body.replace(b'"read_ms":1', b'"read_ms":1.5e1'), 400),
        (lambda body: body.replace(b'"read_ms":', b'"read_ms":-'), 400),
        (lambda body: body.replace(b'"good"', b'"splendid"'), 400),
        (lambda body: body.replace(b"Kim Volt", b"Kim \\u0000"), 400),
        (lambda body: body.replace(b"Kim Volt", b"Kim \\ud800"), 400),
        (lambda body: body[:-1], 400),
        (lambda body: body + b" ", 400),
        (lambda _: b"[]", 400),
        (lambda _: b"\xff\xfe", 400),
        (lambda _: b"[" * 60_000, 400),
        (lambda _: b'{"a":"' + b"x" * 70_000 + b'"}', 400),
        (lambda body: body.replace(b"Kim Volt", b"Kim Folt"), 202),
    ],
)
def test_bodies_are_strict(client: TestClient, cellar: Cellar, change, status: int) -> None:
    token = cellar.token(cellar.empty)
    body = change(cellar.request(cellar.offer(token), KEY).to_json().encode())
    answer = client.post(URL, content=body, headers=bearer(token))
    assert answer.status_code == status, answer.text
    if status == 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert cellar.offer(token).point == cellar.empty, "the token is still good"


def test_without_a_token_nothing_is_told(client: TestClient) -> None:
    for headers in ({}, {"Authorization": "Basic eDp5"}):
        answer = client.get(f"{URL}/offer", headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_guesses_are_bounded_even_for_who_holds_a_token(client: TestClient, cellar: Cellar) -> None:
    cellar.wall_ms = enrolments.wall_ms()
    token = cellar.token(cellar.empty)
    for _ in range(tokens.MAX_GUESSES):
        answer = client.get(f"{URL}/offer", headers=bearer("0000-0000-0000-0000"))
        assert answer.status_code == 401
    late = client.get(f"{URL}/offer", headers=bearer(token))
    assert late.status_code == 429
    assert 0 < int(late.headers["retry-after"]) <= 3_600


@pytest.mark.parametrize("key", ["ab" * 31, "zz" * 32, "AB" * 32])
def test_strange_keys_are_422(client: TestClient, key: str) -> None:
    assert client.get(f"{URL}/{key}").status_code == 422
    assert client.get(f"{URL}/{'ab' * 32}").status_code == 404

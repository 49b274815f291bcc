from __future__ import annotations

import asyncio
import json
import logging

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Message

from app.api import problems
from app.api.limits import BodyLimits
from app.db import DatabaseUnavailableError


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    wh: int = Field(ge=0, lt=2**53)


def build() -> FastAPI:
    app = FastAPI()
    problems.install(app)

    @app.post("/strict")
    def strict(body: Strict) -> Strict:
        return body

    @app.get("/surprise")
    def surprise() -> None:
        raise RuntimeError("secret: the wallet's seed")

    @app.get("/away")
    def away() -> None:
        raise DatabaseUnavailableError("secret: user=wattloom host=10.0.0.1")

    @app.get("/refused")
    def refused() -> None:
        raise problems.ProblemError(409, "taken \ud800", {"X-Hint": "other"})

    return app


@pytest.fixture
def client() -> TestClient:
    return TestClient(build(), raise_server_exceptions=False)


HOSTILE = {
    "NaN": '{"wh": NaN}',
    "Infinity": '{"wh": -Infinity}',
    "1e999": '{"wh": 1e999}',
    "2^63": '{"wh": 9223372036854775808}',
    "5,000 digits": '{"wh": ' + "9" * 5_000 + "}",
    "boolean": '{"wh": true}',
    "text": '{"wh": " 1 "}',
    "lone surrogate": '{"wh": "\\ud800"}',
    "lone surrogate as a key": '{"wh": 1, "\\udfff": 2}',
    "surplus key": '{"wh": 1, "admin": 1}',
    "deep": "[" * 50_000,
    "cut short": '{"wh": ',
    "nothing": "",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_json_is_a_problem_that_echoes_nothing(name: str, client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    response = client.post("/strict", content=HOSTILE[name], headers=headers)
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == problems.MEDIA_TYPE
    document = json.loads(response.text)
    json.dumps(document, ensure_ascii=False).encode()  # no lone surrogate comes back
    assert len(response.text) < 1_000
    for error in document.get("errors", []):
        assert set(error) == {"where", "rule"}


def test_a_surprise_is_logged_and_not_told(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        response = client.get("/surprise")
    assert response.status_code == 500
    assert response.headers["content-type"] == problems.MEDIA_TYPE
    assert "secret" not in response.text
    assert "secret" in caplog.text


def test_an_absent_database_asks_to_retry(client: TestClient) -> None:
    response = client.get("/away")
    assert response.status_code == 503
    assert response.headers["retry-after"] == str(problems.RETRY_AFTER_S)
    assert "secret" not in response.text


def test_a_refusal_keeps_its_words_and_headers(client: TestClient) -> None:
    response = client.get("/refused")
    assert (response.status_code, response.headers["x-hint"]) == (409, "other")
    assert response.json() == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "taken ?",
    }


# --- Limits, spoken to in plain ASGI ---


class Peer:
    """A client that sends the given messages, then hangs; the app below counts what it reads."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.sent: list[Message] = []
        self.seen: list[bytes] = []

    async def receive(self) -> Message:
        if self.messages:
            return self.messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def app(self, scope, receive, send) -> None:
        message = await receive()
        assert message["type"] == "http.request"
        self.seen.append(message["body"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def run(self, headers: dict[str, str] | None = None, timeout_s: float = 20) -> int:
        pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        scope = {"type": "http", "path": "/x", "method": "POST", "headers": pairs}
        limits = BodyLimits(self.app, by_path={"/x": 10}, timeout_s=timeout_s)
        asyncio.run(limits(scope, self.receive, self.send))
        return int(self.sent[0]["status"])


def part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_parts_within_the_bound_arrive_whole() -> None:
    peer = Peer(part(b"12345", more=True), part(b"67890", more=False))
    assert peer.run() == 204
    assert peer.seen == [b"1234567890"]


@pytest.mark.parametrize("declared", ["11", "9" * 30, "-1", "1e1", ""])
def test_a_declared_length_is_refused_unread(declared: str) -> None:
    peer = Peer(part(b"1", more=False))
    assert peer.run({"content-length": declared}) == 413
    assert peer.seen == []
    assert len(peer.messages) == 1


def test_a_lying_stream_is_cut_off_at_the_bound() -> None:
    peer = Peer(*[part(b"123", more=True)] * 100)
    assert peer.run({"content-length": "3"}) == 413
    assert peer.seen == []
    assert len(peer.messages) == 96


def test_a_body_that_never_ends_times_out() -> None:
    peer = Peer(part(b"1", more=True))
    assert peer.run(timeout_s=0.05) == 408
    assert peer.seen == []

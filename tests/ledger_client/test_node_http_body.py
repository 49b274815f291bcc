"""Bodies as they arrive: in pieces, endless, slow, cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.types import Message, Scope

from ledger_client.localnode.http import messages
from ledger_client.localnode.http.errors import BodyTooLargeError, SlowSenderError
from ledger_client.localnode.http.messages import MAX_BODY_BYTES, read_body
from tests.ledger_client.node_rest import BINARY, CORE, Rest


def _request(messages_: AsyncIterator[Message], declared: str | None = None) -> Request:
    headers = [(b"content-length", declared.encode())] if declared else []
    scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}

    async def receive() -> Message:
        return await anext(messages_)

    return Request(scope, receive)


async def _chunks(size: int, count: int) -> AsyncIterator[Message]:
    for number in range(count):
        more = number < count - 1
        yield {"type": "http.request", "body": b"x" * size, "more_body": more}


async def _stalls() -> AsyncIterator[Message]:
    yield {"type": "http.request", "body": b"x", "more_body": True}
    await asyncio.Event().wait()


def test_a_body_in_many_pieces_is_put_together() -> None:
    body = asyncio.run(read_body(_request(_chunks(1, 1000))))
    assert body == b"x" * 1000


def test_a_body_at_the_limit_is_read_and_one_byte_more_is_not() -> None:
    assert len(asyncio.run(read_body(_request(_chunks(MAX_BODY_BYTES, 1))))) == MAX_BODY_BYTES
    with pytest.raises(BodyTooLargeError):
        asyncio.run(read_body(_request(_chunks(MAX_BODY_BYTES + 1, 1))))


def test_an_endless_body_is_cut_off_and_not_kept() -> None:
    with pytest.raises(BodyTooLargeError):
        asyncio.run(read_body(_request(_chunks(2**20, 10**9))))


@pytest.mark.parametrize("declared", ["16777217", "9" * 5_000])
def test_a_body_that_announces_itself_as_absurd_is_not_read(declared: str) -> None:
    with pytest.raises(BodyTooLargeError):
        asyncio.run(read_body(_request(_stalls(), declared)))


def test_a_slow_body_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "BODY_TIMEOUT_S", 0.01)
    with pytest.raises(SlowSenderError):
        asyncio.run(read_body(_request(_stalls())))


def test_a_sender_who_hangs_up_stores_nothing() -> None:
    rest = Rest()
    before = rest.state()

    async def talk() -> list[Message]:
        sent: list[Message] = []

        async def hang_up() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": f"{CORE}/blocks",
            "query_string": b"",
            "headers": [(b"content-type", BINARY.encode())],
        }
        await rest.client.app(scope, hang_up, send)
        return sent

    assert asyncio.run(talk())[0]["status"] == 400
    assert rest.state() == before

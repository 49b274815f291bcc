from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable, Mapping

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from app.api import problems, readings
from app.api.backpressure import Backpressure
from app.api.limits import READINGS_PATH, BodyLimits
from app.serve.server import serving
from app.services.waiting import QueueFullError, WaitingReadings
from metering.batch import MAX_BODY_BYTES
from metering.sender import HttpSender, SenderUnavailableError
from tests.app.doorway import District


def queue_of(most_bytes: int = 100, most_readings: int = 10) -> WaitingReadings:
    return WaitingReadings(most_bytes, most_readings)


# --- The bounds alone ----------------------------------------------------------------------------


def test_what_is_held_is_let_go_of() -> None:
    queue = queue_of()
    with queue.place(60) as place:
        place.hold(50)
        place.hold(10)
        with queue.counted(7):
            assert queue.held == (60, 7)
    assert queue.held == (0, 0)


def test_nothing_is_held_for_whoever_is_refused() -> None:
    queue = queue_of()
    with queue.place(60) as place:
        place.hold(60)
        with pytest.raises(QueueFullError), queue.place(41):
            raise AssertionError
        with queue.place(40) as last:
            last.hold(40)
            with pytest.raises(QueueFullError):
                last.hold(1)
        assert queue.held == (60, 0)
    assert queue.held == (0, 0)


def test_who_says_much_and_sends_nothing_keeps_nobody_out() -> None:
    queue = queue_of()
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(queue.place(100))
        stack.enter_context(queue.place(100)).hold(100)


def test_the_count_of_readings_is_a_bound_too() -> None:
    queue = queue_of(most_readings=10)
    with queue.counted(10), pytest.raises(QueueFullError), queue.place(1):
        raise AssertionError
    with queue.counted(9), queue.place(1):
        pass


def test_the_refused_come_back_at_different_times() -> None:
    queue, told = queue_of(most_bytes=0), set()
    for _ in range(8):
        with pytest.raises(QueueFullError) as caught, queue.place(1):
            raise AssertionError
        told.add(caught.value.retry_after_s)
    assert told == set(range(2, 10))


# --- Around an application -----------------------------------------------------------------------


class Exchange:
    """One request to an application, and what it answered."""

    def __init__(self, parts: Iterable[bytes] = (b"",), **headers: str) -> None:
        self._parts = list(parts)
        self._headers = headers
        self.read = 0
        self.sent: list[Message] = []

    async def _receive(self) -> Message:
        self.read += 1
        body = self._parts.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(self._parts)}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    async def over(self, app: Backpressure, method: str = "POST", path: str = READINGS_PATH) -> int:
        raw = [(name.encode(), value.encode()) for name, value in self._headers.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": raw}
        await app(scope, self._receive, self._send)
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        return dict(self.sent[0]["headers"])


class Slow:
    """Reads a body whole, and answers once it is told to."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        self.reading.set()
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def test_a_full_queue_refuses_at_once_and_unread() -> None:
    async def story() -> None:
        slow = Slow()
        app = Backpressure(slow, queue_of(most_bytes=MAX_BODY_BYTES))
        first = asyncio.create_task(Exchange([b"x" * 60], **{"content-length": "60"}).over(app))
        await slow.reading.wait()
        for length in ({"content-length": str(MAX_BODY_BYTES)}, {}, {"content-length": "x"}):
            refused = Exchange([b"x"], **length)
            assert await refused.over(app) == 503
            assert refused.read == 0
            assert int(refused.headers[b"retry-after"]) > 0
            assert json.loads(refused.sent[1]["body"])["status"] == 503
        slow.go.set()
        assert await first == 200
        assert await Exchange([b"x"], **{"content-length": "1"}).over(app) == 200

    asyncio.run(story())


def test_a_body_that_outgrows_the_room_is_cut_off() -> None:
    async def story() -> None:
        slow = Slow()
        app = Backpressure(slow, queue_of(most_bytes=MAX_BODY_BYTES))
        half = b"x" * (MAX_BODY_BYTES // 2)
        first = asyncio.create_task(Exchange([half], **{"content-length": "1"}).over(app))
        await slow.reading.wait()
        grown = Exchange([half, b"x", b"x"], **{"content-length": "1"})
        assert await grown.over(app) == 503
        assert grown.read == 2
        slow.go.set()
        assert await first == 200

    asyncio.run(story())


def test_other_addresses_have_no_queue() -> None:
    async def story() -> None:
        slow = Slow()
        slow.go.set()
        app = Backpressure(slow, queue_of(most_bytes=0))
        assert await Exchange().over(app, path="/api/v1/health") == 200
        assert await Exchange().over(app, method="GET") == 200

    asyncio.run(story())


# --- Behind a real server ------------------------------------------------------------------------


def test_a_gateway_hears_when_to_come_back(plain_district: District) -> None:
    """The whole batch is on its way while the answer comes: the gateway reads it all the same."""
    queue = WaitingReadings(2**25, 1)
    app = FastAPI()
    problems.install(app)
    app.include_router(readings.build_router(plain_district.door, queue))
    app.add_middleware(BodyLimits)
    app.add_middleware(Backpressure, queue=queue)
    batch = plain_district.batch(*plain_district.meters[0].chain(600))

    async def story() -> None:
        async with serving(app, "127.0.0.1", 0) as url, httpx.AsyncClient() as client:
            sender = HttpSender(url, client)
            with queue.counted(1):
                for _ in range(3):
                    with pytest.raises(SenderUnavailableError) as caught:
                        await sender.post(batch)
                    assert caught.value.retry_after_s
            assert {result.status for result in await sender.post(batch)} == {200}
        assert queue.held == (0, 0)

    asyncio.run(story())

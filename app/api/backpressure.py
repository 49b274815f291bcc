"""Uploads of readings wait in a bounded queue; beyond it they are refused before they are read."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems
from app.api.limits import READINGS_PATH
from app.services.waiting import Place, QueueFullError, WaitingReadings
from metering.batch import MAX_BODY_BYTES


class Backpressure:
    """Gives each upload a place in the queue until it is answered (ASGI, around the body's limits).

    Args:
        app: what reads and answers uploads.
        queue: where they wait.
    """

    def __init__(self, app: ASGIApp, queue: WaitingReadings) -> None:
        self._app = app
        self._queue = queue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["path"] != READINGS_PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            with self._queue.place(_declared(scope)) as place:
                await self._app(scope, _counting(receive, place), send)
        except QueueFullError as error:
            headers = {"Retry-After": str(error.retry_after_s), "Connection": "close"}
            await problems.response(503, str(error), headers)(scope, receive, send)


def _declared(scope: Scope) -> int:
    """Return how long the body says it is; what says nothing, or nonsense, may be the longest."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return min(int(value[:20]), MAX_BODY_BYTES)
    return MAX_BODY_BYTES


def _counting(receive: Receive, place: Place) -> Receive:
    async def next_message() -> Message:
        message = await receive()
        place.hold(len(message.get("body", b"")))
        return message

    return next_message

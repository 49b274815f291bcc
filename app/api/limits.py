"""Bounds on what a request's body may be, in size and in time, before anything looks at it.

Pure ASGI: a declared length is refused unread, and a streamed body is cut off where it passes the
bound, so no route ever sees more than its limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems
from metering.batch import MAX_BODY_BYTES

DEFAULT_BYTES: Final = 256 * 1024
BODY_TIMEOUT_S: Final = 30.0
READINGS_PATH: Final = "/api/v1/readings"


class BodyRefusedError(Exception):
    """The body is too long or too slow: answer 413 or 408 and close the connection."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class BodyLimits:
    """Reads each body within its bounds and hands it on whole.

    Args:
        app: what to protect.
        by_path: bounds in bytes of paths that may take more than :data:`DEFAULT_BYTES`.
        timeout_s: how long a body may take to arrive, in wall seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        by_path: Mapping[str, int] | None = None,
        timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._app = app
        self._by_path = {READINGS_PATH: MAX_BODY_BYTES} if by_path is None else by_path
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._by_path.get(scope["path"], DEFAULT_BYTES)
        try:
            _check_declared(scope, limit)
            async with asyncio.timeout(self._timeout_s):
                messages = await _read(receive, limit)
        except TimeoutError:
            detail = f"the body took longer than {self._timeout_s:g} s: send it faster"
            await _refuse(BodyRefusedError(408, detail), scope, receive, send)
        except BodyRefusedError as error:
            await _refuse(error, scope, receive, send)
        else:
            await self._app(scope, _replay(messages, receive), send)


def _check_declared(scope: Scope, limit: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value[:20]) > limit):
            raise _too_long(limit)


async def _read(receive: Receive, limit: int) -> list[Message]:
    """Return the body as one message (and the disconnect, if that came first)."""
    parts: list[bytes] = []
    room = limit
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return [message]
        part = message.get("body", b"")
        room -= len(part)
        if room < 0:
            raise _too_long(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return [{"type": "http.request", "body": b"".join(parts), "more_body": False}]


def _too_long(limit: int) -> BodyRefusedError:
    return BodyRefusedError(413, f"the body may have at most {limit} bytes: split what you send")


def _replay(messages: list[Message], receive: Receive) -> Receive:
    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


async def _refuse(error: BodyRefusedError, scope: Scope, receive: Receive, send: Send) -> None:
    answer = problems.response(error.status, error.detail, {"Connection": "close"})
    await answer(scope, receive, send)

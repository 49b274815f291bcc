"""Bounds on a request's body and the one form of errors: ``{"error": {"code", "message"}}``.

Pure ASGI: a declared length is refused unread, a streamed body is cut off where it passes the
bound, and whoever sends slowly is let go.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

BODY_S: Final = 10.0

_log = logging.getLogger(__name__)


def error_response(
    status: int, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return an error in the form of a Stardust node's REST API."""
    return JSONResponse(
        {"error": {"code": str(status), "message": message}}, status, dict(headers or {})
    )


class BoundedBodies:
    """Reads each body within its bounds and hands it on whole.

    Args:
        app: what to protect.
        most_bytes: the longest body that is read.
        body_s: how long a body may take to arrive, in wall seconds.
    """

    def __init__(self, app: ASGIApp, most_bytes: int, body_s: float = BODY_S) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check_declared(scope)
            async with asyncio.timeout(self._body_s):
                first = await self._read(receive)
        except TimeoutError:
            late = HTTPException(408, f"the body took longer than {self._body_s:g} s")
            await _refuse(late, scope, receive, send)
        except HTTPException as error:
            await _refuse(error, scope, receive, send)
        else:
            await self._app(scope, _replay(first, receive), send)

    def _check_declared(self, scope: Scope) -> None:
        for name, value in scope["headers"]:
            if name == b"content-length" and (
                not value.isdigit() or int(value[:20]) > self._most_bytes
            ):
                raise self._too_long()

    async def _read(self, receive: Receive) -> Message:
        """Return the whole body as one message, or the disconnect that came first."""
        parts: list[bytes] = []
        room = self._most_bytes
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return message
            parts.append(message.get("body", b""))
            room -= len(parts[-1])
            if room < 0:
                raise self._too_long()
            if not message.get("more_body", False):
                return {"type": "http.request", "body": b"".join(parts), "more_body": False}

    def _too_long(self) -> HTTPException:
        return HTTPException(413, f"the body may have at most {self._most_bytes} bytes")


def _replay(first: Message, receive: Receive) -> Receive:
    left = [first]

    async def next_message() -> Message:
        return left.pop() if left else await receive()

    return next_message


async def _refuse(error: HTTPException, scope: Scope, receive: Receive, send: Send) -> None:
    answer = error_response(error.status_code, error.detail, {"Connection": "close"})
    await answer(scope, receive, send)


def error_handlers() -> dict[type[Exception] | int, ExceptionHandler]:
    """Return Starlette's handlers that give every error the one form; a fault of ours is 503."""
    return {HTTPException: _http_error, Exception: _fault}


async def _http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return error_response(error.status_code, error.detail, error.headers)


async def _fault(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed: %r", request.method, request.url.path, error)
    return error_response(503, "the service could not do this now; its log says why")


def require_token(request: Request, token: str | None) -> None:
    """Raise 401 unless the request carries the bearer token (or none is asked for)."""
    if token is None:
        return
    said = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(said, f"Bearer {token}".encode()):
        raise HTTPException(
            401,
            "send the service's token as `Authorization: Bearer TOKEN`",
            {"WWW-Authenticate": "Bearer"},
        )

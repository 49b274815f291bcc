"""A small HTTP server for the status page: GET alone, bounded, standard library alone.

Sources: RFC 9112 (HTTP/1.1), RFC 7617 (Basic authentication).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Final

from metering.box.page import html, metrics
from metering.box.report import Report

_MOST_CONNECTIONS: Final = 16
_MOST_HEAD_BYTES: Final = 8_192
_PATIENCE_S: Final = 5.0
_REASONS: Final = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
                   405: "Method Not Allowed", 421: "Misdirected Request", 503: "Busy"}  # fmt: skip
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS: Final = (
    "Cache-Control: no-store",
    "Connection: close",
    f"Content-Security-Policy: {_POLICY}",
    "Referrer-Policy: no-referrer",
    "X-Content-Type-Options: nosniff",
)

_log = logging.getLogger(__name__)


class StatusPageError(Exception):
    """The page cannot be served: mend the settings ``status``; the gateway does without it."""


class StatusPage:
    """Shows what ``report()`` returns; with ``password`` only to who knows it (any user name)."""

    def __init__(self, report: Callable[[], Report], password: str | None = None) -> None:
        self._report = report
        self._password = password
        self._open = 0

    @asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[str]:
        """Serve while the context lasts; yield the address. Port 0 means a free one.

        Raises:
            StatusPageError: somebody else has the port, or this machine no such address.
        """
        try:
            server = await asyncio.start_server(self._connected, host, port, limit=_MOST_HEAD_BYTES)
        except OSError as error:
            raise StatusPageError(
                f"status: {host}:{port} cannot be served ({error.strerror}): choose another port"
            ) from error
        async with server:
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{server.sockets[0].getsockname()[1]}/"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            async with asyncio.timeout(_PATIENCE_S):
                writer.write(await self._answer(reader))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who asks badly gets no answer
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        if self._open > _MOST_CONNECTIONS:
            return _response(503, "too many look at this page: try again\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        parts = first.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            return _response(400, "this is no request\n")
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        problem = self._refused(parts[0], fields)
        if problem is not None:
            return problem
        found = await asyncio.to_thread(self._page, parts[1].partition("?")[0])
        return found if parts[0] == "GET" else found.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    def _refused(self, method: str, fields: dict[str, str]) -> bytes | None:
        if method not in {"GET", "HEAD"}:
            return _response(405, "this page is only looked at\n", "Allow: GET, HEAD")
        if self._password is not None:
            given = _password(fields.get("authorization", "")) or b""
            if hmac.compare_digest(given, self._password.encode()):
                return None
            return _response(
                401, "the password is wanted\n", 'WWW-Authenticate: Basic realm="gateway"'
            )
        # A strange name that resolves to this machine would let its pages read ours.
        name = fields.get("host", "").rpartition("]")[0] or fields.get("host", "").partition(":")[0]
        if name not in {"127.0.0.1", "localhost", "[::1"}:
            return _response(421, "ask for http://127.0.0.1 here\n")
        return None

    def _page(self, path: str) -> bytes:
        if path == "/":
            return _response(200, html(self._report()), kind="text/html")
        if path == "/status.json":
            text = json.dumps(asdict(self._report()), ensure_ascii=False, indent=2)
            return _response(200, text + "\n", kind="application/json")
        if path == "/metrics":
            return _response(200, metrics(self._report()), kind="text/plain; version=0.0.4")
        return _response(404, "there are /, /status.json and /metrics\n")


def _password(authorization: str) -> bytes | None:
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(given, validate=True).partition(b":")[2]
    except binascii.Error:
        return None


def _response(status: int, text: str, *more: str, kind: str = "text/plain") -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {kind}; charset=utf-8",
        f"Content-Length: {len(body)}",
        *_HEADERS,
        *more,
    )
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body

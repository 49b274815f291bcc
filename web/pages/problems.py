"""Problem documents (RFC 9457) as pages, for people who look at them in a browser."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.pages.desk import error_page, longest_upload

_PROBLEM: Final = "application/problem+json"

# The details of these speak to programmers; the page's own advice is what helps a resident.
_REASONS: Final[Mapping[int, str | None]] = {
    404: None,
    405: None,
    500: None,
}


class ProblemPages:
    """Answers with an error page where the application answers a browser with a problem.

    The API's own addresses keep their problem documents, whoever asks.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or not _from_browser(scope):
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def look(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and _is_problem(message):
                start = message
                return
            if start is None:
                await send(message)
                return
            body += message.get("body", b"")
            if not message.get("more_body", False):
                page = _page(Request(scope), start["status"], Headers(raw=start["headers"]), body)
                await page(scope, receive, send)

        await self._app(scope, receive, look)


def as_page(request: Request, problem: Response) -> Response:
    """Return the problem as a page to a browser, as it is to the API's callers and programs."""
    if not _from_browser(request.scope):
        return problem
    return _page(request, problem.status_code, problem.headers, bytes(problem.body))


def _page(request: Request, status: int, headers: Headers, body: bytes) -> Response:
    """Return the page with the problem's headers (Allow, Retry-After) but those of its body."""
    reason = _REASONS[status] if status in _REASONS else json.loads(body)["detail"]
    if status == 413:
        reason = f"that is more than {longest_upload(request.url.path)}"
    page = error_page(request, status, reason)
    for name, value in headers.items():
        if name not in {"content-type", "content-length"}:
            page.headers[name] = value
    return page


def _from_browser(scope: Scope) -> bool:
    accepts = Headers(scope=scope).get("accept", "")
    return "text/html" in accepts and not scope["path"].startswith("/api/")


def _is_problem(message: Message) -> bool:
    kind = Headers(raw=message["headers"]).get("content-type", "")
    return kind.startswith(_PROBLEM)

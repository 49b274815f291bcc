"""What guards every answer and every change: headers, same-origin check, CSRF token, cookie.

The content security policy allows neither inline scripts nor inline styles nor ``eval``, so a name
that slips through escaping still runs nothing. A change (anything but GET, HEAD, OPTIONS) that a
browser sends from another site is refused before it reaches a route; pages then ask for the
session's CSRF token too, from a header (htmx) or a hidden field (plain forms).
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
HSTS: Final = "max-age=31536000"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER: Final = "X-CSRF-Token"
CSRF_FIELD: Final = "csrf_token"

_log = logging.getLogger(__name__)


class SecurityError(Exception):
    """Root: the request is refused; the person reads why and tries again from our own page."""


class CsrfError(SecurityError):
    """The token is missing or old: load the page again and repeat the step (403)."""

    def __init__(self) -> None:
        super().__init__(
            "this form is out of date or was not sent from our own page: "
            "load the page again and repeat the step"
        )


def plain_surprise(_request: Request) -> Response:
    """Return the answer to an unexpected error, as plain text."""
    return PlainTextResponse("Something unexpected happened and was logged.\n", status_code=500)


class SecurityMiddleware:
    """Refuse changes from other sites and put the security headers on every HTTP answer.

    It stands outermost, so even the answer to an unexpected error carries them.

    Args:
        app: what to guard.
        surprise: makes the answer to an error that ``app`` did not handle; the error is logged.
    """

    def __init__(
        self, app: ASGIApp, surprise: Callable[[Request], Response] = plain_surprise
    ) -> None:
        self.app = app
        self.surprise = surprise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; anything but HTTP passes through untouched."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                add_headers(MutableHeaders(scope=message), scope)
            await send(message)

        if scope["method"] not in SAFE_METHODS and not same_origin(Headers(scope=scope)):
            refusal = PlainTextResponse(
                "Refused: this change was sent from another site. Open Wattloom itself and "
                "repeat the step there.\n",
                status_code=403,
            )
            await refusal(scope, receive, send_guarded)
            return
        try:
            await self.app(scope, receive, send_guarded)
        except Exception:
            if started:
                raise  # half an answer is out: only breaking the connection off tells
            _log.exception("unexpected error in %s", scope["path"])
            await self.surprise(Request(scope))(scope, receive, send_guarded)


def add_headers(headers: MutableHeaders, scope: Scope) -> None:
    """Add the security headers; what does not say that it is public is never stored."""
    for name, value in HEADERS.items():
        headers[name] = value
    if scope["scheme"] == "https":
        headers["Strict-Transport-Security"] = HSTS
    public = headers.get("Cache-Control", "").startswith("public")
    if not public and not scope["path"].startswith("/static/"):
        headers["Cache-Control"] = "no-store"


def same_origin(headers: Headers) -> bool:
    """Return whether a change comes from our own pages or from a program that is no browser.

    Browsers send ``Sec-Fetch-Site`` or at least ``Origin`` with every change; programs send
    neither and carry no cookie.
    """
    site = headers.get("sec-fetch-site")
    if site is not None and site not in {"same-origin", "none"}:
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc == headers.get("host")
    except ValueError:  # malformed, so not ours
        return False


def check_csrf(request: Request, field: str, expected: str) -> None:
    """Compare the token of the header (htmx) or the hidden field with the session's own.

    Raises:
        CsrfError: neither agrees.
    """
    given = request.headers.get(CSRF_HEADER) or field
    if not hmac.compare_digest(given.encode(errors="replace"), expected.encode()):
        raise CsrfError


def cookie_name(request: Request) -> str:
    """Return the session cookie's name: ``__Host-`` over TLS, plain on loopback HTTP."""
    return "__Host-wattloom" if request.url.scheme == "https" else "wattloom"


def read_cookie(request: Request) -> str | None:
    """Return the opaque session id that the browser sent, if any."""
    return request.cookies.get(cookie_name(request))


def set_cookie(request: Request, response: Response, value: str) -> None:
    """Give the browser its session id: not readable by scripts, not sent along by other sites."""
    response.set_cookie(
        cookie_name(request),
        value,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def drop_cookie(request: Request, response: Response) -> None:
    """Take the session id away from the browser."""
    response.delete_cookie(
        cookie_name(request),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )

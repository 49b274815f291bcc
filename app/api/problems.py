"""Every error as problem+json (RFC 9457): what is wrong and how to mend it, never internals."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.db import DatabaseInputError, DatabaseUnavailableError
from ledger_client.ledger import LedgerUnavailableError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
_MAX_ERRORS = 20

_log = logging.getLogger(__name__)

_MENDING: Mapping[int, str] = {
    404: "nothing stands at this address: look it up in docs/api.md",
    405: "this address does not take that method: see the Allow header",
}


class ProblemError(Exception):
    """A refusal with the answer it deserves: raise it in a route."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def response(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: list[dict[str, str]] | None = None,
) -> Response:
    """Return a problem document; ``errors`` says where the request breaks which rule."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _clean(detail),
    }
    if errors is not None:
        document["errors"] = errors
    body = json.dumps(document).encode()
    return Response(body, status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem document."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(DatabaseInputError, _on_input)
    app.add_exception_handler(DatabaseUnavailableError, _on_unavailable)
    app.add_exception_handler(LedgerUnavailableError, _on_unavailable)
    app.add_exception_handler(Exception, _on_surprise)


async def _on_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101
    return response(error.status, error.detail, error.headers)


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    detail = _MENDING.get(error.status_code, str(error.detail))
    return response(error.status_code, detail, error.headers)


async def _on_invalid(_request: Request, error: Exception) -> Response:
    """Name place and rule only: ``input`` and ``ctx`` would echo what was sent."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    errors = [
        {"where": _clean(".".join(map(str, item["loc"]))), "rule": _clean(item["msg"])}
        for item in error.errors()[:_MAX_ERRORS]
    ]
    return response(422, "the request breaks the rules listed in errors: mend it", None, errors)


async def _on_input(_request: Request, error: Exception) -> Response:
    return response(422, str(error))


async def _on_unavailable(_request: Request, _error: Exception) -> Response:
    return response(
        503,
        f"database or ledger do not answer; nothing was stored: try again in {RETRY_AFTER_S} s",
        {"Retry-After": str(RETRY_AFTER_S)},
    )


async def _on_surprise(request: Request, error: Exception) -> Response:
    _log.error("unexpected error in %s", request.url.path, exc_info=error)
    return response(
        500, "something unexpected happened and was logged: try again, then tell the administrator"
    )


def _clean(text: str) -> str:
    """Return text that every JSON reader takes: without lone surrogates."""
    return text.encode(errors="replace").decode()

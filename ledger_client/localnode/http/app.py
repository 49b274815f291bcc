"""The REST server of the embedded node: the routes of a Stardust node, and its form of errors."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, ExceptionHandler, Receive, Scope, Send

from ledger_client.ledger import LedgerRefusedError, LedgerUnavailableError
from ledger_client.localnode.errors import ProofOfWorkMissingError
from ledger_client.localnode.http.core import CoreApi
from ledger_client.localnode.http.errors import RestError, UnauthorisedError
from ledger_client.localnode.http.inbox import Inbox
from ledger_client.localnode.http.indexer import IndexerApi
from ledger_client.localnode.http.messages import answer, error_answer
from ledger_client.localnode.http.poi import PoiApi
from ledger_client.localnode.node import LocalNode
from ledger_client.stardust.codec import StardustError

_log = logging.getLogger(__name__)


def create_node_app(
    node: LocalNode, *, token: str | None = None, now: Callable[[], float] = time.time
) -> Starlette:
    """Return the ASGI app that serves ``node``, which stays the caller's to close.

    With ``token`` every route but /health wants ``Authorization: Bearer``. ``now`` is the wall
    clock in seconds, against which /health judges the last milestone.
    """
    core = CoreApi(node, Inbox(node.attach_many), now)
    app = Starlette(
        routes=[*core.routes(), *IndexerApi(node).routes(), *PoiApi(node).routes(), *_own(core)],
        middleware=[Middleware(_TokenGate, token=token)] if token else [],
        exception_handlers=_HANDLERS,
    )
    app.router.redirect_slashes = False
    return app


def _own(core: CoreApi) -> list[BaseRoute]:
    def health(_request: Request) -> Response:
        """GET /health: 200, or 503 when milestones fail to come."""
        return Response(status_code=200 if core.is_healthy() else 503)

    def routes(_request: Request) -> Response:
        """GET /api/routes: the APIs that this node serves."""
        return answer({"routes": ["core/v2", "indexer/v1", "poi/v1"]})

    return [Route("/health", health), Route("/api/routes", routes)]


class _TokenGate:
    """Lets a request pass that carries the token, or asks for the node's health."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/health" or self._is_allowed(scope):
            await self._app(scope, receive, send)
            return
        error = UnauthorisedError("this node wants its token: send Authorization: Bearer TOKEN")
        await _rest_answer(error)(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        said = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(said, self._expected)


def _rest_answer(error: RestError) -> Response:
    return error_answer(error.status, str(error), error.headers)


async def _on_rest_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RestError):  # pragma: no cover - registered for RestError
        raise error
    return _rest_answer(error)


async def _on_http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):  # pragma: no cover - registered for HTTPException
        raise error
    return error_answer(error.status_code, error.detail, error.headers)


async def _on_refused(_request: Request, error: Exception) -> Response:
    return error_answer(400, str(error))


async def _on_unavailable(_request: Request, error: Exception) -> Response:
    return error_answer(503, str(error), {"Retry-After": "1"})


async def _on_missing_work(_request: Request, error: Exception) -> Response:
    return error_answer(503, str(error))


async def _on_gone(_request: Request, _error: Exception) -> Response:
    return error_answer(400, "the body did not arrive whole", {"Connection": "close"})


async def _on_fault(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed: %r", request.method, request.url.path, error)
    return error_answer(500, "the node failed; its log says how")


_HANDLERS: dict[int | type[Exception], ExceptionHandler] = {
    RestError: _on_rest_error,
    HTTPException: _on_http_error,
    StardustError: _on_refused,
    LedgerRefusedError: _on_refused,
    ProofOfWorkMissingError: _on_missing_work,
    LedgerUnavailableError: _on_unavailable,
    ClientDisconnect: _on_gone,
    Exception: _on_fault,
}

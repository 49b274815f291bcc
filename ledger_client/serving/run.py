"""One small server: says when it is ready, lets go of slow clients, ends cleanly on SIGTERM."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEAD_S: Final = 10.0
_BACKLOG: Final = 64
_MOST_REQUESTS: Final = 256
_KEEP_ALIVE_S: Final = 15
_PARTING_S: Final = 5


class PortBusyError(Exception):
    """The address cannot be listened on: stop what listens there, or choose another one."""


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server on ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(
    app: ASGIApp,
    host: str,
    port: int,
    ready: Callable[[str], None],
    *,
    most_requests: int = _MOST_REQUESTS,
) -> None:
    """Serve ``app`` until SIGTERM or SIGINT; call ``ready`` with its address once it listens.

    Port 0 means a free one. Beyond ``most_requests`` connections the answer is 503. Raises
    PortBusyError.
    """
    with _listen(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            http=HeadDeadline,
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            backlog=_BACKLOG,
            limit_concurrency=most_requests,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_PARTING_S,
            server_header=False,
        )
        _Server(config, lambda: ready(address)).run([listener])


class _Server(uvicorn.Server):
    """A server that is stopped by a signal and then returns; uvicorn's own would die of it."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        for each in before:
            signal.signal(each, self.handle_exit)
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


class HeadDeadline(H11Protocol):
    """HTTP/1.1 on one connection, cut off when the head of a request does not arrive in time."""

    head_s: float = HEAD_S
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a head."""
        super().connection_made(cast("asyncio.Transport", transport))
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and see whether they complete a head."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._stop_watching()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the one form of errors, and hang up."""
        body = json.dumps({"error": {"code": "400", "message": msg}}).encode()
        head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: application/json\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()

    def _is_idle(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        return cycle is None or cycle.response_complete

    def _watch(self) -> None:
        if not self._is_idle():
            self._stop_watching()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.head_s, self._too_slow)

    def _stop_watching(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self._is_idle():
            self.transport.abort()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends at once (TCP_NODELAY); else an answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise PortBusyError(
            f"port {port} on {host} is not free ({error.strerror or error}): stop what listens "
            "there, or choose another one with --port"
        ) from error
    return listener

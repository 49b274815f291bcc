"""One small server: says when it is ready, lets go of slow clients, ends cleanly on SIGTERM."""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from ledger_client.serving.connections import (
    BACKLOG,
    HEAD_S,
    bounded,
    connections_for,
    drop_the_unread,
    raise_file_limit,
)

_MOST_CONNECTIONS: Final = 256
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
    most_connections: int = _MOST_CONNECTIONS,
) -> None:
    """Serve ``app`` until SIGTERM or SIGINT; call ``ready`` with its address once it listens.

    Port 0 means a free one. At most ``most_connections`` are open, fewer where the system allows
    fewer files: a new one takes the place of the one that has been idle for longest. Raises
    PortBusyError.
    """
    most = min(most_connections, connections_for(raise_file_limit()))
    with _listen(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            http=bounded(most, HEAD_S, _PARTING_S),
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            backlog=BACKLOG,
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


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends at once (TCP_NODELAY); else an answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        drop_the_unread(listener)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortBusyError(
            f"port {port} on {host} is not free ({error.strerror or error}): stop what listens "
            "there, or choose another one with --port"
        ) from error
    return listener

"""Bounds on the connections of a server: how many, and how long one may say nothing.

A connection costs a file descriptor, and a process that has none left can neither accept nor open
its own database. Uvicorn answers beyond ``limit_concurrency`` with 503 but keeps the connection,
and waits for ever for the head of a request; so both bounds stand here, in the protocol.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from typing import Final, cast

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

BACKLOG: Final = 32  # accepted in one go at most, so that many are open beyond the bound
HEAD_S: Final = 10.0  # wall seconds for the head of a request to arrive
PARTING_S: Final = 0.5  # wall seconds for open answers once the server stops
UNREAD_MS: Final = 30_000  # an answer that its receiver leaves in the socket for so long is dropped

_WANTED_FILES: Final = 65_536
_OWN_FILES: Final = 128  # databases, keys, other services: what a process needs for itself
_MOST_CONNECTIONS: Final = 1_024
_FEWEST_CONNECTIONS: Final = 16


def raise_file_limit() -> int:
    """Raise the soft limit of open files as far as it goes; return what holds then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _WANTED_FILES if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def connections_for(files: int) -> int:
    """Return how many connections may be open at once where ``files`` descriptors are allowed."""
    room = (files - _OWN_FILES) // 2
    return max(_FEWEST_CONNECTIONS, min(_MOST_CONNECTIONS, room))


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 on one connection, closed when it dawdles or when newer ones need its place."""

    most: int = _MOST_CONNECTIONS
    head_s: float = HEAD_S
    parting_s: float = PARTING_S

    _opened: float = 0.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place; if there is none, that of whoever has waited longest without asking."""
        super().connection_made(cast("asyncio.Transport", transport))
        self._opened = self.loop.time()
        self._watch_head()
        if len(self.connections) > self.most:
            self._oldest_idle().transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the place."""
        super().connection_lost(exc)
        self._stop_watching()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and see whether they complete the head of a request."""
        super().data_received(data)
        self._watch_head()

    def shutdown(self) -> None:
        """Give an open answer a moment to end; a live page's stream never would."""
        super().shutdown()
        self.loop.call_later(self.parting_s, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the one form of errors, and hang up."""
        body = json.dumps({"error": {"code": "400", "message": msg}}).encode()
        head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: application/json\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()

    def _idle(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        return cycle is None or cycle.response_complete

    def _oldest_idle(self) -> BoundedProtocol:
        """Return the connection to close: the oldest idle one, or this one where all are busy."""
        idle = [
            each
            for each in self.connections
            if isinstance(each, BoundedProtocol)
            and each._idle()  # noqa: SLF001
            and not each.transport.is_closing()
        ]
        return min(idle, key=lambda each: each._opened, default=self)  # noqa: SLF001

    def _watch_head(self) -> None:
        if not self._idle():
            self._stop_watching()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.head_s, self._too_slow)

    def _stop_watching(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self._idle():
            self.transport.abort()


def bounded(
    most: int, head_s: float = HEAD_S, parting_s: float = PARTING_S
) -> type[BoundedProtocol]:
    """Return a protocol for ``most`` connections at once, with ``head_s`` for a request's head.

    Answers that are open when the server stops get ``parting_s`` seconds.
    """
    own = {"most": most, "head_s": head_s, "parting_s": parting_s}
    return type("Bounded", (BoundedProtocol,), own)


def drop_the_unread(listener: socket.socket, unread_ms: int = UNREAD_MS) -> None:
    """Let go of each connection through ``listener`` whose other side does not read its answers.

    Without it such a connection would keep its place for as long as the other side likes: closing
    waits until all is sent. Each accepted connection takes the option over (Linux, tcp(7)).
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread_ms)

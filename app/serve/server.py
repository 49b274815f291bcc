"""A uvicorn server inside an event loop that has more to do than serve."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from ledger_client.serving.connections import (
    BACKLOG,
    bounded,
    connections_for,
    drop_the_unread,
    raise_file_limit,
)

_KEEP_ALIVE_S: Final = 5
_PARTING_S: Final = 5  # for a change that is being stored; streams end before that
_FULL: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = logging.getLogger(__name__)


class PortBusyError(Exception):
    """Another program listens there: stop it, or choose another port."""


class _Server(uvicorn.Server):
    """Leaves signals to its process, which has more to stop than its pages."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: FastAPI, host: str, port: int) -> AsyncIterator[str]:
    """Serve ``app`` while the context lasts; yield its address. Port 0 means a free one.

    Raises:
        PortBusyError: the port is taken.
    """
    listener = _listen(host, port)
    most = connections_for(raise_file_limit())
    config = uvicorn.Config(
        app,
        http=bounded(most),
        ws="none",
        log_level="error",  # what a client gets wrong is its own affair
        lifespan="off",
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_PARTING_S,
    )
    server = _Server(config)
    asyncio.get_running_loop().set_exception_handler(_Full(most))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


class _Full:
    """Says once that no file descriptor is left; the loop would say so for every try to accept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._said = False

    def __call__(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Handle what went wrong in the loop itself."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _FULL and "socket" in context):
            loop.default_exception_handler(dict(context))
        elif not self._said:
            self._said = True
            _log.warning(
                "no room for another connection (%s); up to %d are served: raise the limit of open "
                "files (ulimit -n)",
                error.strerror,
                self._most,
            )


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    drop_the_unread(listener)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortBusyError(
            f"port {port} on {host} is not free ({error.strerror}): stop what listens there, "
            "or choose another one with --port"
        ) from error
    return listener

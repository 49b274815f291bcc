"""``wattloom serve`` and ``wattloom worker``: processes that run until they are told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Final

from app.db import DatabaseUnavailableError
from app.main import create_app
from app.serve.district import open_real
from app.serve.server import serving
from app.services.house import House
from app.services.live import LiveBoard
from app.services.sessions import SessionStore
from app.services.views import DatabaseViews
from app.settings import Settings
from app.worker import Worker

_COLLECT_AFTER: Final = 50_000  # objects more than were freed
_EVERY_S: Final = 5.0  # between two looks at what is due

_log = logging.getLogger(__name__)


async def serve(settings: Settings, *, working: bool, on_ready: Callable[[str], None]) -> None:
    """Serve the API and the pages of a district, with the worker beside them if ``working``.

    Returns once SIGTERM or SIGINT came and what was under way is done. ``on_ready`` is told the
    address.

    Raises:
        PortBusyError: another program listens there.
        Others as :func:`app.serve.district.open_real`.
    """
    stop = _stopped_by_signals()
    async with AsyncExitStack() as stack:
        house = stack.enter_context(open_real(settings, working=working))
        board = LiveBoard()
        web = create_app(
            house,
            board,
            DatabaseViews(house, board, frozenset(), "", ()),
            SessionStore(house.database, None),
        )
        _spare_the_collector()
        on_ready(await stack.enter_async_context(serving(web, settings.host, settings.port)))
        await (_work(house, stop) if working else stop.wait())


async def work(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Do what is due in a district until SIGTERM or SIGINT; nothing is served.

    Raises:
        As :func:`app.serve.district.open_real`.
    """
    stop = _stopped_by_signals()
    with open_real(settings, working=True) as house:
        on_ready(settings.origin)
        await _work(house, stop)


def _spare_the_collector() -> None:
    """Have the collector of cycles look at what a request leaves, not at what was imported.

    A batch of 1,000 readings makes so many objects, none of them in a circle, that at the usual
    threshold it walks through the whole process several times a batch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 50)


def _stopped_by_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _work(house: House, stop: asyncio.Event) -> None:
    """Look again and again for what is due; a database that is away is waited for."""
    worker, away = Worker(house), False
    while not stop.is_set():
        try:
            await asyncio.to_thread(worker.run_due)
        except DatabaseUnavailableError as error:
            if not away:
                _log.warning("%s; the district stands still until it answers", error)
            away = True
        else:
            if away:
                _log.warning("the database answers again; the district goes on")
            away = False
        with suppress(TimeoutError):
            async with asyncio.timeout(_EVERY_S):
                await stop.wait()

"""Runs Lindenhof: simulated meters over real Modbus TCP, gateway, ledger, worker, web."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from app.clock import SimulatedClock
from app.db import Database
from app.demo.district import Lindenhof, lindenhof
from app.demo.folder import NoRunError, check_run, put_aside
from app.demo.gateway import open_gateway
from app.demo.outputs import write_keys, write_proofs
from app.demo.steps import Demo, DemoOptions, drive
from app.main import create_app
from app.serve.folder import alone
from app.serve.server import serving
from app.services.founding import found
from app.services.house import House
from app.services.keyring import Keyring
from app.services.ledger import LedgerFigures, open_ledger
from app.services.live import LiveBoard
from app.services.sessions import SessionStore
from app.services.summary import Summary, summarise
from app.services.views import DatabaseViews
from app.settings import Settings
from app.tables import IntervalRow
from app.worker import Worker
from metering.simulator import MeterServer


async def run(options: DemoOptions) -> Summary:
    """Run the demo until its intervals are sealed, paid and anchored; return the summary.

    Raises:
        FolderInUseError: another run works in the same data folder.
        NoRunError: ``fresh``, but what is there is no run, or its database stands elsewhere.
    """
    started = time.monotonic()
    if options.fresh:
        _check_fresh(options.settings)
    with alone(options.settings.data):
        if options.fresh and (aside := put_aside(options.settings.data)):
            options.on_notice(f"the earlier run is kept in {aside}")
        async with _demo(options) as demo:
            await drive(demo)
            proofs = await asyncio.to_thread(write_proofs, demo.house)
            keys = write_keys(demo.house)
            seconds = round(time.monotonic() - started, 3)
            figures = await asyncio.to_thread(demo.figures)
            return await asyncio.to_thread(
                summarise, demo.house, figures, options.intervals, proofs, keys, seconds
            )


def _check_fresh(settings: Settings) -> None:
    if settings.database_url:
        raise NoRunError(
            "the database is not a file in the data folder (setting database_url): empty it by "
            "hand, and name a new --data folder instead of --fresh"
        )
    check_run(settings.data)


@asynccontextmanager
async def _demo(options: DemoOptions) -> AsyncIterator[Demo]:
    settings, story = options.settings, lindenhof()
    async with AsyncExitStack() as stack:
        house, clock, figures = _open_house(options, story, stack)
        board = LiveBoard()
        web = create_app(
            house,
            board,
            DatabaseViews(house, board, frozenset(story.manager), _speed_text(options), story.idle),
            SessionStore(house.database, story.prosumer),
        )
        port = 0 if options.headless else settings.port
        url = await stack.enter_async_context(serving(web, settings.host, port))
        write_keys(house)
        options.on_ready(url)
        meters = await stack.enter_async_context(
            MeterServer(story.meters(clock.now_ms, options.seed))
        )
        gateway, events = await open_gateway(stack, house, meters.port, url, board)
        yield Demo(options, house, clock, figures, gateway, events, _worker(options, house))


def _open_house(
    options: DemoOptions, story: Lindenhof, stack: AsyncExitStack
) -> tuple[House, SimulatedClock, Callable[[], LedgerFigures]]:
    settings = options.settings
    keyring = Keyring.open(settings.data / "keys", mldsa=settings.mldsa)
    database = Database(settings.sqlalchemy_url)
    stack.callback(database.close)
    database.migrate()
    ledger = open_ledger(settings, keyring, story.treasury_units)
    stack.callback(ledger.close)
    founding = story.founding(options.seed)
    with database.write() as session:
        clock = SimulatedClock(found(session, settings, keyring, founding).clock_ms)
    house = House(
        settings, database, keyring, clock, ledger.ledger, ledger.reader, ledger.milestones
    )
    return house, clock, ledger.figures


def _worker(options: DemoOptions, house: House) -> Worker:
    def tell(key: str) -> None:
        with house.database.read() as session:
            row = session.get_one(IntervalRow, key)
        options.on_sealed(
            {
                "interval": row.key,
                "price_micro_per_kwh": row.price_micro_per_kwh,
                "traded_wh": row.traded_wh,
                "seal_index": row.seal_index,
            }
        )

    return Worker(house, tell)


def _speed_text(options: DemoOptions) -> str:
    return "at full speed" if options.speed is None else f"x{options.speed:g}"

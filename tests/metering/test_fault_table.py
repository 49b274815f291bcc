"""The fault table of docs/faults.md, row by row, over real Modbus TCP to the district's door.

All meters of the table live through the same three quarter-hours side by side: the first is
sound, each has its fault in the second (from minute 20 on), the third is sound again. What each
comes to is asked row by row.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from sqlmodel import col

from app.main import create_app
from app.services import changes
from app.services.founding import GATEWAY_NAME
from app.services.meter_change import Values
from app.services.sessions import SessionStore
from app.tables import GatewayEventRow, NoticeRow, ReadingRow
from metering.batch import Batch
from metering.event import Event, Finding, Kind, clock_jump
from metering.event_spool import EventSpool, HttpEventSender, Reporter, send_events
from metering.lines.config import TcpLine
from metering.lines.line import open_line
from metering.lines.meter import ModbusMeter
from metering.poller import Meter, Poller
from metering.reading import Clock
from metering.sender import HttpSender
from metering.simulator import Fault, MeterServer, Request, SimulatedMeter
from metering.spool import Answer, Signer, Spool
from metering.watchman import Watchman
from tests.app.district_kit import START, Kit, key
from tests.metering.fault_rows import (
    DECIDED_AT,
    GRACE_OVER,
    MINUTES,
    MODULUS_WH,
    NAMES,
    PER_MINUTE_WH,
    POWER_W,
    PROFILE,
    ROWS,
    SOUND,
    Row,
    Shows,
)


@dataclass
class Stand:
    """One row's meter, the line to it and what watches it."""

    row: Row
    shows: Shows
    simulated: SimulatedMeter
    poller: Poller
    minute: int = 0

    def turn(self, minute: int) -> None:
        self.minute = minute
        self.shows.import_wh = (self.row.starts_at + minute * PER_MINUTE_WH) % MODULUS_WH
        self.shows.export_wh, self.shows.watts = 7_000, POWER_W
        self.row.shows(minute, self.shows)
        self.simulated.missing = self.row.missing(minute)
        self.simulated.tamper = self.row.trouble(minute) or _calm


async def _calm(_request: Request) -> Fault:
    return None


@dataclass
class Table:
    """The district in which it all happens."""

    kit: Kit
    events: EventSpool
    spool: Spool
    stands: dict[str, Stand] = field(default_factory=dict)

    async def live(self) -> None:
        async with AsyncExitStack() as stack:
            await self._open(stack)
            app = create_app(
                self.kit.house, self.kit.board, self.kit.views(),
                SessionStore(self.kit.database, None),
            )  # fmt: skip
            road = httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://localhost"
            )
            await stack.enter_async_context(road)
            for minute in MINUTES:
                self.kit.to(minute + 0.001)
                await asyncio.gather(*(self._poll(name, minute) for name in self.stands))
                await self._send(road)
                if minute in GRACE_OVER:
                    self.kit.settle()
                if minute == DECIDED_AT:
                    self._decide("true reset")

    async def _open(self, stack: AsyncExitStack) -> None:
        for unit, (title, row) in enumerate(ROWS.items(), start=1):
            shows, home = Shows(row.starts_at), self.kit.homes[NAMES[title]]
            clock = self.kit.clock.now_ms
            simulated = SimulatedMeter(PROFILE, unit, home.serial, shows, clock)
            server = await stack.enter_async_context(MeterServer([simulated]))
            timeout_ms = 400 if title == "time-out" else 5_000
            config = TcpLine(name=title, host="127.0.0.1", port=server.port, timeout_ms=timeout_ms)
            line = await stack.enter_async_context(open_line(config))
            signer = Signer(self.kit.enrolment(home), self.kit.keyring.meter(home.key_name))
            watchman = Watchman.after(signer, self.events, 50_000, None)
            source = ModbusMeter(line.unit(unit), clock, tries=1, busy_pauses_s=(0.01, 0.01))
            stand = Stand(row, shows, simulated, _poller(signer, source, watchman, self.kit, row))
            self.stands[title] = stand

    async def _poll(self, title: str, minute: int) -> None:
        stand = self.stands[title]
        stand.turn(minute)
        measured = await stand.poller.poll(stand.poller.points, even_failing=True)
        self.spool.append(
            [
                (stand.poller.signer(point, each.answered_ms), each)
                for point, each in measured.items()
            ]
        )
        if title == "clock jump" and minute == 20:
            self._jump(stand.poller.points[0])

    def _jump(self, point: str) -> None:
        """The clock is set on by an hour while the one that counts up goes on by a minute."""
        now = self.kit.clock.now_ms()
        by_ms = clock_jump((now - 3_660_000, 0), (now, 60_000), 1_000)
        assert by_ms == 3_600_000
        finding = Finding(Kind.CLOCK_JUMP, {"by_ms": by_ms})
        self.events.report(Event(finding, point, now, Clock.UNKNOWN))

    async def _send(self, road: httpx.AsyncClient) -> None:
        kit = self.kit
        sender = HttpSender("http://localhost", road)
        while items := self.spool.unacknowledged():
            batch = Batch.pack(
                [item.reading for item in items], kit.keyring.gateway, kit.settings.origin,
                GATEWAY_NAME, kit.clock.now_ms(),
            )  # fmt: skip
            found = await sender.post(batch)
            assert [each.status for each in found] == [200] * len(items), found
            self.spool.acknowledge(
                [Answer(item.id, 200, receipt="{}") for item in items], kit.clock.now_ms()
            )
        await send_events(self.events, HttpEventSender("http://localhost", road), kit.clock.now_ms)
        assert self.events.pending() == 0

    def _decide(self, title: str) -> None:
        """Approve what was proposed: last good is minute 19, the new epoch begins with 22."""
        pending, last, first = (self.reading(title, minute) for minute in (25, 19, 22))
        assert pending
        assert (pending.epoch, pending.flags, pending.quality) == (
            2, "epoch_pending", "questionable",
        )  # fmt: skip
        assert last
        assert first
        with self.kit.database.write() as session:
            (change,) = changes.listed(session, [self.point(title)])
            assert change.closing == Values(last.answered_ms, 101_900, 7_000)
            assert change.opening == Values(first.answered_ms, 200, 0)
            changes.approve(self.kit.house, session, change.id, "the manager")

    # --- What came of it -------------------------------------------------------------------------

    def point(self, title: str) -> str:
        return self.kit.homes[NAMES[title]].point

    def reading(self, title: str, minute: int) -> ReadingRow | None:
        at = START.start_ms + minute * 60_000
        rows = self.kit.rows(
            ReadingRow,
            ReadingRow.point == self.point(title),
            col(ReadingRow.answered_ms).between(at, at + 59_000),
        )
        return rows[0] if rows else None

    def kinds(self, title: str) -> set[str]:
        rows = self.kit.rows(GatewayEventRow, GatewayEventRow.point == self.point(title))
        return {row.kind for row in rows}

    def notices(self, title: str) -> list[NoticeRow]:
        return self.kit.rows(NoticeRow, NoticeRow.point == self.point(title))


def _poller(signer: Signer, source: ModbusMeter, watchman: Watchman, kit: Kit, row: Row) -> Poller:
    def clock() -> Clock:
        return row.clock((kit.clock.now_ms() - START.start_ms) // 60_000)

    return Poller([Meter(signer, source, PROFILE, watchman)], kit.clock.now_ms, clock, 30.0)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    folder: Path = tmp_path_factory.mktemp("faults")
    kit = Kit(folder, f"sqlite:///{folder / 'district.db'}", names=list(NAMES.values()))
    reporter = Reporter(kit.settings.origin, GATEWAY_NAME, kit.keyring.gateway)
    spool = Spool.open(folder / "spool.db")
    events = EventSpool.open(folder / "spool.db", reporter)
    table = Table(kit, events, spool)
    asyncio.run(table.live())
    yield table
    events.close()
    spool.close()
    kit.close()


@pytest.mark.parametrize("title", ROWS)
def test_row(table: Table, title: str) -> None:
    row, found = ROWS[title], table.reading(title, 20)
    assert (None if found is None else found.quality) == row.quality
    assert ("" if found is None else found.flags.replace("gap", "").strip()) == row.flags
    assert table.kinds(title) == set(map(str, row.events))
    told = [notice.ref.split("/")[1] for notice in table.notices(title) if "event/" in notice.ref]
    assert set(told) == set(map(str, row.events))
    slot = table.kit.slot(key(1), NAMES[title])
    assert (slot.import_wh, slot.export_wh, slot.estimated) == row.energy
    for number in (0, 1):
        assert table.kit.prove(key(number), NAMES[title]).code == 0


def test_a_small_step_back_is_held(table: Table) -> None:
    held, before = table.reading("small step back", 20), table.reading("small step back", 19)
    assert held is not None
    assert before is not None
    assert held.import_wh == before.import_wh


def test_a_rolled_over_counter_counts_on(table: Table) -> None:
    found = table.reading("roll-over", 30)
    assert found is not None
    assert found.import_wh == MODULUS_WH - 1_950 + 30 * PER_MINUTE_WH


def test_a_missing_counter_is_never_0(table: Table) -> None:
    found = table.reading("NaN or a sentinel", 20)
    assert found is not None
    assert found.import_wh is None


def test_an_approved_reset_counts_what_lay_on_both_sides(table: Table) -> None:
    kit, name = table.kit, NAMES["true reset"]
    healed = table.reading("true reset", 25)
    assert healed is not None
    assert (healed.flags, healed.quality) == ("", "measured")
    corrections = kit.corrections(name)
    assert corrections.keys() == {key(1), key(2)}
    total = sum(import_wh for import_wh, _ in corrections.values())
    assert total == (19 - 15) * PER_MINUTE_WH + (45 - 22) * PER_MINUTE_WH
    assert kit.energy(key(3), name) == SOUND  # in the new epoch, and provable
    for number in range(4):
        assert kit.prove(key(number), name).code == 0
    kit.check()


def test_the_page_of_faults_says_the_same(table: Table) -> None:
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text("utf-8")
    lines = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", page, re.MULTILINE)
    written = {name.strip(): (flag, kinds) for name, _, flag, kinds in lines}
    assert written.keys() >= ROWS.keys()
    for title, row in ROWS.items():
        flag, kinds = written[title]
        quality = "no reading" if row.quality is None else row.quality
        assert quality in flag, title
        assert set(re.findall(r"`([a-z_]+)`", flag)) >= set(row.flags.split()), title
        assert {f"`{kind}`" for kind in row.events} <= set(re.findall(r"`[a-z-]+`", kinds)), title

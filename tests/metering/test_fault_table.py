"""The fault table of docs/faults.md, row by row, over real Modbus TCP to the district's door.

All meters of the table live through the same three quarter-hours side by side: the first is
sound, each has its fault in the second (from minute 20 on), the third is sound again. What each
comes to is asked row by row.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from pymodbus.constants import ExcCodes
from sqlmodel import col

from app.main import create_app
from app.services import changes
from app.services.founding import GATEWAY_NAME
from app.services.meter_change import Values
from app.services.sessions import SessionStore
from app.tables import GatewayEventRow, NoticeRow, ReadingRow
from metering.batch import Batch
from metering.event import Event, Finding, Kind, Reporter, clock_jump
from metering.event_spool import EventSpool, HttpEventSender, send_events
from metering.lines.config import TcpLine
from metering.lines.line import open_line
from metering.lines.meter import ModbusMeter
from metering.poller import Meter, Poller
from metering.profiles import parse_profile
from metering.reading import Clock
from metering.registers import encode_text
from metering.sender import HttpSender
from metering.simulator import Fault, MeterServer, Request, Silence, SimulatedMeter
from metering.spool import Answer, Signer, Spool
from metering.watchman import Watchman
from tests.app.district_kit import START, Kit, key

MODULUS_WH = 1_000_000
PROFILE = replace(
    parse_profile(
        "simulated",
        f"""
title = "A meter of the test"
source = "this test"
layout = "fixed"
function = 3
read = [{{address = 0, count = 8}}, {{address = 100, count = 2}}]
[quantity.import_total]
address = 0
type = "uint32"
unit = "Wh"
missing = ["0xFFFFFFFF"]
modulus = "{MODULUS_WH}"
[quantity.power]
address = 2
type = "int32"
unit = "W"
[quantity.voltage_l1]
address = 4
type = "float32"
unit = "V"
[quantity.frequency]
address = 6
type = "float32"
unit = "Hz"
[quantity.export_total]
address = 100
type = "uint32"
unit = "Wh"
missing = ["0xFFFFFFFF"]
[serial]
address = 200
type = "text"
words = 16
""",
    ),
    name="simulated",
)
POWER_W = 6_000
PER_MINUTE_WH = POWER_W // 60
MINUTES = (0, 5, 10, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 29, 30, 31, 40, 45, 60)
GRACE_OVER = (20, 40, 45, 60)
DECIDED_AT = 45

SOUND = (1_500, 0, False)


@dataclass
class Shows:
    """What a meter's registers hold, to be changed; it is also the curve that is simulated."""

    import_wh: int = 0
    export_wh: int = 7_000
    watts: int = POWER_W

    def import_milli_wh(self, at_ms: int) -> int:
        return self.import_wh * 1_000

    def export_milli_wh(self, at_ms: int) -> int:
        return self.export_wh * 1_000

    def power_w(self, at_ms: int) -> int:
        return self.watts


Trouble = Callable[[Request], Awaitable[Fault]]


@dataclass(frozen=True)
class Row:
    """One row: what the meter does from minute 20 on, and what has to come of it.

    ``quality`` and ``flags`` are those of the reading of minute 20 (None: there is none);
    ``energy`` is what the quarter-hour of the fault settles with at first.
    """

    quality: str | None
    flags: str
    events: set[Kind]
    energy: tuple[int, int, bool] | None = SOUND
    starts_at: int = 100_000
    shows: Callable[[int, Shows], None] = lambda minute, shows: None
    trouble: Callable[[int], Trouble | None] = lambda minute: None
    missing: Callable[[int], frozenset[str]] = lambda minute: frozenset()
    clock: Callable[[int], Clock] = lambda minute: Clock.SYNCHRONISED


def at_20(change: Callable[[Shows], None]) -> Callable[[int, Shows], None]:
    return lambda minute, shows: change(shows) if minute == 20 else None


def from_20(change: Callable[[int, Shows], None]) -> Callable[[int, Shows], None]:
    return lambda minute, shows: change(minute - 20, shows) if minute >= 20 else None


def answers(fault: Fault, minutes: tuple[int, ...] = (20,)) -> Callable[[int], Trouble | None]:
    async def trouble(request: Request) -> Fault:
        return fault

    return lambda minute: trouble if minute in minutes else None


def serial_is(text: str, minutes: Callable[[int], bool]) -> Callable[[int], Trouble | None]:
    """Another meter's serial number answers."""
    field = PROFILE.serial
    assert field is not None
    words = encode_text(field, text)
    data = b"".join(word.to_bytes(2, "big") for word in words)

    async def trouble(request: Request) -> Fault:
        return (lambda frame: frame[:9] + data) if request.address == 200 else None

    return lambda minute: trouble if minutes(minute) else None


def lacks_export(minute: int) -> Trouble:
    async def trouble(request: Request) -> Fault:
        return ExcCodes.ILLEGAL_ADDRESS if request.address == 100 else None

    return trouble


def swaps_words(minute: int) -> Trouble | None:
    """Voltage and frequency come with their words swapped."""

    async def trouble(request: Request) -> Fault:
        def swap(frame: bytes) -> bytes:
            at = 9 + 2 * 4
            v, f = frame[at : at + 4], frame[at + 4 : at + 8]
            return frame[:at] + v[2:] + v[:2] + f[2:] + f[:2] + frame[at + 8 :]

        return swap if request.address == 0 else None

    return trouble if minute >= 20 else None


def shorter(frame: bytes) -> bytes:
    """A well-formed reply with one register fewer."""
    return frame[:5] + bytes([frame[5] - 2]) + frame[6:8] + bytes([frame[8] - 2]) + frame[9:-2]


def longer(frame: bytes) -> bytes:
    return (
        frame[:5] + bytes([frame[5] + 2]) + frame[6:8] + bytes([frame[8] + 2]) + frame[9:] + b"\0\7"
    )


def foreign(frame: bytes) -> bytes:
    return frame[:7] + bytes([4]) + frame[8:]


def set_import(value: int) -> Callable[[Shows], None]:
    return lambda shows: setattr(shows, "import_wh", value)


def _reset(minute: int, shows: Shows) -> None:
    shows.import_wh = shows.export_wh = 0
    shows.import_wh = minute * PER_MINUTE_WH


def _a_little_less(shows: Shows) -> None:
    shows.import_wh, shows.watts = 100_000 + 19 * PER_MINUTE_WH - 1, 0


def _stuck(minute: int, shows: Shows) -> None:
    if minute > 17:
        shows.import_wh = 100_000 + (17 + max(0, minute - 30)) * PER_MINUTE_WH


def _swapped(minute: int, shows: Shows) -> None:
    if 16 <= minute <= 30:
        shows.watts = -POWER_W


PENDING = {Kind.RESET}
EXCHANGED = {Kind.EXCHANGED}
ROWS: Mapping[str, Row] = {
    "zero blip": Row("invalid", "counter_fell", {Kind.BLIP}, shows=at_20(set_import(0))),
    "true reset": Row(
        "invalid", "counter_fell", PENDING, energy=(0, 0, True), shows=from_20(_reset)
    ),
    "meter exchange": Row(
        "invalid",
        "counter_fell",
        EXCHANGED,
        energy=(0, 0, True),
        shows=from_20(lambda minute, shows: setattr(shows, "import_wh", 5 + minute)),
        trouble=serial_is("another meter", lambda minute: minute >= 20),
    ),
    "small step back": Row(
        "measured",
        "",
        {Kind.STEPPED_BACK},
        shows=at_20(_a_little_less),
    ),
    "larger step back": Row(
        "invalid",
        "counter_fell",
        PENDING,
        energy=(0, 0, True),
        shows=from_20(lambda minute, shows: setattr(shows, "import_wh", shows.import_wh - 9_000)),
    ),
    "roll-over": Row("measured", "", {Kind.ROLLED_OVER}, starts_at=MODULUS_WH - 1_950),
    "spike": Row(
        "questionable",
        "impossible_power",
        {Kind.SPIKE},
        shows=at_20(lambda shows: setattr(shows, "import_wh", shows.import_wh + 50_000)),
    ),
    "stuck counter": Row("questionable", "stuck", {Kind.STUCK}, energy=(0, 0, True), shows=_stuck),
    "direction swap": Row(
        "questionable", "direction", {Kind.DIRECTION}, energy=(0, 0, True), shows=_swapped
    ),
    "swapped words": Row(
        "questionable", "", {Kind.IMPLAUSIBLE}, energy=(0, 0, True), trouble=swaps_words
    ),
    "NaN or a sentinel": Row(
        "missing",
        "",
        {Kind.MISSING},
        missing=lambda minute: frozenset({"import_total"} if minute == 20 else ()),
    ),
    "time-out": Row(None, "", {Kind.TIME_OUT, Kind.ANSWERS_AGAIN}, trouble=answers(Silence.DROP)),
    "busy (0x06)": Row(
        None, "", {Kind.BUSY, Kind.ANSWERS_AGAIN}, trouble=answers(ExcCodes.DEVICE_BUSY)
    ),
    "meter down (0x0A, 0x0B)": Row(
        None, "", {Kind.OFFLINE, Kind.ANSWERS_AGAIN}, trouble=answers(ExcCodes.GATEWAY_NO_RESPONSE)
    ),
    "register absent (0x02)": Row("measured", "", {Kind.ABSENT}, trouble=lacks_export),
    "short reply": Row(None, "", {Kind.BAD_REPLY, Kind.ANSWERS_AGAIN}, trouble=answers(shorter)),
    "long reply": Row(None, "", {Kind.BAD_REPLY, Kind.ANSWERS_AGAIN}, trouble=answers(longer)),
    "foreign reply": Row(None, "", {Kind.BAD_REPLY, Kind.ANSWERS_AGAIN}, trouble=answers(foreign)),
    "unit clash": Row(
        "invalid",
        "",
        {Kind.EXCHANGED, Kind.UNIT_CLASH},
        trouble=serial_is("another meter", lambda minute: minute == 20),
    ),
    "clock jump": Row(
        "questionable",
        "not_settleable_clock",
        {Kind.CLOCK_JUMP},
        clock=lambda minute: Clock.UNKNOWN if minute == 20 else Clock.SYNCHRONISED,
    ),
}
NAMES = {row: f"r{number}" for number, row in enumerate(ROWS, start=1)}


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
        self.spool.append([(stand.poller.signer(point), each) for point, each in measured.items()])
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

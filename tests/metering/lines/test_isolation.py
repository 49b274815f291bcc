"""A slow or dead unit delays no other on its line by more than a second, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from metering.lines.config import LineConfig, SerialLine, TcpLine
from metering.lines.errors import MeterError, MeterTimeoutError, MeterUnreachableError
from metering.lines.line import SHARED_TIMEOUT_S, Line
from metering.lines.turns import SHARE_S
from metering.registers import ReadRange
from tests.metering.virtual_time import run

PROMPT_S = 0.02
BUS = SerialLine(name="bus", device="/dev/null", baud=115_200, timeout_ms=10_000, gap_ms=0)
GATEWAY = TcpLine(name="gateway", host="nowhere", timeout_ms=10_000)
READS = 3


@dataclass
class Wire:
    """A transport in memory: each unit takes its time; ``None`` never answers."""

    takes_s: dict[int, float | None]
    log: list[int] = field(default_factory=list)
    is_open: bool = False
    opens: int = 0
    refuses: bool = False

    async def open(self, within_s: float) -> None:
        self.opens += 1
        if self.refuses:
            raise MeterUnreachableError("nobody there")
        self.is_open = True

    async def ask(self, unit: int, wanted: ReadRange, within_s: float) -> list[int]:
        self.log.append(unit)
        await self._take_time(unit, within_s)
        return [unit] * wanted.count

    async def sync(self, unit: int, within_s: float) -> None:
        await self._take_time(unit, within_s)

    async def _take_time(self, unit: int, within_s: float) -> None:
        assert self.is_open
        takes_s = self.takes_s[unit]
        if takes_s is None or takes_s > within_s:
            await asyncio.sleep(within_s)
            raise MeterTimeoutError(f"unit {unit}")
        await asyncio.sleep(takes_s)

    def close(self) -> None:
        self.is_open = False


async def keep_polling(line: Line, unit: int, period_s: float, until_s: float) -> list[float]:
    """Poll ``unit`` again and again, as a gateway does; how long each poll took that answered."""
    loop = asyncio.get_running_loop()
    reader = line.unit(unit)
    took: list[float] = []
    while loop.time() < until_s:
        due = loop.time()
        try:
            await reader.turn()
            for address in range(READS):
                assert await reader.read(3, address, 1) == [unit]
        except MeterError:
            pass
        else:
            took.append(loop.time() - due)
        await asyncio.sleep(max(0.0, due + period_s - loop.time()))
    return took


async def poll_all(
    config: LineConfig, wire: Wire, period_s: float, until_s: float
) -> dict[int, list[float]]:
    async with Line(config, wire) as line:
        took = await asyncio.gather(
            *(keep_polling(line, unit, period_s, until_s) for unit in wire.takes_s)
        )
    return dict(zip(wire.takes_s, took, strict=True))


SLOW_S = 0.4

CASES: Sequence[tuple[str, dict[int, float | None]]] = [
    ("one dead", {9: None}),
    ("one slow", {9: SLOW_S}),
    ("slow and dead", {9: SLOW_S, 10: SLOW_S, 11: None, 12: None}),
    ("too slow", {9: 30.0, 10: 0.9}),
]


@pytest.mark.parametrize("config", [BUS, GATEWAY], ids=lambda c: c.kind)
@pytest.mark.parametrize("others", [others for _, others in CASES], ids=[n for n, _ in CASES])
def test_healthy_units_wait_for_one_bad_request_at_most(
    config: LineConfig, others: dict[int, float | None]
) -> None:
    healthy: dict[int, float | None] = {1: PROMPT_S, 2: PROMPT_S, 3: PROMPT_S}
    alone = run(poll_all(config, Wire(healthy), 1.0, 10.0))
    mixed = run(poll_all(config, Wire(others | healthy), 1.0, 40.0))
    for unit in healthy:
        # At first nobody knows who is dead: where there are several, each costs its time-out
        # once, and twice where the line excused it for its neighbour's.
        settled = mixed[unit] if len(others) == 1 else mixed[unit][4:]
        assert len(settled) > 30, "healthy units were starved"
        assert max(settled) - max(alone[unit]) <= 1.0


def test_a_unit_that_dies_holds_up_no_other_for_a_second() -> None:
    wire = Wire({1: PROMPT_S, 2: PROMPT_S, 9: PROMPT_S})

    async def scenario() -> dict[int, list[float]]:
        async def fail() -> None:
            await asyncio.sleep(20)
            wire.takes_s[9] = None

        failing = asyncio.create_task(fail())
        took = await poll_all(BUS, wire, 1.0, 40.0)
        await failing
        return took

    took = run(scenario())
    for unit in (1, 2):
        assert max(took[unit]) <= 9 * PROMPT_S + 1.0
        assert len(took[unit]) >= 38
    assert 19 <= len(took[9]) <= 21


def test_a_slow_unit_is_still_read_on_a_line_that_is_never_free() -> None:
    """Three units that ask without a pause leave it one request in SHARE_S."""
    wire = Wire({1: PROMPT_S, 2: PROMPT_S, 3: PROMPT_S, 9: SLOW_S})
    took = run(poll_all(BUS, wire, 0.0, 30.0))
    asked = wire.log.count(9)
    assert 30 / (SHARE_S + 1) <= asked <= 30 / SHARE_S + 3
    assert len(took[9]) >= asked // READS - 1
    assert min(len(took[unit]) for unit in (1, 2, 3)) > 30 * 0.8 / (3 * READS * PROMPT_S)


def test_a_unit_alone_on_its_line_has_all_its_time() -> None:
    took = run(poll_all(BUS, Wire({9: 4.0}), 20.0, 100.0))
    assert len(took[9]) == 5


def test_a_poll_is_not_cut_in_pieces_by_its_neighbours() -> None:
    """Its window [asked, answered] stays as short as its own reads take."""
    wire = Wire(dict.fromkeys(range(1, 21), PROMPT_S))
    run(poll_all(BUS, wire, 5.0, 4.0))
    assert wire.log == [unit for unit in range(1, 21) for _ in range(READS)]


def test_nobody_at_the_other_end_fails_fast_and_is_tried_less_and_less() -> None:
    wire = Wire({1: PROMPT_S, 2: PROMPT_S}, refuses=True)
    took = run(poll_all(GATEWAY, wire, 0.1, 60.0))
    assert took == {1: [], 2: []}
    assert 12 <= wire.opens <= 16
    wire.refuses = False
    assert run(poll_all(GATEWAY, wire, 0.5, 1.0))[1]


def test_a_call_that_is_given_up_costs_neither_the_line_nor_the_next() -> None:
    wire = Wire({1: PROMPT_S, 2: SHARED_TIMEOUT_S / 2})

    async def scenario() -> None:
        async with Line(GATEWAY, wire) as line:
            line.unit(1)
            under_way = asyncio.create_task(line.unit(2).read(3, 0, 1))
            queued = asyncio.create_task(line.unit(2).read(3, 1, 1))
            await asyncio.sleep(PROMPT_S)
            under_way.cancel()
            queued.cancel()
            assert await line.unit(1).read(3, 0, 2) == [1, 1]
            assert wire.log == [2, 1]
            assert wire.opens == 1

    run(scenario())


def test_a_closed_line_says_so_to_all_who_wait() -> None:
    async def scenario() -> None:
        line = Line(BUS, Wire({1: None}))
        waiting = [asyncio.create_task(line.unit(1).read(3, n, 1)) for n in range(3)]
        await asyncio.sleep(1)
        await line.close()
        for task in waiting:
            with pytest.raises(MeterUnreachableError, match="line bus was closed"):
                await task
        with pytest.raises(MeterUnreachableError, match="line bus was closed"):
            await line.connect()

    run(scenario())

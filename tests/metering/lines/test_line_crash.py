"""A line whose worker fails unforeseen begins again, and no other line notices."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from metering.lines.line import Line
from metering.registers import ReadRange
from tests.metering.lines.test_isolation import GATEWAY, Wire
from tests.metering.virtual_time import run


@dataclass
class Brittle(Wire):
    """Fails ``crashes`` times in a way that no transport should."""

    crashes: int = 1

    async def ask(self, unit: int, wanted: ReadRange, within_s: float) -> list[int]:
        if self.crashes:
            self.crashes -= 1
            raise ZeroDivisionError("a bug")
        return await super().ask(unit, wanted, within_s)


def test_a_crash_stays_on_its_line_and_in_its_request() -> None:
    async def story() -> None:
        brittle, sound = Brittle({1: 0.01, 2: 0.01}), Wire({1: 0.01})
        async with Line(GATEWAY, brittle) as broken, Line(GATEWAY, sound) as other:
            first, second = broken.unit(1), broken.unit(2)
            neighbour = asyncio.create_task(other.unit(1).read(3, 0, 2))
            with pytest.raises(ZeroDivisionError):
                await first.read(3, 0, 2)
            worker = other._worker
            assert await neighbour == [1, 1]
            assert [await first.read(3, 0, 2), await second.read(3, 0, 2)] == [[1, 1], [2, 2]]
            assert await other.unit(1).read(3, 0, 2) == [1, 1]
            assert other._worker is worker
            assert (brittle.opens, sound.opens) == (2, 1)

    run(story())


def test_whoever_queued_behind_a_crash_is_served_with_the_next_request() -> None:
    async def story() -> None:
        async with Line(GATEWAY, Brittle({1: 0.01, 2: 0.01})) as line:
            failing = asyncio.create_task(line.unit(1).read(3, 0, 2))
            queued = asyncio.create_task(line.unit(2).read(3, 0, 2))
            with pytest.raises(ZeroDivisionError):
                await failing
            assert await line.unit(1).read(3, 0, 2) == [1, 1]
            assert await queued == [2, 2]

    run(story())

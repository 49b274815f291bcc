"""A late reply never shifts answers: no value is ever taken for another request's.

Every register says which unit and which address it is, so that any shift shows.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from metering.lines.config import SerialLine
from metering.lines.errors import MeterError
from metering.lines.line import Line, open_line
from tests.conftest import LONG
from tests.metering.line_kit import rtu_line, tcp_line
from tests.metering.misbehaving import (
    BAD_CHECKSUM,
    RESET,
    RIGHT,
    SILENT,
    Act,
    Asked,
    Gateway,
    Meter,
    SerialBus,
    coded,
    exception,
    foreign_function,
    foreign_unit,
    garbage,
    late,
    short,
)

LINES = 40 if LONG else 2
ANSWERS = 125 if LONG else 20  # each, and about as many polls without one
TIMEOUT_S = 0.04
UNITS = range(1, 6)
FAULTS = (
    SILENT, BAD_CHECKSUM, RESET, exception(0x06), exception(0x0B), short(1), foreign_unit(31),
    foreign_function(3), garbage(b"\x01\x04\xff" * 3), garbage(b"\x00\xff", before=True),
)  # fmt: skip


class Mischief:
    """Units that answer late, wrongly or not at all, as a seed decides."""

    def __init__(self, seed: int, latest_s: float, faults: Sequence[Act] = FAULTS) -> None:
        self.faults = faults
        self.chance = np.random.default_rng(seed)
        self.latest_s = latest_s
        self.acts: Counter[str] = Counter()

    def __call__(self, _asked: Asked) -> Act:
        throw = self.chance.random()
        if throw < 0.7:
            self.acts["right"] += 1
            return RIGHT
        act = RIGHT if throw < 0.88 else self.faults[int(self.chance.integers(len(self.faults)))]
        delay_s = float(self.chance.uniform(0.0, self.latest_s))
        self.acts["late" if delay_s > TIMEOUT_S and act is RIGHT else "other"] += 1
        return late(delay_s, act)


async def poll_at_random(line: Line, seed: int) -> Counter[str]:
    """Read blocks of random units, give some up on the way, and check what comes back."""
    chance = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()

    async def one() -> None:
        unit, address = UNITS[chance.integers(len(UNITS))], int(chance.integers(2_000))
        # Two lengths only, so that a wrong reply is seldom given away by its length.
        wanted = int(chance.choice((2, 4)))
        patience_s = (None, None, 0.1, 0.5, 2.0)[chance.integers(5)]
        try:
            async with asyncio.timeout(None if patience_s is None else patience_s * TIMEOUT_S):
                found = await line.unit(unit).read(4, address, wanted)
        except (MeterError, TimeoutError) as error:
            outcomes[type(error).__name__] += 1
        else:
            assert found == coded(unit, address, wanted), "a reply was taken for another request's"
            outcomes["right"] += 1

    async def asker() -> None:
        while outcomes["right"] < ANSWERS:
            await one()

    async with asyncio.TaskGroup() as tasks:
        for _ in UNITS:
            tasks.create_task(asker())
    return outcomes


def check(outcomes: Counter[str], mischief: Mischief) -> None:
    assert outcomes["TimeoutError"], "nothing was given up"
    assert outcomes["MeterTimeoutError"], "nothing came too late"
    assert mischief.acts["late"]


@pytest.mark.parametrize("kind", ["rtu", "converter", "mbap"])
def test_no_value_is_attributed_to_the_wrong_request(kind: str) -> None:
    """A ``converter`` passes what the bus says late to whoever is connected by then."""

    async def one_line(seed: int) -> None:
        # MBAP has no checksum: the network below it has.
        faults = tuple(act for act in FAULTS if kind != "mbap" or act is not BAD_CHECKSUM)
        mischief = Mischief(seed, 4 * TIMEOUT_S, faults)
        gateway = Gateway(
            {unit: Meter(mischief) for unit in UNITS},
            framing="mbap" if kind == "mbap" else "rtu",
            transparent=kind == "converter",
        )
        make = tcp_line if kind == "mbap" else rtu_line
        async with gateway, make(gateway.port, timeout_s=TIMEOUT_S) as line:
            check(await poll_at_random(line, seed), mischief)

    async def scenario() -> None:
        await asyncio.gather(*map(one_line, range(LINES)))

    asyncio.run(scenario())


def test_no_value_is_attributed_to_the_wrong_request_on_a_serial_bus() -> None:
    async def one_line(seed: int) -> None:
        # A reset would be an adapter that is pulled out for good.
        faults = tuple(act for act in FAULTS if not act.reset)
        mischief = Mischief(seed, 2 * TIMEOUT_S, faults)
        async with SerialBus({unit: Meter(mischief) for unit in UNITS}) as bus:
            config = SerialLine(
                name="bus", device=bus.device, baud=1_000_000, timeout_ms=40, gap_ms=0
            )
            async with open_line(config) as line:
                check(await poll_at_random(line, seed), mischief)

    async def scenario() -> None:
        await asyncio.gather(*map(one_line, range(LINES)))

    asyncio.run(scenario())

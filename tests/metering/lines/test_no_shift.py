"""A late reply never shifts answers: no value is ever taken for another request's.

Every register says which unit and which address it is, so that any shift shows.
"""

from __future__ import annotations

import asyncio
from collections import Counter

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

POLLS = 10_000 if LONG else 100
TIMEOUT_S = 0.04
UNITS = range(1, 6)
FAULTS = (
    SILENT, BAD_CHECKSUM, RESET, exception(0x06), exception(0x0B), short(1), foreign_unit(31),
    foreign_function(3), garbage(b"\x01\x04\xff" * 3), garbage(b"\x00\xff", before=True),
)  # fmt: skip


class Mischief:
    """Units that answer late, wrongly or not at all, as a seed decides."""

    def __init__(self, seed: int, latest_s: float) -> None:
        self.chance = np.random.default_rng(seed)
        self.latest_s = latest_s
        self.acts: Counter[str] = Counter()

    def __call__(self, _asked: Asked) -> Act:
        throw = self.chance.random()
        if throw < 0.6:
            self.acts["right"] += 1
            return RIGHT
        act = RIGHT if throw < 0.85 else FAULTS[self.chance.integers(len(FAULTS))]
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
        while outcomes.total() < POLLS:
            await one()

    await asyncio.gather(*(asker() for _ in UNITS))
    return outcomes


def check(outcomes: Counter[str], mischief: Mischief) -> None:
    assert outcomes["right"] > POLLS / 5
    assert outcomes["TimeoutError"] > POLLS / 50, "nothing was given up"
    assert outcomes["MeterTimeoutError"] > POLLS / 100, "nothing came too late"
    assert mischief.acts["late"] > POLLS / 100


@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize("kind", ["rtu", "converter", "mbap"])
def test_no_value_is_attributed_to_the_wrong_request(kind: str, seed: int) -> None:
    """A ``converter`` passes what the bus says late to whoever is connected by then."""

    async def scenario() -> None:
        mischief = Mischief(seed, TIMEOUT_S * 4)
        gateway = Gateway(
            {unit: Meter(mischief) for unit in UNITS},
            framing="mbap" if kind == "mbap" else "rtu",
            transparent=kind == "converter",
        )
        make = tcp_line if kind == "mbap" else rtu_line
        async with gateway, make(gateway.port, timeout_s=TIMEOUT_S) as line:
            check(await poll_at_random(line, seed), mischief)

    asyncio.run(scenario())


def test_no_value_is_attributed_to_the_wrong_request_on_a_serial_bus() -> None:
    async def scenario() -> None:
        mischief = Mischief(7, TIMEOUT_S * 4)
        async with SerialBus({unit: Meter(mischief) for unit in UNITS}) as bus:
            config = SerialLine(
                name="bus", device=bus.device, baud=1_000_000, timeout_ms=40, gap_ms=0
            )
            async with open_line(config) as line:
                check(await poll_at_random(line, 7), mischief)

    # A reset would be an adapter that is pulled out for good.
    faults = tuple(act for act in FAULTS if not act.reset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.metering.lines.test_no_shift.FAULTS", faults)
        asyncio.run(scenario())

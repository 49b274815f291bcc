"""Many meters side by side, in virtual time: none keeps another's values back."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from nacl.signing import SigningKey

from metering.identity import gsrn_check_digit
from metering.interval import Interval
from metering.lines.errors import MeterTimeoutError
from metering.lines.meter import Poll
from metering.poller import Meter, Poller
from metering.profiles import Profile, load_profile
from metering.quantities import RegisterTotal
from metering.reading import Clock, Enrolment, Measurement
from metering.registers import MeterValues
from metering.signing import public_key
from metering.spool import Signer
from tests.metering.virtual_time import run

PROFILE = load_profile("eastron_sdm630")
VALUES = MeterValues(
    import_total=RegisterTotal(1), export_total=None, power=None, voltages_mv=(None, None, None),
    frequency_mhz=None, resolution_wh=1, raw_digest=b"\0" * 32,
)  # fmt: skip


@dataclass
class Source:
    """Answers after a while, or never."""

    takes_s: float | None = 0.05
    asked_s: list[float] = field(default_factory=list)

    async def read(self, profile: Profile) -> Poll:
        loop = asyncio.get_running_loop()
        self.asked_s.append(loop.time())
        if self.takes_s is None:
            raise MeterTimeoutError("nothing came")
        await asyncio.sleep(self.takes_s)
        return Poll(round(self.asked_s[-1] * 1000), now_ms(), VALUES)


def now_ms() -> int:
    return round(asyncio.get_running_loop().time() * 1_000)


def poller(*sources: Source) -> Poller:
    meters = []
    for number, source in enumerate(sources, start=1):
        key = SigningKey(bytes([number]) * 32)
        body = f"7070575000000{number:04d}"
        enrolment = Enrolment(
            "bench.example", body + gsrn_check_digit(body), str(number), PROFILE.name,
            public_key(key), 1, Interval.parse("2026-06-23T10:00:00Z"),
        )  # fmt: skip
        meters.append(Meter(Signer(enrolment, key), source, PROFILE))
    return Poller(meters, now_ms, lambda: Clock.SYNCHRONISED, timeout_s=8.0)


async def arrivals(groups: AsyncGenerator[dict[str, Measurement], None]) -> dict[str, float]:
    """When each point's values were handed on."""
    loop = asyncio.get_running_loop()
    return {point: loop.time() async for group in groups for point in group}


def test_a_slow_meter_keeps_no_others_values_back() -> None:
    async def scenario() -> None:
        several = poller(Source(), Source(7.0), Source(60.0), Source(None), Source(0.3))
        points = several.points
        came = await arrivals(several.groups(points))
        assert came.keys() == {points[0], points[1], points[4]}
        assert came[points[0]] <= 1.0
        assert came[points[4]] <= 1.0
        assert 7.0 <= came[points[1]] <= 8.0
        assert set(await several.poll(points)) == came.keys()

    run(scenario())


def test_polls_are_spread_over_the_period_also_among_neighbours() -> None:
    async def scenario() -> None:
        sources = [Source() for _ in range(100)]
        many = poller(*sources)
        began = asyncio.get_running_loop().time()
        assert len(await many.poll(many.points, spread_s=10.0)) == 100
        asked = [source.asked_s[0] - began for source in sources]
        assert max(sum(s <= a < s + 1 for a in asked) for s in range(10)) <= 12
        # Ten that share a line, wherever they stand in the list, are not asked all at once.
        for first in range(0, 100, 10):
            near = sorted(asked[first : first + 10])
            assert min(b - a for a, b in itertools.pairwise(near)) > 0.4

    run(scenario())


def test_a_meter_that_fails_is_left_alone_longer_and_longer_but_not_at_a_border() -> None:
    async def scenario() -> None:
        dead, well = Source(None), Source()
        both = poller(dead, well)
        for _ in range(300):
            await both.poll(both.points)
            await asyncio.sleep(0.95)
        assert len(well.asked_s) == 300
        assert 9 <= len(dead.asked_s) <= 13
        before = len(dead.asked_s)
        await both.poll(both.points, even_failing=True)
        assert len(dead.asked_s) == before + 1
        dead.takes_s = 0.0
        await both.poll(both.points, even_failing=True)
        assert both.fares()[both.points[0]].failures == 0

    run(scenario())


def test_who_stops_listening_leaves_nothing_running() -> None:
    async def scenario() -> None:
        several = poller(Source(), Source(7.0))
        async with aclosing(several.groups(several.points)) as groups:
            async for _ in groups:
                break
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    run(scenario())

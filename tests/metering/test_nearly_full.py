"""The gateway's own loops while the spool fills up, and while a meter hangs at a border."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from metering.batch import Batch
from metering.gateway import Options
from metering.keeping import Keeping, Room
from metering.sender import ItemResult, SenderUnavailableError
from tests.metering.test_gateway import BORDER, House, Road, looked, run, until, working

MINUTE = 60_000


class Away(Road):
    """No server, until ``back``."""

    back = False

    async def post(self, batch: Batch) -> Sequence[ItemResult]:
        if not self.back:
            raise SenderUnavailableError("no route")
        return await super().post(batch)


def test_borders_alone_are_signed_when_it_is_nearly_full_and_all_once_there_is_room(
    tmp_path: Path,
) -> None:
    async def story(house: House) -> None:
        road = Away(house.server)
        house.road = road
        house.fill(rounds=60)
        used = house.gateway.spool.usage().used_bytes
        house.options = replace(house.options, keeping=Keeping(max_bytes=used * 100 // 92))
        house.restart()
        house.clock.ms = BORDER.start_ms - 2 * MINUTE
        spool, waiting = house.gateway.spool, 180
        async with working(house):
            for minute, signed in ((-2, 0), (-1, 0), (0, 3), (1, 3), (14, 3), (15, 6), (16, 6)):
                house.clock.ms = BORDER.start_ms + minute * MINUTE
                await looked(house, 20)
                assert spool.pending() == waiting + signed, minute
            assert house.gateway.room is Room.BORDERS
            road.back = True
            await until(lambda: spool.pending() == 0)
            await until(lambda: house.gateway.room < Room.BORDERS)
            house.clock.ms += MINUTE
            await until(lambda: len(house.server.arrivals) == waiting + 9)

    run(story, House(tmp_path, Options(live_every_s=60.0)))


def test_nothing_is_signed_when_it_is_full(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.road = Away(house.server)
        house.fill(rounds=20)
        used = house.gateway.spool.usage().used_bytes
        house.options = replace(house.options, keeping=Keeping(max_bytes=used))
        house.restart()
        async with working(house):
            for minute in (0, 1, 15):
                house.clock.ms = BORDER.start_ms + minute * MINUTE
                await looked(house, 20)
        assert house.gateway.spool.pending() == 60

    run(story, House(tmp_path))


def test_a_meter_that_hangs_at_a_border_keeps_no_other_reading_from_the_disk(
    tmp_path: Path,
) -> None:
    async def story(house: House) -> None:
        house.sources[0].held = asyncio.Event()
        round_ = asyncio.create_task(house.gateway.poll_round(border=True))
        await until(lambda: house.gateway.spool.pending() == 2)
        assert not round_.done()
        house.sources[0].held.set()
        assert not (await round_).missing

    run(story, House(tmp_path))

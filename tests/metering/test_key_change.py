"""A meter's key gives way to a new one at a border: nothing is lost or signed by the wrong key."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from metering.gateway import BORDER_WINDOW_MS, Gateway, Options
from metering.lines.errors import MeterTimeoutError
from metering.poller import Meter
from metering.reading import FIRST_PREV, Clock, Reading
from metering.rotation import begin
from metering.spool import Signer, Spool
from tests.conftest import LONG
from tests.metering.test_gateway import (
    BORDER,
    DISTRICT,
    GATEWAY_KEY,
    PROFILE,
    DistrictClock,
    FakeMeter,
    GatewayIdentity,
    House,
    Road,
    Server,
    arrived,
    looked,
    run,
    signer,
    working,
)

NEXT = BORDER.next()


class Silent:
    """Keeps no events."""

    def report(self, event: object) -> None:
        pass


class Turning(House):
    """One meter whose key changes at the border ``NEXT``."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "spool.db"
        self.clock = DistrictClock(NEXT.start_ms - 125_000)
        self.old = signer(1)
        self.new, _ = begin(self.old, SigningKey(b"\x77" * 32), NEXT)
        self.signers = [self.old, self.new]
        self.source = FakeMeter(self.clock)
        self.server = Server(self.clock, [one.enrolment.key for one in self.signers])
        self.road = Road(self.server)
        self.options = Options()
        self.gateway = self.build()

    def build(self) -> Gateway:
        spool = Spool.open(self.path)
        meter = Meter.watched(self.new, self.source, PROFILE, spool, Silent(), previous=self.old)
        return Gateway(
            [meter], spool, self.road, GatewayIdentity(DISTRICT, "gw-1", GATEWAY_KEY),
            self.clock.now_ms, lambda: Clock.SYNCHRONISED, self.options,
        )  # fmt: skip


def check(readings: list[Reading], old: Signer, new: Signer) -> None:
    """Each is signed by the key of its moment, and each chain is whole."""
    for one in readings:
        right = old if one.answered_ms < NEXT.start_ms else new
        assert one.key == right.enrolment.key.hex, one
    for who in (old, new):
        mine = [one for one in readings if one.key == who.enrolment.key.hex]
        assert [one.seq for one in mine] == list(range(1, len(mine) + 1))
        assert not mine or mine[0].prev == FIRST_PREV


def test_the_keys_change_at_the_border_without_a_reload(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        async with working(house):
            for at_ms, signed in (
                (-125_000, 1), (-60_000, 2), (-1, 2), (3, 3), (59_999, 3), (60_000, 4)
            ):  # fmt: skip
                house.clock.ms = NEXT.start_ms + at_ms
                await looked(house)
                await arrived(house, signed)
        arrivals = house.server.arrivals
        check(arrivals, *house.signers)
        (border,) = [one for one in arrivals if 0 <= one.answered_ms - NEXT.start_ms <= 10_000]
        assert (border.key, border.seq) == (house.signers[1].enrolment.key.hex, 1)

    run(story, Turning(tmp_path))


def test_a_meter_that_is_late_at_the_border_is_read_within_ten_seconds(tmp_path: Path) -> None:
    async def story(house: Turning) -> None:
        async with working(house):
            await arrived(house, 1)
            house.source.trouble = MeterTimeoutError("silent")
            house.clock.ms = NEXT.start_ms + 10
            polls = house.source.polls
            while house.source.polls < polls + 3:
                await asyncio.sleep(0.001)
            house.clock.ms = NEXT.start_ms + 9_000
            house.source.trouble = None
            await arrived(house, 2)
        check(house.server.arrivals, *house.signers)
        assert house.server.arrivals[-1].answered_ms <= NEXT.start_ms + BORDER_WINDOW_MS

    run(story, Turning(tmp_path))


@settings(max_examples=1_000 if LONG else 15)
@given(
    st.lists(
        st.tuples(st.integers(-40_000, 90_000), st.booleans(), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
def test_however_the_clock_goes_each_reading_is_signed_by_the_key_of_its_moment(
    steps: list[tuple[int, bool, bool]],
) -> None:
    """Steps are: by how many ms the clock moves, is the meter silent, does the box start again."""

    async def story(house: Turning) -> None:
        heard = 0
        for by_ms, silent, restart in steps:
            house.clock.ms += by_ms
            house.source.trouble = MeterTimeoutError("silent") if silent else None
            if restart:
                house.restart()
            heard += len((await house.gateway.poll_round(border=True)).stored)
            assert house.gateway.spool.pending() == heard
        check(house.spooled(), *house.signers)
        house.gateway.spool.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Turning(Path(folder))))


def test_what_was_good_under_the_old_key_is_remembered_under_the_new_one(tmp_path: Path) -> None:
    async def story(house: Turning) -> None:
        await house.gateway.poll_round()
        house.clock.ms = NEXT.start_ms + 1_000
        house.restart()
        house.source.wh = 100  # a counter that fell
        await house.gateway.poll_round()
        assert [one.quality for one in house.spooled()] == ["measured", "invalid"]

    run(story, Turning(tmp_path))


def test_an_epoch_belongs_to_one_key(tmp_path: Path) -> None:
    """A counter that began anew before the border: the new key begins in its enrolled epoch."""

    async def story(house: Turning) -> None:
        house.clock.ms -= 600_000
        await house.gateway.poll_round()
        house.source.wh = 10
        for _ in range(5):
            house.clock.ms += 61_000
            await house.gateway.poll_round()
        house.restart()
        house.clock.ms = NEXT.start_ms
        await house.gateway.poll_round()
        *before, last = house.spooled()
        assert before[-1].epoch == 2
        assert (last.key, last.epoch) == (house.signers[1].enrolment.key.hex, 1)

    run(story, Turning(tmp_path))

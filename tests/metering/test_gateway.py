"""The gateway against a server that checks everything and a road that loses anything."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from ledger_client import merkle
from metering import canonical
from metering.batch import Batch
from metering.dispatch import Backoff, GatewayIdentity, Sent
from metering.gateway import Gateway, GatewaySetupError, Options
from metering.identity import PublicKey, gsrn_check_digit
from metering.interval import LENGTH_MS, Interval
from metering.lines.errors import MeterTimeoutError
from metering.poller import Meter, MeterSetupError
from metering.profiles import Profile, load_profile
from metering.quantities import Power, RegisterTotal
from metering.reading import (
    FIRST_PREV,
    Clock,
    Enrolment,
    Measurement,
    Quality,
    Reading,
    SignedReading,
    leaf_hash,
    link,
)
from metering.receipt import LEAF_PREFIX, Receipt
from metering.sender import BadAnswerError, BatchRefusedError, ItemResult, SenderUnavailableError
from metering.signing import Purpose, public_key, sign, verify
from metering.spool import Signer, Spool, SpoolUnavailableError

DISTRICT = "lindenhof.example"
BORDER = Interval.parse("2026-06-23T09:00:00Z")
PROFILE = load_profile("eastron_sdm630")
GATEWAY_KEY = SigningKey(b"\x09" * 32)
RECEIPT_KEY = SigningKey(b"\x05" * 32)


@dataclass
class DistrictClock:
    """A clock that stands still until it is told otherwise."""

    ms: int = BORDER.start_ms + 100
    looks: int = 0

    def now_ms(self) -> int:
        self.looks += 1
        return self.ms


@dataclass(frozen=True)
class Shown:
    import_total: RegisterTotal | None
    export_total: RegisterTotal | None
    power: Power | None
    resolution_wh: int = 1
    raw_digest: bytes = b"\xab" * 32
    voltages_mv: tuple[int | None, int | None, int | None] = (None, None, None)
    frequency_mhz: int | None = None
    import_modulus_wh: int | None = None
    export_modulus_wh: int | None = None


@dataclass(frozen=True)
class Answered:
    asked_ms: int
    answered_ms: int
    values: Shown
    absent: tuple[str, ...] = ()


@dataclass
class FakeMeter:
    """Counts up by 10 Wh a poll; ``trouble`` is raised, and ``held`` keeps an answer waiting."""

    clock: DistrictClock
    wh: int = 1_000
    polls: int = 0
    trouble: BaseException | None = None
    held: asyncio.Event | None = None
    shows_import: bool = True
    shows_export: bool = False
    asked_at: list[int] = field(default_factory=list)

    async def read(self, profile: Profile) -> Answered:
        asked_ms = self.clock.now_ms()
        self.polls += 1
        self.asked_at.append(asked_ms)
        if self.held is not None:
            await self.held.wait()
        if self.trouble is not None:
            raise self.trouble
        self.wh += 10
        total = RegisterTotal(self.wh)
        return Answered(
            asked_ms, self.clock.now_ms(),
            Shown(
                total if self.shows_import else None,
                total if self.shows_export else None,
                Power(250),
            ),
        )  # fmt: skip


class Server:
    """Takes readings as docs/protocol.md says, and insists on order, links and signatures."""

    def __init__(self, clock: DistrictClock, keys: Sequence[PublicKey]) -> None:
        self.clock = clock
        self.keys = {key.hex: key for key in keys}
        self.revoked: set[str] = set()
        self.stored: dict[tuple[str, int, int], SignedReading] = {}
        self.receipts: dict[tuple[str, int, int], dict[str, object]] = {}
        self.arrivals: list[Reading] = []
        self.duplicates = 0

    async def post(self, batch: Batch) -> Sequence[ItemResult]:
        batch = Batch.from_body(batch.to_body())
        header = batch.check()
        assert header.key == public_key(GATEWAY_KEY)
        assert header.district == DISTRICT
        outcomes = [self.take(item) for item in batch.readings]
        self.sign_receipts(
            [item for item, status in zip(batch.readings, outcomes, strict=True) if status == 200]
        )
        return [
            ItemResult(
                index, status, self.receipts[place(item)] if status == 200 else None, f"E{status}"
            )
            for index, (item, status) in enumerate(zip(batch.readings, outcomes, strict=True))
        ]

    def take(self, item: SignedReading) -> int:
        reading = Reading.from_payload(item.payload)
        if reading.key not in self.keys or reading.key in self.revoked:
            return 403
        assert verify(self.keys[reading.key], Purpose.READING, item.payload, item.signature)
        if reading.answered_ms > self.clock.now_ms() + 60_000:
            return 425
        known = self.stored.get(place(item))
        if known is not None:
            self.duplicates += 1
            return 200 if known == item else 409
        self.stored[place(item)] = item
        self.arrivals.append(reading)
        return 200

    def sign_receipts(self, items: list[SignedReading]) -> None:
        """Issue receipts in small trees, since the slow oracle works out each path anew."""
        new = [item for item in items if place(item) not in self.receipts]
        for start in range(0, len(new), 16):
            self.sign_tree(new[start : start + 16])

    def sign_tree(self, items: list[SignedReading]) -> None:
        texts = [receipt_item(item) for item in items]
        leaves = [merkle.leaf_hash(LEAF_PREFIX + text) for text in texts]
        root = merkle.root(leaves)
        signature = sign(RECEIPT_KEY, Purpose.RECEIPT, root).hex()
        for index, (item, text) in enumerate(zip(items, texts, strict=True)):
            self.receipts[place(item)] = {
                "index": index, "item": text.decode(), "key": public_key(RECEIPT_KEY).hex,
                "path": [step.hex() for step in merkle.inclusion_path(leaves, index)],
                "root": root.hex(), "salt": "03" * 32, "size": len(items), "signature": signature,
            }  # fmt: skip

    def chain(self, key: str) -> list[SignedReading]:
        return [self.stored[place_] for place_ in sorted(self.stored) if place_[0] == key]


def place(item: SignedReading) -> tuple[str, int, int]:
    reading = Reading.from_payload(item.payload)
    return reading.key, reading.epoch, reading.seq


def receipt_item(item: SignedReading) -> bytes:
    return canonical.encode({
        "deadline": BORDER.end_ms, "district": DISTRICT, "seal_interval": BORDER.key,
        "leaf": leaf_hash(b"\x03" * 32, item.payload, item.signature).hex(),
    })  # fmt: skip


@dataclass
class Road:
    """The way to the server; ``troubles`` happen to the next posts, one each."""

    server: Server
    troubles: list[str] = field(default_factory=list)
    posts: int = 0

    async def post(self, batch: Batch) -> Sequence[ItemResult]:
        self.posts += 1
        trouble = self.troubles.pop(0) if self.troubles else "none"
        if trouble == "request lost":
            raise SenderUnavailableError("no route")
        if trouble == "refused":
            raise BatchRefusedError("401")
        if trouble == "busy":
            raise SenderUnavailableError("503", retry_after_s=2.0)
        results = await self.server.post(batch)
        if trouble == "reply lost":
            raise SenderUnavailableError("connection reset")
        if trouble == "reply garbled":
            raise BadAnswerError("not JSON")
        if trouble == "sent twice":
            return await self.server.post(batch)
        if trouble == "reply short":
            return results[:-1]
        return results


def signer(number: int, district: str = DISTRICT) -> Signer:
    key = SigningKey(bytes([number]) * 32)
    body = f"7070575000000{number:04d}"
    return Signer(
        Enrolment(
            district, body + gsrn_check_digit(body), f"SDM-{number}", PROFILE.name,
            public_key(key), 1, BORDER,
        ),
        key,
    )  # fmt: skip


class House:
    """Three meters, a gateway, the road and the server."""

    def __init__(self, folder: Path, options: Options | None = None, meters: int = 3) -> None:
        self.path = folder / "spool.db"
        self.clock = DistrictClock()
        self.options = options or Options(receipt_key=public_key(RECEIPT_KEY))
        self.signers = [signer(n) for n in range(1, meters + 1)]
        self.sources = [FakeMeter(self.clock) for _ in self.signers]
        self.server = Server(self.clock, [s.enrolment.key for s in self.signers])
        self.road = Road(self.server)
        self.trust = Clock.SYNCHRONISED
        self.gateway = self.build()

    def build(self) -> Gateway:
        return Gateway(
            [Meter(s, f, PROFILE) for s, f in zip(self.signers, self.sources, strict=True)],
            Spool.open(self.path), self.road, GatewayIdentity(DISTRICT, "gw-1", GATEWAY_KEY),
            self.clock.now_ms, lambda: self.trust, self.options,
        )  # fmt: skip

    def restart(self) -> None:
        self.gateway.spool.close()
        self.gateway = self.build()

    def fill(self, rounds: int) -> None:
        """Spool many rounds at once."""
        measured = Measurement(
            self.clock.ms, self.clock.ms, Clock.SYNCHRONISED, 1_000, None, 1, 250,
            Quality.MEASURED, "ab" * 32,
        )  # fmt: skip
        self.gateway.spool.append([(s, measured) for s in self.signers] * rounds)

    @property
    def points(self) -> list[str]:
        return [s.enrolment.point for s in self.signers]

    def spooled(self) -> list[Reading]:
        return [
            Reading.from_payload(i.reading.payload) for i in self.gateway.spool.unacknowledged()
        ]

    def assert_exactly_once(self, polled: Counter[str]) -> None:
        """The server holds each meter's whole chain, in order of arrival, with its receipts."""
        for meter in self.signers:
            key = meter.enrolment.key.hex
            chain, prev = self.server.chain(key), FIRST_PREV
            assert len(chain) == polled[meter.enrolment.point]
            for seq, item in enumerate(chain, start=1):
                reading = Reading.from_payload(item.payload)
                assert (reading.seq, reading.prev) == (seq, prev)
                prev = link(item.payload, item.signature)
                given = Receipt.parse(self.server.receipts[key, 1, seq])
                assert self.gateway.spool.receipt(key, 1, seq) == given.to_json()
            arrived = [r.seq for r in self.server.arrivals if r.key == key]
            assert arrived == sorted(arrived)


TROUBLES = st.sampled_from(
    ["none", "request lost", "reply lost", "reply garbled", "reply short", "sent twice", "busy"]
)
EVENTS = st.one_of(
    st.tuples(st.just("poll"), st.sets(st.integers(0, 2))),
    st.tuples(st.just("send"), TROUBLES),
    st.tuples(st.just("restart"), st.none()),
)


@settings(max_examples=40)
@given(st.lists(EVENTS, max_size=14))
def test_whatever_is_lost_or_repeated_every_reading_arrives_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, object]]
) -> None:
    async def story() -> None:
        house = House(tmp_path_factory.mktemp("house"))
        polled: Counter[str] = Counter()
        for what, detail in events:
            house.clock.ms += 1_000
            if what == "poll":
                assert isinstance(detail, set)
                for n, source in enumerate(house.sources):
                    source.trouble = MeterTimeoutError("silent") if n in detail else None
                polled.update((await house.gateway.poll_round(border=True)).stored)
            elif what == "send":
                house.road.troubles = [str(detail)]
                try:
                    await house.gateway.send()
                except (SenderUnavailableError, BadAnswerError):
                    assert detail not in ("none", "sent twice")
            else:
                house.restart()
        house.road.troubles = []
        await house.gateway.send()
        assert house.gateway.spool.pending() == 0
        assert house.gateway.spool.dead_letters() == []
        house.assert_exactly_once(polled)
        house.gateway.spool.close()

    asyncio.run(story())


def run(story: Callable[[House], Awaitable[None]], house: House) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await story(house)

    asyncio.run(bounded())


def test_more_than_a_batch_goes_out_in_order(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.fill(rounds=350)
        assert await house.gateway.send() == Sent(acknowledged=1_050)
        assert house.road.posts == 2
        house.assert_exactly_once(Counter(dict.fromkeys(house.points, 350)))

    run(story, House(tmp_path))


def test_what_was_acknowledged_before_an_error_stays_so(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.fill(rounds=350)
        house.road.troubles = ["none", "request lost"]
        with pytest.raises(SenderUnavailableError):
            await house.gateway.send()
        assert house.gateway.spool.pending() == 50
        assert await house.gateway.send() == Sent(acknowledged=50)
        assert house.server.duplicates == 0

    run(story, House(tmp_path))


def test_a_reading_from_the_future_waits_and_blocks_none(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        right = house.clock.ms
        house.clock.ms = right + 120_000
        await house.gateway.poll_round()
        house.clock.ms = right
        await house.gateway.poll_round()
        assert await house.gateway.send() == Sent(acknowledged=3, waiting=3)
        house.clock.ms = right + 60_000
        assert await house.gateway.send() == Sent(acknowledged=3)

    run(story, House(tmp_path))


def test_what_is_refused_for_good_is_a_dead_letter_and_the_rest_goes_on(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        revoked = house.signers[1].enrolment
        house.server.revoked.add(revoked.key.hex)
        await house.gateway.poll_round()
        assert await house.gateway.send() == Sent(acknowledged=2, dead=1)
        [dead] = house.gateway.spool.dead_letters()
        assert (dead.key, dead.status, dead.error) == (revoked.key.hex, 403, "E403")
        assert await house.gateway.send() == Sent()
        assert house.road.posts == 1

    run(story, House(tmp_path))


@pytest.mark.parametrize("wrong", ["none", "of another reading", "of another key", "malformed"])
def test_a_200_without_a_good_receipt_keeps_the_reading(tmp_path: Path, wrong: str) -> None:
    async def story(house: House) -> None:
        await house.gateway.poll_round()
        if wrong == "of another key":
            house.options = Options(receipt_key=public_key(GATEWAY_KEY))
            house.restart()
        post = house.server.post

        async def liar(batch: Batch) -> Sequence[ItemResult]:
            results = list(await post(batch))
            changed: dict[str, dict[str, object] | None] = {
                "none": None,
                "of another reading": results[1].receipt,
                "malformed": {"a": 1},
            }
            results[0] = ItemResult(0, 200, changed.get(wrong, results[0].receipt))
            return results

        house.server.post = liar  # type: ignore[method-assign]
        kept = 3 if wrong == "of another key" else 1
        assert await house.gateway.send() == Sent(acknowledged=3 - kept, waiting=kept)
        assert house.gateway.spool.pending() == kept

    run(story, House(tmp_path))


def test_a_silent_meter_is_missing_and_never_signed(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.sources[1].trouble = MeterTimeoutError("no reply")
        done = await house.gateway.poll_round()
        assert done.stored == (house.points[0], house.points[2])
        assert done.missing == (house.points[1],)
        assert [r.point for r in house.spooled()] == [house.points[0], house.points[2]]

    run(story, House(tmp_path))


def test_a_hanging_meter_delays_no_other_and_is_given_up(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.sources[0].held = asyncio.Event()
        done = await house.gateway.poll_round()
        assert done.missing == (house.points[0],)
        assert {r.answered_ms for r in house.spooled()} == {house.clock.ms}

    run(story, House(tmp_path, Options(read_timeout_s=0.05)))


def test_all_meters_are_asked_at_once(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        together = asyncio.Barrier(len(house.sources))
        for source in house.sources:
            source.held = Meeting(together)
        assert not (await house.gateway.poll_round()).missing

    run(story, House(tmp_path))


class Meeting(asyncio.Event):
    """Lets nobody through before all have come."""

    def __init__(self, barrier: asyncio.Barrier) -> None:
        super().__init__()
        self._barrier = barrier

    async def wait(self) -> bool:  # type: ignore[override]
        await self._barrier.wait()
        return True


def test_a_round_goes_to_disk_in_one_commit(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        statements: list[str] = []
        house.gateway.spool._connection.set_trace_callback(statements.append)
        await house.gateway.poll_round()
        assert [s for s in statements if s in ("BEGIN IMMEDIATE", "COMMIT")] == [
            "BEGIN IMMEDIATE",
            "COMMIT",
        ]
        assert len(house.spooled()) == 3

    run(story, House(tmp_path))


def test_a_failing_meter_is_left_alone_longer_and_longer_except_at_borders(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        start, dead = house.clock.ms, house.sources[0]
        dead.trouble = OSError("unplugged")
        for second in range(200):
            house.clock.ms = start + 1_000 * second
            await house.gateway.poll_round()
        asked = [(ms - start) // 1_000 for ms in dead.asked_at]
        assert asked == [0, 1, 2, 3, 5, 9, 17, 33, 65, 125, 185]
        assert house.sources[1].polls == 200
        await house.gateway.poll_round(border=True)
        assert dead.polls == len(asked) + 1
        dead.trouble = None
        assert not (await house.gateway.poll_round(border=True)).missing
        assert not (await house.gateway.poll_round()).missing

    run(story, House(tmp_path))


def test_a_bug_in_one_source_stays_with_that_meter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(house: House) -> None:
        house.sources[2].trouble = ZeroDivisionError("bug")
        for _ in range(10):
            assert len((await house.gateway.poll_round(border=True)).stored) == 2

    with caplog.at_level(logging.WARNING):
        run(story, House(tmp_path))
    assert len([r for r in caplog.records if "ZeroDivisionError" in r.getMessage()]) == 2


def test_a_cancelled_round_is_cancelled(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.sources[0].held = asyncio.Event()
        task = asyncio.create_task(house.gateway.poll_round())
        while not house.sources[0].polls:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert house.spooled() == []

    run(story, House(tmp_path))


def test_values_out_of_range_are_missing_and_spoil_no_other(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.sources[0].wh = 2**64 - 1
        house.sources[1].shows_import = False
        done = await house.gateway.poll_round()
        assert done.stored == (house.points[2],)

    run(story, House(tmp_path))


def test_a_counter_that_vanishes_is_never_a_border_value(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        source = house.sources[0]
        source.shows_export = True
        for shows in (True, False, True):
            source.shows_import = shows
            await house.gateway.poll_round()
        found = [(r.quality, r.import_wh) for r in house.spooled() if r.point == house.points[0]]
        assert found == [
            (Quality.MEASURED, 1_010), (Quality.MISSING, None), (Quality.MEASURED, 1_030)
        ]  # fmt: skip

    run(story, House(tmp_path))


def test_the_reading_carries_what_the_meter_showed(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.trust = Clock.UNKNOWN
        await house.gateway.poll_round()
        first = house.spooled()[0]
        enrolled = house.signers[0].enrolment
        assert (first.district, first.point, first.meter) == (DISTRICT, enrolled.point, "SDM-1")
        assert (first.import_wh, first.export_wh, first.power_w) == (1_010, None, 250)
        assert (first.clock, first.raw) == (Clock.UNKNOWN, "ab" * 32)
        assert first.asked_ms == first.answered_ms == house.clock.ms

    run(story, House(tmp_path))


def test_live_values_are_shown_and_not_signed(tmp_path: Path) -> None:
    told: list[tuple[str, int | None]] = []
    options = Options(on_live=lambda point, live: told.append((point, live.power_w)))

    async def story(house: House) -> None:
        house.sources[2].trouble = MeterTimeoutError("silent")
        assert house.gateway.live() == {}
        await house.gateway.poll_live()
        assert told == [(point, 250) for point in house.points[:2]]
        assert list(house.gateway.live()) == house.points[:2]
        assert house.gateway.live()[house.points[0]].answered_ms == house.clock.ms
        assert house.spooled() == []

    run(story, House(tmp_path, options))


def test_meters_that_do_not_fit_are_refused_at_the_start(tmp_path: Path) -> None:
    house = House(tmp_path)

    def build(*meters: Meter) -> None:
        Gateway(
            meters, house.gateway.spool, house.road,
            GatewayIdentity(DISTRICT, "gw-1", GATEWAY_KEY), house.clock.now_ms, lambda: house.trust,
        )  # fmt: skip

    good = Meter(house.signers[0], house.sources[0], PROFILE)
    build(good)
    with pytest.raises(MeterSetupError, match="two meters"):
        build(good, good)
    with pytest.raises(MeterSetupError, match="enrolled with profile eastron_sdm630"):
        build(Meter(house.signers[0], house.sources[0], load_profile("abb_b23")))
    with pytest.raises(GatewaySetupError, match="not in lindenhof"):
        build(Meter(signer(1, "other.example"), house.sources[0], PROFILE))


@asynccontextmanager
async def working(house: House) -> AsyncIterator[asyncio.Event]:
    """Run the gateway's own loops, fast on the wall, with the district clock in our hands."""
    stop = asyncio.Event()
    task = asyncio.create_task(house.gateway.run(stop, speed=10_000))
    try:
        yield stop
    finally:
        stop.set()
        await task


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def arrived(house: House, count: int) -> None:
    await until(lambda: len(house.server.arrivals) >= count)


async def looked(house: House, times: int = 10) -> None:
    """Wait until the loop has looked at the clock so often that it had its chance to act."""
    before = house.clock.looks
    await until(lambda: house.clock.looks >= before + times)


def test_the_loop_signs_each_minute_and_right_after_the_border(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.clock.ms = BORDER.start_ms - 61_000
        async with working(house):
            for ms, signed in (
                (-61_000, 3), (-60_000, 6), (-30_000, 6), (-1, 6), (0, 9), (59_999, 9), (60_000, 12)
            ):  # fmt: skip
                house.clock.ms = BORDER.start_ms + ms
                await looked(house)
                await arrived(house, signed)
        answered = Counter(r.answered_ms - BORDER.start_ms for r in house.server.arrivals)
        assert answered == {-61_000: 3, -60_000: 3, 0: 3, 60_000: 3}

    run(story, House(tmp_path))


def test_the_loop_asks_again_at_a_border_until_the_window_closes(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.clock.ms = BORDER.start_ms + 20
        late, dead = house.sources[0], house.sources[1]
        late.trouble = dead.trouble = MeterTimeoutError("silent")
        async with working(house):
            await until(lambda: late.polls >= 4)
            late.trouble = None
            await until(lambda: house.points[0] in {r.point for r in house.server.arrivals})
            house.clock.ms = BORDER.start_ms + 10_001
            await looked(house, 20)
            polls = dead.polls
            await looked(house, 40)
            assert dead.polls == polls
        assert house.sources[2].polls == 1
        assert len(house.server.arrivals) == 2
        assert {r.answered_ms for r in house.server.arrivals} == {BORDER.start_ms + 20}

    run(story, House(tmp_path))


def test_the_loop_survives_a_clock_that_jumps_back(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        async with working(house):
            await until(lambda: len(house.server.arrivals) == 3)
            house.clock.ms -= 4 * LENGTH_MS
            await until(lambda: len(house.server.arrivals) + house.gateway.spool.pending() == 6)

    run(story, House(tmp_path))


def test_the_loop_keeps_readings_while_the_server_is_away(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.road.troubles = ["reply lost"]
        async with working(house):
            await until(lambda: house.road.posts >= 1)
            assert house.gateway.spool.pending() == 3
            await until(lambda: house.gateway.spool.pending() == 0)
        assert house.server.duplicates == 3
        house.assert_exactly_once(Counter(dict.fromkeys(house.points, 1)))

    run(story, House(tmp_path))


def test_the_loop_outlives_a_full_disk_and_a_refusing_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(house: House) -> None:
        house.road.troubles = ["refused"]
        disk = house.gateway.spool._connection
        pages = disk.execute("PRAGMA page_count").fetchone()[0]
        house.fill(rounds=1)
        disk.execute(f"PRAGMA max_page_count = {pages}")
        while house.gateway.spool.pending() < 500:
            try:
                house.fill(rounds=1)
            except SpoolUnavailableError:
                break
        kept = house.gateway.spool.pending()
        async with working(house):
            await until(lambda: "cannot be kept" in caplog.text)
            await until(lambda: "sending does not work" in caplog.text)
            disk.execute("PRAGMA max_page_count = 100000")
            await until(lambda: len(house.server.arrivals) >= kept + 3)
        assert {r.seq for r in house.server.arrivals} == set(range(1, kept // 3 + 2))

    run(story, House(tmp_path))


def test_the_loop_shows_live_values_between_readings(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        async with working(house):
            await until(lambda: house.sources[0].polls >= 5)
        assert len(house.server.arrivals) == 3

    run(story, House(tmp_path, Options(live_every_s=0.01)))


def test_backoff_doubles_to_a_minute_and_spreads_out() -> None:
    longest, shortest = Backoff(jitter=lambda: 1.0), Backoff(jitter=lambda: 0.0)
    assert [longest.next_s() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert [shortest.next_s() for _ in range(3)] == [0.5, 1, 2]
    longest.reset()
    assert longest.next_s() == 1
    assert len({Backoff().next_s() for _ in range(20)}) > 1

"""Who may say how right the clock is, and what it costs to lie about it."""

import asyncio
import socket
import struct
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.box.clock import Bounds, ClockStatus, Jump, JumpWatch, SteadyStatus, judge, steady_ms
from metering.box.time_sources import TimeSourceError, date_bounds, kernel, ntp, parse_chrony
from metering.reading import Clock

SYNCHRONISED, INFORMATIVE, UNKNOWN = Clock.SYNCHRONISED, Clock.INFORMATIVE, Clock.UNKNOWN
HOUR_MS = 3_600_000

# voucher, objections (low to high, ms), age of the voucher (ms), status
JUDGEMENTS = [
    ("nobody vouches", None, [], 0, UNKNOWN),
    ("nobody vouches, all agree", None, [(0, 0)], 0, UNKNOWN),
    ("well in step", (-20, 20), [], 0, SYNCHRONISED),
    ("one second off at most", (-1_000, 1_000), [], 0, SYNCHRONISED),
    ("right, perhaps a little more", (-1_001, 3), [], 0, INFORMATIVE),
    ("nine seconds at most", (-9_000, 0), [], 0, INFORMATIVE),
    ("more than nine", (0, 9_001), [], 0, UNKNOWN),
    ("not heard of for three hours", (-20, 20), [], 3 * HOUR_MS, INFORMATIVE),
    ("not heard of for two days", (-20, 20), [], 48 * HOUR_MS, UNKNOWN),
    ("another one is vague", (-20, 20), [(-900, 1_200)], 0, SYNCHRONISED),
    ("another one knows better", (-20, 20), [(1_500, 3_500)], 0, INFORMATIVE),
    ("another one knows much better", (-20, 20), [(-20_000, -18_000)], 0, UNKNOWN),
    ("a liar cannot raise it", (-5_000, 5_000), [(0, 0), (-1, 1)], 0, INFORMATIVE),
]


@pytest.mark.parametrize(
    ("voucher", "objections", "age_ms", "status"),
    [row[1:] for row in JUDGEMENTS],
    ids=[row[0] for row in JUDGEMENTS],
)
def test_one_vouches_and_the_others_object(voucher, objections, age_ms, status) -> None:
    said = None if voucher is None else Bounds(*voucher, 0)
    assert judge(said, [Bounds(*one, age_ms) for one in objections], age_ms) is status


def test_an_old_objection_is_forgotten() -> None:
    wrong = Bounds(20_000, 21_000, 0)
    fresh = Bounds(-20, 20, HOUR_MS)
    assert judge(fresh, [wrong], HOUR_MS) is UNKNOWN
    assert judge(Bounds(-20, 20, HOUR_MS + 1), [wrong], HOUR_MS + 1) is SYNCHRONISED


BOUNDS = st.tuples(st.floats(-2e4, 2e4), st.floats(0, 2e4)).map(
    lambda pair: Bounds(pair[0], pair[0] + pair[1], 0)
)


@given(BOUNDS, st.lists(BOUNDS, max_size=3), BOUNDS)
def test_one_more_objection_never_raises_the_status(voucher, objections, one_more) -> None:
    order = [SYNCHRONISED, INFORMATIVE, UNKNOWN]
    before = judge(voucher, objections, 0)
    after = judge(voucher, [*objections, one_more], 0)
    assert order.index(after) >= order.index(before)


def test_worse_at_once_and_better_only_in_a_row() -> None:
    steady = SteadyStatus()
    found = [SYNCHRONISED, SYNCHRONISED, UNKNOWN, SYNCHRONISED, SYNCHRONISED, SYNCHRONISED]
    assert [steady.take(one) for one in found] == [UNKNOWN] * 5 + [SYNCHRONISED]
    assert steady.take(INFORMATIVE) is INFORMATIVE
    steady.reset()
    assert steady.status is UNKNOWN


def test_a_step_is_a_jump_and_slewing_is_none() -> None:
    watch = JumpWatch()
    steps = [(0, 0), (1_000, 1_000), (2_400, 2_000), (3_800, 3_000), (2_001_000, 4_000)]
    found = [watch.look(1_000_000 + wall, now) for wall, now in steps]
    assert found == [None] * 4 + [Jump(1_004_800, 3_001_000)]
    back = watch.look(1_000_000 + 2_000, 5_000)
    assert back is not None
    assert back.by_ms == -2_000_000


def test_nothing_counts_after_a_jump_until_it_is_heard_anew() -> None:
    clock = ClockStatus("system")
    for now in range(5):
        clock.hear("system", Bounds(-5, 5, now))
        assert clock.look(1_000 + now, now) is None
    assert clock.status is SYNCHRONISED
    assert clock.off_by_ms(5) == 5
    assert clock.look(90_000, 5) is not None
    assert (clock.status, clock.off_by_ms(5)) == (UNKNOWN, None)
    for now in range(6, 9):
        clock.hear("system", Bounds(-5, 5, now))
        clock.look(89_995 + now, now)
    assert clock.status is SYNCHRONISED
    clock.hear("system", None)
    clock.look(90_004, 9)
    assert clock.status is UNKNOWN


# Sources -----------------------------------------------------------------------------------------


def test_the_kernel_answers_or_does_not_know() -> None:
    said = kernel()
    assert said is None or said.low_ms <= 0 <= said.high_ms


IN_STEP = "D4CC9A01,ntp.example,2,1700000000.1,-0.000012,0.1,0.2,-5.2,0.01,0.08,0.0300,0.0020,64.2"


@pytest.mark.parametrize(
    ("line", "worst_ms"),
    [
        (IN_STEP + ",Normal\n", 17.012),
        (IN_STEP.replace("-0.000012", "2.5") + ",Insert second", 2_517.0),
        (IN_STEP + ",Not synchronised", None),
        (IN_STEP.replace("0.0300", "x") + ",Normal", None),
        ("506 Cannot talk to daemon", None),
        ("", None),
    ],
)
def test_chrony_says_how_far_it_is(line: str, worst_ms: float | None) -> None:
    said = parse_chrony(line, 0)
    assert worst_ms == (None if said is None else pytest.approx(said.worst_ms))


def ntp_answer(question: bytes, ahead_s: float = 0.0, **changes: object) -> bytes:
    """Answer as a server would whose clock is ahead by so much."""
    now = time.time() + ahead_s + 2_208_988_800
    stamp = struct.pack("!II", int(now) & 0xFFFFFFFF, int(now % 1 * 2**32))
    said = {"first": 0x24, "stratum": 2, "nonce": question[40:48]} | changes
    head = struct.pack("!BBbb3I", said["first"], said["stratum"], 6, -20, 0, 655, 0)
    return head + stamp + said["nonce"] + stamp + stamp


async def ask(answer) -> Bounds:
    """Ask a server of our own that answers with ``answer(question)``."""

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr) -> None:
            self.transport.sendto(answer(data), addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    try:
        return await ntp("127.0.0.1", transport.get_extra_info("sockname")[1])
    finally:
        transport.close()


@pytest.mark.parametrize("ahead_s", [0.0, 7.0, -3_600.0])
def test_an_ntp_server_tells_by_how_much_the_clock_is_off(ahead_s: float) -> None:
    said = asyncio.run(ask(lambda question: ntp_answer(question, ahead_s)))
    assert said.low_ms - 5 <= -ahead_s * 1_000 <= said.high_ms + 5
    assert said.high_ms - said.low_ms < 5_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": b"12345678"},
        {"stratum": 0},
        {"stratum": 16},
        {"first": 0xE4},  # its own clock is not set
        {"first": 0x23},  # a question, no answer
    ],
)
def test_an_answer_to_nobodys_question_says_nothing(wrong: dict[str, object]) -> None:
    with pytest.raises(TimeSourceError):
        asyncio.run(ask(lambda question: ntp_answer(question, **wrong)))
    with pytest.raises(TimeSourceError):
        asyncio.run(ask(lambda question: b"short"))


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(TimeSourceError, match=r"127\.0\.0\.1"):
        asyncio.run(ntp("127.0.0.1", port))


@given(st.floats(-1e5, 1e5), st.floats(0, 900), st.floats(0, 999), st.integers(0, 999))
def test_a_date_holds_the_truth_between_its_bounds(off_ms, there_ms, stale_ms, phase_ms) -> None:
    """The server answers at a true moment by a Date that may be a second old."""
    true_ms = 1_782_205_200_000 + phase_ms
    date = formatdate((true_ms - stale_ms) // 1_000, usegmt=True)
    said = date_bounds(date, true_ms + off_ms - there_ms, there_ms)
    assert said is not None
    assert said.low_ms - 1 <= off_ms <= said.high_ms + 1


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 99 Nov 2026 00:00:00 GMT"])
def test_a_strange_date_says_nothing(date: str) -> None:
    assert date_bounds(date, 0, 0) is None


def test_whole_seconds_heard_often_tell_fractions() -> None:
    clock = ClockStatus("server")
    for step in range(40):
        true_ms = 1_782_205_200_000 + step * 30_130
        date = formatdate(true_ms // 1_000, usegmt=True)
        said = date_bounds(date, true_ms + 300, 10)
        assert said is not None
        clock.hear("server", Bounds(said.low_ms, said.high_ms, step * 30_130))
        clock.look(true_ms + 300, step * 30_130)
    assert clock.status is SYNCHRONISED
    assert clock.heard["server"].low_ms <= 300 <= clock.heard["server"].high_ms


def test_the_steady_clock_goes_on() -> None:
    assert steady_ms() <= steady_ms()

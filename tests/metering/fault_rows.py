"""The rows of docs/faults.md as data: what a simulated meter does, and what has to come of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from pymodbus.constants import ExcCodes

from metering.event import Kind
from metering.profiles import parse_profile
from metering.reading import Clock
from metering.registers import encode_text
from metering.simulator import Fault, Request, Silence

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

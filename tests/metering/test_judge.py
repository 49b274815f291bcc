"""The judgement of a register set: courses of a counter as tables, and what a restart remembers."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from metering.event import Kind, clock_jump
from metering.interval import LENGTH_MS, Interval
from metering.judge import Memory, Nature, Sight, judge
from metering.reading import FIRST_PREV, Clock, Measurement, Quality, Reading
from metering.spool import Answer, Signer, Spool
from tests.app.doorway import Meter, gsrn, key_of

NATURE = Nature("A", 6_000)  # 110 Wh a minute
MINUTE_MS = 60_000
GOOD, INVALID, ODD = Quality.MEASURED, Quality.INVALID, Quality.QUESTIONABLE


def sight(minute: float, import_wh: int | None, **fields: object) -> Sight:
    at = int(minute * MINUTE_MS)
    values = Sight(at, at, {"import": import_wh, "export": None})
    return replace(values, **fields)


def course(*shown: Sight) -> tuple[list[Quality], list[Kind], list[int]]:
    """Return the qualities, the kinds told, and at which sets a new epoch began."""
    memory = Memory()
    qualities, kinds, epochs = [], [], []
    for number, each in enumerate(shown):
        found = judge(memory, each, NATURE)
        if found.again:
            found = judge(memory, each, NATURE, second=True)
        memory = found.memory
        qualities.append(found.quality)
        kinds += [finding.kind for finding in found.findings]
        epochs += [number] * found.new_epoch
    return qualities, kinds, epochs


COURSES = {
    "a fall too short for a reset": (
        [(0, 1_000), (1, 0), (1.5, 1), (2, 2), (3, 1_005)],
        [GOOD, INVALID, INVALID, INVALID, GOOD], [Kind.BLIP], []),
    "two sets are no reset, however far apart": (
        [(0, 1_000), (1, 0), (20, 10)], [GOOD, INVALID, INVALID], [], []),
    "a reset": (
        [(0, 1_000), (1, 0), (2, 10), (3, 20), (4, 30)],
        [GOOD, INVALID, INVALID, GOOD, GOOD], [Kind.RESET], [3]),
    "a step back by one": ([(0, 1_000), (1, 999), (2, 1_001)], [GOOD] * 3, [Kind.STEPPED_BACK], []),
    "a step back by two is more than a step": ([(0, 1_000), (1, 998)], [GOOD, INVALID], [], []),
    "a jump that stays is a new level, never energy": (
        [(0, 1_000), (1, 1_300), (2, 1_350), (3, 1_400), (4, 1_450)],
        [GOOD, ODD, ODD, GOOD, GOOD], [Kind.SPIKE, Kind.RESET], [3]),
    "a jump in what time allows": ([(0, 1_000), (10, 2_000)], [GOOD, GOOD], [], []),
    "a clock set back tells nothing of power": ([(10, 1_000), (9, 1_010)], [GOOD, GOOD], [], []),
    "a counter that went away": ([(0, 1_000), (1, None)], [GOOD, Quality.MISSING],
        [Kind.MISSING], []),
    "a meter that never showed one": ([(0, None)], [Quality.MISSING], [Kind.MISSING], []),
}  # fmt: skip


@pytest.mark.parametrize("name", COURSES)
def test_a_counters_course(name: str) -> None:
    shown, *expected = COURSES[name]
    assert course(*(sight(*each) for each in shown)) == tuple(expected)


def test_a_roll_over_needs_modulus_and_plausible_difference() -> None:
    modulus = {"import": 10_000, "export": None}
    first = sight(0, 9_950, moduli_wh=modulus)
    rolled = sight(1, 20, moduli_wh=modulus)
    assert course(first, rolled)[:2] == ([GOOD, GOOD], [Kind.ROLLED_OVER])
    assert course(first, sight(1, 500, moduli_wh=modulus))[0] == [GOOD, INVALID]
    assert course(first, replace(rolled, moduli_wh={}))[0] == [GOOD, INVALID]
    memory = judge(Memory(), first, NATURE).memory
    assert judge(memory, rolled, NATURE).again  # it is looked at twice
    assert judge(memory, rolled, NATURE, second=True).totals["import"] == 10_020


def test_after_a_power_loss_roll_overs_and_levels_are_known_from_the_last_reading() -> None:
    meter = Meter(1, key_of(1), gsrn(1))
    last = replace(
        Reading.of(meter.enrolment, meter.reading(1), 1, FIRST_PREV),
        import_wh=30_050, asked_ms=0, answered_ms=0, clock=Clock.SYNCHRONISED,
    )  # fmt: skip
    modulus = {"import": 10_000, "export": None}
    found = judge(Memory.after(last), sight(1, 80, moduli_wh=modulus), NATURE)
    assert (found.quality, found.totals["import"]) == (GOOD, 30_080)
    assert judge(Memory.after(last), sight(1, 0), NATURE).quality is INVALID


def test_a_foreign_serial_is_refused_until_the_enrolled_one_is_seen() -> None:
    shown = [
        sight(0, 1_000, serial="A"), sight(1, 5, serial="B"), sight(2, 1_020),
        sight(3, 1_030, serial="A"), sight(4, 1_040),
    ]  # fmt: skip
    qualities, kinds, _ = course(*shown)
    assert qualities == [GOOD, INVALID, INVALID, GOOD, GOOD]
    assert kinds == [Kind.EXCHANGED, Kind.UNIT_CLASH]


def test_what_lasts_is_told_once() -> None:
    power = {"power_w": 6_000}
    _, kinds, _ = course(*(sight(minute, 1_000, **power) for minute in range(6)))
    assert kinds == [Kind.STUCK]
    _, kinds, _ = course(*(sight(minute, 1_000 + minute, voltage_mv=0) for minute in range(3)))
    assert kinds == [Kind.IMPLAUSIBLE]


NIGHTS = [("2026-03-29", 92), ("2026-06-23", 96), ("2026-10-25", 100)]


@pytest.mark.parametrize(("day", "quarters"), NIGHTS)
def test_summer_time_is_no_jump(day: str, quarters: int) -> None:
    """The local nights on which clocks are set: each quarter-hour of UTC is there once."""
    zone = ZoneInfo("Europe/Berlin")
    midnight = datetime.fromisoformat(day).replace(tzinfo=zone)
    after = (midnight + timedelta(days=1)).astimezone(UTC)
    moments = range(int(midnight.timestamp() * 1000), int(after.timestamp() * 1000), LENGTH_MS)
    keys = [Interval.containing_ms(moment).key for moment in moments]
    assert len(set(keys)) == len(keys) == quarters
    sights = [sight(moment / MINUTE_MS, 1_000 + n) for n, moment in enumerate(moments)]
    assert course(*sights) == ([GOOD] * quarters, [], [])
    ticks = [(moment, moment - moments[0]) for moment in moments]
    assert all(clock_jump(a, b, 1_000) is None for a, b in itertools.pairwise(ticks))


def test_a_clock_that_jumped_is_seen_beside_one_that_counts_up() -> None:
    assert clock_jump((1_000, 5), (61_000, 60_005), 1_000) is None
    assert clock_jump((1_000, 5), (3_661_000, 60_005), 1_000) == 3_600_000
    assert clock_jump((3_600_000, 0), (60_000, 60_000), 1_000) == -3_600_000


def test_the_last_good_reading_outlives_the_spools_tidying(tmp_path: Path) -> None:
    meter = Meter(1, key_of(1), gsrn(1))
    spool = Spool.open(tmp_path / "spool.db")
    for at_ms, wh, quality in ((1, 30_050, GOOD), (2, 0, INVALID)):
        measured = Measurement(
            at_ms, at_ms, Clock.SYNCHRONISED, wh, None, 1, None, quality, "ab" * 32
        )
        (kept,) = spool.append([(Signer(meter.enrolment, meter.signing_key), measured)])
        spool.acknowledge([Answer(kept.id, 200, receipt="{}")], 5)
    assert spool.prune(10, 10) == 2
    last = spool.last_good(meter.key)
    assert last is not None
    assert (last.epoch, last.import_wh) == (1, 30_050)
    assert spool.last_good("00" * 32) is None
    spool.close()

from __future__ import annotations

from dataclasses import replace

import pytest

from app.services.plausibility import (
    WINDOW,
    Flag,
    Step,
    effective_quality,
    is_good,
    judge,
    parse,
    passes,
    spell,
)
from metering.reading import Clock, Quality, Reading
from tests.app.doorway import MINUTE_MS, Meter, gsrn, key_of

METER = Meter(1, key_of(1), gsrn(1))
MAX_W = 6_000  # 110 Wh a minute with the tolerance of ten percent
BEFORE = METER.reading(1, import_wh=1_000, export_wh=500, power_w=0)
AT = BEFORE.answered_ms
LINK = "cd" * 32
GOOD = replace(
    METER.reading(2, LINK), import_wh=1_050, export_wh=500, power_w=0, answered_ms=AT + MINUTE_MS
)

# What changes in GOOD, and the flags that follow.
CASES = [
    ("nothing", {}, set()),
    ("a register fell", {"import_wh": 999}, {Flag.COUNTER_FELL}),
    ("the other register fell", {"export_wh": 499}, {Flag.COUNTER_FELL}),
    ("a register that the meter no longer has", {"export_wh": None}, set()),
    ("as much as the fuse allows", {"import_wh": 1_110}, set()),
    ("a step of the register more", {"import_wh": 1_111}, set()),
    ("more than the fuse allows", {"import_wh": 1_112}, {Flag.IMPOSSIBLE_POWER}),
    ("a coarse register", {"import_wh": 2_000, "resolution_wh": 1_000}, set()),
    (
        "a register that calls itself coarser than believable",
        {"import_wh": 3_000, "resolution_wh": 10**9},
        {Flag.IMPOSSIBLE_POWER},
    ),
    (
        "energy in no time",
        {"import_wh": 1_020, "asked_ms": AT, "answered_ms": AT},
        {Flag.IMPOSSIBLE_POWER},
    ),
    ("power at the tolerance", {"power_w": 6_600}, set()),
    ("power beyond it", {"power_w": 6_601}, {Flag.IMPOSSIBLE_POWER}),
    ("exported power beyond it", {"power_w": -6_601}, {Flag.IMPOSSIBLE_POWER}),
    ("another prev", {"prev": "00" * 32}, {Flag.CHAIN_BROKEN}),
    ("a number skipped", {"seq": 3, "prev": "ef" * 32}, {Flag.GAP}),
    ("an informative clock", {"clock": Clock.INFORMATIVE}, set()),
    ("an unknown clock", {"clock": Clock.UNKNOWN}, {Flag.NOT_SETTLEABLE_CLOCK}),
    ("a relative clock", {"clock": Clock.RELATIVE}, {Flag.NOT_SETTLEABLE_CLOCK}),
]


@pytest.mark.parametrize(("name", "changes", "flags"), CASES, ids=[case[0] for case in CASES])
def test_flags(name: str, changes: dict[str, object], flags: set[Flag]) -> None:
    before = replace(BEFORE, asked_ms=AT)  # read at one moment, so that the bound is exact
    assert judge(replace(GOOD, **changes), [Step(before, LINK, good=True)], MAX_W) == flags


def test_the_first_of_an_epoch_has_no_predecessor() -> None:
    assert judge(METER.reading(1), [], MAX_W) == frozenset()
    assert judge(METER.reading(1, LINK), [], MAX_W) == {Flag.CHAIN_BROKEN}
    assert judge(METER.reading(2, LINK), [], MAX_W) == {Flag.GAP}


def test_registers_may_be_read_anywhere_within_the_requests_window() -> None:
    before = replace(BEFORE, asked_ms=AT - MINUTE_MS)
    past = [Step(before, LINK, good=True)]
    assert judge(replace(GOOD, import_wh=1_220), past, MAX_W) == frozenset()


def in_turn(*shown: int, every_ms: int = MINUTE_MS, **first: object) -> list[set[Flag]]:
    """What is said of readings that show so much import, one after the other."""
    found: list[set[Flag]] = []
    past: list[Step] = []
    for seq, import_wh in enumerate(shown, start=1):
        at = AT + seq * every_ms
        reading = replace(
            GOOD, seq=seq, prev=LINK if past else "00" * 32, import_wh=import_wh, export_wh=500,
            asked_ms=at, answered_ms=at,
        )  # fmt: skip
        flags = judge(reading, past, MAX_W)
        found.append(set(flags))
        past.insert(0, Step(reading, LINK, good=is_good(reading.quality, flags)))
    return found


NONE: set[Flag] = set()
FELL, JUMPED = {Flag.COUNTER_FELL}, {Flag.IMPOSSIBLE_POWER}
COURSES = [
    ("to 0 and back", (1_000, 0, 1_010, 1_020), [NONE, FELL, NONE, NONE]),
    ("three times 0 is too short for a level", (1_000, 0, 1, 1_010), [NONE, FELL, FELL, NONE]),
    ("a reset stands after two minutes", (1_000, 0, 1, 2, 3), [NONE, FELL, FELL, NONE, NONE]),
    ("a spike and back", (1_000, 9_000, 1_020, 1_030), [NONE, JUMPED, NONE, NONE]),
    (
        "a jump is not made plausible by time",
        (1_000, 1_150, 1_200, 1_250, 1_300),
        [NONE, JUMPED, JUMPED, NONE, NONE],
    ),
    ("junk", (1_000, 9_000, 3, 8_000, 1_040), [NONE, JUMPED, FELL, JUMPED, NONE]),
]


@pytest.mark.parametrize(("name", "shown", "flags"), COURSES, ids=[each[0] for each in COURSES])
def test_a_register_is_judged_beside_the_last_good_one(
    name: str, shown: tuple[int, ...], flags: list[set[Flag]]
) -> None:
    assert in_turn(*shown) == flags


def test_beyond_the_window_the_direct_predecessor_counts() -> None:
    shown = [1_000] + [at % 2 * 5_000 for at in range(WINDOW)]
    found = in_turn(*shown, 1_030, every_ms=1_000)
    assert found[0] == set()
    assert all(flags & {Flag.COUNTER_FELL, Flag.IMPOSSIBLE_POWER} for flags in found[1:])
    found = in_turn(*shown[:-1], 1_030, every_ms=1_000)
    assert found[-1] == set()


STANDING = [
    ("import stands", {"power_w": 6_000}, 6_000, {Flag.STUCK}),
    ("it moves", {"power_w": 6_000, "import_wh": 1_001}, 6_000, NONE),
    ("too little power to tell", {"power_w": 299}, 6_000, NONE),
    ("the power turned meanwhile", {"power_w": 6_000}, -6_000, NONE),
    ("export stands", {"power_w": -6_000}, -6_000, {Flag.STUCK}),
    ("a coarse register", {"power_w": 6_000, "resolution_wh": 100}, 6_000, NONE),
    (
        "fed in, and the import register rises",
        {"power_w": -6_000, "import_wh": 1_100},
        -6_000,
        {Flag.DIRECTION},
    ),
    (
        "without an export register, too",
        {"power_w": -6_000, "import_wh": 1_100, "export_wh": None},
        -6_000,
        {Flag.DIRECTION},
    ),
    ("a register that is not there", {"power_w": -6_000, "export_wh": None}, -6_000, NONE),
]


@pytest.mark.parametrize(
    ("name", "fields", "then_w", "flags"), STANDING, ids=[c[0] for c in STANDING]
)
def test_a_register_that_stands_while_power_flows(
    name: str, fields: dict[str, object], then_w: int, flags: set[Flag]
) -> None:
    past = [Step(replace(BEFORE, power_w=then_w), LINK, good=True)]
    assert judge(replace(GOOD, **({"import_wh": 1_000} | fields)), past, MAX_W) == flags


def test_an_epoch_that_does_not_hold_is_pending() -> None:
    assert judge(GOOD, [Step(BEFORE, LINK, good=True)], MAX_W, pending=True) == {Flag.EPOCH_PENDING}


def test_what_passed_left_nothing_behind() -> None:
    def shows(minute: int, import_wh: int) -> Reading:
        at = AT + minute * MINUTE_MS
        return replace(BEFORE, asked_ms=at, answered_ms=at, import_wh=import_wh)

    assert passes(shows(1, 0), shows(0, 1_000), shows(2, 1_010), MAX_W)
    assert passes(shows(1, 9_000), shows(0, 1_000), shows(2, 1_010), MAX_W)
    assert not passes(shows(1, 0), shows(0, 1_000), shows(2, 10), MAX_W)
    assert not passes(shows(1, 1_200), shows(0, 1_000), shows(9, 1_210), MAX_W)


QUALITIES = [
    (Quality.MEASURED, {Flag.GAP, Flag.LATE}, Quality.MEASURED),
    (Quality.MEASURED, {Flag.COUNTER_FELL}, Quality.INVALID),
    (Quality.MEASURED, {Flag.COUNTER_FELL, Flag.CHAIN_BROKEN}, Quality.INVALID),
    (Quality.MEASURED, {Flag.IMPOSSIBLE_POWER}, Quality.QUESTIONABLE),
    (Quality.MEASURED, {Flag.CHAIN_BROKEN}, Quality.QUESTIONABLE),
    (Quality.MEASURED, {Flag.NOT_SETTLEABLE_CLOCK}, Quality.QUESTIONABLE),
    (Quality.MEASURED, {Flag.QUARANTINED}, Quality.QUESTIONABLE),
    (Quality.ESTIMATED, set(), Quality.ESTIMATED),
    (Quality.ESTIMATED, {Flag.CHAIN_BROKEN}, Quality.QUESTIONABLE),
    (Quality.INVALID, {Flag.IMPOSSIBLE_POWER}, Quality.INVALID),
    (Quality.MISSING, {Flag.COUNTER_FELL}, Quality.MISSING),
]


@pytest.mark.parametrize(("claimed", "flags", "effective"), QUALITIES)
def test_quality_is_never_better_than_claimed(
    claimed: Quality, flags: set[Flag], effective: Quality
) -> None:
    assert effective_quality(claimed, flags) == effective


def test_flags_read_back_from_their_column() -> None:
    assert spell(set()) == ""
    assert spell({Flag.LATE, Flag.GAP}) == "gap late"
    assert parse(spell(set(Flag))) == set(Flag)

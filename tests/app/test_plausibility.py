from __future__ import annotations

from dataclasses import replace

import pytest

from app.services.plausibility import Flag, effective_quality, judge, parse, spell
from metering.reading import Clock, Quality
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
    assert judge(replace(GOOD, **changes), before, LINK, MAX_W) == flags


def test_the_first_of_an_epoch_has_no_predecessor() -> None:
    assert judge(METER.reading(1), None, None, MAX_W) == frozenset()
    assert judge(METER.reading(1, LINK), None, None, MAX_W) == {Flag.CHAIN_BROKEN}
    assert judge(METER.reading(2, LINK), None, None, MAX_W) == {Flag.GAP}


def test_registers_may_be_read_anywhere_within_the_requests_window() -> None:
    before = replace(BEFORE, asked_ms=AT - MINUTE_MS)
    assert judge(replace(GOOD, import_wh=1_220), before, LINK, MAX_W) == frozenset()


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

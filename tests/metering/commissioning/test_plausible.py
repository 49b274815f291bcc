"""Verdicts on what a meter shows: one row per trap, and that no registers break the judge."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.commissioning.plausible import Expected, judge, report
from metering.commissioning.seen import Seen, Snapshot, fits
from metering.commissioning.wire import Finding, Report
from metering.profiles import candidates
from metering.registers import Block, RegisterMap
from tests.conftest import LONG
from tests.metering.commissioning.seen_kit import AT_MS, EM340, SDM630, seen, snapshot, swapped

FIXED = [each for each in candidates() if isinstance(each.layout, RegisterMap)]


def findings(found: Seen, **expected: object) -> dict[str, Finding]:
    return {each.check: each for each in judge(found, Expected(**expected))}


def wrong(found: Seen, **expected: object) -> set[str]:
    return {name for name, each in findings(found, **expected).items() if each.verdict == "wrong"}


def test_a_sound_meter_is_good_but_for_what_takes_time() -> None:
    found = findings(seen(), max_power_w=10_000)
    assert {name for name, each in found.items() if each.verdict != "good"} == {"direction"}
    assert found["direction"].verdict == "unseen"
    assert "--seconds" in found["direction"].advice
    assert (found["voltage_l1"].value, found["voltage_l1"].unit) == ("230.0", "V")
    assert found["voltage_l1"].plausible == "50 to 300"


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        ({"voltage_l1": 49.9}, {"voltage_l1"}),
        ({"voltage_l1": 50}, set()),
        ({"voltage_l2": 300.5}, {"voltage_l2"}),
        ({"voltage_l1": 0}, {"voltage_l1"}),
        ({"voltage_l2": 0, "voltage_l3": None}, set()),  # a single phase: pointed out alone
        ({"frequency": 44}, {"frequency"}),
        ({"frequency": 65}, set()),
        ({"frequency": None}, {"frequency"}),
        ({"power": 11_000}, set()),
        ({"power": -11_001}, {"power"}),
        ({"power": None}, set()),
        ({"then": {"import_total": 999_000}}, {"import_total"}),
        ({"import_total": None}, set()),
    ],
)
def test_values_beside_what_is_plausible(shown: dict[str, object], names: set[str]) -> None:
    assert wrong(seen(seconds=1, **shown), max_power_w=10_000) == names


@pytest.mark.parametrize(
    ("power", "imported", "exported", "verdict", "words"),
    [
        (7_200, 20, 0, "good", ""),
        (-7_200, 0, 20, "good", ""),
        (7_200, 0, 20, "wrong", "wrong way round"),
        (-7_200, 20, 0, "wrong", "easy connection"),
        (7_200, 10, 10, "look", "each phase"),
        (7_200, 0, 0, "wrong", "neither counter moves"),
        (40, 0, 0, "unseen", "50 W"),
        (200, 0, 0, "unseen", "--seconds"),
    ],
)
def test_the_sign_of_power_against_the_counters(
    power: int, imported: int, exported: int, verdict: str, words: str
) -> None:
    then = {"import_total": 1_000 + imported, "export_total": 1_000 + exported}
    found = findings(
        seen(seconds=10, power=power, import_total=1_000, export_total=1_000, then=then)
    )["direction"]
    assert found.verdict == verdict
    assert words in found.advice


@pytest.mark.parametrize(("counted", "verdict"), [(20, "good"), (10, "good"), (400, "wrong")])
def test_counters_that_run_at_another_pace(counted: int, verdict: str) -> None:
    then = {"import_total": 1_000 + counted}
    found = findings(seen(power=7_200, import_total=1_000, export_total=0, then=then))
    assert found["pace"].verdict == verdict


@pytest.mark.parametrize(("real", "told"), [(SDM630, "high-word-first"), (EM340, "low-word-first")])
def test_swapped_words_are_shown_with_the_evidence(real, told: str) -> None:
    registers = seen(real)
    found = findings(replace(registers, profile=swapped(real), register_map=swapped(real).layout))
    assert found["word_order"].verdict == "wrong"
    assert f"decoded {told} it would be 23" in found["word_order"].advice
    assert "word_order" not in findings(registers)


def test_easy_connection_and_other_settings() -> None:
    (setting,) = (each for each in EM340.watch if each.safe)
    unsafe = {each.name: "0" for each in EM340.watch}
    found = findings(replace(seen(EM340), settings=unsafe))
    (line,) = [each for each in found.values() if "easy connection" in each.advice]
    assert (line.verdict, line.value, line.plausible) == ("wrong", "0", "1")
    wanted = {setting.name: "0"}
    assert not wrong(replace(seen(EM340), settings=unsafe), settings=wanted)
    other = wrong(replace(seen(EM340), settings=unsafe), settings={setting.name: "100"})
    assert len(other) == 1
    absent = findings(replace(seen(EM340), settings={}))
    assert any(each.verdict == "unseen" and "setting" in each.check for each in absent.values())


@pytest.mark.parametrize(
    ("shown", "label", "verdict"),
    [("1", "", "good"), ("1", "1", "good"), ("1", "2", "wrong"), (None, "", "look")],
)
def test_the_serial_number(shown: str | None, label: str, verdict: str) -> None:
    found = findings(replace(seen(), serial=shown), serial=label)
    assert found["serial"].verdict == verdict


def test_the_type_and_the_worst_verdict() -> None:
    assert findings(replace(seen(), identified=False))["type"].verdict == "wrong"
    told = report(replace(seen(), identified=True), Expected(), AT_MS)
    assert told.verdict == "unseen"
    assert Report.parse(told.to_json()) == told
    assert told.version == SDM630.version


@pytest.mark.parametrize("profile", FIXED, ids=lambda each: each.name)
def test_every_profile_fits_itself_and_not_empty_registers(profile) -> None:
    assert isinstance(profile.layout, RegisterMap)
    shown = dict.fromkeys(profile.layout.fields, 0) | {
        "voltage_l1": 230, "frequency": 50, "import_total": 1_000, "export_total": 1_000,
    }  # fmt: skip
    assert fits(profile.layout, snapshot(profile, 0, shown).blocks)
    zeros = [Block(read, [0] * read.count) for read in profile.layout.reads]
    assert not fits(profile.layout, zeros)


@settings(max_examples=4_000 if LONG else 100)
@given(st.data())
def test_no_registers_break_the_judge(data: st.DataObject) -> None:
    profile = data.draw(st.sampled_from(FIXED))
    layout = profile.layout
    assert isinstance(layout, RegisterMap)
    word = st.integers(0, 0xFFFF)

    def blocks() -> list[Block]:
        return [
            Block(read, data.draw(st.lists(word, min_size=read.count, max_size=read.count)))
            for read in layout.reads
            if data.draw(st.integers(0, 9))
        ]

    found = Seen(
        profile,
        layout,
        Snapshot(AT_MS, blocks()),
        Snapshot(AT_MS + data.draw(st.integers(-5, 10**7)), blocks()),
        serial=data.draw(st.none() | st.text(max_size=20)),
        settings={each.name: data.draw(st.none() | st.text(max_size=9)) for each in profile.watch},
        identified=data.draw(st.none() | st.booleans()),
    )
    told = report(found, Expected(max_power_w=data.draw(st.none() | st.integers(0))), AT_MS)
    assert Report.parse(told.to_json()) == told
    checks = [each.check for each in told.findings]
    assert len(checks) == len(set(checks))

"""Any sequence of faults, any order of arrival: the same flags, and never more than was counted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import col, select

from app.services import border_pairs, changes, plausibility
from app.services.border_pairs import Measured
from app.services.plausibility import Step
from app.tables import ReadingRow
from metering.judge import Memory, Nature, Sight, judge
from metering.reading import FIRST_PREV, Clock, Measurement, Reading, SignedReading, link
from tests.app.doorway import MAX_POWER_W, MINUTE_MS, START, District, Meter, gsrn, key_of
from tests.conftest import LONG

MODULUS_WH = 110_000
BEGIN_WH = 100_000
PER_MINUTE_WH = 100
# What happens to the counter in a minute; most of the time nothing does.
HAPPENS = ("", "", "", "", "blip", "spike", "step back", "reset", "stuck", "no reading", "burst")

_faults = st.lists(st.sampled_from(HAPPENS), min_size=4, max_size=40)


def lived(faults: list[str]) -> list[tuple[Sight, int]]:
    """What a meter shows minute by minute, and what truly was counted by then (Wh)."""
    found, true_wh, offset, stuck = [], BEGIN_WH, 0, 0
    for minute, fault in enumerate(faults, start=1):
        true_wh += PER_MINUTE_WH
        if fault == "reset":
            offset = true_wh
        if fault == "stuck":
            stuck, offset = 2, offset + PER_MINUTE_WH
        elif stuck:
            stuck, offset = stuck - 1, offset + PER_MINUTE_WH
        shown = (true_wh - offset) % MODULUS_WH
        shown = {"blip": 0, "spike": shown + 50_000, "step back": max(0, shown - 1_000)}.get(
            fault, shown
        )
        if fault != "no reading":
            at_ms = START.start_ms + minute * MINUTE_MS
            sight = Sight(
                at_ms - 20, at_ms, {"import": shown, "export": None}, PER_MINUTE_WH * 60,
                moduli_wh={"import": MODULUS_WH, "export": None},
            )  # fmt: skip
            found.append((sight, true_wh))
    return found


def signed_by(meter: Meter, faults: list[str]) -> list[tuple[SignedReading, int]]:
    """What its gateway signs of that."""
    memory, enrolment = Memory(), meter.enrolment
    nature, heads = Nature(enrolment.serial, MAX_POWER_W), {1: (0, FIRST_PREV)}
    found = []
    for sight, true_wh in lived(faults):
        judged = judge(memory, sight, nature)
        if judged.again:
            judged = judge(memory, sight, nature, second=True)
        memory = judged.memory
        if judged.new_epoch:
            enrolment = replace(enrolment, epoch=enrolment.epoch + 1)
            heads[enrolment.epoch] = (0, FIRST_PREV)
        measurement = Measurement(
            sight.asked_ms, sight.answered_ms, Clock.SYNCHRONISED, judged.totals["import"], None, 1,
            sight.power_w, judged.quality, "ab" * 32,
        )  # fmt: skip
        seq, prev = heads[enrolment.epoch]
        one = meter.sign(Reading.of(enrolment, measurement, seq + 1, prev))
        heads[enrolment.epoch] = (seq + 1, link(one.payload, one.signature))
        found.append((one, true_wh))
    return found


def from_scratch(signed: list[SignedReading]) -> dict[tuple[int, int], tuple[str, str]]:
    """The oracle: each chain judged anew, reading by reading, with all that came before."""
    found: dict[tuple[int, int], tuple[str, str]] = {}
    chains: dict[int, list[Step]] = {}
    for each in signed:
        reading = Reading.from_payload(each.payload)
        past = chains.setdefault(reading.epoch, [])
        flags = plausibility.judge(reading, past, MAX_POWER_W, pending=reading.epoch != 1)
        quality = plausibility.effective_quality(reading.quality, flags)
        found[reading.epoch, reading.seq] = (plausibility.spell(flags), str(quality))
        good = plausibility.is_good(reading.quality, flags)
        past.insert(0, Step(reading, link(each.payload, each.signature), good=good))
    return found


@settings(max_examples=300 if LONG else 6)
@given(faults=_faults, data=st.data())
def test_any_faults_in_any_order(founded: Path, faults: list[str], data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        district = District(f"sqlite:///{shutil.copy(founded, folder)}", founded=True)
        lives = signed_by(district.meters[0], faults)
        order = data.draw(st.permutations(range(len(lives))))
        cuts = sorted(data.draw(st.sets(st.integers(0, len(lives)), max_size=6)))
        for start, end in pairwise([0, *cuts, len(lives)]):
            if start < end:
                results = district.send(*(lives[number][0] for number in order[start:end]))
                assert {result.status for result in results} == {200}
        check(district, lives)
        district.database.close()


def check(district: District, lives: list[tuple[SignedReading, int]]) -> None:
    """The flags are those of the oracle, and no pair of good readings tells too much energy."""
    expected = from_scratch([each for each, _ in lives])
    true_wh = {each.payload: wh for each, wh in lives}
    with district.database.read() as session:
        rows = session.exec(
            select(ReadingRow).order_by(col(ReadingRow.epoch), col(ReadingRow.seq))
        ).all()
        assert {(row.epoch, row.seq): (row.flags, row.quality) for row in rows} == expected
        good = [row for row in rows if row.quality == "measured"]
        pairs = [(good[0], row) for row in good[1:]] + list(pairwise(good))
        for (first, last), told in zip(pairs, border_pairs.judge(session, pairs), strict=True):
            if isinstance(told, Measured):
                counted = true_wh[last.payload] - true_wh[first.payload]
                assert 0 <= told.import_wh <= counted + 1
        epochs = {row.epoch for row in rows} - {1}
        proposed = changes.listed(session)
        assert {change.new.epoch for change in proposed} == epochs
        assert sorted((c.old.epoch, c.new.epoch) for c in proposed) == [
            (epoch - 1, epoch) for epoch in sorted(epochs)
        ]


def oracle_alone(meter: Meter, faults: list[str]) -> None:
    """Without a database: what is measured, in one epoch, never rises above what was counted."""
    lives = signed_by(meter, faults)
    judged = from_scratch([each for each, _ in lives])
    last: tuple[int, int] | None = None
    for each, true_wh in lives:
        reading = Reading.from_payload(each.payload)
        assert reading.import_wh is not None
        if reading.epoch == 1 and judged[1, reading.seq][1] == "measured":
            if last is not None and reading.import_wh >= last[0]:
                assert reading.import_wh - last[0] <= true_wh - last[1] + 1
            last = (reading.import_wh, true_wh)


@settings(max_examples=4_000 if LONG else 100)
@given(faults=_faults)
def test_what_is_measured_is_never_more_than_was_counted(faults: list[str]) -> None:
    oracle_alone(Meter(1, key_of(1), gsrn(1)), faults)

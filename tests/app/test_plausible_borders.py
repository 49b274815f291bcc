"""Registers that jump or fall between the borders: never settled, never corrected, told once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from app.jobs.correct import correct_estimates
from app.services.border_pairs import Fault
from app.store import borders
from app.store.borders import Stretch
from app.tables import OrderRow, ReadingRow
from metering.interval import LENGTH_MS, Interval
from metering.reading import Clock, Quality
from tests.app.district_kit import START, Kit, key

FUSE_WH = 13_750  # 50 kW for a quarter-hour, and ten percent


@pytest.fixture
def kit(database_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, database_url)
    yield kit
    kit.close()


@pytest.fixture
def plain(sqlite_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, sqlite_url)
    yield kit
    kit.close()


ESTIMATED = (0, 0, True)
# What flat's meter says within a quarter-hour that begins with 1,000 Wh drawn and 500 Wh fed in:
# (minute, import_wh, what else), the reading at its end, and what the interval comes to.
Minute = tuple[float, int | None, dict[str, Any]]
WITHIN: dict[str, tuple[list[Minute], tuple[int, int, bool], Fault | None]] = {
    "rises evenly": ([(5, 1_200, {}), (10, 1_400, {}), (15, 1_500, {})], (500, 0, False), None),
    "all that the fuse allows": ([(15, 1_001 + FUSE_WH, {})], (FUSE_WH + 1, 0, False), None),
    "a step more than that is no border": ([(15, 1_002 + FUSE_WH, {})], ESTIMATED, None),
    "a jump of 10 MWh stays": (
        [(5, 1_200, {}), (6, 10_001_300, {}), (15, 10_001_500, {})], ESTIMATED, Fault.JUMPED),
    "a jump within what a quarter-hour allows": (
        [(5, 1_200, {}), (6, 4_000, {}), (15, 4_100, {})], ESTIMATED, Fault.JUMPED),
    "the export register jumps": (
        [(6, 1_300, {"export_wh": 9_000}), (15, 1_500, {"export_wh": 9_000})],
        ESTIMATED, Fault.JUMPED),
    "a fall of 700 Wh": (
        [(5, 2_000, {}), (6, 1_300, {}), (15, 1_500, {})], ESTIMATED, Fault.FELL),
    "to 0 and back: what came and went leaves nothing behind": (
        [(5, 1_200, {}), (6, 0, {}), (7, 1_300, {}), (15, 1_500, {})], (500, 0, False), None),
    "a spike and back": (
        [(5, 1_200, {}), (6, 99_000, {}), (7, 1_300, {}), (15, 1_500, {})], (500, 0, False), None),
    "to 0, and from there on": (
        [(5, 1_200, {}), (6, 0, {}), (7, 100, {}), (9, 200, {}), (15, 1_500, {})],
        ESTIMATED, Fault.FELL),
    "the power alone is impossible": (
        [(5, 1_200, {"power_w": 900_000}), (15, 1_500, {})], (500, 0, False), None),
    "power and register are impossible": (
        [(5, 9_200, {"power_w": 900_000}), (15, 9_500, {})], ESTIMATED, Fault.JUMPED),
    "an unknown clock in between": (
        [(5, 1_200, {"clock": Clock.UNKNOWN}), (15, 1_500, {})], (500, 0, False), None),
    "the meter doubts itself": (
        [(5, 1_200, {"quality": Quality.QUESTIONABLE}), (15, 1_500, {})], (500, 0, False), None),
    "a fall at the very border: a level counts once it stood for two minutes": (
        [(5, 2_000, {}), (15, 1_300, {}), (15.1, 1_350, {})], ESTIMATED, None),
    "a fall just after the closing border": (
        [(15, 1_500, {}), (15.05, 800, {})], (500, 0, False), None),
}  # fmt: skip


@pytest.mark.parametrize("case", WITHIN)
def test_between_the_borders(plain: Kit, case: str) -> None:
    minutes, expected, fault = WITHIN[case]
    plain.read()
    _say(plain, minutes)
    assert plain.energy(key(0), "flat") == expected
    assert plain.slot(key(0), "flat").fault == fault
    point = plain.homes["flat"].point
    told = [notice.text for notice in plain.notices(f"estimated/{key(0)}/{point}")]
    reason = str(fault or "no valid reading at a border")
    assert [reason in text for text in told] == [True] * expected[2]
    assert [n.level for n in plain.notices("reset/")] == ["alarm"] * (fault is not None)
    has_order = {row.order_id for row in plain.orders(key(0))} & {f"{point}-bid"}
    assert bool(has_order) == (not expected[2])
    assert plain.prove(key(0), "flat").code == 0
    plain.check()


def _say(kit: Kit, minutes: list[Minute]) -> None:
    for minute, import_wh, fields in minutes:
        moment = START.start_ms + int(minute * 60_000)
        kit.to(max(minute, (kit.clock.now_ms() - START.start_ms) / 60_000))
        signed = kit.sign("flat", moment, **({"import_wh": import_wh} | fields))
        assert kit.send([signed]) == [200]
    kit.settle()


def test_all_of_it_on_every_database(kit: Kit) -> None:
    """A jump, then a fall, each in an interval of its own; the ones around them are measured."""
    kit.live(flat=(500, 0))
    kit.to(20.5)
    kit.homes["flat"].use(import_wh=10_000_000)
    kit.read("flat")
    kit.live(flat=(100, 0))
    kit.live(flat=(200, 0))
    kit.to(51)
    kit.homes["flat"].import_wh = 400
    kit.read("flat")
    kit.live(flat=(90, 0))
    kit.live(flat=(80, 0))
    found = [kit.energy(key(number), "flat") for number in range(5)]
    assert found == [(500, 0, False), ESTIMATED, (200, 0, False), ESTIMATED, (80, 0, False)]
    assert [kit.slot(key(number), "flat").fault for number in range(5)] == [
        None, Fault.JUMPED, None, Fault.FELL, None
    ]  # fmt: skip
    assert kit.corrections("flat") == {}
    for number in range(5):
        assert kit.prove(key(number), "flat").code == 0
    kit.check()


def test_a_gap_with_a_jump_in_it_is_given_up_once(plain: Kit) -> None:
    plain.live(flat=(500, 0))
    plain.live(silent=["flat"], flat=(100, 0))
    plain.to(36)
    plain.homes["flat"].use(import_wh=10_000_000)
    plain.read("flat")
    plain.live(silent=["flat"], flat=(100, 0))
    plain.live(flat=(100, 0))
    assert [plain.slot(key(n), "flat").fault for n in range(4)] == [None] + [Fault.JUMPED] * 3
    assert not correct_estimates(plain.house)
    plain.live(silent=["flat"], flat=(70, 0))
    plain.live(flat=(60, 0))
    assert plain.corrections("flat").keys() == {key(4), key(5)}
    assert sum(import_wh for import_wh, _ in plain.corrections("flat").values()) == 130
    assert len(plain.notices("reset/")) == 1
    plain.check()


def test_a_gap_longer_than_a_quarter_hour_may_hold_more_energy(plain: Kit) -> None:
    plain.live(flat=(500, 0))
    plain.live(silent=["flat"], flat=(FUSE_WH, 0))
    plain.live(flat=(FUSE_WH, 0))
    assert sum(import_wh for import_wh, _ in plain.corrections("flat").values()) == 2 * FUSE_WH


def test_a_fall_on_either_key_of_a_rotation_counts(plain: Kit) -> None:
    plain.live(flat=(500, 0))
    for minute, import_wh in ((20.5, 1_000), (24, 1_100)):  # on the old key
        plain.to(minute)
        plain.homes["flat"].import_wh = import_wh
        plain.read("flat")
    plain.homes["flat"].import_wh = 1_600
    plain.exchange("flat", "meter-flat", Interval.parse(key(2)), 1_600)
    plain.live()
    plain.live(flat=(100, 0))
    assert plain.energy(key(1), "flat") == ESTIMATED
    assert plain.slot(key(1), "flat").fault == Fault.FELL
    assert plain.energy(key(2), "flat") == (100, 0, False)


def test_a_closing_signed_before_its_opening_is_none(plain: Kit) -> None:
    """Its clock went backwards in between: no energy is settled, and no proof contradicts it."""
    late = plain.sign("flat", START.end_ms)
    plain.to(0.1)
    plain.read("solar", "shop")
    plain.read("flat")
    plain.to(15)
    assert plain.send([late]) == [200]
    plain.settle()
    (row,) = plain.rows(ReadingRow, ReadingRow.answered_ms == START.end_ms)
    assert (row.seq, row.quality) == (1, "measured")
    assert plain.energy(key(0), "flat") == ESTIMATED
    assert plain.slot(key(0), "flat").fault == Fault.OUT_OF_ORDER
    assert plain.prove(key(0), "flat").code == 0


def test_the_flagged_of_many_stretches_come_by_number(kit: Kit) -> None:
    kit.live(flat=(500, 0), shop=(500, 0))
    kit.to(20.5)
    for name in ("flat", "shop"):
        kit.homes[name].import_wh = 1_100
    kit.read()
    chains = {name: (kit.rows(ReadingRow, ReadingRow.point == kit.homes[name].point)[0].key, 1)
              for name in kit.homes}  # fmt: skip
    none = Stretch(0, "00" * 32, 1)
    asked = [none] * 1_500 + [
        Stretch(7, *chains["flat"], after=1, before=4),
        Stretch(8, *chains["flat"], after=1, before=3),  # its ends are not in it
        Stretch(9, *chains["flat"], after=3),
        Stretch(10, *chains["shop"]),
        Stretch(11, *chains["solar"]),
    ]
    told = kit.ask(lambda session: list(borders.flagged(session, asked, ["counter_fell"])))
    assert [(number, row.seq) for number, row in told] == [(7, 3), (10, 3)]


# --- What is read ---------------------------------------------------------------------------------

QUESTIONS = {
    "at a border": (lambda session: borders.at_border(session, START.end_ms), "reading_time"),
    "of a point": (
        lambda session: borders.of_point(session, "57", START.start_ms, START.end_ms),
        "reading_point_time",
    ),
    "flagged": (
        lambda session: list(borders.flagged(session, [Stretch(0, "00", 1)], ["counter_fell"])),
        "sqlite_autoindex_reading_1 (key=? AND epoch=? AND seq>? AND seq<?)",
    ),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_border_queries_use_an_index(plain: Kit, name: str) -> None:
    ask, index = QUESTIONS[name]
    plain.live()
    plans = _plans(plain, ask)
    assert any(f"SEARCH reading USING INDEX {index}" in step for step in plans), plans
    assert not any("SCAN reading" in step for step in plans), plans


def _plans(kit: Kit, ask: Any) -> list[str]:
    """Run a question and return how SQLite goes about each of its queries."""
    asked: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            asked.append((statement, parameters))

    event.listen(kit.database.engine, "before_cursor_execute", note)
    kit.ask(ask)
    event.remove(kit.database.engine, "before_cursor_execute", note)
    assert asked
    with kit.database.engine.connect() as connection:
        return [
            row[-1]
            for statement, parameters in asked
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]


def test_correcting_reads_nothing_but_open_gaps(plain: Kit) -> None:
    """Neither measured nor given-up intervals, and no other point's readings."""
    plain.live(flat=(500, 0))
    plain.to(20.5)
    plain.homes["flat"].use(import_wh=10_000_000)
    plain.read("flat")
    plain.live()
    assert _readings_asked(plain) == []
    plain.live(silent=["shop"])
    plain.live(silent=["shop"])
    asked = _readings_asked(plain)
    assert all(plain.homes["shop"].point in parameters for parameters in asked)
    # Of a meter that is silent still, whether it has spoken since is all that is asked.
    assert [parameters[1] for parameters in asked] == [Interval.parse(key(2)).end_ms]


def _readings_asked(kit: Kit) -> list[Any]:
    asked: list[Any] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FROM reading" in statement:
            asked.append(parameters)

    event.listen(kit.database.engine, "before_cursor_execute", note)
    correct_estimates(kit.house)
    event.remove(kit.database.engine, "before_cursor_execute", note)
    return asked


def test_a_points_borders_are_the_same_either_way(kit: Kit) -> None:
    for number in range(4):
        kit.live(silent=["flat"] if number == 1 else [], flat=(10, 0))
        kit.read("flat", after_ms=-100)
    point = kit.homes["flat"].point
    moments = [START.start_ms + number * LENGTH_MS for number in range(5)]

    def both(session: Any) -> tuple[dict[int, int], dict[int, int]]:
        one = borders.of_point(session, point, moments[0], moments[-1])
        each = {at: borders.at_border(session, at).get(point) for at in moments}
        return (
            {at: row.seq for at, row in one.items()},
            {at: row.seq for at, row in each.items() if row},
        )

    one, each = kit.ask(both)
    assert one == each
    assert len(one) == 4


def test_no_order_rests_on_a_jump(plain: Kit) -> None:
    plain.read()
    _say(plain, [(6, 10_001_300, {}), (15, 10_001_500, {})])
    points = {row.point for row in plain.rows(OrderRow)}
    assert plain.homes["flat"].point not in points


def test_a_request_that_took_years_makes_no_energy_plausible(plain: Kit) -> None:
    plain.read("solar", "shop")
    plain.read("flat", asked_ms=0)
    plain.homes["flat"].use(export_wh=5_000_000)
    plain.quarter()
    plain.settle()
    assert plain.energy(key(0), "flat") == ESTIMATED
    plain.check()

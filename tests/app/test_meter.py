"""closed -> metered: which readings are borders, who is on the roster, what is estimated."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from app.jobs.correct import correct_estimates
from app.jobs.meter import meter
from app.tables import ReadingRow
from metering.interval import Interval
from metering.reading import Clock, Quality
from tests.app.district_kit import START, Kit, key

M, Q, INVALID = Quality.MEASURED, Quality.QUESTIONABLE, Quality.INVALID
MINUTE_MS = 60_000
BORDER_MS = START.end_ms


@pytest.fixture
def kit(database_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, database_url)
    yield kit
    kit.close()


@pytest.fixture
def plain(sqlite_url: str, tmp_path: Path) -> Iterator[Kit]:
    """A district on SQLite alone, for what no engine can change."""
    kit = Kit(tmp_path, sqlite_url)
    yield kit
    kit.close()


ESTIMATED = (0, 0, True)

BORDERS = {
    # what flat's meter says around the border: (ms after it, import_wh, what else it says)
    "on the dot": ([(0, 1_500, {})], (500, 0, False)),
    "10 s late": ([(10_000, 1_500, {})], (500, 0, False)),
    "a millisecond later": ([(10_001, 1_500, {})], ESTIMATED),
    "a millisecond early": ([(-1, 1_500, {})], ESTIMATED),
    "the first counts": ([(2_000, 1_500, {}), (3_000, 1_510, {})], (500, 0, False)),
    "by seq at the same moment": ([(2_000, 1_500, {}), (2_000, 1_510, {})], (500, 0, False)),
    "questionable is none": (
        [(1_000, 1_500, {"quality": Q}), (2_000, 1_510, {})], (510, 0, False)),
    "invalid is none": (
        [(1_000, 1_500, {"quality": INVALID}), (2_000, 1_510, {})], (510, 0, False)),
    "estimated by the meter is none": ([(0, 1_500, {"quality": Quality.ESTIMATED})], ESTIMATED),
    "only a questionable one": ([(0, 1_500, {"quality": Q})], ESTIMATED),
    "clock unknown": ([(0, 1_500, {"clock": Clock.UNKNOWN})], ESTIMATED),
    "clock relative": ([(0, 1_500, {"clock": Clock.RELATIVE})], ESTIMATED),
    "clock informative": ([(0, 1_500, {"clock": Clock.INFORMATIVE})], (500, 0, False)),
    "more than the fuse allows": ([(0, 900_000, {})], ESTIMATED),
    "the register fell": ([(0, 900, {})], ESTIMATED),
    "the register is gone": ([(0, None, {})], ESTIMATED),
    "a register is new": ([(0, 1_500, {"export_wh": 7})], ESTIMATED),
    "silent": ([], ESTIMATED),
}  # fmt: skip


@pytest.mark.parametrize("case", BORDERS)
def test_border_readings(plain: Kit, case: str) -> None:
    readings, expected = BORDERS[case]
    plain.homes["flat"].export_wh = None
    plain.read()
    plain.to(15.2)
    for after_ms, import_wh, fields in readings:
        reading = plain.sign("flat", BORDER_MS + after_ms, import_wh=import_wh, **fields)
        assert plain.send([reading]) == [200]
    plain.settle()
    assert plain.energy(key(0), "flat") == expected
    assert bool(plain.notices(f"estimated/{key(0)}/{plain.homes['flat'].point}")) == expected[2]
    assert plain.prove(key(0), "flat").code == 0


def test_the_closing_of_one_interval_opens_the_next(kit: Kit) -> None:
    kit.live(flat=(500, 0))
    kit.live(flat=(300, 0))
    first, second = kit.slot(key(0), "flat"), kit.slot(key(1), "flat")
    assert first.closing == second.opening is not None
    assert (first.import_wh, second.import_wh) == (500, 300)


def test_a_border_once_metered_stays_whatever_arrives_later(kit: Kit) -> None:
    """Held back, an earlier reading of the border would bill the seconds between them twice."""
    kit.quarter(silent=["solar", "flat", "shop"])
    solar = kit.homes["solar"]
    before_wh = solar.export_wh
    solar.use(0, 1_000)
    held_back = kit.sign("solar", BORDER_MS)
    solar.use(0, 100)
    kit.clock.advance_to(BORDER_MS + 10_000)
    kit.send([kit.sign("solar", BORDER_MS + 10_000)])
    kit.settle()
    assert kit.send([held_back]) == [200]
    solar.use(0, 900)
    kit.clock.advance_to(BORDER_MS + 900_000)
    kit.read()
    kit.settle()
    first, second = kit.slot(key(0), "solar"), kit.slot(key(1), "solar")
    assert first.closing == second.opening is not None
    assert first.export_wh + second.export_wh == solar.export_wh - before_wh == 2_000


def test_a_reading_within_the_grace_counts_and_a_later_one_is_late(kit: Kit) -> None:
    kit.quarter(silent=["flat", "shop"], solar=(0, 400))
    held = [kit.sign(name, BORDER_MS, import_wh=1_200) for name in ("flat", "shop")]
    kit.to(19.9)
    kit.send(held[:1])
    kit.worker.run_due()
    assert kit.state(key(0)) == "closed"  # the grace is not over yet
    kit.settle()
    kit.send(held[1:])
    assert kit.energy(key(0), "flat") == (200, 0, False)
    assert kit.energy(key(0), "shop") == ESTIMATED
    by_point = {row.point: row for row in kit.rows(ReadingRow, ReadingRow.answered_ms == BORDER_MS)}
    flat, shop = (by_point[kit.homes[name].point] for name in ("flat", "shop"))
    # On time or not, a reading at the border itself belongs to the interval that begins there.
    assert (flat.seal_interval, flat.flags) == (key(1), "")
    assert (shop.seal_interval, shop.flags) == (key(1), "")


def test_without_an_opening_border_a_point_is_not_yet_on_the_roster(kit: Kit) -> None:
    kit.read("solar", "flat")
    kit.to(2)
    kit.read("shop")  # joins in the middle of the first quarter-hour
    kit.live()
    assert kit.roster(key(0)) == {"solar", "flat"}
    kit.live(silent=["shop"])
    assert kit.roster(key(1)) == {"solar", "flat", "shop"}
    assert kit.energy(key(1), "shop") == ESTIMATED
    kit.live(silent=["shop"])  # joined once, on the roster from then on
    assert kit.roster(key(2)) == {"solar", "flat", "shop"}
    for name in ("solar", "flat"):
        assert kit.prove(key(0), name).code == 0


def test_the_first_readings_of_a_point_that_joins_keep_their_receipts_promise(kit: Kit) -> None:
    """What is promised to a seal stands in it, with the point on the roster or not."""
    kit.read("solar", "flat")
    kit.to(2)
    kit.read("shop")
    kit.live()
    counted = kit.rows(ReadingRow, ReadingRow.seal_interval == key(0))
    assert len(counted) == 3
    assert kit.seal(key(0)).counts.readings == 3


def test_an_empty_roster_is_sealed_too(kit: Kit) -> None:
    kit.to(15)
    kit.settle()
    assert kit.state(key(0)) == "sealed"
    assert kit.roster(key(0)) == set()
    assert kit.seal(key(0)).roster_size == 0


@pytest.mark.parametrize(
    ("weeks", "expected_wh"),
    [
        ({}, 0),
        ({1: 401}, 401),
        ({1: 100, 2: 201}, 150),  # the mean, floored
        ({1: 100, 2: 100, 3: 100, 4: 103}, 100),
        ({4: 80, 5: 9_999}, 80),  # five weeks back is too long ago
    ],
)
def test_estimates_from_four_weeks(plain: Kit, weeks: dict[int, int], expected_wh: int) -> None:
    plain.live()
    for back, import_wh in weeks.items():
        plain.add_history("flat", Interval(START.next().start - timedelta(weeks=back)), import_wh)
        # Neither the quarter-hours beside it nor estimates count.
        plain.add_history("flat", Interval(START.start - timedelta(weeks=back)), 7_777)
    other = Interval(START.next().start - timedelta(weeks=1))
    plain.add_history("shop", other, 5_555, estimated=True)
    plain.live(silent=["flat", "shop"])
    assert plain.energy(key(1), "flat") == (expected_wh, 0, True)
    assert plain.energy(key(1), "shop") == ESTIMATED
    orders = {row.point for row in plain.orders(key(1))}
    assert plain.homes["flat"].point not in orders
    assert plain.prove(key(1), "flat").code == 0


def test_metering_again_or_too_early_changes_nothing(kit: Kit) -> None:
    kit.live(flat=(500, 0))
    slots = kit.slots_of(key(0))
    meter(kit.house, key(0))
    meter(kit.house, key(1))  # open
    assert kit.slots_of(key(0)) == slots
    assert kit.state(key(0)) == "sealed"
    assert kit.state(key(1)) == "open"


@pytest.mark.parametrize("new_register_wh", [0, 90_000])
def test_an_exchanged_meter_is_never_subtracted_from_the_old(
    plain: Kit, new_register_wh: int
) -> None:
    """Its register has nothing to do with the old one's, be it lower or higher."""
    plain.live(flat=(500, 0))
    old, change = plain.homes["flat"], Interval.parse(key(2))
    plain.exchange("flat", "meter-flat-2", change, new_register_wh)
    plain.live(flat=(100, 0))
    plain.live(flat=(200, 0))
    assert plain.energy(key(1), "flat") == ESTIMATED
    assert plain.energy(key(2), "flat") == (200, 0, False)
    assert plain.corrections("flat") == {}
    assert [row.level for row in plain.notices("reset/")] == ["alarm"]
    assert plain.homes["flat"] is not old
    for number in range(3):
        assert plain.prove(key(number), "flat").code == 0


def test_a_rotated_key_goes_on_with_the_register(plain: Kit) -> None:
    plain.live(flat=(500, 0))
    plain.exchange("flat", "meter-flat", Interval.parse(key(2)), 1_500)
    plain.live(flat=(100, 0))
    plain.live(flat=(200, 0))
    assert plain.energy(key(1), "flat") == (100, 0, False)
    assert plain.energy(key(2), "flat") == (200, 0, False)
    for number in range(3):
        assert plain.prove(key(number), "flat").code == 0


def test_an_outage_asks_for_the_points_once(plain: Kit) -> None:
    """However many of them are silent, since ingest waits meanwhile."""
    plain.live()
    closed = plain.quarter(silent=plain.names)
    plain.worker.run_due()
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "FROM metering_point" in statement:
            asked.append(statement)

    event.listen(plain.database.engine, "before_cursor_execute", note)
    meter(plain.house, closed)
    event.remove(plain.database.engine, "before_cursor_execute", note)
    assert plain.energy(closed, "flat") == ESTIMATED
    assert len(plain.notices("estimated/")) == len(plain.names)
    assert len(asked) == 2  # for names, and for tariffs


def test_in_an_outage_nothing_is_locked_to_look_for_its_end(plain: Kit) -> None:
    plain.live()
    silent = plain.live(silent=plain.names)
    assert plain.energy(silent, "flat") == ESTIMATED
    with plain.database.write():  # SQLite has one writer at a time
        assert correct_estimates(plain.house) is False

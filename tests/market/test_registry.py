"""Links with validity: timelines as tables, what makes none, and changes of them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.registry import Link, RegistryError, Role, Timeline, timelines
from metering.interval import Interval, from_ms
from metering.localtime import day_start
from tests.conftest import LONG

POINT = "573999900000000085"
FIRST = "2026-06-23T09:00:00Z"
OSLO = ZoneInfo("Europe/Oslo")


def read(table: str, role: str = "participant") -> Timeline:
    """Return the timeline of rows ``target from to`` ('-' for an open end), in any order."""
    return Timeline.of(
        Link.read(POINT, role, target, begin, None if end == "-" else end)
        for target, begin, end in map(str.split, table.strip().splitlines())
    )


def table(timeline: Timeline) -> list[tuple[str, str, str]]:
    return [
        (each.target, each.valid_from.key[5:16], each.valid_to.key[5:16] if each.valid_to else "-")
        for each in timeline.links
    ]


ANNA_BO = """
Bo    2026-07-01T00:00:00Z -
Anna  2026-06-23T09:00:00Z 2026-07-01T00:00:00Z
"""

# What a table of links may not say, and what the refusal names.
FAULTY = {
    "overlap": (
        "Anna 2026-06-23T09:00:00Z 2026-07-01T00:15:00Z\nBo 2026-07-01T00:00:00Z -",
        r"'Anna' .* to 2026-07-01T00:15:00Z and .*'Bo' .* overlap: let the first end at",
    ),
    "two that are open": (
        "Anna 2026-06-23T09:00:00Z -\nBo 2026-07-01T00:00:00Z -",
        r"overlap: let the first end at 2026-07-01T00:00:00Z",
    ),
    "two at one time": (
        "Anna 2026-06-23T09:00:00Z -\nBo 2026-06-23T09:00:00Z -",
        "overlap: let the first end",
    ),
    "gap": (
        "Anna 2026-06-23T09:00:00Z 2026-06-30T23:45:00Z\nBo 2026-07-01T00:00:00Z -",
        "leave a gap: let the first end at 2026-07-01T00:00:00Z, or add the link between",
    ),
    "nobody follows": (
        "Anna 2026-06-23T09:00:00Z 2026-07-01T00:00:00Z",
        "nobody follows it, .* leave its end open, or add the link that follows",
    ),
    "off the grid": ("Anna 2026-06-23T09:05:00Z -", r"participant 'Anna' of 5739.*not an interval"),
    "an end off the grid": (
        "Anna 2026-06-23T09:00:00Z 2026-06-23T10:00:01Z",
        r"participant 'Anna' of 5739.*not an interval",
    ),
    "local time": ("Anna 2026-06-23T11:00:00+02:00 -", "write its UTC start as"),
    "ends where it begins": (
        "Anna 2026-06-23T09:00:00Z 2026-06-23T09:00:00Z",
        "its end is the first interval that it no longer holds in",
    ),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_what_is_no_timeline_is_refused_by_its_row(fault: str) -> None:
    rows, says = FAULTY[fault]
    with pytest.raises(RegistryError, match=says):
        read(rows)


def test_other_faults_are_refused() -> None:
    with pytest.raises(RegistryError, match="'owner' is no role: write one of participant, supp"):
        read("Anna 2026-06-23T09:00:00Z -", role="owner")
    with pytest.raises(RegistryError, match="every point has a tariff at any time: name one"):
        Link.read(POINT, "tariff", "", FIRST)
    assert Link.read(POINT, "building", "", FIRST).target == ""
    with pytest.raises(RegistryError, match="this one has none"):
        Timeline.of([])
    with pytest.raises(RegistryError, match="are not of one timeline"):
        Timeline.of([Link.read("1", "tariff", "t", FIRST), Link.read("2", "tariff", "t", FIRST)])


def test_links_of_several_points_and_roles_are_told_apart() -> None:
    rows = [
        Link.read(point, role, "x", FIRST)
        for point in ("1", "2")
        for role in ("participant", "supplier")
    ]
    found = timelines(rows)
    assert sorted(found) == [(p, r) for p in ("1", "2") for r in (Role.PARTICIPANT, Role.SUPPLIER)]


# Changes: (begin, target, earliest) -> what the timeline of Anna and Bo is then.
CHANGES = {
    "between": (
        ("2026-06-25T10:15:00Z", "Cleo", FIRST),
        [
            ("Anna", "06-23T09:00", "06-25T10:15"),
            ("Cleo", "06-25T10:15", "07-01T00:00"),
            ("Bo", "07-01T00:00", "-"),
        ],
    ),
    "after all": (
        ("2026-08-01T00:00:00Z", "Anna", FIRST),
        [
            ("Anna", "06-23T09:00", "07-01T00:00"),
            ("Bo", "07-01T00:00", "08-01T00:00"),
            ("Anna", "08-01T00:00", "-"),
        ],
    ),
    "as early as can be": (
        ("2026-06-24T00:00:00Z", "Cleo", "2026-06-24T00:00:00Z"),
        [
            ("Anna", "06-23T09:00", "06-24T00:00"),
            ("Cleo", "06-24T00:00", "07-01T00:00"),
            ("Bo", "07-01T00:00", "-"),
        ],
    ),
}
REFUSED = {
    "metered": (("2026-06-23T23:45:00Z", "Cleo", "2026-06-24T00:00:00Z"), "choose 2026-06-24T00"),
    "the same": (("2026-06-25T00:00:00Z", "Anna", FIRST), "already: nothing would change"),
    "who follows": (("2026-06-25T00:00:00Z", "Bo", FIRST), "planned already: undo it first"),
    "a change there": (("2026-07-01T00:00:00Z", "Cleo", FIRST), "begins at that very interval"),
    "before the point": (("2026-06-23T08:45:00Z", "Cleo", "2026-01-01T00:00:00Z"), "is its first"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_change_splits_the_link_that_holds_and_can_be_undone(case: str) -> None:
    (begin, target, earliest), expected = CHANGES[case]
    before, at = read(ANNA_BO), Interval.parse(begin)
    after = before.changed(at, target, Interval.parse(earliest))
    assert table(after) == expected
    assert after.undone(at, Interval.parse(earliest)) == before


@pytest.mark.parametrize("case", REFUSED)
def test_a_change_that_cannot_be_is_refused(case: str) -> None:
    (begin, target, earliest), says = REFUSED[case]
    with pytest.raises(RegistryError, match=says):
        read(ANNA_BO).changed(Interval.parse(begin), target, Interval.parse(earliest))


def test_undoing_joins_what_was_parted() -> None:
    there_and_back = read(
        "Anna 2026-06-23T09:00:00Z 2026-07-01T00:00:00Z\n"
        "Bo   2026-07-01T00:00:00Z 2026-08-01T00:00:00Z\n"
        "Anna 2026-08-01T00:00:00Z -"
    )
    first, july = Interval.parse(FIRST), Interval.parse("2026-07-01T00:00:00Z")
    assert table(there_and_back.undone(july, first)) == [("Anna", "06-23T09:00", "-")]
    for begin, says in ((first, "is the first"), (july.next(), "no change of it begins")):
        with pytest.raises(RegistryError, match=says):
            there_and_back.undone(begin, first)
    with pytest.raises(RegistryError, match="metered or cleared already"):
        there_and_back.undone(july, july.next())


@pytest.mark.parametrize(
    ("day", "begin", "quarters"),
    [
        (date(2026, 3, 28), "2026-03-27T23:00:00Z", 96),
        (date(2026, 3, 29), "2026-03-28T23:00:00Z", 92),
        (date(2026, 10, 25), "2026-10-24T22:00:00Z", 100),
        (date(2026, 10, 26), "2026-10-25T23:00:00Z", 96),
    ],
)
def test_a_local_midnight_is_one_interval_whatever_the_clocks_do(
    day: date, begin: str, quarters: int
) -> None:
    """Bo takes over at midnight: every quarter of the day is his, and none of the day before."""
    start = day_start(day, OSLO)
    assert start.key == begin
    line = read("Anna 2026-01-01T00:00:00Z -").changed(start, "Bo", start)
    of_bo = [start]
    while (each := of_bo[-1].next()) < day_start(date.fromordinal(day.toordinal() + 1), OSLO):
        of_bo.append(each)
    assert len(of_bo) == quarters
    assert {held.target for each in of_bo if (held := line.at(each))} == {"Bo"}
    last = line.at(start.previous())
    assert last is not None
    assert last.target == "Anna"


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    """02:15 comes twice on 2026-10-25 in Oslo: Bo takes over at the second one."""
    twice = datetime(2026, 10, 25, 2, 15, fold=1, tzinfo=OSLO).astimezone(UTC)
    line = read("Anna 2026-06-23T09:00:00Z -").changed(Interval(twice), "Bo", Interval(twice))
    held = {
        fold: line.at(
            Interval(datetime(2026, 10, 25, 2, 15, fold=fold, tzinfo=OSLO).astimezone(UTC))
        )
        for fold in (0, 1)
    }
    assert {fold: link.target for fold, link in held.items() if link} == {0: "Anna", 1: "Bo"}


@settings(max_examples=4_000 if LONG else 40)
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from("abcd"), st.booleans(), st.integers(0, 20)),
        max_size=25,
    )
)
def test_whatever_is_entered_and_undone_exactly_one_holds(
    steps: list[tuple[int, str, bool, int]],
) -> None:
    """Against a list with a target per interval; what is refused leaves all as it was."""
    start = Interval.parse(FIRST).start_ms
    at = [Interval(from_ms(start + number * 900_000)) for number in range(42)]
    line, last = read("a 2026-06-23T09:00:00Z -"), 0
    for number, target, undoing, metered in steps:
        last = max(last, metered)
        before = line
        try:
            line = (
                line.undone(at[number], at[last])
                if undoing
                else line.changed(at[number], target, at[last])
            )
        except RegistryError:
            assert line is before
            continue
        for place, interval in enumerate(at):
            (held,) = [link for link in line.links if link.holds(interval)]
            assert held == line.at(interval)
            if place < last or place < number:  # what is metered, or before the change
                assert held.target == next(
                    link.target for link in before.links if link.holds(interval)
                )
        assert all(one.target != other.target for one, other in pairwise(line.links))

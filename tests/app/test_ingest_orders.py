"""Flags and qualities of readings: the same ones in whatever order they come in."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlmodel import col, select

from app.store import borders
from app.tables import NoticeRow, ReadingRow
from metering.reading import Clock, Quality, SignedReading
from tests.app.doorway import MINUTE_MS, START, District


def rows(district: District) -> list[ReadingRow]:
    with district.database.read() as session:
        return list(session.exec(select(ReadingRow).order_by(col(ReadingRow.seq))))


def notices(district: District) -> int:
    with district.database.read() as session:
        return len(session.exec(select(NoticeRow)).all())


def statuses(district: District, *signed: SignedReading) -> list[int]:
    return [result.status for result in district.send(*signed)]


# Ten readings with every fault that the chain can show, and what becomes of each.
FAULTS = {
    "_3": {"import_wh": 1},  # fell; number 4 is judged beside number 2
    "_6": {"power_w": 11_001},
    "_7": {"prev": "00" * 32},
    "_8": {"clock": Clock.UNKNOWN},
    "_9": {"quality": Quality.ESTIMATED},
}
EXPECTED = [
    ("", "measured"),
    ("", "measured"),
    ("counter_fell", "invalid"),
    ("", "measured"),
    ("", "measured"),
    ("impossible_power", "questionable"),
    ("chain_broken", "questionable"),
    ("not_settleable_clock", "questionable"),
    ("", "estimated"),
    ("", "measured"),
]


def final_state(district: District) -> list[tuple[str, str]]:
    return [(row.flags, row.quality) for row in rows(district)]


def test_each_fault_has_its_flag_and_people_hear_of_it(district: District) -> None:
    assert statuses(district, *district.meters[0].chain(10, **FAULTS)) == [200] * 10
    assert final_state(district) == EXPECTED
    with district.database.read() as session:
        refs = {notice.ref.split("/")[0] for notice in session.exec(select(NoticeRow))}
        border = borders.at_border(session, START.start_ms + 3 * MINUTE_MS)
    assert refs == {"counter_fell", "impossible_power", "chain_broken", "not_settleable_clock"}
    assert border == {}  # number 3 stands there, but it is implausible


_deliveries = st.permutations(range(10)).flatmap(
    lambda order: st.tuples(
        st.lists(st.sampled_from(range(10)), max_size=5).map(lambda again: [*order, *again]),
        st.sets(st.integers(1, 14)),
    )
)


def _arrive(district: District, delivery: tuple[list[int], set[int]]) -> None:
    """Send the ten readings in some order, some again, cut into batches; compare the outcome."""
    order, cuts = delivery
    signed = district.meters[0].chain(10, **FAULTS)
    borders_of_batches = [0, *sorted(cut for cut in cuts if cut < len(order)), len(order)]
    receipts: dict[int, object] = {}
    for start, end in pairwise(borders_of_batches):
        for result in district.send(*(signed[number] for number in order[start:end])):
            number = order[start + result.index]
            assert result.status == 200
            assert receipts.setdefault(number, result.receipt) == result.receipt
    assert final_state(district) == EXPECTED


@settings(max_examples=60)
@example(([6, 2, 7, 3, 4, 5, 0, 1, 8, 9], {3}))  # number 7 turns good, and 8 with it
@given(_deliveries)
def test_any_order_with_duplicates_ends_alike(
    founded: Path, delivery: tuple[list[int], set[int]]
) -> None:
    with TemporaryDirectory() as folder:
        copy = shutil.copy(founded, folder)
        district = District(f"sqlite:///{copy}", founded=True)
        _arrive(district, delivery)
        district.database.close()


def test_backwards_one_by_one_ends_alike(district: District) -> None:
    _arrive(district, ([*range(9, -1, -1)], set(range(1, 10))))


def test_a_gap_is_flagged_and_heals(district: District) -> None:
    signed = district.meters[0].chain(200)
    district.send(signed[0], signed[199])
    assert [row.flags for row in rows(district)] == ["", "gap"]
    district.send(signed[100])
    assert [row.flags for row in rows(district)] == ["", "gap", "gap"]
    assert notices(district) == 2  # the two lie in two intervals
    district.send(*signed[50:150])
    district.send(*signed[:50], *signed[150:])
    assert {row.flags for row in rows(district)} == {""}


def test_a_fall_across_a_gap_is_seen(plain_district: District) -> None:
    district = plain_district
    signed = district.meters[0].chain(5, _5={"import_wh": 1})
    district.send(signed[0], signed[4])
    assert final_state(district) == [("", "measured"), ("gap counter_fell", "invalid")]

"""What gives way when the disk fills, and in which order."""

from pathlib import Path

import pytest

from metering.keeping import Keeper, Keeping, Room, room
from metering.spool import Answer, Spool, Usage
from tests.metering.test_spool import METERS, measured

MIB = 1024 * 1024
KEEPING = Keeping(max_bytes=100 * MIB, disk_free_bytes=10 * MIB)

# used, reusable in the file, free on the disk (MiB)
ROOMS = [
    (0, 0, 1_000, Room.AMPLE),
    (79, 0, 1_000, Room.AMPLE),
    (80, 0, 1_000, Room.TIGHT),
    (90, 0, 1_000, Room.BORDERS),
    (100, 0, 1_000, Room.FULL),
    (1, 0, 21, Room.AMPLE),
    (1, 0, 20, Room.TIGHT),
    (1, 0, 10, Room.BORDERS),
    (1, 0, 5, Room.FULL),
    (1, 50, 5, Room.AMPLE),
    (90, 0, 5, Room.FULL),
]


@pytest.mark.parametrize(("used", "reusable", "free", "found"), ROOMS)
def test_room_is_the_worse_of_two_bounds(used, reusable, free, found) -> None:
    assert room(Usage(used * MIB, reusable * MIB), free * MIB, KEEPING) is found


def filled(path: Path, receipted: int, waiting: int) -> Spool:
    spool = Spool.open(path / "spool.db")
    items = spool.append([(METERS[0], measured(100 + n)) for n in range(receipted + waiting)])
    answers = [Answer(item.id, 200, receipt="{}" * 500) for item in items[:receipted]]
    spool.acknowledge(answers, now_ms=1_000)
    return spool


def test_receipted_readings_go_first_and_then_nothing(tmp_path: Path) -> None:
    spool = filled(tmp_path, 300, 200)
    bound = Keeping(max_bytes=spool.usage().used_bytes)
    keeper = Keeper(spool, bound, lambda: 2_000)
    assert keeper.tidy() < Room.TIGHT
    assert spool.pending() == 200
    assert not spool._connection.execute(
        "SELECT 1 FROM reading WHERE state = 'acknowledged'"
    ).fetchall()


def test_what_waits_is_never_deleted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = filled(tmp_path, 0, 200)
    used = spool.usage().used_bytes
    keeper = Keeper(spool, Keeping(max_bytes=used), lambda: 2_000)
    assert keeper.tidy() is Room.FULL
    assert keeper.tidy() is Room.FULL
    assert caplog.text.count("the spool is full") == 1
    keeper = Keeper(spool, Keeping(max_bytes=used * 100 // 92), lambda: 2_000)
    assert keeper.tidy() is Room.BORDERS
    assert spool.pending() == 200


def test_age_counts_where_there_is_room(tmp_path: Path) -> None:
    spool = filled(tmp_path, 30, 2)
    keeping = Keeping(acknowledged_ms=500)
    assert Keeper(spool, keeping, lambda: 1_500).tidy() is Room.AMPLE
    key = METERS[0].enrolment.key.hex
    assert spool.receipt(key, 1, 30) is not None
    Keeper(spool, keeping, lambda: 1_501).tidy()
    assert spool.receipt(key, 1, 30) is None
    assert spool.pending() == 2

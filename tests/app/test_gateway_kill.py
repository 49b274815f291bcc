"""``kill -9`` of the gateway's process at random moments, with real meters and a real door."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.app.box_kit import Box, DoorServer, meters, until
from tests.app.served import Served
from tests.conftest import LONG

METERS = 3
ALL = "count(*)"
LONGEST_S = 0.4
RARELY_S = 900  # at the borders of quarter-hours alone


def drawn(kills: int, number: int) -> bytes:
    """Numbers that nothing in the process decides, the same in every run."""
    return hashlib.sha256(f"gateway/{kills}/{number}".encode()).digest()


@pytest.mark.parametrize("kills", [200 if LONG else 10])
def test_each_reading_signed_arrives_once_and_in_order(tmp_path: Path, kills: int) -> None:
    served = Served.found(tmp_path / "hof", f"sqlite:///{tmp_path / 'district.db'}", METERS)
    box, door = Box.laid(tmp_path / "box", served), DoorServer(served)
    serials = [signer.enrolment.serial for signer in box.signers]
    with meters(serials) as modbus, door.running() as port:
        url = f"http://127.0.0.1:{port}"
        box.write(url, modbus, 0.1)
        for number in range(kills):
            chance = drawn(kills, number)
            door.away = chance[0] < 64  # so that readings pile up
            before = box.rows(ALL)
            with box.running() as working:
                gateway = working.process
                if chance[1] < 192:  # else it is killed while it starts
                    until(lambda was=before, it=gateway: box.rows(ALL) != was or not it.is_alive())
                gateway.join(LONGEST_S * chance[2] / 255)
                assert gateway.is_alive(), working.said()
        door.away = False
        box.write(url, modbus, RARELY_S)
        [(before,)] = box.rows(ALL)
        with box.running() as working:  # it signs once more as it starts, and then no more
            until(lambda: box.rows(ALL) == [(before + METERS,)])
            until(lambda: box.rows(ALL, "state = 'pending'") == [(0,)])
            working.process.terminate()
            assert working.end() == 0, working.said()
    assert box.check_arrived() >= kills * METERS // 2
    assert box.rows(ALL, "state != 'acknowledged'") == [(0,)]
    served.database.close()

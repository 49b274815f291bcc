"""``kill -9`` of the gateway's process at random moments, with real meters and a real door."""

from __future__ import annotations

import hashlib
import signal
import time
from pathlib import Path

import pytest

from tests.app.box_kit import Box, DoorServer, Forge, meters, until
from tests.app.served import Served

METERS = 3
LONGEST_S = 0.4
RARELY_S = 900  # at the borders of quarter-hours alone


def drawn(kills: int, number: int) -> bytes:
    """Numbers that nothing in the process decides, the same in every run."""
    return hashlib.sha256(f"gateway/{kills}/{number}".encode()).digest()


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.long)])
def test_each_reading_signed_arrives_once_and_in_order(tmp_path: Path, kills: int) -> None:
    served = Served.found(tmp_path / "hof", f"sqlite:///{tmp_path / 'district.db'}", METERS)
    box, door = Box.laid(tmp_path / "box", served), DoorServer(served)
    serials = [signer.enrolment.serial for signer in box.signers]
    with meters(serials) as modbus, door.running() as port, Forge.lit() as forge:
        url = f"http://127.0.0.1:{port}"
        box.write(url, modbus, 0.1)
        for number in range(kills):
            chance = drawn(kills, number)
            door.away = chance[0] < 64  # so that readings pile up
            before = box.rows("count(*)")
            process = forge.start(box)
            if chance[1] < 192:  # else it is killed while it starts
                until(lambda was=before, it=process: box.rows("count(*)") != was or not it.alive())
            time.sleep(LONGEST_S * chance[2] / 255)
            assert process.alive(), (box.folder / "log").read_text()
            process.end(signal.SIGKILL)
        door.away = False
        box.write(url, modbus, RARELY_S)
        process = forge.start(box)
        until(lambda: box.rows("count(*)", "state = 'pending'") == [(0,)] or not process.alive())
        process.end(signal.SIGTERM)
    assert box.check_arrived() >= kills * METERS // 2
    assert box.rows("count(*)", "state != 'acknowledged'") == [(0,)]
    served.database.close()

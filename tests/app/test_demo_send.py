"""The demo's step goes on when the server is busy, and loses no reading."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from app.demo import steps as module
from app.demo.steps import send_patiently
from app.services.founding import GATEWAY_NAME
from app.tables import ReadingRow
from metering.batch import Batch
from metering.dispatch import GatewayIdentity
from metering.gateway import Gateway
from metering.reading import Clock, Measurement, Quality
from metering.sender import (
    BadAnswerError,
    BatchRefusedError,
    ItemResult,
    SenderError,
    SenderUnavailableError,
)
from metering.spool import Signer, Spool
from tests.app.district_kit import START, Kit

TRIES = 6


class Road:
    """Brings batches to the kit's door, after the troubles that are in its way."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.troubles: list[Exception] = []
        self.posts = 0

    async def post(self, batch: Batch) -> Sequence[ItemResult]:
        self.posts += 1
        if self.troubles:
            raise self.troubles.pop(0)
        return [
            ItemResult(each.index, each.status, dict(each.receipt or {}), each.error)
            for each in self.kit.door.receive(batch)
        ]


Sending = tuple[Kit, Gateway, Road]


@pytest.fixture
def sending(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sending]:
    """A gateway with three readings in its spool; nobody waits between the tries."""
    assert len(module._SEND_WAITS_S) == TRIES
    assert sum(module._SEND_WAITS_S) < 10  # a step of the demo stands still that long
    monkeypatch.setattr(module, "_SEND_WAITS_S", (0.0,) * TRIES)
    kit = Kit(tmp_path, sqlite_url)
    spool = Spool.open(tmp_path / "spool.db")
    road = Road(kit)
    identity = GatewayIdentity(kit.settings.origin, GATEWAY_NAME, kit.keyring.gateway)
    gateway = Gateway([], spool, road, identity, kit.clock.now_ms, lambda: Clock.SYNCHRONISED)
    home = kit.homes["flat"]
    signer = Signer(kit.enrolment(home), kit.keyring.meter(home.key_name))
    spool.append([(signer, _measurement(minute)) for minute in range(3)])
    yield kit, gateway, road
    spool.close()
    kit.close()


def _measurement(minute: int) -> Measurement:
    moment = START.start_ms + minute * 1_000
    return Measurement(moment, moment, Clock.SYNCHRONISED, 1_000, 500, 1, None,
                       Quality.MEASURED, "ab" * 32)  # fmt: skip


def _waiting(gateway: Gateway) -> int:
    return len(gateway.spool.unacknowledged(10, 0))


BUSY = SenderUnavailableError("HTTP 503, the database does not answer", 2.0)
TROUBLES: dict[str, tuple[list[SenderError], int, bool]] = {
    # what is in the way of the first posts, posts made, and whether the readings arrive
    "nothing": ([], 1, True),
    "busy once": ([BUSY], 2, True),
    "busy to the last try": ([BUSY] * (TRIES - 1), TRIES, True),
    "busy all the time": ([BUSY] * TRIES, TRIES, False),
    "refused whole": ([BatchRefusedError("HTTP 403")], 1, False),
    "garbled": ([BadAnswerError("not JSON")], 1, False),
    "busy, then refused": ([BUSY, BatchRefusedError("HTTP 403")], 2, False),
}


@pytest.mark.parametrize("case", TROUBLES)
def test_a_step_sends_or_keeps(
    sending: Sending, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    kit, gateway, road = sending
    troubles, posts, arrive = TROUBLES[case]
    road.troubles = list(troubles)
    with caplog.at_level(logging.WARNING):
        asyncio.run(send_patiently(gateway))
    assert road.posts == posts
    assert _waiting(gateway) == (0 if arrive else 3)
    assert len(kit.rows(ReadingRow)) == (3 if arrive else 0)
    assert any(record.levelno == logging.ERROR for record in caplog.records) == (not arrive)
    asyncio.run(send_patiently(gateway))  # the next step takes what is left
    assert _waiting(gateway) == 0
    assert [row.flags for row in kit.rows(ReadingRow)] == [""] * 3


def test_what_is_no_sending_error_is_not_swallowed(sending: Sending) -> None:
    _, gateway, road = sending
    road.troubles = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        asyncio.run(send_patiently(gateway))

"""How a backlog goes out: side by side, in order, in batches that suit the server."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from metering.batch import Batch
from metering.dispatch import SMALLEST_BATCH, Dispatcher, GatewayIdentity, Sent
from metering.sender import BadAnswerError, ItemResult, SenderUnavailableError
from metering.spool import Spool, SpoolUnavailableError
from tests.metering.test_spool import METERS, measured

IDENTITY = GatewayIdentity("lindenhof.example", "gw-1", SigningKey(b"\x09" * 32))


class Road:
    """Answers every item by ``status``; fails as often as ``fails`` says; remembers batch sizes."""

    def __init__(self, status: int = 403, fails: int = 0) -> None:
        self.status, self.fails = status, fails
        self.sizes: list[int] = []
        self.on_post = lambda: None

    async def post(self, batch: Batch) -> Sequence[ItemResult]:
        self.sizes.append(len(batch.readings))
        self.on_post()
        if self.fails:
            self.fails -= 1
            raise SenderUnavailableError("out of breath", retry_after_s=1)
        return [ItemResult(at, self.status, error="no") for at in range(len(batch.readings))]


def filled(path: Path, count: int) -> Spool:
    spool = Spool.open(path / "spool.db")
    spool.append([(METERS[0], measured(100 + n)) for n in range(count)])
    return spool


def dispatcher(spool: Spool, road: Road) -> Dispatcher:
    return Dispatcher(spool, road, IDENTITY, lambda: 5_000, None)


def test_the_batch_shrinks_when_the_server_is_out_of_breath_and_grows_again(tmp_path: Path) -> None:
    spool, road = filled(tmp_path, 2_500), Road(fails=3)
    sending = dispatcher(spool, road)
    for _ in range(3):
        with pytest.raises(SenderUnavailableError):
            asyncio.run(sending.send())
    assert sending.reach.failing_since_ms == 5_000
    assert "out of breath" in sending.reach.error
    assert asyncio.run(sending.send()) == Sent(dead=2_500)
    # The batch that is made while the first is under way still has the small size.
    assert road.sizes == [1_000, 500, 250, 125, 125, 250, 500, 1_000, 500]
    assert sending.reach.failing_since_ms is None


def test_it_never_shrinks_to_nothing(tmp_path: Path) -> None:
    spool, road = filled(tmp_path, 30), Road(fails=20)
    sending = dispatcher(spool, road)
    for _ in range(20):
        with pytest.raises(SenderUnavailableError):
            asyncio.run(sending.send())
    assert road.sizes[-1] == SMALLEST_BATCH


def test_what_was_answered_is_stored_although_the_next_batch_fails(tmp_path: Path) -> None:
    spool, road = filled(tmp_path, 1_500), Road()

    def fail_later() -> None:
        road.fails = int(len(road.sizes) == 2)

    road.on_post = fail_later
    with pytest.raises(SenderUnavailableError):
        asyncio.run(dispatcher(spool, road).send())
    assert (spool.count_dead(), spool.pending()) == (1_000, 500)


def test_readings_that_wait_block_none_and_are_offered_once_a_pass(tmp_path: Path) -> None:
    spool, road = filled(tmp_path, 1_200), Road(status=425)
    assert asyncio.run(dispatcher(spool, road).send()) == Sent(waiting=1_200)
    assert road.sizes == [1_000, 200]


def test_an_answer_that_cannot_be_stored_is_asked_for_again(tmp_path: Path) -> None:
    spool, road = filled(tmp_path, 5), Road()
    spool._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(SpoolUnavailableError):
        asyncio.run(dispatcher(spool, road).send())
    spool._connection.execute("PRAGMA query_only = OFF")
    assert asyncio.run(dispatcher(spool, road).send()) == Sent(dead=5)


def test_a_200_without_a_receipt_does_not_count(tmp_path: Path) -> None:
    spool, road = filled(tmp_path, 3), Road(status=200)
    assert asyncio.run(dispatcher(spool, road).send()) == Sent(waiting=3)
    assert spool.pending() == 3


def test_what_was_removed_since_is_forgotten_as_acknowledged(tmp_path: Path) -> None:
    spool = filled(tmp_path, 3)
    assert asyncio.run(dispatcher(spool, Road(status=410)).send()) == Sent(acknowledged=3)
    assert (spool.pending(), spool.dead_letters()) == (0, [])
    assert spool.prune(5_001, 0) == 3


def test_answers_in_another_order_do_not_count(tmp_path: Path) -> None:
    class Swapped(Road):
        async def post(self, batch: Batch) -> Sequence[ItemResult]:
            return list(reversed(await super().post(batch)))

    with pytest.raises(BadAnswerError):
        asyncio.run(dispatcher(filled(tmp_path, 2), Swapped()).send())

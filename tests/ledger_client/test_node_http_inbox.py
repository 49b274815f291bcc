"""Group commit: who shares a write, who hears what, and what happens when it fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from ledger_client.ledger import LedgerUnavailableError
from ledger_client.localnode.errors import BlockRefusedError
from ledger_client.localnode.http import inbox as inbox_module
from ledger_client.localnode.http.errors import BusyError
from ledger_client.localnode.http.inbox import MAX_GROUP, Inbox
from tests.ledger_client.node_rest import CORE, Rest, assert_error


class Disk:
    """Stands in for the node's attach_many: each write waits until the test lets it through."""

    def __init__(self) -> None:
        self.writes: list[list[bytes]] = []
        self.began = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.failing: BaseException | None = None

    def write(self, blocks: Sequence[bytes]) -> list[bytes | BlockRefusedError]:
        self.writes.append(list(blocks))
        self.began.release()
        self.gate.acquire()
        if self.failing:
            raise self.failing
        return [BlockRefusedError("bad") if block == b"bad" else b"id " + block for block in blocks]


async def _began(disk: Disk) -> None:
    await asyncio.get_running_loop().run_in_executor(None, disk.began.acquire)


async def _settle() -> None:
    """Let tasks that were just created run up to where they wait."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_what_arrives_during_a_write_shares_the_next() -> None:
    disk = Disk()

    async def story() -> list[bytes]:
        inbox = Inbox(disk.write)
        first = asyncio.create_task(inbox.attach(b"1"))
        await _began(disk)
        others = [asyncio.create_task(inbox.attach(bytes([number]))) for number in range(20)]
        await _settle()
        assert not any(task.done() for task in (first, *others))
        disk.gate.release()
        assert await first == b"id 1"
        assert not any(task.done() for task in others)  # not before their own write
        disk.gate.release()
        return await asyncio.gather(*others)

    assert asyncio.run(story()) == [b"id " + bytes([number]) for number in range(20)]
    assert [len(group) for group in disk.writes] == [1, 20]


def test_a_refused_block_hinders_no_other() -> None:
    disk = Disk()
    disk.gate.release()

    async def story() -> list[bytes | BaseException]:
        inbox = Inbox(disk.write)
        blocks = (b"a", b"bad", b"b")
        return await asyncio.gather(*map(inbox.attach, blocks), return_exceptions=True)

    first, refused, last = asyncio.run(story())
    assert (first, last) == (b"id a", b"id b")
    assert isinstance(refused, BlockRefusedError)
    assert len(disk.writes) == 1


@pytest.mark.parametrize("error", [LedgerUnavailableError("disk full"), ValueError("a fault")])
def test_a_failed_write_fails_its_group_and_the_next_goes_on(error: BaseException) -> None:
    disk = Disk()

    async def story() -> None:
        inbox = Inbox(disk.write)
        disk.failing = error
        disk.gate.release()
        failed = await asyncio.gather(
            inbox.attach(b"a"), inbox.attach(b"b"), return_exceptions=True
        )
        assert [type(item) for item in failed] == [type(error)] * 2
        disk.failing = None
        disk.gate.release()
        assert await inbox.attach(b"c") == b"id c"

    asyncio.run(story())


def test_a_sender_who_leaves_hinders_nobody() -> None:
    disk = Disk()

    async def story() -> None:
        inbox = Inbox(disk.write)
        first = asyncio.create_task(inbox.attach(b"1"))
        await _began(disk)
        gone, stays = (asyncio.create_task(inbox.attach(name)) for name in (b"gone", b"stays"))
        await _settle()
        gone.cancel()
        disk.gate.release(2)
        assert await asyncio.gather(first, stays) == [b"id 1", b"id stays"]

    asyncio.run(story())


@pytest.mark.parametrize(("limit", "value"), [("MAX_WAITING_BLOCKS", 3), ("MAX_WAITING_BYTES", 10)])
def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    monkeypatch.setattr(inbox_module, limit, value)
    disk = Disk()

    async def story() -> None:
        inbox = Inbox(disk.write)
        first = asyncio.create_task(inbox.attach(b"1"))
        await _began(disk)
        waiting = [asyncio.create_task(inbox.attach(b"333")) for _ in range(3)]
        await _settle()
        with pytest.raises(BusyError):
            await inbox.attach(b"44")
        disk.gate.release(2)
        await asyncio.gather(first, *waiting)
        disk.gate.release()
        assert await inbox.attach(b"5") == b"id 5"  # there is room again

    asyncio.run(story())


def test_groups_are_bounded_so_that_readers_get_in() -> None:
    disk = Disk()

    async def story() -> None:
        inbox = Inbox(disk.write)
        disk.gate.release(10)
        await asyncio.gather(*(inbox.attach(b"%d" % n) for n in range(MAX_GROUP + 1)))

    asyncio.run(story())
    assert [len(group) for group in disk.writes] == [MAX_GROUP, 1]


def test_a_full_inbox_is_503_with_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "MAX_WAITING_BLOCKS", 0)
    rest = Rest()
    answer = rest.post_json({"payload": {"type": 5, "tag": "0x", "data": "0x"}})
    assert_error(answer, 503)
    assert answer.headers["retry-after"] == "1"
    assert rest.net.node.stats().blocks == 1
    assert rest.get(f"{CORE}/info")  # reading goes on

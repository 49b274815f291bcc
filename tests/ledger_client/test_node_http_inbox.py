"""Group commit: who shares a write, who hears what, and what happens when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from ledger_client.ledger import LedgerUnavailableError
from ledger_client.localnode.errors import BlockRefusedError
from ledger_client.localnode.http import inbox as inbox_module
from ledger_client.localnode.http.errors import BusyError, WriteFaultError
from ledger_client.localnode.http.inbox import MAX_GROUP, Inbox
from tests.ledger_client.node_rest import CORE, Rest, assert_error

Told = TypeVar("Told")


class Disk:
    """Stands in for the node's attach_many and remembers the writes."""

    def __init__(self) -> None:
        self.writes: list[list[bytes]] = []
        self.failing: Exception | None = None

    def write(self, blocks: Sequence[bytes]) -> list[bytes | BlockRefusedError]:
        self.writes.append(list(blocks))
        if self.failing:
            raise self.failing
        return [BlockRefusedError("bad") if block == b"bad" else b"id " + block for block in blocks]


def play(story: Coroutine[Any, Any, Told]) -> tuple[Told, list[str]]:
    """Run a story on a loop; also return the faults that the loop was told of."""
    faults: list[str] = []

    async def watched() -> Told:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: faults.append(repr(context["exception"])))
        return await asyncio.wait_for(story, 60)

    return asyncio.run(watched()), faults


def test_blocks_of_one_moment_share_a_write() -> None:
    disk = Disk()

    async def story() -> list[bytes]:
        inbox = Inbox(disk.write)
        first = await asyncio.gather(*(inbox.attach(bytes([number])) for number in range(20)))
        return [*first, await inbox.attach(b"later")]

    ids, faults = play(story())
    assert ids == [*(b"id " + bytes([number]) for number in range(20)), b"id later"]
    assert [len(group) for group in disk.writes] == [20, 1]
    assert faults == []


def test_nobody_hears_before_the_write_is_done() -> None:
    written: list[bool] = []

    async def story() -> None:
        def write(blocks: Sequence[bytes]) -> list[bytes]:
            written.append(any(task.done() for task in tasks))
            return list(blocks)

        inbox = Inbox(write)
        tasks = [asyncio.create_task(inbox.attach(b"%d" % number)) for number in range(3)]
        await asyncio.gather(*tasks)

    play(story())
    assert written == [False]


def test_a_refused_block_hinders_no_other() -> None:
    disk = Disk()

    async def story() -> list[bytes | BaseException]:
        inbox = Inbox(disk.write)
        blocks = (b"a", b"bad", b"b")
        return await asyncio.gather(*map(inbox.attach, blocks), return_exceptions=True)

    (first, refused, last), _ = play(story())
    assert (first, last) == (b"id a", b"id b")
    assert isinstance(refused, BlockRefusedError)
    assert len(disk.writes) == 1


@pytest.mark.parametrize(
    ("error", "told", "noticed"),
    [
        (LedgerUnavailableError("disk full"), LedgerUnavailableError, []),
        (ValueError("a fault"), WriteFaultError, ["ValueError('a fault')"]),
    ],
)
def test_a_failed_write_fails_its_group_and_the_next_goes_on(
    error: Exception, told: type[Exception], noticed: list[str]
) -> None:
    disk = Disk()

    async def story() -> None:
        inbox = Inbox(disk.write)
        disk.failing = error
        two = (inbox.attach(b"a"), inbox.attach(b"b"))
        failed = await asyncio.gather(*two, return_exceptions=True)
        assert [type(item) for item in failed] == [told] * 2
        disk.failing = None
        assert await inbox.attach(b"c") == b"id c"

    _, faults = play(story())
    assert faults == noticed


def test_a_sender_who_leaves_hinders_nobody() -> None:
    disk = Disk()

    async def story() -> bytes:
        inbox = Inbox(disk.write)
        gone, stays = (asyncio.create_task(inbox.attach(name)) for name in (b"gone", b"stays"))
        asyncio.get_running_loop().call_soon(gone.cancel)  # after it waits, before the write
        return await stays

    assert play(story()) == (b"id stays", [])


@pytest.mark.parametrize(("limit", "value"), [("MAX_WAITING_BLOCKS", 3), ("MAX_WAITING_BYTES", 10)])
def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    monkeypatch.setattr(inbox_module, limit, value)
    disk = Disk()

    async def story() -> None:
        inbox = Inbox(disk.write)
        crowd = [inbox.attach(b"333") for _ in range(5)]
        told = await asyncio.gather(*crowd, return_exceptions=True)
        assert told[:3] == [b"id 333"] * 3
        assert [type(item) for item in told[3:]] == [BusyError] * 2
        assert await inbox.attach(b"5") == b"id 5"  # there is room again

    play(story())


def test_groups_are_bounded_so_that_readers_get_in() -> None:
    disk = Disk()

    async def story() -> None:
        inbox = Inbox(disk.write)
        await asyncio.gather(*(inbox.attach(b"%d" % n) for n in range(2 * MAX_GROUP + 1)))

    play(story())
    assert [len(group) for group in disk.writes] == [MAX_GROUP, MAX_GROUP, 1]


def test_a_full_inbox_is_503_with_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "MAX_WAITING_BLOCKS", 0)
    rest = Rest()
    answer = rest.post_json({"payload": {"type": 5, "tag": "0x", "data": "0x"}})
    assert_error(answer, 503)
    assert answer.headers["retry-after"] == "1"
    assert rest.net.node.stats().blocks == 1
    assert rest.get(f"{CORE}/info")  # reading goes on

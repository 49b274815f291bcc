"""Group commit: blocks that arrive together share one durable write.

A sync to disk costs more than all the rest of a block. While one write is on its way, the blocks
that come in wait, and the next write takes them all; each sender hears of its own block, and only
once it is on disk. What waits is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from ledger_client.localnode.errors import BlockRefusedError
from ledger_client.localnode.http.errors import BusyError

MAX_WAITING_BLOCKS = 4_096
MAX_WAITING_BYTES = 32 * 1024 * 1024
MAX_GROUP = 512
"""Blocks in one write: the lock is free for readers in between."""

AttachMany: TypeAlias = Callable[[Sequence[bytes]], list[bytes | BlockRefusedError]]
_Waiting: TypeAlias = tuple[bytes, asyncio.Future[bytes]]


class Inbox:
    """Collects blocks on the event loop and writes them in one thread, a group at a time."""

    def __init__(self, attach_many: AttachMany) -> None:
        self._attach_many = attach_many
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="inbox")
        self._task: asyncio.Task[None] | None = None

    async def attach(self, block: bytes) -> bytes:
        """Return the id of a serialised block once it is on disk.

        Raises BusyError when too many wait, BlockRefusedError when the block breaks a rule, and
        what a failed write raises, LedgerUnavailableError say; the block is then not stored.
        """
        if (
            len(self._waiting) >= MAX_WAITING_BLOCKS
            or self._waiting_bytes + len(block) > MAX_WAITING_BYTES
        ):
            raise BusyError(f"{len(self._waiting)} blocks wait to be stored; try again later")
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append((block, future))
        self._waiting_bytes += len(block)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all())
        return await future

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group = [self._waiting.popleft() for _ in range(min(MAX_GROUP, len(self._waiting)))]
            blocks = [block for block, _ in group]
            self._waiting_bytes -= sum(map(len, blocks))
            written = loop.run_in_executor(self._writer, self._attach_many, blocks)
            await asyncio.wait([written])
            failed = written.exception()
            results = [failed] * len(group) if failed else written.result()
            for (_, future), result in zip(group, results, strict=True):
                _settle(future, result)


def _settle(future: asyncio.Future[bytes], result: bytes | BaseException | None) -> None:
    """Tell one sender, unless it has gone."""
    if future.done():
        return
    if isinstance(result, bytes):
        future.set_result(result)
    elif result is not None:
        future.set_exception(result)

"""Group commit: blocks that arrive together share one durable write.

A sync to disk costs more than all the rest of a block. While one write is under way, what comes in
waits in the sockets, and the next write takes all of it; each sender hears of its own block, and
only once it is on disk.

The write runs on the event loop itself. Handing it to a thread costs throughput (two threads pass
one interpreter lock to and fro at every statement) and wins little: every other route waits for the
same database. What waits is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

from ledger_client.ledger import LedgerError
from ledger_client.localnode.errors import BlockRefusedError
from ledger_client.localnode.http.errors import BusyError, WriteFaultError

MAX_WAITING_BLOCKS = 4_096
MAX_WAITING_BYTES = 32 * 1024 * 1024
MAX_GROUP = 512
"""Blocks in one write: whoever reads gets in between."""

AttachMany: TypeAlias = Callable[[Sequence[bytes]], Sequence[bytes | BlockRefusedError]]
_Waiting: TypeAlias = tuple[bytes, asyncio.Future[bytes]]


class Inbox:
    """Collects blocks on the event loop and writes them a group at a time."""

    def __init__(self, attach_many: AttachMany) -> None:
        self._attach_many = attach_many
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0

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
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        if not self._waiting:
            # Whoever is read in this turn of the loop comes along.
            loop.call_soon(self._write, loop)
        self._waiting.append((block, future))
        self._waiting_bytes += len(block)
        return await future

    def _write(self, loop: asyncio.AbstractEventLoop) -> None:
        group = [self._waiting.popleft() for _ in range(min(MAX_GROUP, len(self._waiting)))]
        blocks = [block for block, _ in group]
        self._waiting_bytes -= sum(map(len, blocks))
        if self._waiting:
            loop.call_soon(self._write, loop)
        results: Sequence[bytes | Exception] = [WriteFaultError("the node failed")] * len(group)
        try:
            results = self._attach_many(blocks)
        except LedgerError as error:
            results = [error] * len(group)
        finally:
            for (_, future), result in zip(group, results, strict=True):
                _settle(future, result)


def _settle(future: asyncio.Future[bytes], result: bytes | Exception) -> None:
    """Tell one sender, unless it has gone."""
    if future.done():
        return
    if isinstance(result, bytes):
        future.set_result(result)
    else:
        future.set_exception(result)

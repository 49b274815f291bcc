"""Reading a ledger over REST: satisfies :class:`~ledger_client.reader.LedgerReader`.

The API tells neither a block's children nor what an address has spent, and of transactions it finds
those that were applied. It names no milestone's blocks either: they are found by walking back from
the milestone's parents for as long as the blocks are referenced by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, TypeVar

from ledger_client.reader import (
    AddressRecord,
    BlockRecord,
    Blocks,
    LedgerReader,
    MilestoneRecord,
    NetworkRecord,
    OutputRecord,
    read_block,
    walk_back,
)
from ledger_client.remotenode.answers import BlockMetadata
from ledger_client.remotenode.client import NodeClient
from ledger_client.stardust.block import block_id
from ledger_client.stardust.codec import MAX_U32, StardustSyntaxError
from ledger_client.stardust.milestone import Milestone
from ledger_client.stardust.output import BasicOutput

WALK_S: Final = 3.0
"""A walk asks twice per block or output; after so many seconds it ends where it is."""
_KEPT: Final = 4_096
_OTHER: Final = 255

_Value = TypeVar("_Value")


class _Shelf(Generic[_Value]):
    """What never changes again, so that it is asked for once; the oldest makes room."""

    def __init__(self) -> None:
        self._kept: dict[int | bytes, _Value] = {}

    def get(self, key: int | bytes) -> _Value | None:
        return self._kept.get(key)

    def keep(self, key: int | bytes, value: _Value) -> None:
        while len(self._kept) >= _KEPT:
            self._kept.pop(next(iter(self._kept)), None)
        self._kept[key] = value


class RemoteReader(LedgerReader):
    """Looks at a ledger through a :class:`NodeClient`; give that one a short time-out."""

    def __init__(self, client: NodeClient, walk_s: float = WALK_S) -> None:
        self._client = client
        self._walk_s = walk_s
        self._blocks: _Shelf[tuple[BlockRecord, int]] = _Shelf()
        self._milestones: _Shelf[MilestoneRecord] = _Shelf()
        self._spent: _Shelf[OutputRecord] = _Shelf()

    def network(self) -> NetworkRecord:
        """Return what the node says of its network; it counts nothing; see the protocol."""
        info = self._client.info()
        return NetworkRecord(
            info.network_name,
            info.bech32_hrp,
            info.token_supply,
            info.confirmed_milestone_index,
            blocks=None,
            transfers=None,
        )

    def milestones(self, before: int | None, limit: int) -> Sequence[MilestoneRecord]:
        """Return milestones, newest first, as far as the node keeps them; see the protocol."""
        latest = self._client.info().confirmed_milestone_index
        newest = latest if before is None else min(latest, before - 1)
        found = []
        for index in range(newest, max(newest - limit, 0), -1):
            milestone = self.milestone(index)
            if milestone is None:
                break
            found.append(milestone)
        return found

    def milestone(self, identifier: int | bytes) -> MilestoneRecord | None:
        """Return a milestone by index or id; see the protocol."""
        if isinstance(identifier, int) and not 0 < identifier <= MAX_U32:
            return None
        kept = self._milestones.get(identifier)
        if kept is not None:
            return kept
        payload = self._client.milestone(identifier)
        if payload is None:
            return None
        found = MilestoneRecord(Milestone.decode(payload))
        self._milestones.keep(identifier, found)
        return found

    def cone(self, index: int, limit: int) -> Blocks | None:
        """Return what a milestone refers to, found by walking back; see the protocol."""
        milestone = self.milestone(index)
        if milestone is None:
            return None
        parents = milestone.milestone.essence.parents
        found = self._walk(parents, limit, lambda block: block.referenced_by == index)
        places = {block.block_id: self._place(block.block_id) for block in found.blocks}
        ordered = sorted(found.blocks, key=lambda block: places[block.block_id])
        return Blocks(tuple(ordered), found.complete)

    def block(self, identifier: bytes) -> BlockRecord | None:
        """Return a block; see the protocol."""
        kept = self._blocks.get(identifier)
        if kept is not None:
            return kept[0]
        data = self._client.block(identifier)
        state = None if data is None else self._client.block_metadata(identifier)
        if data is None or state is None:
            return None
        try:
            block = read_block(data, state.referenced_by_milestone_index, _conflict(state))
        except StardustSyntaxError:  # of another protocol version: nothing that could be shown
            return None
        if block.referenced_by is not None:
            self._blocks.keep(identifier, (block, state.white_flag_index or 0))
        return block

    def children(self, identifier: bytes) -> tuple[bytes, ...] | None:
        """Return None: the API does not tell them; see the protocol."""
        del identifier
        return None

    def carrier(self, transaction_id: bytes) -> bytes | None:
        """Return the block with an applied transaction; see the protocol."""
        data = self._client.included_block(transaction_id)
        return None if data is None else block_id(data)

    def output(self, output_id: bytes) -> OutputRecord | None:
        """Return an output; see the protocol."""
        kept = self._spent.get(output_id)
        if kept is not None:
            return kept
        data = self._client.output(output_id)
        state = None if data is None else self._client.output_metadata(output_id)
        if data is None or state is None:
            return None
        found = OutputRecord(
            output_id,
            BasicOutput.decode(data),
            state.block_id,
            state.milestone_index_booked,
            state.milestone_index_spent,
            state.transaction_id_spent,
        )
        if found.spent_index is not None:
            self._spent.keep(output_id, found)
        return found

    def address(self, address: bytes, limit: int) -> AddressRecord:
        """Return an address's unspent outputs; spent ones are not told; see the protocol."""
        deadline_s = time.monotonic() + self._walk_s
        ids = self._client.basic_outputs(address)
        found = []
        for output_id in ids[:limit]:
            if time.monotonic() > deadline_s:
                break
            found.append(self.output(output_id))
        unspent = tuple(item for item in found if item is not None and item.spent_index is None)
        return AddressRecord(address, unspent, len(ids) == len(found), spent=None)

    def around(self, identifier: bytes | None, limit: int) -> Blocks | None:
        """Return the blocks behind the tips, or one and those up to its milestone."""
        if identifier is None:
            newest = self.milestones(None, 1)
            starts = (*self._client.tips(), *(item.block_id for item in newest))
            return self._walk(starts, limit)
        block = self.block(identifier)
        if block is None:
            return None
        milestone = self.milestone(block.referenced_by) if block.referenced_by else None
        return self._walk([identifier, *([milestone.block_id] if milestone else [])], limit)

    def _walk(
        self,
        starts: Iterable[bytes],
        limit: int,
        within: Callable[[BlockRecord], bool] = lambda _: True,
    ) -> Blocks:
        deadline_s, late = time.monotonic() + self._walk_s, False

        def read(identifier: bytes) -> BlockRecord | None:
            nonlocal late
            late = late or time.monotonic() > deadline_s
            return None if late else self.block(identifier)

        found = walk_back(starts, limit, read, within)
        return Blocks(found.blocks, found.complete and not late)

    def _place(self, identifier: bytes) -> int:
        kept = self._blocks.get(identifier)
        return kept[1] if kept else 0


def _conflict(state: BlockMetadata) -> int | None:
    match state.ledger_inclusion_state:
        case "included":
            return 0
        case "conflicting":
            return state.conflict_reason or _OTHER
        case _:
            return None

"""The ledger port over any Stardust node.

A node has no tag search and proves inclusion only, so this side remembers which blocks it made of
a payload, and computes the proof that a transaction was applied from what the milestone created.
What it remembers is a convenience: after a restart everything can be asked and sent again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from ledger_client.ledger import (
    Balance,
    InclusionProof,
    Ledger,
    LedgerError,
    LedgerRefusedError,
    TransferStatus,
    UnspentOutput,
)
from ledger_client.remotenode.answers import BlockMetadata
from ledger_client.remotenode.client import NodeClient
from ledger_client.remotenode.errors import NodeAnswerError, NodeUnfitError
from ledger_client.remotenode.mutations import applied_blocks
from ledger_client.stardust.block import Block, Payload, block_id
from ledger_client.stardust.codec import ID_LENGTH, StardustSyntaxError, blake2b_256, network_id
from ledger_client.stardust.merkle import inclusion_path
from ledger_client.stardust.milestone import MAX_PARENTS, Milestone
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import TaggedData, Transaction

ATTEMPTS = 3
TEND_EVERY_S = 5.0
_SPENT = {1, 2}
"""Conflict reasons after which the same transaction can never apply."""
_REMEMBERED = 10_000
_MILESTONES = 16

_log = logging.getLogger(__name__)

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class _Memory(Generic[_Key, _Value]):
    """The last few things that were learned, by key."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[_Key, _Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _Key) -> _Value | None:
        """Return what is remembered, if anything."""
        with self._lock:
            return self._kept.get(key)

    def put(self, key: _Key, value: _Value) -> None:
        """Remember; what was put longest ago is forgotten."""
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)


class RestLedger(Ledger):
    """Adapts the nodes behind a :class:`NodeClient` to the port.

    Pending blocks are looked after whenever somebody asks for them: promoted or attached again as
    the node advises, at most every few seconds.
    """

    def __init__(
        self,
        client: NodeClient,
        *,
        network: str,
        hrp: str,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use nodes of ``network`` with the address prefix ``hrp``; any other is refused."""
        self.client = client
        self._network = network
        self._hrp = hrp
        self._now = now
        self._is_fit = False
        self._blocks: _Memory[bytes, tuple[bytes, ...]] = _Memory(_REMEMBERED)
        """Block ids by the hash of their payload (for transactions: by transaction id)."""
        self._payloads: _Memory[bytes, bytes] = _Memory(_REMEMBERED)
        """The payload's hash by block id."""
        self._outputs: _Memory[bytes, bytes] = _Memory(_REMEMBERED)
        self._applied: _Memory[int, tuple[bytes, ...]] = _Memory(_MILESTONES)
        self._tended: _Memory[bytes, float] = _Memory(_REMEMBERED)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def anchor(self, tag: bytes, data: bytes) -> bytes:
        """Attach tagged data; see the port."""
        try:
            payload = TaggedData(tag, data)
            Block((bytes(ID_LENGTH),), payload).encode()
        except StardustSyntaxError as error:
            raise LedgerRefusedError(str(error)) from error
        there = self._known(blake2b_256(payload.encode()))
        return there[0].block_id if there else self._attach(payload)

    def transfer(self, transaction_payload: bytes) -> bytes:
        """Attach a transaction unless that is done or can never succeed; see the port."""
        try:
            transaction = Transaction.decode(transaction_payload)
        except StardustSyntaxError as error:
            raise LedgerRefusedError(str(error)) from error
        if transaction.essence.network_id != network_id(self._network):
            raise LedgerRefusedError(f"transaction: of another network than {self._network!r}")
        transaction_id = blake2b_256(transaction_payload)
        there = self._known(transaction_id)
        if not any(map(_settles, there)) and self.client.included_block(transaction_id) is None:
            self._attach(transaction)
        return transaction_id

    def status(self, identifier: bytes) -> TransferStatus:
        """Return what became of a transaction or a block; see the port."""
        known = self._family(identifier)
        if any(map(_took_effect, known)):
            return TransferStatus.CONFIRMED
        if not self._is_block(identifier, known) and self.client.included_block(identifier):
            return TransferStatus.CONFIRMED
        if any(item.referenced_by_milestone_index is None for item in known):
            self._tend(known)
            return TransferStatus.PENDING
        return TransferStatus.CONFLICTING if known else TransferStatus.UNKNOWN

    def inclusion_proof(self, identifier: bytes) -> InclusionProof | None:
        """Return the proof for a block id or a transaction id; see the port."""
        known = self._family(identifier)
        if self._is_block(identifier, known):
            for item in known:
                if item.referenced_by_milestone_index is not None:
                    return self.client.inclusion_proof(item.block_id)
        elif block := self.client.included_block(identifier):
            return self._applied_proof(block)
        self._tend(known)
        return None

    def balance(self, address: bytes) -> Balance:
        """Return what an address can spend; see the port."""
        self._require_fit()
        found = (self._spendable(item, address) for item in self.client.basic_outputs(address))
        outputs = tuple(output for output in found if output is not None)
        return Balance(sum(output.units for output in outputs), outputs)

    # Attaching and looking after ----------------------------------------------------------------

    def _attach(self, payload: Payload | None, beside: Sequence[bytes] = ()) -> bytes:
        """Attach a payload to current tips, and to ``beside``; return the block id.

        The node that gave the tips may not be the one that takes the block, so that a refusal
        counts only when other tips do not help.
        """
        self._require_fit()
        for attempt in range(1, ATTEMPTS + 1):
            tips = [tip for tip in self.client.tips() if tip not in beside]
            parents = sorted({*beside, *tips[: MAX_PARENTS - len(beside)]})
            data = Block(tuple(parents), payload).encode()
            if payload is not None:
                # Before it is sent: the answer may get lost, the block may not.
                self._remember(blake2b_256(payload.encode()), block_id(data))
            try:
                return self.client.submit(data)
            except LedgerRefusedError:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")  # pragma: no cover

    def _tend(self, known: Sequence[BlockMetadata]) -> None:
        """Promote or attach again what is pending, as the node advises and not too often."""
        pending = [item for item in known if item.referenced_by_milestone_index is None]
        if not pending:
            return
        newest = pending[-1]
        last = self._tended.get(newest.block_id)
        if last is not None and self._now() - last < TEND_EVERY_S:
            return
        self._tended.put(newest.block_id, self._now())
        try:
            if all(item.should_reattach for item in pending):
                self._attach_again(newest.block_id)
            elif newest.should_promote:
                self._attach(None, [newest.block_id])
        except LedgerError as error:
            # Whoever asked wants the block's fate, which is known; the next one tends it again.
            _log.warning("block %s is pending and stays so: %s", newest.block_id.hex(), error)

    def _attach_again(self, old: bytes) -> None:
        data = self.client.block(old)
        payload = Block.decode(data).payload if data else None
        if payload is not None and not isinstance(payload, Milestone):
            self._remember(blake2b_256(payload.encode()), old)
            self._tended.put(self._attach(payload), self._now())

    def _remember(self, payload_id: bytes, identifier: bytes) -> None:
        with self._lock:
            known = self._blocks.get(payload_id) or ()
            if identifier not in known:
                self._blocks.put(payload_id, (*known, identifier))
            self._payloads.put(identifier, payload_id)

    def _known(self, payload_id: bytes) -> list[BlockMetadata]:
        """Return what became of the blocks that we made of a payload, oldest first."""
        found = map(self.client.block_metadata, self._blocks.get(payload_id) or ())
        return [item for item in found if item is not None]

    def _family(self, identifier: bytes) -> list[BlockMetadata]:
        """Return the blocks with a transaction id, or a block and those attached in its place."""
        payload_id = self._payloads.get(identifier)
        if payload_id is not None or self._blocks.get(identifier) is not None:
            return self._known(payload_id or identifier)
        found = self.client.block_metadata(identifier)
        return [] if found is None else [found]

    def _is_block(self, identifier: bytes, known: Sequence[BlockMetadata]) -> bool:
        return bool(known) and self._blocks.get(identifier) is None

    def _require_fit(self) -> None:
        """Refuse nodes of another network, and those that ask for proof of work."""
        if self._is_fit:
            return
        info = self.client.info()
        if (info.network_name, info.bech32_hrp) != (self._network, self._hrp):
            raise NodeUnfitError(
                f"the nodes are of the network {info.network_name!r} with addresses of "
                f"{info.bech32_hrp!r}, not {self._network!r} with {self._hrp!r}; correct the "
                "settings"
            )
        if info.min_pow_score > 0:
            raise NodeUnfitError(
                f"the nodes ask for proof of work ({info.min_pow_score}), which is not done here; "
                "run them with minPowScore 0"
            )
        self._is_fit = True

    # Proofs and outputs -------------------------------------------------------------------------

    def _applied_proof(self, block: bytes) -> InclusionProof | None:
        identifier = block_id(block)
        metadata = self.client.block_metadata(identifier)
        index = metadata.referenced_by_milestone_index if metadata else None
        payload = None if index is None else self.client.milestone(index)
        if index is None or payload is None:
            raise NodeAnswerError(
                f"block {identifier.hex()}: said to be applied, but its milestone is not to be had"
            )
        essence = Milestone.decode(payload).essence
        ids = self._applied.get(index)
        if ids is None:
            ids = applied_blocks(self.client, index, essence.applied_root)
            self._applied.put(index, ids)
        if identifier not in ids:
            raise NodeAnswerError(
                f"block {identifier.hex()}: said to be applied, but milestone {index} did not"
            )
        path = inclusion_path(ids, ids.index(identifier))
        return InclusionProof(payload, index, block, path, "applied")

    def _spendable(self, output_id: bytes, address: bytes) -> UnspentOutput | None:
        """Return a plain output; None when more than a signature is needed to spend it."""
        data = self._outputs.get(output_id) or self.client.raw_output(output_id)
        if data is None:  # the indexer runs ahead, or the output was spent and pruned
            return None
        try:
            output = BasicOutput.decode(data)
        except StardustSyntaxError:
            return None  # it carries what we could not spend: a gift must not block the rest
        self._outputs.put(output_id, data)
        if output.address != address:
            raise NodeAnswerError(
                f"output {output_id.hex()}: the indexer gives it to another address than it names"
            )
        return UnspentOutput(output_id, data, output.units) if output.is_plain else None


def _took_effect(metadata: BlockMetadata) -> bool:
    return metadata.ledger_inclusion_state in {"included", "noTransaction"}


def _settles(metadata: BlockMetadata) -> bool:
    """Whether attaching the same transaction again would be pointless."""
    if metadata.ledger_inclusion_state == "conflicting":
        return metadata.conflict_reason in _SPENT
    return not metadata.should_reattach

"""The embedded Tangle node: attaches blocks, issues milestones, replays; one writer.

A block is acknowledged only after its commit; a milestone and what it does to the ledger are one
commit. What is in memory (the blocks since the last milestone) is a copy of the database and is
read again whenever a write did not end well.

A milestone comes about in three steps: its draft is stored; it is signed, which may take as long as
it takes while blocks are attached; it is stored with what it does to the ledger. Signers never sign
two drafts of one index, so a draft that is stored stays as it is, over restarts as well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Unpack

from ledger_client.localnode.confirmation import Cone, Roots, book_genesis, confirm
from ledger_client.localnode.door import Candidate, Door
from ledger_client.localnode.errors import (
    BelowMaxDepthError,
    BlockRefusedError,
    LedgerCorruptError,
    LedgerSettingsError,
    MilestoneUnsignedError,
    SignatureWait,
    UnknownParentError,
)
from ledger_client.localnode.issuing import Clockwork, Draft, MilestoneClock, collect
from ledger_client.localnode.replay import replay
from ledger_client.localnode.semantics import TransactionRules
from ledger_client.localnode.settings import NodeOptions, NodeSettings
from ledger_client.localnode.store import MilestoneRow, NewBlock, Store
from ledger_client.localnode.tangle import SOLID_ENTRY_POINT, Tangle
from ledger_client.stardust.block import Block, Payload
from ledger_client.stardust.codec import ID_LENGTH, StardustSyntaxError, network_id
from ledger_client.stardust.milestone import MAX_PARENTS, Milestone, MilestoneEssence
from ledger_client.stardust.transaction import Transaction
from ledger_client.verify import Milestones

BELOW_MAX_DEPTH = 15
"""A block may rest on milestones at most this many indices old (TIP-22)."""
TIP_DEPTH = 13
"""Tips that rest on older ones are not offered: who takes them needs time to build on them."""


@dataclass(frozen=True, slots=True)
class LedgerStats:
    """Counters of the whole ledger; ``supply_units`` is what the unspent outputs hold."""

    blocks: int
    milestones: int
    transfers_confirmed: int
    supply_units: int
    supply_expected_units: int


class LocalNode:
    """A Tangle node in this process. Every method may be called from any thread."""

    def __init__(
        self, store: Store, settings: NodeSettings, now: Callable[[], float] = time.time
    ) -> None:
        """Take over ``store``; raises LedgerSettingsError when it holds another network."""
        self.store = store
        self.settings = settings
        self.waiting_for_signatures: SignatureWait | None = None
        rules = TransactionRules(network_id(settings.network), settings.rent, settings.supply_units)
        self._door = Door(rules, settings.min_pow_score)
        self._clock = MilestoneClock(now)
        self._tangle = Tangle()
        self._is_stale = True
        # Taken before the store's lock, and held while signers are asked.
        self._issuing = threading.Lock()
        self._draft: Draft | None = None
        self._counted = (0, 0, 0)
        self._found_network()
        interval_s = settings.milestone_interval_s
        self._clockwork = Clockwork(self.issue_milestone, interval_s) if interval_s else None

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        now: Callable[[], float] = time.time,
        **options: Unpack[NodeOptions],
    ) -> LocalNode:
        """Open or create the ledger at ``path`` (``:memory:`` for tests); see NodeOptions.

        ``now`` is the wall clock in seconds. A second process on the same file gets
        LedgerUnavailableError, and so does who founds a network whose signers do not answer: the
        first milestone waits for them and is asked for again at the next opening.
        """
        settings = NodeSettings.of(**options)
        store = Store(path)
        try:
            return cls(store, settings, now)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Stop issuing milestones and close the database."""
        if self._clockwork is not None:
            self._clockwork.stop()
        self.store.close()

    # Writing ------------------------------------------------------------------------------------

    def attach(self, data: bytes) -> bytes:
        """Check and store a serialised block; return its id once it is on disk.

        A block that is already there gives its id again. Conflicts between transactions are no
        reason to refuse: milestones resolve them. Raises :class:`BlockRefusedError`.
        """
        (verdict,) = self.attach_many([data])
        if isinstance(verdict, BlockRefusedError):
            raise verdict
        return verdict

    def attach_many(self, blocks: Sequence[bytes]) -> list[bytes | BlockRefusedError]:
        """Attach blocks in one commit; return, for each, its id or why it is refused.

        Each is judged alone, as by :meth:`attach`: a refused one stores nothing and hinders no
        other. A parent may stand earlier in the list. Whatever is raised, nothing was stored.
        """
        judged = [self._door.judge(data) for data in blocks]
        with self._writing() as tangle:
            return self._take_in(tangle, judged)

    def submit(self, payload: Payload) -> bytes:
        """Attach a transaction or tagged data to the current tips; return the block id.

        Blocks of the node itself need no proof of work: it keeps strangers at a distance.
        """
        if isinstance(payload, Milestone):
            raise BlockRefusedError("block: only this node issues milestones")
        try:
            self._door.check(payload)
            with self._writing() as tangle:
                block = Block(self._young_tips(tangle), payload)
                (verdict,) = self._take_in(tangle, [Candidate.of(block, block.encode())])
        except StardustSyntaxError as error:
            raise BlockRefusedError(str(error)) from error
        if isinstance(verdict, BlockRefusedError):
            raise verdict
        return verdict

    def issue_milestone(self) -> Milestone:
        """Confirm every block attached so far: resolve conflicts, sign, mutate the ledger.

        The timestamp (seconds) is the wall clock's when it was drafted, or one after the last
        milestone's. Raises LedgerUnavailableError when signers are missing
        (``waiting_for_signatures`` then says how many) or the clock cannot be right; issue again
        later: a milestone that waits is the one that is issued next. Not to be called by a thread
        that holds the store's lock.
        """
        with self._issuing:
            try:
                draft = self._stored_draft() or self._new_draft()
                milestone = collect(self.settings.signer, draft.essence, self.pinned)
                self._issue(draft, milestone)
            except MilestoneUnsignedError as error:
                self.waiting_for_signatures = error.wait
                raise
            self.waiting_for_signatures = None
            return milestone

    def rebuild(self) -> None:
        """Replay the stored history and replace the derived state by what comes out.

        Raises LedgerCorruptError, and changes nothing, when a root, id or signature does not fit.
        """
        with self._issuing, self._writing():
            self._counted = (0, 0, 0)
            replay(self.store, self.settings.genesis, self.pinned)
            self.check_supply()

    # Reading ------------------------------------------------------------------------------------

    @property
    def pinned(self) -> Milestones:
        """The keys that count for milestones, and how many have to sign."""
        return self.settings.pinned

    def tips(self) -> tuple[bytes, ...]:
        """Return 1 to 8 block ids to use as parents, sorted."""
        with self.store.lock:
            return self._young_tips(self._current())

    def has_pending(self) -> bool:
        """Return whether a milestone would confirm anything but the milestone before."""
        with self.store.lock:
            return len(self._current()) > 1

    def latest_milestone(self) -> MilestoneRow:
        """Return the newest milestone; there is always one."""
        row = self.store.latest_milestone()
        if row is None:
            raise LedgerCorruptError("the ledger has no milestone; restore a backup")
        return row

    def stats(self) -> LedgerStats:
        """Return the counters of the whole ledger."""
        with self.store.lock:
            milestones = self.store.count("milestones")
            if self._counted[0] != milestones:  # both change with milestones alone
                transfers, units = self.store.count("transfers"), self.store.count("units")
                self._counted = (milestones, transfers, units)
            return LedgerStats(
                self.store.count("blocks"), *self._counted, self.settings.supply_units
            )

    def check_supply(self) -> None:
        """Raise LedgerCorruptError unless the unspent outputs add up to the genesis."""
        units, expected = self.store.count("units"), self.settings.supply_units
        if units != expected:
            raise LedgerCorruptError(
                f"unspent outputs hold {units} units, the supply is {expected}; restore a backup"
            )

    # The database and its copy in memory --------------------------------------------------------

    def _found_network(self) -> None:
        wanted = self.settings.stored()
        with self.store.lock:
            found = self.store.settings()
            if not found:
                with self._writing():
                    self.store.put_settings(wanted)
                    book_genesis(self.store, self.settings.genesis)
            differing = [name for name in wanted if found and found.get(name) != wanted[name]]
            if differing:
                raise LedgerSettingsError(
                    f"the ledger here was made with another {', '.join(differing)}; "
                    "use its settings or another data folder"
                )
            self.check_supply()
        if self.store.latest_milestone() is None:
            self.issue_milestone()

    @contextmanager
    def _writing(self) -> Iterator[Tangle]:
        """Run one atomic write; whatever goes wrong, memory is read again from the database."""
        with self.store.lock:
            tangle = self._current()
            self._is_stale = True
            with self.store.writing():
                yield tangle
            self._is_stale = False

    def _current(self) -> Tangle:
        if self._is_stale:
            tangle = self._tangle = Tangle()
            for identifier, data in self.store.each_unreferenced():
                block = Block.decode(data)
                tangle.add(
                    identifier,
                    block.parents,
                    self._root_of(tangle, block.parents),
                    has_transaction=isinstance(block.payload, Transaction),
                )
            self._is_stale = False
        return self._tangle

    # Attaching ----------------------------------------------------------------------------------

    def _take_in(
        self, tangle: Tangle, judged: Iterable[Candidate | BlockRefusedError]
    ) -> list[bytes | BlockRefusedError]:
        """Store what fits the Tangle, inside a write; return ids and refusals."""
        verdicts: list[bytes | BlockRefusedError] = []
        rows: list[NewBlock] = []
        latest = self.store.count("milestones")
        for item in judged:
            if isinstance(item, BlockRefusedError):
                verdicts.append(item)
                continue
            try:
                if self._connect(tangle, item, latest):
                    rows.append(item.row)
                verdicts.append(item.row.block_id)
            except BlockRefusedError as error:
                verdicts.append(error)
        self.store.add_blocks(rows)
        return verdicts

    def _connect(self, tangle: Tangle, item: Candidate, latest: int) -> bool:
        """Add a block to the Tangle in memory; return whether it was new."""
        identifier = item.row.block_id
        if identifier in tangle or self.store.has_block(identifier):
            return False
        root = self._root_of(tangle, item.parents)
        if latest - root > BELOW_MAX_DEPTH:
            raise BelowMaxDepthError(
                f"block: rests on milestone {root}, more than 15 below {latest}; use current tips"
            )
        tangle.add(identifier, item.parents, root, has_transaction=item.has_transaction)
        return True

    def _young_tips(self, tangle: Tangle) -> tuple[bytes, ...]:
        latest = self.latest_milestone()
        return tangle.tips(latest.index - TIP_DEPTH) or (latest.block_id,)

    def _root_of(self, tangle: Tangle, parents: Sequence[bytes]) -> int:
        return min(self._root_of_parent(tangle, parent) for parent in parents)

    def _root_of_parent(self, tangle: Tangle, parent: bytes) -> int:
        if parent in tangle:
            return tangle.oldest_root(parent)
        if parent == SOLID_ENTRY_POINT:
            return 0
        index = self.store.referenced_by(parent)
        if index is None:
            raise UnknownParentError(f"block: parent {parent.hex()} is unknown; attach it first")
        return index

    # Milestones ---------------------------------------------------------------------------------

    def _stored_draft(self) -> Draft | None:
        """Return the draft that waits for signatures; after a restart, worked out again."""
        with self.store.lock:
            if self._draft is None and (data := self.store.draft()):
                tangle = self._current()
                essence = MilestoneEssence.decode(data)
                draft = self._worked_out(tangle, essence)
                roots = draft.mutation.roots()
                if roots != Roots(essence.inclusion_root, essence.applied_root):
                    raise LedgerCorruptError(
                        f"draft of milestone {essence.index}: other roots; restore a backup"
                    )
                self._draft = draft
            return self._draft

    def _new_draft(self) -> Draft:
        with self._writing() as tangle:
            self._merge_tips(tangle)
            last = self.store.latest_milestone()
            essence = MilestoneEssence(
                last.index + 1 if last else 1,
                self._clock.stamp(last.timestamp if last else 0),
                last.milestone_id if last else bytes(ID_LENGTH),
                tangle.tips() or (SOLID_ENTRY_POINT,),
                bytes(ID_LENGTH),
                bytes(ID_LENGTH),
            )
            mutation = self._worked_out(tangle, essence).mutation
            roots = mutation.roots()
            essence = replace(essence, inclusion_root=roots.inclusion, applied_root=roots.applied)
            self.store.put_draft(essence.index, essence.encode())
        self._draft = Draft(essence, mutation)
        return self._draft

    def _worked_out(self, tangle: Tangle, essence: MilestoneEssence) -> Draft:
        def transaction_of(identifier: bytes) -> Transaction | None:
            found = tangle.has_transaction(identifier)
            return self.store.transaction(identifier) if found else None

        cone = Cone(essence.index, essence.timestamp, tangle.order(essence.parents))
        return Draft(essence, confirm(cone, transaction_of, self.store.output))

    def _merge_tips(self, tangle: Tangle) -> None:
        """Join surplus tips by empty blocks, so that one milestone confirms all there is."""
        while tangle.tip_count() > MAX_PARENTS:
            block = Block(tangle.tips())
            self._add(tangle, block)

    def _issue(self, draft: Draft, milestone: Milestone) -> None:
        """Store a signed milestone and what it does to the ledger, and drop its draft."""
        # Whatever comes of the write, the database alone knows whether a draft is left.
        self._draft = None
        essence = draft.essence
        with self._writing() as tangle:
            draft.mutation.apply(self.store)
            tangle.remove(draft.mutation.cone.block_ids, partial(self._root_of, tangle))
            identifier = self._add(tangle, Block(essence.parents, milestone))
            self.store.add_milestone(
                MilestoneRow(
                    essence.index, essence.id(), essence.timestamp, identifier, milestone.encode()
                )
            )
            self.store.drop_draft()

    def _add(self, tangle: Tangle, block: Block) -> bytes:
        """Store a block of the node's own, on parents that are known."""
        candidate = Candidate.of(block, block.encode())
        identifier = candidate.row.block_id
        self.store.add_blocks([candidate.row])
        tangle.add(identifier, block.parents, self._root_of(tangle, block.parents))
        return identifier

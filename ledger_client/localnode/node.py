"""The embedded Tangle node: attaches blocks, issues milestones, replays; one writer.

A block is acknowledged only after its commit; a milestone and what it does to the ledger are one
commit. What is in memory (the blocks since the last milestone) is a copy of the database and is
read again whenever a write did not end well.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nacl.signing import SigningKey

from ledger_client.ledger import LedgerError
from ledger_client.localnode.confirmation import Cone, Roots, apply_cone, book_genesis
from ledger_client.localnode.errors import (
    BelowMaxDepthError,
    BlockRefusedError,
    LedgerCorruptError,
    LedgerSettingsError,
    UnknownParentError,
)
from ledger_client.localnode.replay import replay
from ledger_client.localnode.semantics import TransactionRules, check_syntax
from ledger_client.localnode.store import BlockRow, MilestoneRow, Store
from ledger_client.localnode.tangle import SOLID_ENTRY_POINT, Tangle
from ledger_client.stardust.block import Block, Payload, block_id
from ledger_client.stardust.codec import (
    ID_LENGTH,
    StardustSyntaxError,
    blake2b_256,
    network_id,
)
from ledger_client.stardust.milestone import MAX_PARENTS, Milestone, MilestoneEssence
from ledger_client.stardust.output import BasicOutput, Rent
from ledger_client.stardust.transaction import MAX_OUTPUTS, TaggedData, Transaction

BELOW_MAX_DEPTH = 15
"""A block may rest on milestones at most this many indices old (TIP-22)."""
MAX_SUPPLY_UNITS = 2**63 - 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What makes a network: name, address prefix, supply, and who signs its milestones.

    ``genesis`` gives the units of each 32-byte address; every milestone carries the signatures of
    all ``milestone_keys``, at least ``threshold``. Without ``milestone_interval_s`` milestones are
    issued on demand only.
    """

    network: str
    hrp: str
    genesis: Mapping[bytes, int]
    milestone_keys: Sequence[SigningKey] = field(repr=False)
    threshold: int = 1
    milestone_interval_s: float | None = None
    rent: Rent = field(default_factory=Rent)

    def __post_init__(self) -> None:
        distinct = len({bytes(key.verify_key) for key in self.milestone_keys})
        if distinct != len(self.milestone_keys) or not 1 <= self.threshold <= distinct:
            raise LedgerSettingsError(
                f"{distinct} distinct milestone keys and threshold {self.threshold}: "
                "give distinct keys, at least as many as the threshold"
            )
        if not 1 <= len(self.genesis) <= MAX_OUTPUTS or self.supply_units > MAX_SUPPLY_UNITS:
            raise LedgerSettingsError("genesis: 1 to 128 addresses, less than 2^63 units together")
        try:
            for address, units in self.genesis.items():
                self.rent.check(BasicOutput.to(address, units))
        except StardustSyntaxError as error:
            raise LedgerSettingsError(f"genesis: {error}") from error

    @property
    def supply_units(self) -> int:
        """The sum of the genesis outputs."""
        return sum(self.genesis.values())

    def stored(self) -> dict[str, str]:
        """Return what a database remembers and must find again, by name."""
        rent = (self.rent.v_byte_cost, self.rent.v_byte_factor_data, self.rent.v_byte_factor_key)
        genesis = {address.hex(): units for address, units in sorted(self.genesis.items())}
        return {
            "network": self.network,
            "hrp": self.hrp,
            "rent": json.dumps(rent),
            "genesis": json.dumps(genesis),
        }


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
        self._now = now
        self._rules = TransactionRules(
            network_id(settings.network), settings.rent, settings.supply_units
        )
        self._tangle = Tangle()
        self._is_stale = True
        self._stop = threading.Event()
        self._clockwork: threading.Thread | None = None
        self._found_network()
        if settings.milestone_interval_s is not None:
            self._start_clockwork(settings.milestone_interval_s)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        genesis: Mapping[bytes, int],
        milestone_keys: Sequence[SigningKey],
        network: str = "wattloom-private",
        hrp: str = "wl",
        threshold: int = 1,
        now: Callable[[], float] = time.time,
        milestone_interval_s: float | None = None,
    ) -> LocalNode:
        """Open or create the ledger at ``path`` (``:memory:`` for tests); see NodeSettings.

        ``now`` is the wall clock in seconds. A second process on the same file gets
        LedgerUnavailableError.
        """
        settings = NodeSettings(
            network, hrp, genesis, milestone_keys, threshold, milestone_interval_s
        )
        store = Store(path)
        try:
            return cls(store, settings, now)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Stop issuing milestones and close the database."""
        self._stop.set()
        if self._clockwork is not None:
            self._clockwork.join()
        self.store.close()

    # Writing ------------------------------------------------------------------------------------

    def attach(self, data: bytes) -> bytes:
        """Check and store a serialised block; return its id once it is on disk.

        A block that is already there gives its id again. Conflicts between transactions are no
        reason to refuse: milestones resolve them. Raises :class:`BlockRefusedError`.
        """
        identifier = block_id(data)
        try:
            block = Block.decode(data)
            if isinstance(block.payload, Milestone):
                raise BlockRefusedError("block: only this node issues milestones")
            self._check(block.payload)
        except StardustSyntaxError as error:
            raise BlockRefusedError(str(error)) from error
        with self.store.lock:
            if self.store.block(identifier) is None:
                root = self._oldest_root(block)
                with self._writing() as tangle:
                    self._add(tangle, identifier, block, root)
        return identifier

    def submit(self, payload: Payload) -> bytes:
        """Attach a transaction or tagged data to the current tips; return the block id."""
        if isinstance(payload, Milestone):
            raise BlockRefusedError("block: only this node issues milestones")
        try:
            self._check(payload)
            with self.store.lock:
                block = Block(self.tips(), payload)
                identifier, root = block.id(), self._oldest_root(block)
                with self._writing() as tangle:
                    self._add(tangle, identifier, block, root)
        except StardustSyntaxError as error:
            raise BlockRefusedError(str(error)) from error
        return identifier

    def issue_milestone(self) -> Milestone:
        """Confirm every block attached so far: resolve conflicts, mutate the ledger, sign.

        The timestamp (seconds) is the wall clock's, or one after the last milestone's.
        """
        with self._writing() as tangle:
            self._merge_tips(tangle)
            return self._issue(tangle, self.store.latest_milestone())

    def rebuild(self) -> None:
        """Replay the stored history and replace the derived state by what comes out.

        Raises LedgerCorruptError, and changes nothing, when a root, id or signature does not fit.
        """
        with self._writing():
            replay(self.store, self.settings.genesis, self.settings.threshold)
            self.check_supply()

    # Reading ------------------------------------------------------------------------------------

    def tips(self) -> tuple[bytes, ...]:
        """Return 1 to 8 block ids to use as parents, sorted."""
        with self.store.lock:
            return self._current().tips()

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
            return LedgerStats(
                self.store.count("blocks"),
                self.store.count("milestones"),
                self.store.count("transfers"),
                self.store.count("units"),
                self.settings.supply_units,
            )

    def check_supply(self) -> None:
        """Raise LedgerCorruptError unless the unspent outputs add up to the genesis."""
        units, expected = self.store.count("units"), self.settings.supply_units
        if units != expected:
            raise LedgerCorruptError(
                f"unspent outputs hold {units} units, the supply is {expected}; restore a backup"
            )

    # Inside -------------------------------------------------------------------------------------

    def _found_network(self) -> None:
        wanted = self.settings.stored()
        with self.store.lock:
            found = self.store.settings()
            if not found:
                with self._writing() as tangle:
                    self.store.put_settings(wanted)
                    book_genesis(self.store, self.settings.genesis)
                    self._issue(tangle, None)
            differing = [name for name in wanted if found and found.get(name) != wanted[name]]
            if differing:
                raise LedgerSettingsError(
                    f"the ledger here was made with another {', '.join(differing)}; "
                    "use its settings or another data folder"
                )
            self.check_supply()

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
            for row in self.store.unreferenced_blocks():
                block = Block.decode(row.data)
                tangle.add(row.block_id, block, self._root_of_parents(tangle, block))
            self._is_stale = False
        return self._tangle

    def _check(self, payload: Payload | None) -> None:
        if isinstance(payload, Transaction):
            check_syntax(payload, self._rules)

    def _oldest_root(self, block: Block) -> int:
        root = self._root_of_parents(self._current(), block)
        latest = self.latest_milestone().index
        if latest - root > BELOW_MAX_DEPTH:
            raise BelowMaxDepthError(
                f"block: rests on milestone {root}, more than 15 below {latest}; use current tips"
            )
        return root

    def _root_of_parents(self, tangle: Tangle, block: Block) -> int:
        return min(self._root_of_parent(tangle, parent) for parent in block.parents)

    def _root_of_parent(self, tangle: Tangle, parent: bytes) -> int:
        if parent in tangle:
            return tangle.oldest_root(parent)
        if parent == SOLID_ENTRY_POINT:
            return 0
        row = self.store.block(parent)
        if row is None or row.milestone_index is None:
            raise UnknownParentError(f"block: parent {parent.hex()} is unknown; attach it first")
        return row.milestone_index

    def _add(self, tangle: Tangle, identifier: bytes, block: Block, root: int) -> None:
        payload = block.payload
        self.store.add_block(
            BlockRow(
                identifier, block.encode(), payload.TYPE if payload else None, None, None, None
            ),
            blake2b_256(payload.encode()) if payload else None,
            payload.tag if isinstance(payload, TaggedData) else None,
        )
        tangle.add(identifier, block, root)

    def _merge_tips(self, tangle: Tangle) -> None:
        """Join surplus tips by empty blocks, so that one milestone confirms all there is."""
        while tangle.tip_count() > MAX_PARENTS:
            block = Block(tangle.tips())
            self._add(tangle, block.id(), block, self._root_of_parents(tangle, block))

    def _issue(self, tangle: Tangle, last: MilestoneRow | None) -> Milestone:
        index = last.index + 1 if last else 1
        timestamp = max(int(self._now()), last.timestamp + 1 if last else 0)
        parents = tangle.tips()
        order = tangle.order(parents)
        cone = Cone(index, timestamp, tuple((item, tangle.block(item)) for item in order))
        roots = apply_cone(self.store, cone)
        previous = last.milestone_id if last else bytes(ID_LENGTH)
        milestone = self._sign(index, timestamp, previous, parents, roots)
        tangle.remove(order)
        block = Block(parents, milestone)
        identifier = block.id()
        self._add(tangle, identifier, block, self._root_of_parents(tangle, block))
        self.store.add_milestone(
            MilestoneRow(index, milestone.essence.id(), timestamp, identifier, milestone.encode())
        )
        return milestone

    def _sign(
        self, index: int, timestamp: int, previous: bytes, parents: tuple[bytes, ...], roots: Roots
    ) -> Milestone:
        essence = MilestoneEssence(
            index, timestamp, previous, parents, roots.inclusion, roots.applied
        )
        return Milestone.sign(essence, self.settings.milestone_keys)

    def _start_clockwork(self, interval_s: float) -> None:
        self._clockwork = threading.Thread(
            target=self._tick, args=(interval_s,), name="milestones", daemon=True
        )
        self._clockwork.start()

    def _tick(self, interval_s: float) -> None:
        while not self._stop.wait(interval_s):
            try:
                self.issue_milestone()
            except LedgerError:
                _log.exception("no milestone was issued; trying again in %s s", interval_s)

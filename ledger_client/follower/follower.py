"""A follower: an auditor's copy of a ledger, worked out again from another node's blocks.

What the other node says about its blocks is not used. Milestones have to be signed by pinned keys
and to follow each other, blocks have to hash to their ids, and what the white flag makes of them
here has to give the roots that were signed. Each milestone is one commit with all that it confirms,
so that a follower which is stopped at any line goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ledger_client.follower.comparison import explain
from ledger_client.follower.errors import FollowerSettingsError, HistoryGoneError, MismatchError
from ledger_client.follower.founding import found, kept_settings
from ledger_client.follower.gathering import Gathered, gather
from ledger_client.follower.report import Halt, read_halt, write_evidence, write_halt
from ledger_client.ledger import LedgerUnavailableError
from ledger_client.localnode.confirmation import Cone, Mutation, Roots, confirm
from ledger_client.localnode.door import Candidate
from ledger_client.localnode.errors import LedgerCorruptError
from ledger_client.localnode.replay import replay
from ledger_client.localnode.semantics import ConflictReason, TransactionRules
from ledger_client.localnode.settings import NodeSettings
from ledger_client.localnode.store import MilestoneRow, Store
from ledger_client.remotenode.client import NodeClient
from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import ID_LENGTH, network_id
from ledger_client.stardust.milestone import Milestone, MilestoneEssence
from ledger_client.verify import Milestones, RefusedError, check_milestone

LEDGER_FILE = "ledger.db"


@dataclass(frozen=True, slots=True)
class Followed:
    """A milestone that holds; ``timestamp`` in seconds, the rest counts its blocks."""

    index: int
    milestone_id: bytes
    timestamp: int
    blocks: int
    applied: int
    conflicting: int


class Follower:
    """Follows one node, milestone by milestone. One thread at a time."""

    def __init__(
        self, folder: Path, store: Store, client: NodeClient, settings: NodeSettings
    ) -> None:
        self.folder = folder
        self.store = store
        self.settings = settings
        self._client = client
        self._rules = TransactionRules(
            network_id(settings.network), settings.rent, settings.supply_units
        )

    @classmethod
    def open(
        cls,
        folder: Path,
        store: Store,
        client: NodeClient,
        pinned: Milestones,
        genesis: Mapping[bytes, int] | None = None,
    ) -> Follower:
        """Go on in a folder, or found a copy of the node's network there.

        ``genesis`` gives the units of each genesis address; None takes it from the copy, or from
        the node, on trust, when there is none yet. Raises MismatchError when this follower halted
        before, FollowerSettingsError, and LedgerUnavailableError while the node does not answer.
        """
        halt = read_halt(folder)
        if halt is not None:
            raise MismatchError(halt)
        settings = kept_settings(store, pinned) or found(store, client, pinned, genesis)
        follower = cls(folder, store, client, settings)
        follower._check_copy(genesis)
        return follower

    @property
    def latest(self) -> MilestoneRow | None:
        """The last milestone that holds; None before the first one."""
        return self.store.latest_milestone()

    def target(self) -> int:
        """Return the index of the last milestone that the node has, by its own word."""
        return self._client.info().confirmed_milestone_index

    def step(self) -> Followed | None:
        """Take over the next milestone; None when the node has none that we have not.

        Raises MismatchError, after the mark was left, when something does not hold, and
        LedgerUnavailableError when the node does not answer: ask again later.
        """
        try:
            return self._step()
        except MismatchError as error:
            if not self._was_damaged():
                write_halt(self.folder, error.halt)
                raise
        return self.step()

    def judge(self, essence: MilestoneEssence) -> None:
        """Work out a milestone that nobody signed yet, on top of the last one here; keep nothing.

        Raises MismatchError, without leaving a mark, when it does not follow or a root is wrong,
        and LedgerUnavailableError when the node does not hand out what it references.
        """
        self._require_next(self.latest, essence)
        gathered = gather(self._client, self.store, self._rules, essence)
        self._require_roots(essence, self._worked_out(essence, gathered))

    def replay(self) -> None:
        """Work out the whole copy again from its blocks and milestones; nothing is changed.

        Raises LedgerCorruptError, which names the first thing that is otherwise than it should be.
        """
        with self.store.writing():
            changed = self._replayed()
            if changed is not None:
                raise self._damaged(f"{changed}: its blocks make something else of it")

    # Inside -------------------------------------------------------------------------------------

    def _was_damaged(self) -> bool:
        """Replay the copy; return whether anything came out otherwise than it stood there.

        Nobody is accused on the word of a copy that a disk or a hand has changed. Where blocks or
        milestones themselves are damaged it raises LedgerCorruptError.
        """
        with self.store.writing():
            return self._replayed() is not None

    def _replayed(self) -> str | None:
        """Replay the copy inside a write; return what was derived that came out otherwise."""
        known = self.settings.genesis, self.settings.pinned, self._rules
        try:
            return self.store.changed_by(lambda: replay(self.store, *known))
        except LedgerCorruptError as error:
            unsigned = isinstance(error.__cause__, RefusedError)
            hint = ", if it was made with these KEYS" if unsigned else ""
            raise self._damaged(f"{error}{hint}") from error

    def _damaged(self, why: str) -> LedgerCorruptError:
        return LedgerCorruptError(
            f"the copy in {self.folder} is damaged ({why}), which says nothing about the node: "
            "follow into a new folder"
        )

    def _step(self) -> Followed | None:
        last = self.latest
        index = self._latest_index() + 1
        payload = self._client.milestone(index)
        if payload is None:
            if last is None or not self._shows_ours(last):
                self._require_history(last.index if last else 1)
            return None
        milestone = self._signed(index, payload)
        essence = milestone.essence
        self._require_next(last, essence)
        gathered = gather(self._client, self.store, self._rules, essence)
        mutation = self._worked_out(essence, gathered)
        self._require_roots(essence, mutation)
        self._keep(milestone, gathered, mutation)
        applied = mutation.conflicts.count(ConflictReason.NONE)
        conflicting = sum(bool(conflict) for conflict in mutation.conflicts)
        count = len(mutation.conflicts)
        return Followed(index, essence.id(), essence.timestamp, count, applied, conflicting)

    def _signed(self, index: int, payload: bytes) -> Milestone:
        """Return the milestone of a payload that enough pinned keys signed."""
        try:
            check_milestone(payload, self.settings.pinned)
        except RefusedError as error:
            what = f"its signatures do not hold: {error}"
            if index == 1:
                what += " (the first milestone already: these KEYS may be those of another network)"
            raise MismatchError(Halt("signatures", index, what)) from error
        return Milestone.decode(payload)

    def _require_next(self, last: MilestoneRow | None, essence: MilestoneEssence) -> None:
        previous = last.milestone_id if last else bytes(ID_LENGTH)
        if essence.previous_id != previous:
            if last is not None:
                self._shows_ours(last)
            raise MismatchError(
                Halt(
                    "chain",
                    essence.index,
                    "follows another milestone than the one before",
                    previous.hex(),
                    essence.previous_id.hex(),
                )
            )
        if last is not None and essence.timestamp <= last.timestamp:
            what = "its time does not come after that of the milestone before"
            times = str(last.timestamp), str(essence.timestamp)
            raise MismatchError(Halt("chain", essence.index, what, *times))

    def _shows_ours(self, last: MilestoneRow) -> bool:
        """Compare our newest milestone with the node's; return whether the node has it.

        Raises MismatchError when it shows another, with both payloads kept as evidence if pinned
        keys signed that one, too.
        """
        payload = self._client.milestone(last.index)
        if payload is None or Milestone.decode(payload).essence.id() == last.milestone_id:
            return payload is not None
        self._signed(last.index, payload)
        index, kept, shown = self._parting(last, payload)
        ours, theirs = self._signed(index, kept.payload).essence, Milestone.decode(shown).essence
        ids = ours.id().hex(), theirs.id().hex()
        if (ours.index, ours.id()) != (index, kept.milestone_id):
            raise MismatchError(Halt("chain", index, "the copy has another one of it", *ids))
        file = write_evidence(self.folder, index, kept.payload, shown)
        what = (
            f"pinned keys signed two milestones of this index; both are kept in {file.name}, which "
            "wattloom verify judges"
        )
        raise MismatchError(Halt("equivocation", index, what, *ids))

    def _parting(self, last: MilestoneRow, shown: bytes) -> tuple[int, MilestoneRow, bytes]:
        """Return the first milestone that differs, ours and theirs, as far as it can be found."""
        same, other = 0, (last, shown)
        while other[0].index - same > 1:
            middle = (same + other[0].index) // 2
            row, payload = self.store.milestone_at(middle), self._client.milestone(middle)
            if row is None or payload is None:
                break
            if Milestone.decode(payload).essence.id() == row.milestone_id:
                same = middle
            else:
                self._signed(middle, payload)
                other = row, payload
        return other[0].index, *other

    def _require_history(self, index: int) -> None:
        """Raise HistoryGoneError when the node says that it dropped what comes next."""
        info = self._client.info()
        if 0 < info.pruning_index >= index:
            raise HistoryGoneError(
                f"the node keeps no history up to milestone {info.pruning_index}, and {index} is "
                "needed: follow a node that keeps it all"
            )
        if info.confirmed_milestone_index >= index:
            raise LedgerUnavailableError(
                f"the node is at milestone {info.confirmed_milestone_index} and does not hand out "
                f"milestone {index}"
            )

    def _worked_out(self, essence: MilestoneEssence, gathered: Gathered) -> Mutation:
        cone = Cone(essence.index, essence.timestamp, gathered.order)
        return confirm(cone, gathered.transactions.get, self.store.output, gathered.unsound)

    def _require_roots(self, essence: MilestoneEssence, mutation: Mutation) -> None:
        roots = mutation.roots()
        if roots == Roots(essence.inclusion_root, essence.applied_root):
            return
        if roots.inclusion != essence.inclusion_root:
            what = "its inclusion root is not that of the blocks it references"
            pair = roots.inclusion, essence.inclusion_root
            halt = Halt("inclusion root", essence.index, what, *(root.hex() for root in pair))
        else:
            what = "its applied root is not that of the transactions that apply"
            pair = roots.applied, essence.applied_root
            halt = Halt("applied root", essence.index, what, *(root.hex() for root in pair))
        raise MismatchError(explain(self._client, halt, mutation))

    def _keep(self, milestone: Milestone, gathered: Gathered, mutation: Mutation) -> None:
        essence = milestone.essence
        block = Block(essence.parents, milestone)
        row = Candidate.of(block, block.encode()).row
        new = [gathered.new[item] for item in gathered.order if item in gathered.new]
        with self.store.writing():
            self.store.add_blocks([*new, row])
            mutation.apply(self.store)
            self.store.add_milestone(
                MilestoneRow(
                    essence.index,
                    essence.id(),
                    essence.timestamp,
                    row.block_id,
                    milestone.encode(),
                )
            )

    def _latest_index(self) -> int:
        return self.store.count("milestones")

    def _check_copy(self, genesis: Mapping[bytes, int] | None) -> None:
        if genesis is not None and dict(genesis) != dict(self.settings.genesis):
            raise FollowerSettingsError(
                "the copy here was founded with another genesis: leave --genesis-address out, or "
                "follow into a new folder"
            )
        units, supply = self.store.count("units"), self.settings.supply_units
        if units != supply:
            raise LedgerCorruptError(
                f"the copy's unspent outputs hold {units} units, the supply is {supply}: restore a "
                "backup, or follow into a new folder"
            )

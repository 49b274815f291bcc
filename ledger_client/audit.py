"""The auditor's look at a log's anchors: whether its holder ever signed two histories.

Every checkpoint that a district relies on stands on the ledger, under the log's tag. Whoever keeps
the blocks compares them all: two notes of one size with different roots are evidence by themselves;
two of different sizes are, where the log's own path from one to the other starts at another root.
A finding is a file that anybody can check with ``verify`` and the log's public key alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ledger_client.verify import (
    AnchorData,
    BlockError,
    Checkpoint,
    Equivocation,
    RefusedError,
    anchor_tag,
    block_payload,
    open_note,
    tagged_data,
    verify_consistency,
)

History = Callable[[int, int], tuple[bytes, Sequence[bytes]] | None]
"""What a log says of itself: its root at an old size, and the path (RFC 9162) from there to a new
size; None when it does not say. ``GET /api/v1/log/consistency`` gives both."""


@dataclass(frozen=True, slots=True)
class Anchored:
    """A note of the log that stands on the ledger, by the first block that was seen to carry it."""

    checkpoint: Checkpoint
    note: str
    block: bytes


@dataclass(frozen=True, slots=True)
class Audit:
    """What the anchors under a log's tag show.

    ``notes`` are those that a pinned log key signed, by size; ``strange`` blocks under the tag hold
    none (anybody may send such a block). ``evidence`` are files of kind ``equivocation``.
    ``unproven`` are sizes between which the log did not show that it only grew, although asked.
    """

    notes: tuple[Anchored, ...]
    strange: tuple[bytes, ...]
    evidence: tuple[Equivocation, ...]
    unproven: tuple[tuple[int, int], ...]

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the log, as far as it was looked at."""
        return not self.evidence and not self.unproven


@dataclass(slots=True)
class _Finds:
    notes: dict[tuple[int, bytes], Anchored] = field(default_factory=dict)
    strange: list[bytes] = field(default_factory=list)


def audit_anchors(
    blocks: Iterable[bytes],
    origin: str,
    log_keys: Sequence[bytes],
    history: History | None = None,
) -> Audit:
    """Compare all anchors of a log.

    Args:
        blocks: Ledger blocks in any order (their bytes); those without the log's tag are passed by.
        origin: The log's origin, that is the district.
        log_keys: The log's pinned public keys, 32 bytes each.
        history: The log, to be asked between each two sizes that follow each other; without it
            only notes of one size are compared.
    """
    finds = _Finds()
    for block in blocks:
        _look(block, origin, log_keys, finds)
    notes = sorted(finds.notes.values(), key=lambda note: note.checkpoint.size)
    evidence = _split_views(notes)
    unproven: list[tuple[int, int]] = []
    for old, new in pairwise(notes):
        if history is not None and 0 < old.checkpoint.size < new.checkpoint.size:
            found = _between(old, new, history)
            if found is None:
                unproven.append((old.checkpoint.size, new.checkpoint.size))
            elif found.root != old.checkpoint.root:
                evidence.append(found)
    return Audit(tuple(notes), tuple(finds.strange), tuple(evidence), tuple(unproven))


def _look(block: bytes, origin: str, log_keys: Sequence[bytes], finds: _Finds) -> None:
    try:
        tag, data = tagged_data(block_payload(block))
    except BlockError:
        return  # another payload, or none
    if tag != anchor_tag(origin):
        return
    try:
        note = AnchorData.read(data).note
        found = open_note(note, origin, log_keys)
    except RefusedError:
        finds.strange.append(block)
        return
    finds.notes.setdefault((found.size, found.root), Anchored(found, note, block))


def _split_views(notes: Sequence[Anchored]) -> list[Equivocation]:
    return [
        Equivocation(old=old.note, new=new.note, path=(), root=new.checkpoint.root)
        for old, new in pairwise(notes)
        if old.checkpoint.size == new.checkpoint.size > 0
    ]


def _between(old: Anchored, new: Anchored, history: History) -> Equivocation | None:
    """Return what the log shows between two sizes; None when it shows nothing that holds."""
    before, after = old.checkpoint, new.checkpoint
    said = history(before.size, after.size)
    if said is None:
        return None
    root, path = said
    if not verify_consistency(before.size, after.size, path, root, after.root):
        return None
    return Equivocation(old=old.note, new=new.note, path=tuple(path), root=root)

"""Why a follower halted: the mark in its folder, which stays until a person removes it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from ledger_client.proof import MilestoneEquivocation, to_bytes
from ledger_client.serving.folder import write_synced

MARK: Final = "halted.json"
_EVIDENCE: Final = "equivocation-{index}.json"

Cause: TypeAlias = Literal[
    "milestone", "signatures", "chain", "equivocation", "block", "inclusion root", "applied root"
]


@dataclass(frozen=True, slots=True)
class Halt:
    """What does not hold, at which milestone, and the first block that the nodes judge otherwise.

    ``ours`` and ``theirs`` are what was compared, ids and roots in hex. ``block`` is a block id in
    hex; ``block_ours`` and ``block_theirs`` say what became of it here and there.
    """

    cause: Cause
    milestone: int
    what: str
    ours: str = ""
    theirs: str = ""
    block: str = ""
    block_ours: str = ""
    block_theirs: str = ""

    def text(self) -> str:
        """Return the report for people, one fact a line."""
        lines = [f"milestone {self.milestone}: {self.what}"]
        if self.ours or self.theirs:
            lines += [f"  here:  {self.ours}", f"  there: {self.theirs}"]
        if self.block:
            lines.append(f"first block that differs: {self.block}")
            lines += [f"  here:  {self.block_ours}", f"  there: {self.block_theirs}"]
        return "\n".join(lines)


def write_halt(folder: Path, halt: Halt) -> Path:
    """Leave the mark in a follower's folder; return its path."""
    path = folder / MARK
    write_synced(path, json.dumps(asdict(halt), indent=2).encode() + b"\n")
    return path


def read_halt(folder: Path) -> Halt | None:
    """Return why the follower of this folder halted; None if it did not.

    A mark that cannot be read is one all the same.
    """
    path = folder / MARK
    if not path.exists():
        return None
    try:
        return Halt(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return Halt("milestone", 0, f"the mark {MARK} cannot be read, and counts all the same")


def write_evidence(folder: Path, index: int, kept: bytes, shown: bytes) -> Path:
    """Keep two signed payloads of one index, for ``wattloom verify`` to judge."""
    path = folder / _EVIDENCE.format(index=index)
    write_synced(path, to_bytes(MilestoneEquivocation(first=kept, second=shown)))
    return path

"""What the transparency page shows: the log's checkpoints and the district's public keys.

It is public, so that nothing here is about people. Roots, keys and ids are lowercase hex.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckpointLine:
    """One checkpoint: what it covers, where it is anchored, and who cosigned it."""

    size: int  # entries of the log
    root: str
    intervals: Sequence[str]  # keys of those it was the first to cover
    state: str  # pending, submitted, confirmed
    anchor_block: str | None
    cosigned_by: Sequence[str]  # witnesses
    second_signature: bool  # the log's own by ML-DSA-44
    previous_size: int  # of the checkpoint before; 0: it is the first


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A public key in its role; ``text`` is what its QR code says.

    That is the key in hex as it stands in KEYS; of one too long for a code, its fingerprint.
    """

    role: str  # log, mldsa, registry, receipts, milestone, witness
    name: str  # a witness's; else empty
    text: str
    fingerprint: str  # SHA-256 of the key, in hex
    whole: bool  # whether ``text`` is the key itself


@dataclass(frozen=True, slots=True)
class TransparencyPage:
    """What anybody may check the district by."""

    origin: str
    name: str
    zone: str
    clock_ms: int
    simulated: bool
    entries: int
    checkpoints: Sequence[CheckpointLine]  # newest first
    more: bool
    keys: Sequence[KeyLine]
    milestone_threshold: int
    witness_threshold: int

"""Merkle trees of RFC 9162 over SHA-256: roots, audit paths and consistency paths.

Works on leaf *hashes* (32 bytes each), so that a tree can be built without the leaves. How a
leaf and a node are hashed, and how paths are folded, stands in :mod:`.verify`, which has to run
alone; here are the sides that make paths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from ledger_client.verify import (
    HASH_SIZE,
    PathError,
    leaf_hash,
    node_hash,
    root_from_path,
    verify_consistency,
)

__all__ = [
    "EMPTY_ROOT",
    "MerkleError",
    "PathError",
    "consistency_path",
    "inclusion_path",
    "leaf_hash",
    "node_hash",
    "path_over",
    "proof_over",
    "root",
    "root_from_path",
    "split",
    "verify_consistency",
    "verify_inclusion",
]

EMPTY_ROOT = sha256(b"").digest()

Subtree = Callable[[int, int], bytes]
"""Hash of the leaves ``[start, end)``, never empty."""


class MerkleError(ValueError):
    """The index, size or hash asked for cannot exist: a mistake of the caller, mend it there."""


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the tree's root (MTH of RFC 9162 section 2.1.1); ``SHA-256("")`` when empty.

    Raises:
        MerkleError: a leaf hash is not 32 bytes long.
    """
    _require_hashes(leaf_hashes)
    level = list(leaf_hashes)
    if not level:
        return EMPTY_ROOT
    # Pairing neighbours and carrying an odd one up gives the same tree as splitting at the
    # largest power of two, without recursion.
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(level) & ~1 :]
    return level[0]


def inclusion_path(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of leaf ``index``, bottom up (RFC 9162 section 2.1.3.1).

    Raises:
        MerkleError: no such leaf, or a leaf hash is not 32 bytes long.
    """
    _require_hashes(leaf_hashes)
    return path_over(lambda start, end: root(leaf_hashes[start:end]), index, len(leaf_hashes))


def consistency_path(leaf_hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """Return the proof that the first ``old_size`` leaves are a prefix (section 2.1.4.1).

    Raises:
        MerkleError: ``old_size`` is not within 1..n, or a leaf hash is not 32 bytes long.
    """
    _require_hashes(leaf_hashes)
    return proof_over(lambda start, end: root(leaf_hashes[start:end]), old_size, len(leaf_hashes))


def path_over(subtree: Subtree, index: int, size: int) -> list[bytes]:
    """Return the audit path of leaf ``index`` of ``size``, from any source of subtree hashes."""
    if not 0 <= index < size:
        raise MerkleError(f"a tree of {size} leaves has no leaf {index}: ask for 0..{size - 1}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(start, middle))
            start = middle
    return path[::-1]


def proof_over(subtree: Subtree, old_size: int, size: int) -> list[bytes]:
    """Return the consistency proof of two sizes, from any source of subtree hashes."""
    if not 1 <= old_size <= size:
        raise MerkleError(f"no proof from size {old_size} to {size}: ask for 1..{size}")
    proof: list[bytes] = []
    start, end = 0, size
    while end != old_size:
        middle = start + split(end - start)
        if old_size <= middle:
            proof.append(subtree(middle, end))
            end = middle
        else:
            proof.append(subtree(start, middle))
            start = middle
    if start:  # the old tree's last complete subtree is not the whole old tree: show it
        proof.append(subtree(start, end))
    return proof[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], expected_root: bytes
) -> bool:
    """Tell whether ``path`` leads from leaf hash ``leaf`` at ``index`` to the root."""
    try:
        return root_from_path(leaf, index, size, path) == expected_root
    except PathError:
        return False


def split(size: int) -> int:
    """Return the largest power of two below ``size`` (which is at least 2)."""
    return 1 << (size - 1).bit_length() - 1


def _require_hashes(leaf_hashes: Sequence[bytes]) -> None:
    for index, item in enumerate(leaf_hashes):
        if len(item) != HASH_SIZE:
            raise MerkleError(f"leaf hash {index} has {len(item)} bytes: hash the leaf first")

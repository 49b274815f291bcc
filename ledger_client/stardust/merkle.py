"""Merkle roots of milestones and inclusion paths (TIP-4), in the JSON shape of inx-poi."""

from __future__ import annotations

from collections.abc import Sequence

from ledger_client.ledger import PathNode
from ledger_client.stardust.codec import ID_LENGTH, StardustError, blake2b_256

MAX_PATH_DEPTH = 64


class InclusionPathError(StardustError):
    """A path is malformed or does not hold what it should: reject the proof."""


def leaf_hash(block_id: bytes) -> bytes:
    """Return the hash of a leaf."""
    return blake2b_256(b"\x00" + block_id)


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return blake2b_256(b"\x01" + left + right)


def _split(count: int) -> int:
    """Return the largest power of two below ``count`` (> 1)."""
    return 1 << ((count - 1).bit_length() - 1)


def merkle_root(block_ids: Sequence[bytes]) -> bytes:
    """Return the root over block ids in white-flag order; the empty list has the hash of b""."""
    if not block_ids:
        return blake2b_256(b"")
    level = [leaf_hash(item) for item in block_ids]
    while len(level) > 1:
        # Pairing from the left and carrying an odd end up is the split at powers of two.
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    return level[0]


def inclusion_path(block_ids: Sequence[bytes], index: int) -> PathNode:
    """Return the path of ``block_ids[index]``: siblings as hashes, the leaf as its value."""
    if not 0 <= index < len(block_ids):
        raise InclusionPathError(f"no leaf {index} among {len(block_ids)}: ask for another")
    if len(block_ids) == 1:
        return {"value": "0x" + block_ids[0].hex()}
    cut = _split(len(block_ids))
    left, right = block_ids[:cut], block_ids[cut:]
    if index < cut:
        return {"l": inclusion_path(left, index), "r": _hash_node(right)}
    return {"l": _hash_node(left), "r": inclusion_path(right, index - cut)}


def _hash_node(block_ids: Sequence[bytes]) -> PathNode:
    return {"h": "0x" + merkle_root(block_ids).hex()}


def _hash_of(text: object) -> bytes:
    if not isinstance(text, str) or not text.startswith("0x") or text != text.lower():
        raise InclusionPathError(f"path: {text!r} is not lowercase 0x hex")
    try:
        value = bytes.fromhex(text[2:])
    except ValueError:
        raise InclusionPathError(f"path: {text!r} is not hex") from None
    if len(value) != ID_LENGTH or len(text) != 2 + 2 * ID_LENGTH:
        raise InclusionPathError(f"path: {text!r} must hold 32 bytes")
    return value


def fold_path(path: object) -> tuple[bytes, bytes]:
    """Return (root, block id) of a path with exactly one value.

    The caller compares the root with a signed one and the id with the block's bytes.
    """
    root, values = _fold(path, 0)
    if len(values) != 1:
        raise InclusionPathError(f"path: holds {len(values)} values, must be one")
    return root, values[0]


def _fold(node: object, depth: int) -> tuple[bytes, list[bytes]]:
    if depth > MAX_PATH_DEPTH or not isinstance(node, dict):
        raise InclusionPathError("path: too deep, or a node is not an object")
    match sorted(node):
        case ["h"]:
            return _hash_of(node["h"]), []
        case ["value"]:
            value = _hash_of(node["value"])
            return leaf_hash(value), [value]
        case ["l", "r"]:
            left, found_left = _fold(node["l"], depth + 1)
            right, found_right = _fold(node["r"], depth + 1)
            return node_hash(left, right), found_left + found_right
        case keys:
            raise InclusionPathError(f"path: a node has the keys {keys}; l and r, h, or value")

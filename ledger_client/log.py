"""The append-only log: how entries are written, and roots and paths in O(log n).

Pure functions; storage is the caller's. Keep two things: the entries' bytes, and the hashes of
the complete subtrees by ``(level, index)``: node ``(0, i)`` is leaf hash i, node ``(l, i)``
covers the leaves ``[i * 2**l, (i + 1) * 2**l)``. :func:`append` says which of them a new entry
completes (two on average), and everything else needs only a look-up into them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ledger_client.merkle import EMPTY_ROOT, leaf_hash, node_hash, path_over, proof_over, split
from ledger_client.verify import CanonicalError, canonical, entry_bytes, parse

KINDS: Final = (
    "audit",
    "correction",
    "enrol",
    "epoch",
    "ocmf",
    "payments",
    "revoke",
    "rotate",
    "seal",
    "session",
    "statements",
)

Place = tuple[int, int]
"""(level, index) of a complete subtree."""

Nodes = Callable[[Place], bytes]
"""Look-up of a stored subtree hash; ``dict.__getitem__`` will do."""


class LogError(ValueError):
    """The entry or size cannot be in a log: reject for good, or mend the caller."""


def encode_entry(kind: str, payload: str | Mapping[str, object]) -> bytes:
    """Return an entry's bytes: ``wattloom-entry-KIND-v1\\0 || canonical JSON``.

    Args:
        kind: One of :data:`KINDS`.
        payload: Canonical text, kept verbatim, or a mapping that is written canonically.

    Raises:
        LogError: unknown kind, or text that is not canonical JSON.
    """
    if kind not in KINDS:
        raise LogError(f"unknown kind of log entry {kind!r}: use one of {', '.join(KINDS)}")
    text = payload if isinstance(payload, str) else canonical(payload).decode()
    _require_canonical(text)
    return entry_bytes(kind, text)


def decode_entry(entry: bytes) -> tuple[str, str]:
    """Return an entry's kind and canonical text.

    Raises:
        LogError: an unknown prefix, or text that is not canonical JSON.
    """
    for kind in KINDS:
        prefix = entry_bytes(kind, "")
        if entry.startswith(prefix):
            text = entry[len(prefix) :].decode(errors="replace")
            _require_canonical(text)
            return kind, text
    raise LogError(
        f"log entry starts with {entry[:32]!r}: no known prefix, so not an entry of ours"
    )


def append(nodes: Nodes, size: int, entry: bytes) -> list[tuple[Place, bytes]]:
    """Return the subtree hashes that ``entry``, appended to ``size`` entries, completes.

    Store them all; the first is the new leaf. At most ``log2(size) + 1`` hashes.
    """
    found = leaf_hash(entry)
    level, index = 0, size
    done = [((level, index), found)]
    while index & 1:
        found = node_hash(nodes((level, index - 1)), found)
        level, index = level + 1, index >> 1
        done.append(((level, index), found))
    return done


def root_at(nodes: Nodes, size: int) -> bytes:
    """Return the root of the first ``size`` entries (any past size will do)."""
    return _subtree(nodes, 0, size) if size else EMPTY_ROOT


def inclusion_path(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """Return the audit path of entry ``index`` in the log of ``size`` entries, bottom up."""
    return path_over(lambda start, end: _subtree(nodes, start, end), index, size)


def consistency_path(nodes: Nodes, old_size: int, size: int) -> list[bytes]:
    """Return the proof that the log of ``size`` entries only appended to that of ``old_size``."""
    return proof_over(lambda start, end: _subtree(nodes, start, end), old_size, size)


def _subtree(nodes: Nodes, start: int, end: int) -> bytes:
    """Hash the leaves [start, end), a subtree of a tree of RFC 9162."""
    width = end - start
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return nodes((level, start >> level))
    middle = start + split(width)
    return node_hash(_subtree(nodes, start, middle), _subtree(nodes, middle, end))


def _require_canonical(text: str) -> None:
    try:
        parse(text.encode())
    except (CanonicalError, UnicodeEncodeError) as error:
        raise LogError(f"log entry is not canonical JSON: {error}") from error

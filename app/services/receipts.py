"""Receipts: one signature over the root of a small tree of promises, and each promise's path.

Formats: docs/protocol.md, "A reading". A receipt is stored in parts and put together on demand,
so that a retry in any batch gets the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypedDict

from nacl.signing import SigningKey

from app.store.chain import Entry
from app.tables import ReceiptBatchRow
from ledger_client.merkle import EMPTY_ROOT, leaf_hash, node_hash
from metering.interval import Interval
from metering.receipt import LEAF_PREFIX
from metering.signing import Purpose, public_key, sign

_HASH: Final = 32


class Receipt(TypedDict):
    """A receipt as it goes over the wire."""

    index: int
    item: str
    key: str
    path: list[str]
    root: str
    salt: str
    signature: str
    size: int


@dataclass(frozen=True, slots=True)
class SignedPromises:
    """What one signature of the receipt key covers; ``paths`` are concatenated hashes."""

    root: bytes
    size: int
    key: str
    signature: bytes
    paths: Sequence[bytes]


def item(district: str, leaf: bytes, seal_interval: str, window_ms: int) -> bytes:
    """Return a promise: this leaf will stand in the seal of that interval by its deadline.

    Args:
        district: the log's origin.
        leaf: the reading's leaf hash.
        seal_interval: the interval's key.
        window_ms: grace plus sealing time; the deadline lies that long after the interval's end.
    """
    # Canonical JSON as it stands: neither a district's name, nor hex, nor a key needs an escape.
    return (
        f'{{"deadline":{_end_ms(seal_interval) + window_ms},"district":"{district}",'
        f'"leaf":"{leaf.hex()}","seal_interval":"{seal_interval}"}}'
    ).encode()


@lru_cache(maxsize=1_024)
def _end_ms(interval: str) -> int:
    return Interval.parse(interval).end_ms


def promise(items: Sequence[bytes], key: SigningKey) -> SignedPromises:
    """Sign the root over ``items`` once and work out the path of each."""
    levels = _levels([leaf_hash(LEAF_PREFIX + each) for each in items])
    root = levels[-1][0] if items else EMPTY_ROOT
    return SignedPromises(
        root=root,
        size=len(items),
        key=public_key(key).hex,
        signature=sign(key, Purpose.RECEIPT, root),
        paths=[_path(levels, index) for index in range(len(items))],
    )


def assemble(district: str, entry: Entry, batch: ReceiptBatchRow) -> Receipt:
    """Put a stored reading's receipt together."""
    text = item(district, entry.leaf, entry.seal_interval, batch.window_ms)
    path = entry.receipt_path
    return Receipt(
        index=entry.receipt_index,
        item=text.decode(),
        key=batch.key,
        path=[path[at : at + _HASH].hex() for at in range(0, len(path), _HASH)],
        root=batch.root.hex(),
        salt=entry.salt.hex(),
        signature=batch.signature.hex(),
        size=batch.size,
    )


def _levels(leaves: list[bytes]) -> list[list[bytes]]:
    """Return every level of the tree, leaves first; an odd last node rises unchanged."""
    levels = [leaves]
    while len(level := levels[-1]) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        above = [node_hash(left, right) for left, right in pairs]
        levels.append(above + level[len(level) & ~1 :])
    return levels


def _path(levels: Sequence[Sequence[bytes]], index: int) -> bytes:
    """Return the audit path (RFC 9162 section 2.1.3) of one leaf; a node that rose adds none."""
    steps = []
    for level in levels[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            steps.append(level[sibling])
        index >>= 1
    return b"".join(steps)

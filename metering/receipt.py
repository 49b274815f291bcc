"""Receipts: the receipt key's promise that a reading's leaf will stand in a named seal.

Checked here by the gateway, so that a reading leaves the spool only for a promise that holds.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self, cast

from metering import canonical
from metering.identity import IdentityError, PublicKey
from metering.interval import Interval, IntervalError
from metering.reading import SALT_BYTES, SignedReading, leaf_hash
from metering.signing import SIGNATURE_BYTES, Purpose, verify

LEAF_PREFIX: Final = b"wattloom-leaf-receipt-v1\0"
_KEYS: Final = frozenset({"index", "item", "key", "path", "root", "salt", "signature", "size"})
_ITEM_KEYS: Final = frozenset({"deadline", "district", "leaf", "seal_interval"})
_MAX_PATH: Final = 53
_parse_key: Final = lru_cache(maxsize=16)(PublicKey.parse)
_is_hex: Final = re.compile(r"(?:[0-9a-f]{2})*").fullmatch


class ReceiptError(ValueError):
    """The receipt proves nothing: keep the reading, send it again, and tell a person."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One reading's receipt; ``item`` is the canonical text, hashes and signature are bytes."""

    index: int
    item: bytes
    key: PublicKey
    path: tuple[bytes, ...]
    root: bytes
    salt: bytes
    signature: bytes
    size: int

    @classmethod
    def parse(cls, fields: Mapping[str, object]) -> Self:
        """Return the receipt of a JSON object.

        Raises:
            ReceiptError: missing or unknown keys, wrong types or lengths.
        """
        if fields.keys() != _KEYS:
            raise ReceiptError(f"a receipt has the keys {sorted(_KEYS)}, got {sorted(fields)[:10]}")
        path = fields["path"]
        if type(path) is not list or len(path) > _MAX_PATH:
            raise ReceiptError(f"path: a list of at most {_MAX_PATH} hashes is expected")
        index, size = fields["index"], fields["size"]
        if type(index) is not int or type(size) is not int or not 0 <= index < size < 2**53:
            raise ReceiptError("index and size: whole numbers with 0 <= index < size")
        try:
            return cls(
                index=index, item=_text("item", fields["item"]).encode(),
                key=_parse_key(_text("key", fields["key"])),
                path=tuple(_hex("path", step, 32) for step in path),
                root=_hex("root", fields["root"], 32),
                salt=_hex("salt", fields["salt"], SALT_BYTES),
                signature=_hex("signature", fields["signature"], SIGNATURE_BYTES), size=size,
            )  # fmt: skip
        except (IdentityError, UnicodeEncodeError) as error:
            raise ReceiptError(str(error)) from error

    def to_json(self) -> str:
        """Return the receipt as canonical JSON text, as it is stored and handed out."""
        return canonical.encode({
            "index": self.index, "item": self.item.decode(), "key": self.key.hex,
            "path": [step.hex() for step in self.path], "root": self.root.hex(),
            "salt": self.salt.hex(), "signature": self.signature.hex(), "size": self.size,
        }).decode()  # fmt: skip

    def check(self, reading: SignedReading, district: str, key: PublicKey) -> Interval:
        """Return the interval whose seal must hold the reading, if the receipt promises that.

        Raises:
            ReceiptError: another key, district or leaf, a path that leads to another root, or a
                wrong signature.
        """
        if self.key != key:
            raise ReceiptError(f"signed by {self.key}, but the district's receipt key is {key}")
        promised = leaf_hash(self.salt, reading.payload, reading.signature).hex()
        try:
            item = canonical.decode(self.item, max_bytes=1_024)
            sealed_in = Interval.parse(str(item.get("seal_interval")))
        except (canonical.CanonicalError, IntervalError) as error:
            raise ReceiptError(f"item: {error}") from error
        if item.keys() != _ITEM_KEYS or type(item["deadline"]) is not int:
            raise ReceiptError(f"item: the keys must be {sorted(_ITEM_KEYS)}, deadline in ms")
        if item["leaf"] != promised or item["district"] != district:
            raise ReceiptError("item: it promises another leaf or district")
        leaf = hashlib.sha256(b"\0" + LEAF_PREFIX + self.item).digest()
        if climb(leaf, self.index, self.size, self.path) != self.root:
            raise ReceiptError("path: it does not lead from the item to the root")
        if not _is_signed(key, self.root, self.signature):
            raise ReceiptError("signature: it is not that of the receipt key over the root")
        return sealed_in


def climb(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that an audit path leads to (RFC 9162, section 2.1.3.2).

    ``None`` when the path is too short or too long for leaf ``index`` of ``size``.
    """
    node, last = index, size - 1
    current = leaf
    for step in path:
        if last == 0:
            return None
        if node & 1 or node == last:
            current = hashlib.sha256(b"\1" + step + current).digest()
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            current = hashlib.sha256(b"\1" + current + step).digest()
        node, last = node >> 1, last >> 1
    return current if last == 0 else None


@lru_cache(maxsize=64)
def _is_signed(key: PublicKey, root: bytes, signature: bytes) -> bool:
    """Tell whether a root is signed; a thousand receipts of one batch share it."""
    return verify(key, Purpose.RECEIPT, root, signature)


def _text(name: str, value: object) -> str:
    if type(value) is not str:
        raise ReceiptError(f"{name}: a text is expected")
    return str(value)


def _hex(name: str, value: object, length: int) -> bytes:
    text = cast("str", value)
    if type(value) is not str or len(text) != 2 * length or not _is_hex(text):
        raise ReceiptError(f"{name}: {2 * length} lowercase hex digits are expected")
    return bytes.fromhex(text)

"""The ledger's bytes by hand, straight from the format's facts and independent of the codec."""

from __future__ import annotations

import json
from hashlib import blake2b, sha256

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from nacl.signing import SigningKey

from ledger_client.verify import Sibling

NIL = bytes(32)


def text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def key(name: str) -> SigningKey:
    return SigningKey(sha256(f"test key {name}".encode()).digest())


def public(name: str) -> bytes:
    return bytes(key(name).verify_key)


def mldsa(name: str) -> MLDSA44PrivateKey:
    return MLDSA44PrivateKey.from_seed_bytes(sha256(f"test key {name}".encode()).digest())


def salt(name: str) -> bytes:
    return sha256(f"test salt {name}".encode()).digest()


def blake(data: bytes) -> bytes:
    return blake2b(data, digest_size=32).digest()


def tree(ids: list[bytes], index: int) -> tuple[bytes, tuple[Sibling, ...]]:
    """Root and bottom-up path of one block id in a milestone's tree."""
    if len(ids) == 1:
        return blake(b"\0" + ids[0]), ()
    half = 1
    while half * 2 < len(ids):
        half *= 2
    if index < half:
        root, path = tree(ids[:half], index)
        other, _ = tree(ids[half:], 0)
        return blake(b"\1" + root + other), (*path, Sibling(other, "r"))
    root, path = tree(ids[half:], index - half)
    other, _ = tree(ids[:half], 0)
    return blake(b"\1" + other + root), (*path, Sibling(other, "l"))


def block(payload: bytes) -> bytes:
    parents = sorted(sha256(bytes([i])).digest() for i in range(2))
    size = len(payload).to_bytes(4, "little")
    return b"\2\2" + b"".join(parents) + size + payload + bytes(8)


def tagged(tag: bytes, data: bytes) -> bytes:
    head = (5).to_bytes(4, "little") + bytes([len(tag)]) + tag
    return head + len(data).to_bytes(4, "little") + data


def milestone(index: int, time_s: int, inclusion: bytes, applied: bytes, names: list[str]) -> bytes:
    essence = index.to_bytes(4, "little") + time_s.to_bytes(4, "little") + b"\2" + NIL
    essence += b"\1" + NIL + inclusion + applied + b"\0\0" + b"\0"
    payload = (7).to_bytes(4, "little") + essence + bytes([len(names)])
    for name in sorted(names, key=public):
        payload += b"\0" + public(name) + key(name).sign(blake(essence)).signature
    return payload


def output(address: bytes, units: int) -> bytes:
    return b"\3" + units.to_bytes(8, "little") + b"\0\1\0\0" + address + b"\0"


def transaction(consumed: list[bytes], outputs: list[bytes], tag: bytes, data: bytes) -> bytes:
    essence = b"\1" + bytes(8) + len(consumed).to_bytes(2, "little")
    for number, item in enumerate(consumed):
        essence += b"\0" + sha256(item).digest() + number.to_bytes(2, "little")
    essence += blake(b"".join(map(blake, consumed)))
    essence += len(outputs).to_bytes(2, "little") + b"".join(outputs)
    inner = tagged(tag, data)
    essence += len(inner).to_bytes(4, "little") + inner
    unlock = b"\0\0" + NIL + bytes(64)
    unlocks = len(consumed).to_bytes(2, "little") + unlock * len(consumed)
    return (6).to_bytes(4, "little") + essence + unlocks

"""Files of evidence: receipts out of a gateway's spool, leaves of a seal, twice-signed numbers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from app.files.output import written
from app.services import evidence
from app.services.house import House
from ledger_client.proof import to_bytes
from ledger_client.verify import BareReading, Receipt, ReceiptFile, parse

_RECEIPTS: Final = (
    "SELECT key, epoch, seq, payload, signature, receipt FROM reading"
    " WHERE receipt IS NOT NULL AND key LIKE ? ORDER BY key, epoch, seq"
)


class EvidenceError(Exception):
    """Nothing was written: mend what the message names."""


def export_receipts(spool: Path, folder: Path, key: str = "", *, force: bool) -> int:
    """Write a file for each receipt that a spool holds, beside its reading; return how many.

    The spool is opened to read alone, also while its gateway works.

    Raises:
        EvidenceError: no spool, no receipt in it, or a key that is none.
        OSError: a file cannot be written, or stands there already.
    """
    if key and not (key.isalnum() and key.isascii()):
        raise EvidenceError(f"{key!r:.40} is no key: write its first hex digits")
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, content in _receipts(spool, key):
        with written(folder / name, force=force) as file:
            file.write(content)
        count += 1
    if not count:
        raise EvidenceError(f"{spool} holds no receipt: is it the right spool, or pruned since?")
    return count


def _receipts(spool: Path, key: str) -> Iterator[tuple[str, bytes]]:
    try:
        connection = sqlite3.connect(f"{spool.resolve().as_uri()}?mode=ro", uri=True)
        try:
            for row in connection.execute(_RECEIPTS, (f"{key}%",)):
                yield _file(*row)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise EvidenceError(f"{spool} is no gateway's spool that can be read: {error}") from error


def _file(
    key: str, epoch: int, seq: int, payload: bytes, signature: bytes, receipt: str
) -> tuple[str, bytes]:
    held = Receipt.load(parse(receipt.encode()))
    reading = BareReading(payload.decode(), signature)
    name = f"receipt-{key[:16]}-{epoch}-{seq}.json"
    return name, to_bytes(ReceiptFile(reading=reading, receipt=held))


def export_leaves(house: House, key: str, point: str, out: Path, *, force: bool) -> int:
    """Write all leaves of a point in a seal, and the seal's late ones; return the file's bytes."""
    return _write(evidence.sealed_leaves(house, key, point), out, force=force)


def export_reading(house: House, which: tuple[str, int, int], out: Path, *, force: bool) -> int:
    """Write the proof of one reading (key, epoch, seq); return the file's bytes."""
    return _write(evidence.reading_proof(house, *which), out, force=force)


def export_equivocations(house: House, folder: Path, *, force: bool) -> list[str]:
    """Write a file for each number that a meter's key signed twice; return their names."""
    found = evidence.equivocations(house)
    if found:
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in found:
        _write(content, folder / f"{name}.json", force=force)
    return [f"{name}.json" for name, _ in found]


def _write(content: bytes, out: Path, *, force: bool) -> int:
    with written(out, force=force) as file:
        file.write(content)
    return len(content)


def names_json(names: list[str]) -> str:
    """Return a list of files as JSON."""
    return json.dumps(names, indent=2)

"""``wattloom node audit``: compares a log's anchors in a follower's copy, and asks the log."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from ledger_client.audit import Audit, History, audit_anchors
from ledger_client.follower.follower import LEDGER_FILE
from ledger_client.ledger import LedgerError
from ledger_client.localnode.store import Store
from ledger_client.proof import to_bytes
from ledger_client.serving.folder import FolderError, alone
from ledger_client.verify import (
    ConsistencyProof,
    Equivocation,
    Keys,
    RefusedError,
    VerifyError,
    anchor_tag,
    load_keys,
    parse_note,
)

_MOST_ANSWER_BYTES: Final = 64 * 1024
_JUDGED: Final = (200, 404, 422)  # with any other status the log says nothing of what was asked
TIMEOUT_S: Final = 10.0


class AuditStartError(Exception):
    """Nothing could be judged: the message says what to mend."""


@dataclass(frozen=True, slots=True)
class AuditCommand:
    """What a person asked for: ``data`` is a follower's folder, ``keys`` the district's KEYS.

    ``log`` is the district's address; without it only notes of one size are compared.
    """

    data: Path
    keys: Path
    log: str | None = None
    json: bool = False


def run_audit(
    command: AuditCommand,
    say: Callable[[str], None],
    transport: httpx.BaseTransport | None = None,
) -> int:
    """Return 0 when nothing speaks against the log, 1 when something does; files tell what.

    Raises AuditStartError. ``transport`` stands in for the network in tests.
    """
    try:
        keys = load_keys(command.keys.read_bytes())
        if not isinstance(keys, Keys):
            raise AuditStartError(f"{command.keys} pins no log: take the district's own KEYS")
        with alone(command.data):
            audit = _audit(command, keys, transport)
            if not audit.notes:
                raise AuditStartError(
                    f"no checkpoint of {keys.origin} stands in {command.data}: follow the ledger "
                    "that this district anchors on, until after its first seal"
                )
            files = [_keep(command.data, found) for found in audit.evidence]
    except (FolderError, LedgerError, VerifyError, OSError, sqlite3.Error) as error:
        raise AuditStartError(str(error)) from error
    say(_as_json(audit, files) if command.json else _in_words(audit, files, keys.origin))
    return 0 if audit.ok else 1


def _audit(command: AuditCommand, keys: Keys, transport: httpx.BaseTransport | None) -> Audit:
    path = command.data / LEDGER_FILE
    if not path.is_file():
        raise AuditStartError(f"{path} is not there: follow a node into this folder first")
    with closing(Store(path)) as store:
        blocks = [row.data for row in store.blocks_with_tag(anchor_tag(keys.origin))]
    if command.log is None:
        return audit_anchors(blocks, keys.origin, keys.log)
    with httpx.Client(timeout=TIMEOUT_S, transport=transport, trust_env=False) as http:
        return audit_anchors(blocks, keys.origin, keys.log, _history(http, command.log))


def _history(http: httpx.Client, url: str) -> History:
    """Return the log's own word, from its API."""
    address = url.rstrip("/") + "/api/v1/log/consistency"

    def history(old: int, new: int) -> tuple[bytes, Sequence[bytes]] | None:
        try:
            query, plain = {"from": old, "to": new}, {"Accept-Encoding": "identity"}
            with http.stream("GET", address, params=query, headers=plain) as response:
                content = _bounded(response)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise AuditStartError(f"the log at {url} does not answer: {why}") from error
        if response.status_code not in _JUDGED:
            where = f"the log at {url} answered {response.status_code}"
            raise AuditStartError(f"{where}: give its own address, or try later")
        try:
            proof = ConsistencyProof.read(content.removesuffix(b"\n"))
            return parse_note(proof.old)[0].root, proof.path
        except RefusedError:
            return None  # an error, or something else: it does not show what was asked

    return history


def _bounded(response: httpx.Response) -> bytes:
    """Return the raw bytes: a packed answer would be measured after it swelled."""
    content, end = b"", time.monotonic() + TIMEOUT_S
    for part in response.iter_raw():
        content += part
        if len(content) > _MOST_ANSWER_BYTES:
            return b""
        if time.monotonic() > end:
            raise httpx.ReadTimeout("the answer takes too long")
    return content


def _keep(folder: Path, found: Equivocation) -> Path:
    """Write a piece of evidence; the same again changes nothing."""
    old, new = (parse_note(note)[0].size for note in (found.old, found.new))
    path = folder / f"log-equivocation-{old}-{new}-{found.root.hex()[:8]}.json"
    path.write_bytes(to_bytes(found))
    return path


def _as_json(audit: Audit, files: Sequence[Path]) -> str:
    return json.dumps(
        {
            "ok": audit.ok,
            "checkpoints": len(audit.notes),
            "strange_blocks": len(audit.strange),
            "evidence": [str(path) for path in files],
            "unproven": [list(pair) for pair in audit.unproven],
        }
    )


def _in_words(audit: Audit, files: Sequence[Path], origin: str) -> str:
    lines = [f"{len(audit.notes)} checkpoints of {origin} are anchored"]
    if audit.strange:
        lines.append(
            f"{len(audit.strange)} blocks under its tag hold no note of its log: by others"
        )
    lines += [f"TWO HISTORIES were signed: {path} proves it (wattloom verify)" for path in files]
    lines += [f"NOT SHOWN: that it only grew from {o} to {n} entries" for o, n in audit.unproven]
    lines.append("Nothing speaks against the log." if audit.ok else "The log is not to be trusted.")
    return "\n".join(lines)

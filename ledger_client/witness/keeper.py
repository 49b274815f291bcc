"""The witness itself: what it cosigns, what it refuses, what it keeps as evidence."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from nacl.signing import SigningKey

from ledger_client.merkle import EMPTY_ROOT, verify_consistency
from ledger_client.proof import to_bytes
from ledger_client.serving.folder import write_synced
from ledger_client.verify import Equivocation
from ledger_client.witness.errors import (
    InconsistentError,
    MalformedRequestError,
    OtherSizeError,
    UnknownLogError,
)
from ledger_client.witness.logs import LogKey, check_witness_name, witness_vkey
from ledger_client.witness.messages import AddCheckpoint, SignedCheckpoint, cosign
from ledger_client.witness.state import Cosigned, WitnessState

_MOST_EVIDENCE: Final = 1_000

_log = logging.getLogger(__name__)


class WitnessKeeper:
    """Cosigns checkpoints of the logs it watches, each tree only grown. Call it from any thread.

    Args:
        name: what signature lines call the witness, ``witness.example/w1`` say.
        key: its private key.
        logs: the keys of the logs that it watches.
        state: what it cosigned; WitnessSettingsError when that is another witness's.
        evidence: folder for pairs of notes that cannot be of one log.
        now: the wall clock in seconds.
    """

    def __init__(
        self,
        name: str,
        key: SigningKey,
        logs: Sequence[LogKey],
        state: WitnessState,
        evidence: Path,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = check_witness_name(name)
        self.public_key = bytes(key.verify_key)
        self.logs = tuple(logs)
        self._key = key
        self._state = state
        self._evidence = evidence
        self._now = now
        state.claim({"name": name, "key": self.public_key.hex()})

    @property
    def vkey(self) -> str:
        """The public key as others configure it."""
        return witness_vkey(self.name, self.public_key)

    def add_checkpoint(self, request: AddCheckpoint) -> str:
        """Return the cosignature's line, newline included, after the checkpoint is on disk.

        Raises:
            WitnessError: nothing was cosigned; the branch says why.
        """
        checkpoint = request.checkpoint
        trusted = [log for log in self.logs if log.origin == checkpoint.origin]
        if not trusted:
            raise UnknownLogError(f"the log {checkpoint.origin} is not watched here")
        note = checkpoint.signed_by(trusted)
        with self._state.turn():
            latest = self._state.latest(checkpoint.origin)
            self._watch_for_another_history(checkpoint, note)
            _require_grown(latest, request)
            # Never before an earlier one, whatever the clock does.
            time_s = max(1, int(self._now()), latest.time_s if latest else 0)
            line = cosign(checkpoint.body, self.name, self._key, time_s)
            row = Cosigned(checkpoint.size, checkpoint.root, note, line, time_s)
            self._state.put(checkpoint.origin, row)
        return line

    def latest(self, origin: str) -> Cosigned | None:
        """Return the newest checkpoint that was cosigned for a log."""
        return self._state.latest(origin)

    def _watch_for_another_history(self, checkpoint: SignedCheckpoint, note: str) -> None:
        """Keep both notes where the log signed another root of a size that it showed before."""
        before = self._state.at(checkpoint.origin, checkpoint.size)
        # A wrong root of the empty tree shows itself, and there is no path to it to judge.
        if before is None or before.root == checkpoint.root or checkpoint.size == 0:
            return
        found = Equivocation(new=note, old=before.note, path=(), root=checkpoint.root)
        name = sha256((before.note + note).encode()).hexdigest()[:32]
        path = self._evidence / f"{checkpoint.size}-{name}.json"
        _log.critical(
            "the log %s signed two roots of size %d; the evidence is %s",
            checkpoint.origin,
            checkpoint.size,
            path,
        )
        try:
            self._evidence.mkdir(mode=0o700, exist_ok=True)
            if not path.exists() and len(list(self._evidence.iterdir())) < _MOST_EVIDENCE:
                write_synced(path, to_bytes(found))
        except OSError as error:
            _log.critical("the evidence could not be written (%s): %s", error, found)


def _require_grown(latest: Cosigned | None, request: AddCheckpoint) -> None:
    """Refuse a checkpoint that does not continue the latest one."""
    new, old_size = request.checkpoint, request.old_size
    if old_size > new.size:
        raise MalformedRequestError(f"old size {old_size} is above the checkpoint's {new.size}")
    have = latest.size if latest else 0
    if old_size != have:
        raise OtherSizeError(have)
    if new.size == 0 and new.root != EMPTY_ROOT:
        raise InconsistentError("a log of size 0 has the root of the empty tree")
    if latest is None or have == 0:
        if request.proof:
            raise InconsistentError("from size 0 there is nothing to prove: send no proof")
        return
    if not verify_consistency(have, new.size, request.proof, latest.root, new.root):
        what = "has another root than" if have == new.size else "is not proved to continue"
        raise InconsistentError(
            f"the log of size {new.size} {what} the one of size {have} that was cosigned here"
        )

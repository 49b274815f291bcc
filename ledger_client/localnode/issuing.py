"""Milestones on their way: the time they carry, the draft that is signed, who ticks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ledger_client.ledger import LedgerError, LedgerUnavailableError
from ledger_client.localnode.confirmation import Mutation
from ledger_client.localnode.errors import (
    MilestoneClockError,
    MilestoneUnsignedError,
    SignatureWait,
)
from ledger_client.localnode.signing import MilestoneSigner
from ledger_client.stardust.codec import MAX_U32
from ledger_client.stardust.milestone import Milestone, MilestoneEssence
from ledger_client.stardust.signature import is_valid_signature
from ledger_client.verify import Milestones

MAX_LEAP_S = 366 * 86_400
"""How far the wall clock may run ahead of this process's own clock."""
MAX_PAUSE_S = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Draft:
    """A milestone that is stored and not yet signed, and what it will do to the ledger."""

    essence: MilestoneEssence
    mutation: Mutation


class MilestoneClock:
    """Gives milestones their time: whole seconds, strictly rising, never absurdly far ahead."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._ahead_s = now() - time.monotonic()

    def stamp(self, last: int) -> int:
        """Return the wall clock's second, or the one after ``last`` when that is later.

        A milestone of the far future could never be taken back and would open every timelock.
        Raises MilestoneClockError when the wall clock leapt by more than a year.
        """
        wall = self._now()
        leap = wall - time.monotonic() - self._ahead_s
        stamp = max(int(wall), last + 1)
        if leap > MAX_LEAP_S or stamp > MAX_U32:
            raise MilestoneClockError(
                f"the wall clock shows second {wall:.0f} and leapt by {leap:.0f} s since the node "
                "started: set the clock; if it is right, restart the node"
            )
        return stamp


def collect(signer: MilestoneSigner, essence: MilestoneEssence, pinned: Milestones) -> Milestone:
    """Ask for signatures and return the milestone with those that hold, each by a pinned key.

    Raises MilestoneUnsignedError when they are too few.
    """
    keys = {item.key for item in pinned.keys if item.holds_for(essence.index)}
    digest, found = essence.id(), {}
    try:
        given = signer.sign(essence)
    except LedgerUnavailableError as error:
        _log.warning("milestone %d: no signer answers: %s", essence.index, error)
        given = ()
    for item in given:
        known = item.public_key in keys
        if known and is_valid_signature(item.public_key, digest, item.signature):
            found[item.public_key] = item
        else:
            what = "a wrong signature" if known else "a key that is not pinned for this index"
            _log.warning("milestone %d: %s, %s", essence.index, item.public_key.hex(), what)
    wait = SignatureWait(essence.index, len(found), pinned.threshold)
    if wait.have < wait.need:
        raise MilestoneUnsignedError(wait)
    return Milestone(essence, tuple(found[key] for key in sorted(found)))


class Clockwork:
    """A thread that issues a milestone every ``interval_s``, with longer pauses in trouble."""

    def __init__(self, issue: Callable[[], object], interval_s: float) -> None:
        self._issue = issue
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="milestones", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Issue no more; returns when the last one is done."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        pause_s = self._interval_s
        while not self._stop.wait(pause_s):
            try:
                self._issue()
            except LedgerError as error:
                pause_s = max(self._interval_s, min(2 * pause_s, MAX_PAUSE_S))
                _log.warning("no milestone; trying again in %s s: %s", pause_s, error)
            else:
                pause_s = self._interval_s

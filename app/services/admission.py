"""Behind the door: which authentic readings are stored, in which seal they will stand, and flags.

Works on the part of each meter's chain that a commit touches.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from sqlmodel import Session

from app.services import judging, plausibility
from app.services.plausibility import Flag
from app.store.chain import Entry, Seat
from app.store.removed import Removed
from metering.interval import LENGTH_MS, Interval
from metering.reading import SALT_BYTES, Reading, SignedReading, leaf_hash

FUTURE_MS: Final = 60_000
# A gateway begins epochs by itself; more than so many that nobody approved are no meter's.
EPOCHS_AHEAD: Final = 1_000


@dataclass(frozen=True, slots=True)
class Authentic:
    """An item of a batch whose signature is that of the enrolled key it names."""

    index: int
    reading: Reading
    signed: SignedReading
    link: bytes


@dataclass(slots=True)
class Chain:
    """The part of one meter's chain that a commit touches, by seq; ``fresh`` are the new ones."""

    seat: Seat
    entries: dict[int, Entry]
    fresh: set[int] = field(default_factory=set)
    removed: Mapping[int, Removed] = field(default_factory=dict)  # of the numbers that came
    _changed: list[Entry] = field(default_factory=list)
    _walks: list[int] = field(default_factory=list)  # numbers to judge from again

    def place(self, item: Authentic, metered_through: str, now_ms: int) -> Entry:
        """Return the entry that holds the item's number, which may be by other bytes."""
        seq = item.reading.seq
        if seq not in self.entries:
            self.entries[seq] = _new_entry(item, self.seat, metered_through, now_ms)
            self.fresh.add(seq)
        return self.entries[seq]

    def judge(self) -> Sequence[Entry]:
        """Judge what is new and what follows it; return the entries whose flags changed."""
        before: Entry | None = None
        before_is_fresh = False
        for seq in sorted(self.entries):
            entry, is_fresh = self.entries[seq], seq in self.fresh
            if is_fresh or before_is_fresh:
                was_good = is_fresh or judging.is_good(entry)
                if judging.judge(entry, [before] if before else [], self.seat):
                    self._changed.append(entry)
                odd = not is_fresh and not (was_good and judging.is_good(entry))
                if odd or (before is not None and not judging.is_good(before)):
                    self._walks.append(seq)
            before, before_is_fresh = entry, is_fresh
        return self._changed

    def walk(self, session: Session) -> Sequence[Entry]:
        """Finish :meth:`judge` once all is stored; return every entry whose flags changed.

        What is new may change how those further up look, and where the one before is not good,
        those further down count.
        """
        found = {entry.reading.seq: entry for entry in self._changed}
        for start in self._walks:
            whose = (self.entries[start].reading.key, self.entries[start].reading.epoch)
            # The first one was judged before: that nothing changes there any more ends no walk.
            for entry in judging.walk(session, self.seat, whose, start, through=start):
                found[entry.reading.seq] = entry
        return list(found.values())


def refusal(reading: Reading, seat: Seat, now_ms: int) -> tuple[int, str] | None:
    """Return status and reason if this authentic reading may not be stored."""
    if reading.answered_ms > now_ms + FUTURE_MS:
        return 425, f"answered_ms is {reading.answered_ms - now_ms} ms ahead: set the clock, retry"
    if not seat.epoch <= reading.epoch <= seat.epoch + EPOCHS_AHEAD:
        return 403, f"epoch {reading.epoch} of key {reading.key} is not the enrolled one: enrol it"
    if (reading.point, reading.meter) != (seat.point, seat.serial):
        return 403, f"key {reading.key} belongs to meter {seat.serial} at point {seat.point}"
    interval = _interval_key(reading.answered_ms)
    if interval < seat.valid_from:
        return 403, f"key {reading.key} is valid from {seat.valid_from} on, not in {interval}"
    if seat.revoked_from is not None and interval >= seat.revoked_from:
        return 403, f"key {reading.key} is revoked from {seat.revoked_from} on: enrol a new one"
    return None


def _new_entry(item: Authentic, seat: Seat, metered_through: str, now_ms: int) -> Entry:
    own = _interval_key(item.reading.answered_ms)
    late = own <= metered_through
    flags = {Flag.LATE} if late else set()
    # Of an interval before the revocation, but here only now that it holds. One that was entered in
    # advance (a planned exchange) touches nothing until its interval begins.
    if seat.revoked_from is not None and _interval_key(now_ms) >= seat.revoked_from:
        flags.add(Flag.QUARANTINED)
    salt = secrets.token_bytes(SALT_BYTES)
    return Entry(
        payload=item.signed.payload,
        signature=item.signed.signature,
        link=item.link,
        salt=salt,
        leaf=leaf_hash(salt, item.signed.payload, item.signed.signature),
        seal_interval=Interval.parse(metered_through).next().key if late else own,
        flags=plausibility.spell(flags),
        quality=item.reading.quality.value,
        parsed=item.reading,
    )


@lru_cache(maxsize=1_024)
def _interval_key_at(start_ms: int) -> str:
    return Interval.containing_ms(start_ms).key


def _interval_key(moment_ms: int) -> str:
    return _interval_key_at(moment_ms - moment_ms % LENGTH_MS)

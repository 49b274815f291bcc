"""Behind the door: which authentic readings are stored, in which seal they will stand, and flags.

Works on the part of each meter's chain that a commit touches; reads and writes no table itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from app.services import plausibility
from app.services.plausibility import Flag
from app.store.chain import Entry, Seat
from app.store.removed import Removed
from metering.interval import LENGTH_MS, Interval
from metering.reading import SALT_BYTES, Reading, SignedReading, leaf_hash

FUTURE_MS: Final = 60_000


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

    def place(self, item: Authentic, metered_through: str, now_ms: int) -> Entry:
        """Return the entry that holds the item's number, which may be by other bytes."""
        seq = item.reading.seq
        if seq not in self.entries:
            self.entries[seq] = _new_entry(item, self.seat, metered_through, now_ms)
            self.fresh.add(seq)
        return self.entries[seq]

    def judge(self) -> Sequence[Entry]:
        """Judge what is new and what follows it; return the entries whose flags changed."""
        changed: list[Entry] = []
        before: Entry | None = None
        before_is_fresh = False
        for seq in sorted(self.entries):
            entry = self.entries[seq]
            if (seq in self.fresh or before_is_fresh) and _judge(entry, before, self.seat):
                changed.append(entry)
            before, before_is_fresh = entry, seq in self.fresh
        return changed


def refusal(reading: Reading, seat: Seat, now_ms: int) -> tuple[int, str] | None:
    """Return status and reason if this authentic reading may not be stored."""
    if reading.answered_ms > now_ms + FUTURE_MS:
        return 425, f"answered_ms is {reading.answered_ms - now_ms} ms ahead: set the clock, retry"
    if reading.epoch != seat.epoch:
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


def _judge(entry: Entry, before: Entry | None, seat: Seat) -> bool:
    """Set an entry's flags and quality; tell whether they changed.

    Where the one before was removed, it tells nothing more, and its number is no gap.
    """
    arrival = plausibility.parse(entry.flags) & plausibility.ON_ARRIVAL
    seq, through = entry.reading.seq, seat.removed_through
    since = before.reading.seq if before else 0
    blind = since < seq - 1 and since < through
    if blind:
        before = None
    flags = arrival | plausibility.judge(
        entry.reading,
        before.reading if before else None,
        before.link.hex() if before else None,
        seat.max_power_w,
    )
    if blind and seq <= through + 1:
        flags -= {Flag.GAP}
    judged = plausibility.spell(flags)
    quality = plausibility.effective_quality(entry.reading.quality, flags).value
    changed = (judged, quality) != (entry.flags, entry.quality)
    entry.flags, entry.quality = judged, quality
    return changed


@lru_cache(maxsize=1_024)
def _interval_key_at(start_ms: int) -> str:
    return Interval.containing_ms(start_ms).key


def _interval_key(moment_ms: int) -> str:
    return _interval_key_at(moment_ms - moment_ms % LENGTH_MS)

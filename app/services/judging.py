"""Judging stored readings: each beside those before it in its chain, however they arrived.

A commit judges what is new beside its direct predecessor, which is nearly always good and then
all that counts. Where it is not, or where something new changes how later ones look,
:func:`walk` goes through the stored chain from there on until nothing changes any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from sqlmodel import Session

from app.services import plausibility
from app.services.plausibility import Flag, Step
from app.store import chain
from app.store.chain import Entry, Seat
from metering.reading import Quality, Reading

_AT_ONCE: Final = 256


def is_good(entry: Entry) -> bool:
    """Tell whether later readings are judged beside this one; most need no look at the payload."""
    if entry.quality == Quality.MEASURED:
        return True
    flags = plausibility.parse(entry.flags)
    return plausibility.is_good(entry.reading.quality, flags)


def judge(entry: Entry, past: Sequence[Entry], seat: Seat) -> bool:
    """Set an entry's flags and quality beside ``past``, nearest first; tell whether they changed.

    Where the one before was removed, it tells nothing more, and its number is no gap.
    """
    arrival = plausibility.parse(entry.flags) & plausibility.ON_ARRIVAL
    seq, through = entry.reading.seq, seat.removed_through
    since = past[0].reading.seq if past else 0
    blind = since < seq - 1 and since < through
    steps = [Step(each.reading, each.link.hex(), is_good(each)) for each in past]
    flags = arrival | plausibility.judge(
        entry.reading,
        () if blind else steps,
        seat.max_power_w,
        pending=not holds(seat, entry.reading),
    )
    if blind and seq <= through + 1:
        flags -= {Flag.GAP}
    judged = plausibility.spell(flags)
    quality = plausibility.effective_quality(entry.reading.quality, flags).value
    changed = (judged, quality) != (entry.flags, entry.quality)
    entry.flags, entry.quality = judged, quality
    return changed


def holds(seat: Seat, reading: Reading) -> bool:
    """Tell whether a reading's epoch is the one that holds at its time."""
    held = seat.epoch
    for from_ms, epoch in seat.epochs:
        if reading.answered_ms >= from_ms:
            held = epoch
    return reading.epoch == held


def walk(
    session: Session, seat: Seat, whose: tuple[str, int], start: int, through: int = 0
) -> Sequence[Entry]:
    """Judge a stored chain (key, epoch) anew from number ``start`` on; return what changed.

    It ends at the first good reading beyond ``through`` for which nothing changed: nothing beyond
    it can change either.
    """
    past = deque(chain.below(session, whose, start, plausibility.WINDOW), plausibility.WINDOW)
    found: list[Entry] = []
    while entries := chain.above(session, whose, start, _AT_ONCE):
        changed = []
        for entry in entries:
            before = [*_up_to_good(past)]
            if judge(entry, before, seat):
                changed.append(entry)
            elif entry.reading.seq > through and is_good(entry):
                chain.judge_again(session, changed)
                return [*found, *changed]
            past.appendleft(entry)
        chain.judge_again(session, changed)
        found += changed
        start = entries[-1].reading.seq + 1
    return found


def _up_to_good(past: Sequence[Entry]) -> Sequence[Entry]:
    """Return those of ``past`` (nearest first) up to the first good one."""
    for place, entry in enumerate(past):
        if is_good(entry):
            return list(past)[: place + 1]
    return list(past)

"""What is said beside a reading: flags, and how far its values can be trusted.

Pure functions of a reading and its neighbour in the chain, the stored reading with the next lower
``seq`` of the same key and epoch. Since they look at nothing else, every order of arrival ends
with the same flags (docs/protocol.md, "A reading").
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from metering.reading import FIRST_PREV, Quality, Reading

_MS_PER_HOUR: Final = 3_600_000
_TOLERANCE_PERCENT: Final = 110  # of what the fuse allows, for meters' and clocks' inaccuracy
# A register moves in steps: it may be ahead of the energy by one step. Coarser steps than 1 kWh
# are not believed, or a meter could declare its jumps plausible.
_MAX_STEP_WH: Final = 1_000


class Flag(StrEnum):
    """What is noted beside a stored reading."""

    GAP = "gap"
    LATE = "late"
    COUNTER_FELL = "counter_fell"
    IMPOSSIBLE_POWER = "impossible_power"
    CHAIN_BROKEN = "chain_broken"
    NOT_SETTLEABLE_CLOCK = "not_settleable_clock"
    QUARANTINED = "quarantined"


_INVALID: Final = frozenset({Flag.COUNTER_FELL})
_QUESTIONABLE: Final = frozenset(
    {Flag.IMPOSSIBLE_POWER, Flag.CHAIN_BROKEN, Flag.NOT_SETTLEABLE_CLOCK, Flag.QUARANTINED}
)
# Decided when the reading arrives; all other flags follow from the chain and may heal.
ON_ARRIVAL: Final = frozenset({Flag.LATE, Flag.QUARANTINED})


def judge(
    reading: Reading, before: Reading | None, before_link: str | None, max_power_w: int
) -> frozenset[Flag]:
    """Return the flags that follow from the chain.

    Args:
        reading: the reading to judge.
        before: the stored reading with the next lower seq of its key and epoch, if there is one.
        before_link: what the ``prev`` of a direct successor of ``before`` must be (hex).
        max_power_w: what the point's fuse allows.
    """
    found = {
        Flag.GAP: reading.seq != (before.seq if before else 0) + 1,
        Flag.CHAIN_BROKEN: _is_broken(reading, before, before_link),
        Flag.COUNTER_FELL: before is not None and fell(reading, before),
        Flag.IMPOSSIBLE_POWER: _is_impossible(reading, before, max_power_w),
        Flag.NOT_SETTLEABLE_CLOCK: not reading.clock.settleable,
    }
    return frozenset(flag for flag, holds in found.items() if holds)


def fell(reading: Reading, before: Reading) -> bool:
    """Tell whether a register shows less than in an earlier reading."""
    return any(rise < 0 for rise in _rises_wh(reading, before))


def jumped(reading: Reading, before: Reading, max_power_w: int) -> bool:
    """Tell whether a register rose since an earlier reading by more than ``max_power_w`` allows."""
    # The registers were read somewhere within each request's window: take the longest time.
    elapsed_ms = max(0, reading.answered_ms - before.asked_ms)
    step_wh = min(max(reading.resolution_wh, before.resolution_wh, 1), _MAX_STEP_WH)
    bound = max_power_w * _TOLERANCE_PERCENT * elapsed_ms
    return any((rise - step_wh) * _MS_PER_HOUR * 100 > bound for rise in _rises_wh(reading, before))


def lost_register(reading: Reading, before: Reading) -> bool:
    """Tell whether one of two readings has a register that the other one lacks."""
    return (reading.import_wh is None) != (before.import_wh is None) or (
        (reading.export_wh is None) != (before.export_wh is None)
    )


def effective_quality(claimed: Quality, flags: Iterable[Flag]) -> Quality:
    """Return the quality that settlement sees: the meter's own word, or worse."""
    if claimed in (Quality.INVALID, Quality.MISSING):
        return claimed
    flags = frozenset(flags)
    if flags & _INVALID:
        return Quality.INVALID
    return Quality.QUESTIONABLE if flags & _QUESTIONABLE else claimed


def spell(flags: Iterable[Flag]) -> str:
    """Return flags as a column holds them: space-separated, in the order of :class:`Flag`."""
    chosen = frozenset(flags)
    return " ".join(flag for flag in Flag if flag in chosen)


def parse(text: str) -> frozenset[Flag]:
    """Return the flags of a column."""
    return frozenset(map(Flag, text.split()))


def _is_broken(reading: Reading, before: Reading | None, before_link: str | None) -> bool:
    if reading.seq == 1:
        return reading.prev != FIRST_PREV
    return before is not None and before.seq == reading.seq - 1 and reading.prev != before_link


def _is_impossible(reading: Reading, before: Reading | None, max_power_w: int) -> bool:
    power_w = abs(reading.power_w or 0)
    if power_w * 100 > max_power_w * _TOLERANCE_PERCENT:
        return True
    return before is not None and jumped(reading, before, max_power_w)


def _rises_wh(reading: Reading, before: Reading) -> list[int]:
    pairs = (
        (reading.import_wh, before.import_wh),
        (reading.export_wh, before.export_wh),
    )
    return [now - then for now, then in pairs if now is not None and then is not None]

"""What is said beside a reading: flags, and how far its values can be trusted.

Pure functions of a reading and of those before it in its chain (a key's epoch, by ``seq``): how a
register moves is judged beside the last good one. Since they look at nothing else, every order of
arrival ends with the same flags (docs/protocol.md, "A reading", and docs/faults.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from metering.reading import FIRST_PREV, Quality, Reading

_MS_PER_HOUR: Final = 3_600_000
_TOLERANCE_PERCENT: Final = 110  # of what the fuse allows, for meters' and clocks' inaccuracy
# A register moves in steps: it may be ahead of the energy by one step. Coarser steps than 1 kWh
# are not believed, or a meter could declare its jumps plausible.
_MAX_STEP_WH: Final = 1_000
# No request takes longer. A meter that said it was asked years ago could jump by any energy.
_MAX_WINDOW_MS: Final = 60_000
# So many readings back, at most, the last good one is looked for.
WINDOW: Final = 16
# A level of a register that does not follow from the last good one stands after so long.
CONFIRM_MS: Final = 120_000
# A register is stuck once it should have moved by so many of its steps.
_STILL_STEPS: Final = 5


class Flag(StrEnum):
    """What is noted beside a stored reading."""

    GAP = "gap"
    LATE = "late"
    COUNTER_FELL = "counter_fell"
    IMPOSSIBLE_POWER = "impossible_power"
    CHAIN_BROKEN = "chain_broken"
    NOT_SETTLEABLE_CLOCK = "not_settleable_clock"
    QUARANTINED = "quarantined"
    DISPUTED = "disputed"
    STUCK = "stuck"
    DIRECTION = "direction"
    EPOCH_PENDING = "epoch_pending"


_INVALID: Final = frozenset({Flag.COUNTER_FELL})
_QUESTIONABLE: Final = frozenset(
    {
        Flag.IMPOSSIBLE_POWER,
        Flag.CHAIN_BROKEN,
        Flag.NOT_SETTLEABLE_CLOCK,
        Flag.QUARANTINED,
        Flag.DISPUTED,
        Flag.STUCK,
        Flag.DIRECTION,
        Flag.EPOCH_PENDING,
    }
)
_UNSOUND: Final = frozenset({Flag.COUNTER_FELL, Flag.IMPOSSIBLE_POWER})
# Decided on arrival or by a revocation; all other flags follow from the chain and may heal.
ON_ARRIVAL: Final = frozenset({Flag.LATE, Flag.QUARANTINED, Flag.DISPUTED})


class Totals(Protocol):
    """What registers show, and the window of the request that read them."""

    @property
    def asked_ms(self) -> int:
        """When the request went out (UTC)."""

    @property
    def answered_ms(self) -> int:
        """When the reply was in."""

    @property
    def import_wh(self) -> int | None:
        """The import register, None where there is none."""

    @property
    def export_wh(self) -> int | None:
        """The export register."""

    @property
    def resolution_wh(self) -> int:
        """How far the registers move at a time."""


@dataclass(frozen=True, slots=True)
class Step:
    """A reading further down the chain; ``link`` is what its successor's ``prev`` must be (hex).

    ``good`` is what :func:`is_good` says of it.
    """

    reading: Reading
    link: str
    good: bool


def judge(
    reading: Reading, past: Sequence[Step], max_power_w: int, *, pending: bool = False
) -> frozenset[Flag]:
    """Return the flags that follow from the chain.

    Args:
        reading: the reading to judge.
        past: the stored ones of lower seq of its key and epoch, the nearest first: up to the first
            good one, at most :data:`WINDOW`.
        max_power_w: what the point's fuse allows.
        pending: its epoch does not hold at its time.
    """
    before = past[0] if past else None
    fallen, jumped_up = _moved(reading, past, max_power_w)
    found = {
        Flag.GAP: reading.seq != (before.reading.seq if before else 0) + 1,
        Flag.CHAIN_BROKEN: _is_broken(reading, before),
        Flag.COUNTER_FELL: fallen,
        Flag.IMPOSSIBLE_POWER: jumped_up or _is_impossible(reading, max_power_w),
        Flag.NOT_SETTLEABLE_CLOCK: not reading.clock.settleable,
        Flag.EPOCH_PENDING: pending,
    }
    flags = {flag for flag, holds in found.items() if holds}
    if before is not None and (standing := _standing(reading, before.reading)):
        flags.add(standing)
    return frozenset(flags)


def is_good(claimed: Quality, flags: Iterable[Flag]) -> bool:
    """Tell whether later readings are judged beside this one's registers."""
    doubted = (Quality.INVALID, Quality.MISSING, Quality.QUESTIONABLE)
    return claimed not in doubted and not _UNSOUND & frozenset(flags)


def passes(odd: Totals, good: Totals, later: Totals, max_power_w: int) -> bool:
    """Tell whether an odd value between two good ones came and went: a blip or a spike.

    It did not where a register goes on from where a jump brought it: time alone makes no jump
    plausible.
    """
    if not _follows(later, good, max_power_w):
        return False
    return not (jumped(odd, good, max_power_w) and _follows(later, odd, max_power_w))


def fell(reading: Totals, before: Totals) -> bool:
    """Tell whether a register shows less than in an earlier reading."""
    return any(rise < 0 for rise in _rises_wh(reading, before))


def jumped(reading: Totals, before: Totals, max_power_w: int) -> bool:
    """Tell whether a register rose since an earlier reading by more than ``max_power_w`` allows."""
    # The registers were read somewhere within each request's window: take the longest time.
    asked_ms = max(before.asked_ms, before.answered_ms - _MAX_WINDOW_MS)
    elapsed_ms = max(0, reading.answered_ms - asked_ms)
    step_wh = min(max(reading.resolution_wh, before.resolution_wh, 1), _MAX_STEP_WH)
    bound = max_power_w * _TOLERANCE_PERCENT * elapsed_ms
    return any((rise - step_wh) * _MS_PER_HOUR * 100 > bound for rise in _rises_wh(reading, before))


def lost_register(reading: Totals, before: Totals) -> bool:
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


def _is_broken(reading: Reading, before: Step | None) -> bool:
    if reading.seq == 1:
        return reading.prev != FIRST_PREV
    if before is None or before.reading.seq != reading.seq - 1:
        return False
    return reading.prev != before.link


def _is_impossible(reading: Reading, max_power_w: int) -> bool:
    return abs(reading.power_w or 0) * 100 > max_power_w * _TOLERANCE_PERCENT


def _moved(reading: Reading, past: Sequence[Step], max_power_w: int) -> tuple[bool, bool]:
    """Tell whether a register fell, and whether one rose too far, since the last good reading.

    Without a good one in the window the direct predecessor has to do. What follows from readings
    that are not good is on their level: it counts once that level stood for long enough.
    """
    if not past:
        return False, False
    place = next((n for n, step in enumerate(past[:WINDOW]) if step.good), 0)
    base, direct = past[place].reading, past[0].reading
    if place:
        on_level = _follows(reading, direct, max_power_w)
        stood_ms = reading.answered_ms - past[place - 1].reading.answered_ms
        if passes(direct, base, reading, max_power_w) or (on_level and stood_ms >= CONFIRM_MS):
            return False, False
        if on_level and _follows(reading, base, max_power_w):
            return False, True
    return fell(reading, base), jumped(reading, base, max_power_w)


def _follows(reading: Totals, before: Totals, max_power_w: int) -> bool:
    return not fell(reading, before) and not jumped(reading, before, max_power_w)


def _standing(reading: Reading, before: Reading) -> Flag | None:
    """Return what is wrong with a register that stands while power flows in its direction."""
    then_w, now_w = before.power_w or 0, reading.power_w or 0
    if not then_w or not now_w or (then_w > 0) != (now_w > 0):
        return None
    moves, other = _registers(reading, before)[:: 1 if now_w > 0 else -1]
    elapsed_ms = max(0, reading.answered_ms - before.answered_ms)
    due_wh = _STILL_STEPS * max(1, reading.resolution_wh)
    if moves or min(abs(then_w), abs(now_w)) * elapsed_ms < due_wh * _MS_PER_HOUR:
        return None
    if other is not None and other >= due_wh:
        return Flag.DIRECTION
    return None if moves is None else Flag.STUCK


def _registers(reading: Totals, before: Totals) -> list[int | None]:
    """Return how far import and export rose; None where a register is absent."""
    pairs = (
        (reading.import_wh, before.import_wh),
        (reading.export_wh, before.export_wh),
    )
    return [None if now is None or then is None else now - then for now, then in pairs]


def _rises_wh(reading: Totals, before: Totals) -> list[int]:
    return [rise for rise in _registers(reading, before) if rise is not None]

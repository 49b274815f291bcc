"""What a gateway thinks of what a meter shows, before it signs: a pure function, no clock, no I/O.

A register set (:class:`Sight`) is judged beside what was good before it (:class:`Memory`) and what
the meter is (:class:`Nature`). The rules and their reasons stand in docs/faults.md; what the
server thinks of it is its own matter (``app.services.plausibility``).

Times are UTC milliseconds, energies whole watt-hours, powers watts (import positive).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from metering.event import Finding, Kind
from metering.reading import Quality, Reading

CONFIRM_READINGS: Final = 3
CONFIRM_MS: Final = 120_000
"""A new level of a counter is one after so many register sets and so long a time."""
STILL_STEPS: Final = 5
"""A counter is stuck once it should have moved by so many of its steps."""
VOLTAGE_MV: Final = (50_000, 300_000)
FREQUENCY_MHZ: Final = (45_000, 65_000)
_TOLERANCE_PERCENT: Final = 110
_MWH_MS: Final = 3_600  # W x ms in one thousandth of a watt-hour
REGISTERS: Final = ("import", "export")

Totals = Mapping[str, int | None]
"""``import`` and ``export`` in Wh; None where there is none."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What one poll showed, as the meter's registers say it.

    ``moduli_wh`` tells where a counter starts again at 0, None where that is not known.
    ``serial`` is None where it was not read. Voltage is that of the first phase.
    """

    asked_ms: int
    answered_ms: int
    shown: Totals
    power_w: int | None = None
    resolution_wh: int = 1
    moduli_wh: Totals = field(default_factory=dict)
    serial: str | None = None
    voltage_mv: int | None = None
    frequency_mhz: int | None = None


@dataclass(frozen=True, slots=True)
class Nature:
    """What a meter is: the enrolled serial, and the most power that can flow (None: unknown)."""

    serial: str
    max_power_w: int | None


@dataclass(frozen=True, slots=True)
class Good:
    """The last register set that counted, as it was signed (roll-overs counted in)."""

    asked_ms: int
    answered_ms: int
    totals: Totals


@dataclass(frozen=True, slots=True)
class Doubt:
    """Register sets on another level than the last good one: the first, the last, how many."""

    first: Sight
    last: Sight
    count: int


@dataclass(frozen=True, slots=True)
class Still:
    """A counter that ought to move: the power's sign, what it should count, what another did."""

    sign: int = 0
    expected_mwh: int = 0
    other_wh: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept of a meter between two polls; begin with :meth:`after`."""

    good: Good | None = None
    doubt: Doubt | None = None
    still: Still = Still()
    power_w: int | None = None
    foreign: str | None = None
    told: frozenset[Kind] = frozenset()

    @classmethod
    def after(cls, last: Reading | None) -> Memory:
        """Return what is known after a restart: the last good reading of the epoch, if any."""
        if last is None:
            return cls()
        totals = {"import": last.import_wh, "export": last.export_wh}
        return cls(Good(last.asked_ms, last.answered_ms, totals))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What to sign of a register set, and what else to do.

    ``again``: read the meter once more before signing, and judge that with ``second``.
    ``new_epoch``: sign this as the first of the next epoch. ``look``: read the serial number with
    the next poll. ``memory`` is what the next judgement needs.
    """

    quality: Quality
    totals: Totals
    memory: Memory
    findings: tuple[Finding, ...] = ()
    again: bool = False
    new_epoch: bool = False
    look: bool = False


def judge(memory: Memory, sight: Sight, nature: Nature, *, second: bool = False) -> Judgement:
    """Judge one register set; ``second`` tells that it was read again for a doubt."""
    if sight.serial is not None and sight.serial != nature.serial:
        return _foreign(memory, sight, nature)
    if memory.foreign is not None and sight.serial is None:
        return Judgement(Quality.INVALID, sight.shown, memory, look=True)
    clash = _clash(memory, nature)
    memory = replace(memory, foreign=None)
    good = memory.good
    if good is None:
        found = _first(memory, sight)
    elif lost := [name for name in REGISTERS if _is_lost(name, good, sight)]:
        findings = tuple(Finding(Kind.MISSING, {"quantity": name}) for name in lost)
        found = Judgement(Quality.MISSING, sight.shown, memory, findings)
    else:
        found = _counted(memory, good, sight, nature, second=second)
    return _once(memory, replace(found, findings=(*clash, *found.findings)))


# --- The counters -------------------------------------------------------------------------------


def _first(memory: Memory, sight: Sight) -> Judgement:
    if all(sight.shown[name] is None for name in REGISTERS):
        nothing = Finding(Kind.MISSING, {"quantity": "import"})
        return Judgement(Quality.MISSING, sight.shown, memory, (nothing,))
    return _accept(memory, sight, sight.shown, ())


def _counted(
    memory: Memory, good: Good, sight: Sight, nature: Nature, *, second: bool
) -> Judgement:
    """Judge the counters beside the last good ones."""
    totals, rolled = _unrolled(good, sight, nature)
    fallen = [name for name in REGISTERS if _rise(name, good.totals, totals) < 0]
    jumped = [name for name in REGISTERS if _is_jump(name, good, sight, totals, nature)]
    small = all(-_rise(name, good.totals, totals) <= sight.resolution_wh for name in fallen)
    if (jumped or rolled) and not second:
        return Judgement(Quality.QUESTIONABLE, totals, memory, again=True)
    if jumped or (fallen and not small) or _goes_on_high(memory.doubt, sight, good, nature):
        return _doubted(memory, good, sight, nature, jumped)
    findings = (*rolled, *_recovered(memory.doubt, good))
    for name in fallen:
        held = {"register": name, "shown_wh": totals[name], "held_wh": good.totals[name]}
        findings += (Finding(Kind.STEPPED_BACK, held),)
    held_totals = {name: good.totals[name] if name in fallen else totals[name] for name in totals}
    return _accept(memory, sight, held_totals, findings)


def _accept(
    memory: Memory, sight: Sight, totals: Totals, findings: tuple[Finding, ...]
) -> Judgement:
    """Count a register set, and say where its other values contradict it."""
    still = _still(memory, sight, totals)
    told = (*_implausible(sight), *_standing(still, sight, totals))
    kept = replace(
        memory,
        good=Good(sight.asked_ms, sight.answered_ms, totals),
        doubt=None,
        still=still,
        power_w=sight.power_w,
    )
    quality = Quality.QUESTIONABLE if told else Quality.MEASURED
    return Judgement(quality, totals, kept, (*findings, *told))


def _doubted(
    memory: Memory, good: Good, sight: Sight, nature: Nature, jumped: list[str]
) -> Judgement:
    """Doubt a register set that does not follow; enough of them that do are a new level."""
    doubt = memory.doubt
    if doubt is not None and _follows(doubt.last, sight, nature):
        doubt = Doubt(doubt.first, sight, doubt.count + 1)
    else:
        doubt = Doubt(sight, sight, 1)
    stood_ms = sight.answered_ms - doubt.first.answered_ms
    if doubt.count >= CONFIRM_READINGS and stood_ms >= CONFIRM_MS:
        return _rebased(memory, good, sight, nature)
    quality = Quality.QUESTIONABLE if jumped else Quality.INVALID
    findings = tuple(
        Finding(
            Kind.SPIKE,
            {
                "register": name,
                "rise_wh": _rise(name, good.totals, sight.shown),
                "allowed_wh": _allowed_wh(good, sight, nature),
            },
        )
        for name in jumped
    )
    kept = replace(memory, doubt=doubt, still=Still(), power_w=sight.power_w)
    return Judgement(quality, sight.shown, kept, findings, look=True)


def _rebased(memory: Memory, good: Good, sight: Sight, nature: Nature) -> Judgement:
    """Begin an epoch: this set is its first, and nothing before is ever subtracted from it."""
    detail: dict[str, str | int | None] = {"serial": nature.serial}
    for name in REGISTERS:
        detail[f"closing_{name}_wh"] = good.totals[name]
        detail[f"opening_{name}_wh"] = sight.shown[name]
    # Which epochs these are knows who signs.
    reset = Finding(Kind.RESET, detail | {"old_epoch": None, "new_epoch": None})
    found = _accept(replace(memory, good=None), sight, sight.shown, (reset,))
    return replace(found, new_epoch=True)


def _unrolled(good: Good, sight: Sight, nature: Nature) -> tuple[Totals, tuple[Finding, ...]]:
    """Return the totals with the roll-overs so far counted in, and those that are new.

    How often a counter rolled over is not kept anywhere: the last good total says it.
    """
    totals, findings = dict(sight.shown), []
    for name in REGISTERS:
        shown, before, modulus = sight.shown[name], good.totals[name], sight.moduli_wh.get(name)
        if shown is None or before is None or not modulus:
            continue
        here = before - before % modulus + shown
        allowed = _allowed_wh(good, sight, nature)
        rolled = here + modulus - before
        if before - here > sight.resolution_wh and allowed is not None and rolled <= allowed:
            here += modulus
            detail = {"modulus_wh": modulus, "shown_wh": shown, "signed_wh": here}
            findings.append(Finding(Kind.ROLLED_OVER, {"register": name, **detail}))
        totals[name] = here
    return totals, tuple(findings)


def _recovered(doubt: Doubt | None, good: Good) -> Iterator[Finding]:
    """Tell that a counter is back after it showed less."""
    for name in REGISTERS:
        low = None if doubt is None else doubt.first.shown[name]
        before = good.totals[name]
        if doubt is not None and low is not None and before is not None and low < before:
            detail = {"shown_wh": low, "last_wh": before, "readings": doubt.count}
            yield Finding(Kind.BLIP, {"register": name, **detail})
            return


def _goes_on_high(doubt: Doubt | None, sight: Sight, good: Good, nature: Nature) -> bool:
    """Tell whether counters stay where a jump brought them: time alone makes no jump plausible."""
    if doubt is None or not _follows(doubt.last, sight, nature):
        return False
    return any(
        _is_jump(name, good, doubt.first, doubt.first.shown, nature)
        and _rise(name, good.totals, doubt.first.shown) > 0
        for name in REGISTERS
    )


def _follows(before: Sight, sight: Sight, nature: Nature) -> bool:
    """Tell whether a register set goes on from another one of the same level."""
    earlier = Good(before.asked_ms, before.answered_ms, before.shown)
    return not any(
        _rise(name, before.shown, sight.shown) < 0
        or _is_jump(name, earlier, sight, sight.shown, nature)
        for name in REGISTERS
    )


def _is_jump(name: str, good: Good, sight: Sight, totals: Totals, nature: Nature) -> bool:
    allowed = _allowed_wh(good, sight, nature)
    return allowed is not None and _rise(name, good.totals, totals) > allowed


def _allowed_wh(good: Good, sight: Sight, nature: Nature) -> int | None:
    """Return what can have been counted at most: rated power x time x 1.1, and one step.

    The registers were read somewhere within each request's window: the longest time counts.
    """
    if nature.max_power_w is None or sight.answered_ms < good.answered_ms:
        return None  # nothing is known of the power, or of the time: the clock was set back
    elapsed_ms = sight.answered_ms - good.asked_ms
    counted = nature.max_power_w * elapsed_ms * _TOLERANCE_PERCENT // (100 * 3_600_000)
    return counted + max(1, sight.resolution_wh)


def _rise(name: str, before: Totals, now: Totals) -> int:
    earlier, later = before[name], now[name]
    return 0 if earlier is None or later is None else later - earlier


def _is_lost(name: str, good: Good, sight: Sight) -> bool:
    return good.totals[name] is not None and sight.shown[name] is None


# --- What contradicts the counters ---------------------------------------------------------------


def _still(memory: Memory, sight: Sight, totals: Totals) -> Still:
    """Return what should have been counted since the counter of the power's direction moved."""
    good, before_w, now_w = memory.good, memory.power_w, sight.power_w
    if good is None or not before_w or not now_w or (before_w > 0) != (now_w > 0):
        return Still()
    sign = 1 if now_w > 0 else -1
    moves, other = REGISTERS[::sign]
    if _rise(moves, good.totals, totals) > 0:
        return Still()
    so_far = memory.still if memory.still.sign == sign else Still()
    elapsed_ms = max(0, sight.answered_ms - good.answered_ms)
    return Still(
        sign,
        so_far.expected_mwh + min(abs(before_w), abs(now_w)) * elapsed_ms // _MWH_MS,
        so_far.other_wh + max(0, _rise(other, good.totals, totals)),
    )


def _standing(still: Still, sight: Sight, totals: Totals) -> Iterator[Finding]:
    """Tell of a counter that stands while power flows, or of the wrong one that moves."""
    due_wh = STILL_STEPS * max(1, sight.resolution_wh)
    if still.expected_mwh < due_wh * 1000:
        return
    moves, other = REGISTERS[:: still.sign]
    power: dict[str, str | int | None] = {"power_w": sight.power_w}
    if still.other_wh >= due_wh:
        yield Finding(Kind.DIRECTION, power | {"register": other, "rise_wh": still.other_wh})
    elif totals[moves] is not None:
        expected = still.expected_mwh // 1000
        yield Finding(Kind.STUCK, power | {"register": moves, "expected_wh": expected})


def _implausible(sight: Sight) -> Iterator[Finding]:
    """Tell of a voltage or frequency that no grid has: swapped words, or another register."""
    for quantity, value, (lowest, highest) in (
        ("voltage", sight.voltage_mv, VOLTAGE_MV),
        ("frequency", sight.frequency_mhz, FREQUENCY_MHZ),
    ):
        if value is not None and not lowest <= value <= highest:
            yield Finding(Kind.IMPLAUSIBLE, {"quantity": quantity, "value_milli": value})


# --- Whose registers they are --------------------------------------------------------------------


def _foreign(memory: Memory, sight: Sight, nature: Nature) -> Judgement:
    """Refuse the registers of another meter, whatever they show."""
    finding = Finding(Kind.EXCHANGED, {"enrolled": nature.serial, "found": sight.serial})
    kept = replace(memory, foreign=sight.serial)
    return _once(memory, Judgement(Quality.INVALID, sight.shown, kept, (finding,), look=True))


def _clash(memory: Memory, nature: Nature) -> tuple[Finding, ...]:
    """Tell that two devices answer: a foreign serial was there, and now the enrolled one is."""
    if memory.foreign is None:
        return ()
    serials = {"enrolled": nature.serial, "found": memory.foreign}
    return (Finding(Kind.UNIT_CLASH, {**serials, "bad_replies": None}),)


_MOMENTARY: Final = frozenset({Kind.BLIP, Kind.ROLLED_OVER, Kind.RESET, Kind.UNIT_CLASH})


def _once(before: Memory, found: Judgement) -> Judgement:
    """Tell of what lasts when it begins, not at every poll."""
    if found.again:
        return found
    new = tuple(
        each for each in found.findings if each.kind in _MOMENTARY or each.kind not in before.told
    )
    told = frozenset(each.kind for each in found.findings) - _MOMENTARY
    return replace(found, findings=new, memory=replace(found.memory, told=told))

"""How far this machine's clock can be trusted, and when it jumped.

One source, chosen in the settings, *vouches* for the clock: the kernel or chrony (``system``), an
NTP server (``ntp``), or the district's server by the Date of its answers (``server``). All others
that are heard only *object*: they may lower the status and never raise it. So whoever lies to one
of them can make a good clock look bad, which is seen at once and forges nothing, but cannot make a
wrong clock look good. Plain NTP can be forged on the way, a Date within TLS only by the server.

Limits: up to 1 s synchronised, up to 9 s informative, beyond that or unheard of unknown
(PTB-A 50.8 allows 1 % of a 15-minute registration period, which is 9 s).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from metering.reading import Clock

SYNCHRONISED_MS: Final = 1_000
INFORMATIVE_MS: Final = 9_000
JUMP_MS: Final = 1_000
STEADY: Final = 3
"""So many judgements in a row must be better before the status is."""

_DRIFT_PPM: Final = 100  # a cheap crystal in a cold cellar is off by less
_FORGET_MS: Final = 3_600_000  # an objection this old has nothing to say
_ORDER: Final = (Clock.SYNCHRONISED, Clock.INFORMATIVE, Clock.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Bounds:
    """This machine's clock less the true time lies between ``low_ms`` and ``high_ms``.

    ``heard_ms`` is a moment of :func:`steady_ms`; from there on the bounds grow apart.
    """

    low_ms: float
    high_ms: float
    heard_ms: float

    @classmethod
    def around(cls, offset_ms: float, error_ms: float, heard_ms: float) -> Bounds:
        """Return the bounds of an estimate and its largest error."""
        return cls(offset_ms - error_ms, offset_ms + error_ms, heard_ms)

    def at(self, now_ms: float) -> Bounds:
        """Return what is still certain at ``now_ms`` (:func:`steady_ms`)."""
        drift = max(0.0, now_ms - self.heard_ms) * _DRIFT_PPM / 1_000_000
        return Bounds(self.low_ms - drift, self.high_ms + drift, now_ms)

    def within(self, earlier: Bounds) -> Bounds:
        """Return what both say, as of now; this one alone where they contradict each other."""
        then = earlier.at(self.heard_ms)
        low, high = max(self.low_ms, then.low_ms), min(self.high_ms, then.high_ms)
        return Bounds(low, high, self.heard_ms) if low <= high else self

    @property
    def worst_ms(self) -> float:
        """By how much the clock may be wrong at most."""
        return max(abs(self.low_ms), abs(self.high_ms))

    @property
    def least_ms(self) -> float:
        """By how much it is wrong at least: 0 when it may be right."""
        return 0.0 if self.low_ms <= 0 <= self.high_ms else min(abs(self.low_ms), abs(self.high_ms))


def status_of(off_by_ms: float) -> Clock:
    """Return the status of a clock that is wrong by so much."""
    if off_by_ms <= SYNCHRONISED_MS:
        return Clock.SYNCHRONISED
    return Clock.INFORMATIVE if off_by_ms <= INFORMATIVE_MS else Clock.UNKNOWN


def judge(voucher: Bounds | None, objections: Iterable[Bounds], now_ms: float) -> Clock:
    """Return the status that ``voucher`` is good for and no objection contradicts.

    The voucher has to prove how right the clock is (its worst case counts); an objection has to
    prove how wrong it is (its best case counts).
    """
    if voucher is None:
        return Clock.UNKNOWN
    found = [status_of(voucher.at(now_ms).worst_ms)]
    found += [
        status_of(one.at(now_ms).least_ms)
        for one in objections
        if now_ms - one.heard_ms <= _FORGET_MS
    ]
    return max(found, key=_ORDER.index)


@dataclass(slots=True)
class SteadyStatus:
    """The status with hysteresis: worse at once, better only after some judgements in a row."""

    status: Clock = Clock.UNKNOWN
    _better: int = 0

    def take(self, found: Clock) -> Clock:
        """Take one judgement; return the status that holds now."""
        if _ORDER.index(found) >= _ORDER.index(self.status):
            self.status, self._better = found, 0
        else:
            self._better += 1
            if self._better >= STEADY:
                self.status, self._better = found, 0
        return self.status

    def reset(self) -> None:
        """Trust nothing any more, after a jump: all of it has to be heard again."""
        self.status, self._better = Clock.UNKNOWN, 0


@dataclass(frozen=True, slots=True)
class Jump:
    """The wall clock stepped from ``before_ms`` to ``after_ms`` (UTC ms) in no time."""

    before_ms: int
    after_ms: int

    @property
    def by_ms(self) -> int:
        """How far it stepped; negative when it was set back."""
        return self.after_ms - self.before_ms


@dataclass(slots=True)
class JumpWatch:
    """Compares the wall clock with a steady one; slewing by NTP goes unnoticed, as it should."""

    _ahead_ms: float | None = None
    """Wall less steady time when last looked at."""

    def look(self, wall_ms: int, now_ms: float) -> Jump | None:
        """Return the jump since the last look, if there was one of more than a second."""
        ahead, before = wall_ms - now_ms, self._ahead_ms
        self._ahead_ms = ahead
        if before is None or abs(ahead - before) <= JUMP_MS:
            return None
        return Jump(round(now_ms + before), wall_ms)


@dataclass(slots=True)
class ClockStatus:
    """What was heard about the clock, and what it comes to. ``source`` names who vouches."""

    source: str
    heard: dict[str, Bounds] = field(default_factory=dict)
    steady: SteadyStatus = field(default_factory=SteadyStatus)
    jumps: JumpWatch = field(default_factory=JumpWatch)

    @property
    def status(self) -> Clock:
        """The status that goes into readings."""
        return self.steady.status

    def hear(self, name: str, bounds: Bounds | None) -> None:
        """Note what a source says; ``None``: it says that it does not know.

        What it said before still holds, so that whole seconds, heard often, tell fractions.
        """
        earlier = self.heard.pop(name, None)
        if bounds is not None:
            self.heard[name] = bounds if earlier is None else bounds.within(earlier)

    def look(self, wall_ms: int, now_ms: float) -> Jump | None:
        """Judge anew; return the jump since the last look, after which nothing heard counts."""
        jump = self.jumps.look(wall_ms, now_ms)
        if jump is not None:
            self.heard.clear()
            self.steady.reset()
        objections = [bounds for name, bounds in self.heard.items() if name != self.source]
        self.steady.take(judge(self.heard.get(self.source), objections, now_ms))
        return jump

    def off_by_ms(self, now_ms: float) -> int | None:
        """Return by how much the clock may be wrong, by the source that vouches."""
        bounds = self.heard.get(self.source)
        return None if bounds is None else round(bounds.at(now_ms).worst_ms)


def steady_ms() -> float:
    """Return milliseconds of a clock that nobody sets and that runs on while the machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) / 1_000_000

"""What the gateway says about itself: one plain object, shown as a page, as JSON and as metrics."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MeterReport:
    """How one meter fares. Ages are seconds, ``None`` when it never happened.

    ``state`` is ``ok``, ``silent`` (the last reads failed), ``resting`` (so often that it is left
    alone for a while), ``waiting`` (not read yet) or ``stopped`` (nothing is signed for it).
    """

    point: str
    serial: str
    profile: str
    line: str
    unit: int
    state: str
    power_w: int | None = None
    import_wh: int | None = None
    export_wh: int | None = None
    quality: str | None = None
    age_s: int | None = None
    failures: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class SpoolReport:
    """What waits, what was refused, and how much room there is."""

    pending: int
    oldest_s: int | None
    dead: int
    used_bytes: int
    max_bytes: int
    room: str


@dataclass(frozen=True, slots=True)
class ServerReport:
    """Whether the server takes readings; ages are seconds."""

    url: str
    answered_s: int | None
    failing_s: int | None
    error: str


@dataclass(frozen=True, slots=True)
class ClockReport:
    """How far the clock is trusted: ``synchronised``, ``informative`` or ``unknown``."""

    status: str
    source: str
    off_by_ms: int | None
    last_jump: str


@dataclass(frozen=True, slots=True)
class InputReport:
    """How a line fares that tells by itself: ``error`` is empty while it is connected.

    ``heard_s`` is the age of what it told last; ``refused`` says why the last thing that was not
    taken was not, ``refusals`` how many there were since the start.
    """

    name: str
    kind: str
    where: str
    heard_s: int | None
    error: str
    refusals: int
    refused: str


@dataclass(frozen=True, slots=True)
class Report:
    """All of it at one moment (UTC, ISO); ``alarms`` are sentences for a person."""

    gateway: str
    district: str
    at: str
    up_s: int
    meters: tuple[MeterReport, ...]
    spool: SpoolReport
    server: ServerReport
    clock: ClockReport
    alarms: tuple[str, ...] = field(default=())
    inputs: tuple[InputReport, ...] = field(default=())


def readings(number: int) -> str:
    """Return how many readings, in words."""
    return f"{number:,} {'reading' if number == 1 else 'readings'}"

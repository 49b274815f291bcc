"""What the page of meters asks of the house: view models and the protocol.

Moments are UTC milliseconds of the district clock (a token's end: of the wall clock), begins are
interval keys. What somebody typed is text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class FindingLine:
    """What was seen at the meter: a value with its unit, what is plausible, what to do."""

    label: str
    value: str
    unit: str
    plausible: str
    verdict: str  # good, unseen, look, wrong
    advice: str


@dataclass(frozen=True, slots=True)
class CounterLine:
    """What a meter's counters showed; None where it has no such counter."""

    at_ms: int
    import_wh: int | None
    export_wh: int | None


@dataclass(frozen=True, slots=True)
class ExchangeLine:
    """A meter that goes: what it showed last and who read it (meter, person); what came first."""

    old_serial: str
    closing: CounterLine
    closing_by: str
    opening: CounterLine


@dataclass(frozen=True, slots=True)
class WaitingMeter:
    """An enrolment that waits for a person. ``shown`` are the fingerprint's first groups."""

    request: int
    serial: str
    profile: str
    version: str
    gateway: str
    brought_by: str
    sent_ms: int
    valid_from: str
    shown: str
    verdict: str  # the worst of the findings
    findings: Sequence[FindingLine]
    exchange: ExchangeLine | None


@dataclass(frozen=True, slots=True)
class MeterLine:
    """A meter that is or was enrolled. ``last_ms`` is its newest reading's moment, if any."""

    key: str
    fingerprint: str
    serial: str
    profile: str
    version: str  # '' where it was not brought by a gateway
    epoch: int
    valid_from: str
    revoked_from: str | None
    over: bool  # the revocation has begun
    last_ms: int | None
    stale: bool  # no reading for more than two intervals


@dataclass(frozen=True, slots=True)
class MeterPoint:
    """A metering point: its meters, the one that signs first; what waits; proposed changes."""

    point: str
    name: str
    meters: Sequence[MeterLine]
    waiting: WaitingMeter | None
    proposals: Sequence[str]  # changes of the counters that wait for a decision, in words
    token_until_ms: int | None  # wall clock; a token was made and not used yet


@dataclass(frozen=True, slots=True)
class MetersPage:
    """The page. ``next_key`` is the interval from which on a revocation may begin in advance."""

    zone: str
    clock_ms: int
    next_key: str
    points: Sequence[MeterPoint]


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token in plain text, shown once, and the line that is typed at the gateway."""

    point: str
    name: str
    replaces: str | None  # serial
    token: str
    command: str
    minutes: int


class Meters(Protocol):
    """The meters at the points that somebody manages. Each step may raise web.ports.RefusedError.

    The error names the field to be mended, and nothing was written.
    """

    def page(self) -> MetersPage:
        """Return the page."""
        ...

    def token(self, point: str, by: str) -> NewToken:
        """Make a one-time token for a point; an earlier one that nobody used is void."""
        ...

    def confirm(self, request: int, typed: str, by: str) -> None:
        """Confirm that the gateway shows the fingerprint whose last groups were typed."""
        ...

    def withdraw(self, request: int, by: str) -> None:
        """Turn an enrolment down that waits."""
        ...

    def revoke(self, key: str, begin: str, by: str) -> None:
        """Refuse a key's readings from an interval on (its UTC start; '': the next one)."""
        ...

    def keep(self, key: str, by: str) -> None:
        """Take a revocation back that has not begun."""
        ...

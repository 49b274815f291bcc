"""Signed events of a gateway: what went wrong with a meter, a line or the clock, and when.

An event is signed by the gateway's key and chained like a reading, so that none can be dropped
unseen; it is spooled and sent until it is answered. The format stands in docs/protocol.md,
"Gateway events", what people are told and should do in docs/faults.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol, Self, cast

from metering import canonical
from metering.canonical import shown
from metering.identity import IdentityError, PublicKey, check_district, check_gsrn
from metering.reading import FIRST_PREV, MAX_NAME, Clock

MAX_PAYLOAD_BYTES: Final = 2_048
MAX_TEXT: Final = 200
PATH: Final = "/api/v1/events"
MAX_EVENTS: Final = 64
"""So many events, and 256 KiB, go into one upload."""

Detail = Mapping[str, str | int | None]


class EventError(ValueError):
    """Root of this module's errors: reject the event for good (400)."""


class MalformedEventError(EventError):
    """The payload breaks the format: the gateway puts it on its dead-letter list."""


class Kind(StrEnum):
    """What happened; :data:`DETAILS` says what each event tells beside it."""

    BLIP = "blip"
    STEPPED_BACK = "stepped-back"
    RESET = "reset"
    EXCHANGED = "exchanged"
    ROLLED_OVER = "rolled-over"
    SPIKE = "spike"
    STUCK = "stuck"
    MISSING = "missing"
    DIRECTION = "direction"
    IMPLAUSIBLE = "implausible"
    TIME_OUT = "time-out"
    BUSY = "busy"
    OFFLINE = "offline"
    ABSENT = "absent"
    BAD_REPLY = "bad-reply"
    UNIT_CLASH = "unit-clash"
    ANSWERS_AGAIN = "answers-again"
    CLOCK_JUMP = "clock-jump"
    CLOCK_STATE = "clock-state"
    SETTING = "setting"


DETAILS: Final[Mapping[Kind, frozenset[str]]] = {
    kind: frozenset(names.split())
    for kind, names in {
        Kind.BLIP: "register shown_wh last_wh readings",
        Kind.STEPPED_BACK: "register shown_wh held_wh",
        Kind.RESET: "closing_import_wh closing_export_wh opening_import_wh opening_export_wh "
        "old_epoch new_epoch serial",
        Kind.EXCHANGED: "enrolled found",
        Kind.ROLLED_OVER: "register modulus_wh shown_wh signed_wh",
        Kind.SPIKE: "register rise_wh allowed_wh",
        Kind.STUCK: "register power_w expected_wh",
        Kind.MISSING: "quantity",
        Kind.DIRECTION: "register power_w rise_wh",
        Kind.IMPLAUSIBLE: "quantity value_milli",
        Kind.TIME_OUT: "error",
        Kind.BUSY: "error",
        Kind.OFFLINE: "error",
        Kind.ABSENT: "quantity",
        Kind.BAD_REPLY: "error",
        Kind.UNIT_CLASH: "enrolled found bad_replies",
        Kind.ANSWERS_AGAIN: "missed_polls",
        Kind.CLOCK_JUMP: "by_ms",
        Kind.CLOCK_STATE: "was now",
        Kind.SETTING: "name value advice",
    }.items()
}
"""The keys of each kind's ``detail``: exactly these, each a text, a whole number or null."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about a meter, before anybody says where and when.

    Raises:
        MalformedEventError: other details than the kind's.
    """

    kind: Kind
    detail: Detail = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.detail.keys() != DETAILS[self.kind]:
            raise MalformedEventError(
                f"{self.kind}: detail has {sorted(self.detail)}, {sorted(DETAILS[self.kind])} "
                "are expected"
            )


@dataclass(frozen=True, slots=True)
class Event:
    """A finding with its point (GSRN; None: of the gateway), its time in UTC ms and the clock."""

    finding: Finding
    point: str | None
    at_ms: int
    clock: Clock


class EventSink(Protocol):
    """Whatever keeps events until the server has them (``metering.event_spool``)."""

    def report(self, event: Event) -> None:
        """Take an event; must not fail and must not wait for a network."""


@dataclass(frozen=True, slots=True)
class GatewayEvent:
    """An event as it is signed; ``key`` is the gateway's, ``seq`` and ``prev`` its own chain.

    Raises:
        MalformedEventError: a field's type, range or spelling breaks the protocol.
    """

    district: str
    gateway: str
    key: str
    kind: Kind
    point: str | None
    at_ms: int
    clock: Clock
    seq: int
    prev: str
    detail: Detail

    def __post_init__(self) -> None:
        _check_who(self)
        _check_when(self)
        _check_detail(self.kind, self.detail)

    def to_payload(self) -> bytes:
        """Return the canonical bytes that the gateway's key signs."""
        return canonical.encode({
            "at_ms": self.at_ms, "clock": self.clock.value, "detail": dict(self.detail),
            "district": self.district, "gateway": self.gateway, "key": self.key,
            "kind": self.kind.value, "point": self.point, "prev": self.prev, "seq": self.seq,
        })  # fmt: skip

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Parse a payload strictly.

        Raises:
            MalformedEventError: not canonical, other keys, or a value out of range.
        """
        try:
            fields = canonical.decode(payload, MAX_PAYLOAD_BYTES)
        except canonical.CanonicalError as error:
            raise MalformedEventError(str(error)) from error
        if fields.keys() != _KEYS:
            raise MalformedEventError(f"the keys must be {', '.join(sorted(_KEYS))}")
        kind = _KINDS.get(fields["kind"]) if type(fields["kind"]) is str else None
        clock = _CLOCKS.get(fields["clock"]) if type(fields["clock"]) is str else None
        if kind is None or clock is None or type(fields["detail"]) is not dict:
            raise MalformedEventError(
                f"kind {shown(fields['kind'])} and clock {shown(fields['clock'])} have to be known "
                "ones, detail an object: is the server older than the gateway?"
            )
        # The constructor checks every type and range, so the cast claims nothing unproved.
        build = cast("Callable[..., Self]", cls)
        return build(**(fields | {"kind": kind, "clock": clock}))


_KEYS: Final = frozenset(GatewayEvent.__dataclass_fields__)
_KINDS: Final[Mapping[object, Kind]] = {str(kind): kind for kind in Kind}
_CLOCKS: Final[Mapping[object, Clock]] = {str(clock): clock for clock in Clock}


@dataclass(frozen=True, slots=True)
class SignedEvent:
    """A payload and its signature (64 bytes), verbatim."""

    payload: bytes
    signature: bytes

    @property
    def link(self) -> str:
        """What the next event's ``prev`` must be: SHA-256(payload || signature), hex."""
        return hashlib.sha256(self.payload + self.signature).hexdigest()


def clock_jump(before_ms: tuple[int, int], now_ms: tuple[int, int], least_ms: int) -> int | None:
    """Return by how many ms the clock jumped, seen beside one that only counts up.

    Each pair is (UTC, monotonic) of one moment. Summer time is none: UTC knows no such hour.
    ``None`` below ``least_ms``, which a clock that is gently set right never reaches between two
    looks.
    """
    by_ms = (now_ms[0] - before_ms[0]) - (now_ms[1] - before_ms[1])
    return by_ms if abs(by_ms) >= least_ms else None


def _check_who(event: GatewayEvent) -> None:
    if not all(type(text) is str for text in (event.district, event.point or "", event.key)):
        raise MalformedEventError("district, key and point have to be texts (point may be null)")
    try:
        check_district(event.district)
        if event.point is not None:
            check_gsrn(event.point)
        PublicKey.parse(event.key)
    except IdentityError as error:
        raise MalformedEventError(str(error)) from error
    name = event.gateway
    if not (type(name) is str and 0 < len(name) <= MAX_NAME and name.isprintable()):
        raise MalformedEventError(f"gateway {shown(name)}: 1 to {MAX_NAME} printable characters")


def _check_when(event: GatewayEvent) -> None:
    for name, value, least in (("at_ms", event.at_ms, 0), ("seq", event.seq, 1)):
        if type(value) is not int or not least <= value < canonical.INTEGER_LIMIT:
            raise MalformedEventError(
                f"{name} {shown(value)}: a whole number from {least} to 2**53 - 1"
            )
    prev = event.prev
    if type(prev) is not str or len(prev) != len(FIRST_PREV) or not set(prev) <= _HEX:
        raise MalformedEventError("prev: 64 lowercase hex digits are expected")


def _check_detail(kind: Kind, detail: Detail) -> None:
    Finding(kind, detail)
    for name, value in detail.items():
        text = type(value) is str and len(value) <= MAX_TEXT and value.isprintable()
        number = type(value) is int and abs(value) < canonical.INTEGER_LIMIT
        if not (text or number or value is None):
            raise MalformedEventError(
                f"detail.{name} {shown(value)}: null, a whole number within +-(2**53 - 1), or up "
                f"to {MAX_TEXT} printable characters"
            )


_HEX: Final = frozenset("0123456789abcdef")

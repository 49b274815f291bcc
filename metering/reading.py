"""A signed reading: its payload, the chain that links it to the one before, and its leaf.

The formats stand in docs/protocol.md, "Enrolment" and "A reading". What was signed is kept
verbatim: parse it to look inside, never to write it again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self, TypeVar, cast

from metering import canonical
from metering.canonical import shown
from metering.identity import IdentityError, PublicKey, check_district, check_gsrn
from metering.interval import Interval, IntervalError

LEAF_PREFIX: Final = b"wattloom-leaf-reading-v1\0"
FIRST_PREV: Final = "0" * 64
SALT_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
MAX_PAYLOAD_BYTES: Final = 2_048
MAX_NAME: Final = 64

_Member = TypeVar("_Member", bound=StrEnum)
_is_hash: Final = re.compile(r"[0-9a-f]{64}").fullmatch


class ReadingError(ValueError):
    """Root of this module's errors: reject the payload for good."""


class MalformedReadingError(ReadingError):
    """The payload breaks the format: reject it (400); the gateway dead-letters it."""


class MalformedEnrolmentError(ReadingError):
    """The enrolment breaks the format: reject it (400) and have the meter enrol again."""


class LeafError(ReadingError):
    """Salt or signature has a wrong length: mend the code that made it."""


class Clock(StrEnum):
    """How far the gateway's clock can be trusted (OCMF's time status)."""

    SYNCHRONISED = "S"
    INFORMATIVE = "I"
    UNKNOWN = "U"
    RELATIVE = "R"

    @property
    def settleable(self) -> bool:
        """Whether readings under this clock may settle."""
        return self in (Clock.SYNCHRONISED, Clock.INFORMATIVE)


class Quality(StrEnum):
    """How a value came about; only ``measured`` ever makes a border reading."""

    MEASURED = "measured"
    ESTIMATED = "estimated"
    SUBSTITUTED = "substituted"
    EDITED = "edited"
    QUESTIONABLE = "questionable"
    INVALID = "invalid"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A meter's key bound to its point, from ``valid_from`` on.

    Raises:
        MalformedEnrolmentError: a name, number or epoch that the protocol does not allow.
    """

    district: str
    point: str
    serial: str
    profile: str
    key: PublicKey
    epoch: int
    valid_from: Interval

    def __post_init__(self) -> None:
        try:
            check_district(self.district)
            check_gsrn(self.point)
        except IdentityError as error:
            raise MalformedEnrolmentError(str(error)) from error
        _check_name("serial", self.serial, MalformedEnrolmentError)
        _check_name("profile", self.profile, MalformedEnrolmentError)
        if not _is_count(self.epoch):
            raise MalformedEnrolmentError(
                f"epoch {shown(self.epoch)}: a whole number from 1 to 2**53 - 1"
            )

    def to_payload(self) -> bytes:
        """Return the canonical bytes that meter and registry sign."""
        return canonical.encode({
            "district": self.district, "epoch": self.epoch, "key": self.key.hex,
            "point": self.point, "profile": self.profile, "serial": self.serial,
            "valid_from": self.valid_from.key,
        })  # fmt: skip

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Parse a payload strictly.

        Raises:
            MalformedEnrolmentError: not canonical, other keys, or a value out of range.
        """
        try:
            fields = canonical.decode(payload, MAX_PAYLOAD_BYTES)
            _check_keys(fields, _ENROLMENT_KEYS, MalformedEnrolmentError)
            texts = {name: _text(fields, name) for name in _ENROLMENT_TEXTS}
            return cls(
                district=texts["district"], point=texts["point"], serial=texts["serial"],
                profile=texts["profile"], key=PublicKey.parse(texts["key"]),
                epoch=cast("int", fields["epoch"]), valid_from=Interval.parse(texts["valid_from"]),
            )  # fmt: skip
        except (canonical.CanonicalError, IdentityError, IntervalError) as error:
            raise MalformedEnrolmentError(str(error)) from error


_ENROLMENT_KEYS: Final = frozenset(
    {"district", "epoch", "key", "point", "profile", "serial", "valid_from"}
)
_ENROLMENT_TEXTS: Final = tuple(sorted(_ENROLMENT_KEYS - {"epoch"}))


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a poll found out, before it is chained and signed.

    Times are UTC milliseconds on the district clock: the request's window. ``raw`` is the SHA-256
    (hex) of all raw registers read; a register the meter lacks is ``None``. ``beacon`` is the
    digest (hex) of a milestone that was known by then: nobody can have signed it earlier.

    Raises:
        MalformedReadingError: a value that no reading can carry.
    """

    asked_ms: int
    answered_ms: int
    clock: Clock
    import_wh: int | None
    export_wh: int | None
    resolution_wh: int
    power_w: int | None
    quality: Quality
    raw: str
    beacon: str | None = None

    def __post_init__(self) -> None:
        _check_measured(self)


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading as it is signed; the fields bear the protocol's names.

    A ``beacon`` of None is left out of the payload.

    Raises:
        MalformedReadingError: a field's type, range or spelling breaks the protocol.
    """

    district: str
    point: str
    meter: str
    key: str
    epoch: int
    seq: int
    asked_ms: int
    answered_ms: int
    clock: Clock
    import_wh: int | None
    export_wh: int | None
    resolution_wh: int
    power_w: int | None
    quality: Quality
    raw: str
    prev: str
    beacon: str | None = None

    def __post_init__(self) -> None:
        _check_measured(self)
        _check_identity(self)

    @classmethod
    def of(cls, enrolment: Enrolment, measurement: Measurement, seq: int, prev: str) -> Self:
        """Return the reading of an enrolled meter as number ``seq`` of its chain."""
        return cls(
            district=enrolment.district, point=enrolment.point, meter=enrolment.serial,
            key=enrolment.key.hex, epoch=enrolment.epoch, seq=seq, prev=prev,
            asked_ms=measurement.asked_ms, answered_ms=measurement.answered_ms,
            clock=measurement.clock, import_wh=measurement.import_wh,
            export_wh=measurement.export_wh, resolution_wh=measurement.resolution_wh,
            power_w=measurement.power_w, quality=measurement.quality, raw=measurement.raw,
            beacon=measurement.beacon,
        )  # fmt: skip

    def to_payload(self) -> bytes:
        """Return the canonical bytes that the meter's key signs."""
        # As canonical.encode spells them, at a fifth of its cost: by what the constructor has
        # checked, no text but the meter's can need an escape, and each number is an int.
        beacon = "" if self.beacon is None else f'"beacon":"{self.beacon}",'
        return (
            f'{{"answered_ms":{self.answered_ms},"asked_ms":{self.asked_ms},{beacon}'
            f'"clock":"{self.clock}","district":"{self.district}","epoch":{self.epoch},'
            f'"export_wh":{_number(self.export_wh)},"import_wh":{_number(self.import_wh)},'
            f'"key":"{self.key}","meter":{canonical.quoted(self.meter)},"point":"{self.point}",'
            f'"power_w":{_number(self.power_w)},"prev":"{self.prev}","quality":"{self.quality}",'
            f'"raw":"{self.raw}","resolution_wh":{self.resolution_wh},"seq":{self.seq}}}'
        ).encode()

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Parse a payload strictly: it must be exactly what :meth:`to_payload` gives back.

        Raises:
            MalformedReadingError: not canonical, missing or unknown keys, or a value out of range.
        """
        reading = cls.from_stored(payload)
        if reading.to_payload() != payload:
            raise MalformedReadingError(
                "not the canonical spelling (RFC 8785): sort the keys, each once, no spaces"
            )
        return reading

    @classmethod
    def from_stored(cls, payload: bytes) -> Self:
        """Parse a payload whose spelling was checked when it came in.

        Raises:
            MalformedReadingError: not JSON, missing or unknown keys, or a value out of range.
        """
        try:
            fields = canonical.loads(payload, MAX_PAYLOAD_BYTES)
        except canonical.CanonicalError as error:
            raise MalformedReadingError(str(error)) from error
        if fields.keys() != _READING_KEYS and fields.keys() != _WITH_BEACON:
            _check_keys(fields, _READING_KEYS, MalformedReadingError)
        fields["clock"] = _member(_CLOCKS, "clock", fields["clock"])
        fields["quality"] = _member(_QUALITIES, "quality", fields["quality"])
        # The constructor checks every type and range, so the cast claims nothing unproved.
        return cast("Callable[..., Self]", cls)(**fields)


_WITH_BEACON: Final = frozenset(Reading.__dataclass_fields__)
_READING_KEYS: Final = _WITH_BEACON - {"beacon"}
_CLOCKS: Final[Mapping[object, Clock]] = {clock.value: clock for clock in Clock}
_QUALITIES: Final[Mapping[object, Quality]] = {quality.value: quality for quality in Quality}


@dataclass(frozen=True, slots=True)
class SignedReading:
    """A payload and its signature (64 bytes), verbatim."""

    payload: bytes
    signature: bytes


def link(payload: bytes, signature: bytes) -> str:
    """Return what the next reading's ``prev`` must be: SHA-256(payload || signature), hex."""
    return hashlib.sha256(payload + signature).hexdigest()


def leaf(salt: bytes, payload: bytes, signature: bytes) -> bytes:
    """Return the leaf of a reading: prefix || salt || payload || signature.

    Raises:
        LeafError: the salt has not 32 bytes or the signature not 64.
    """
    if len(salt) != SALT_BYTES or len(signature) != SIGNATURE_BYTES:
        raise LeafError(
            f"salt of {len(salt)} and signature of {len(signature)} bytes: "
            f"{SALT_BYTES} and {SIGNATURE_BYTES} are expected"
        )
    return LEAF_PREFIX + salt + payload + signature


def leaf_hash(salt: bytes, payload: bytes, signature: bytes) -> bytes:
    """Return the leaf's hash in a tree: SHA-256(00 || leaf) (RFC 9162, section 2.1.1)."""
    return hashlib.sha256(b"\0" + leaf(salt, payload, signature)).digest()


def _check_measured(values: Measurement | Reading) -> None:
    """Check what measurement and reading have in common."""
    for name, value in (
        ("asked_ms", values.asked_ms),
        ("answered_ms", values.answered_ms),
        ("resolution_wh", values.resolution_wh),
        ("import_wh", 0 if values.import_wh is None else values.import_wh),
        ("export_wh", 0 if values.export_wh is None else values.export_wh),
    ):
        if type(value) is not int or not 0 <= value < canonical.INTEGER_LIMIT:
            raise MalformedReadingError(
                f"{name} {shown(value)}: a whole number from 0 to 2**53 - 1"
            )
    if values.asked_ms > values.answered_ms:
        raise MalformedReadingError(
            f"answered_ms {values.answered_ms} lies before asked_ms {values.asked_ms}: "
            "the clock was set back in between, read again"
        )
    power = 0 if values.power_w is None else values.power_w
    if type(power) is not int or not -canonical.INTEGER_LIMIT < power < canonical.INTEGER_LIMIT:
        raise MalformedReadingError(
            f"power_w {shown(power)}: whole watts within +-(2**53 - 1), or null"
        )
    if type(values.clock) is not Clock or type(values.quality) is not Quality:
        raise MalformedReadingError("clock and quality: use the enumerations")
    for name, digest in (("raw", values.raw), ("beacon", values.beacon)):
        if digest is None and name == "beacon":
            continue
        if type(digest) is not str or not _is_hash(digest):
            raise MalformedReadingError(f"{name}: 64 lowercase hex digits are expected")


def _check_identity(reading: Reading) -> None:
    """Check what a reading adds to its measurement."""
    if not (_is_count(reading.epoch) and _is_count(reading.seq)):
        raise MalformedReadingError(
            f"epoch {shown(reading.epoch)}, seq {shown(reading.seq)}: whole numbers "
            "from 1 to 2**53 - 1"
        )
    for text in (reading.key, reading.prev):
        if type(text) is not str or not _is_hash(text):
            raise MalformedReadingError("key and prev: 64 lowercase hex digits each")
    if type(reading.district) is not str or type(reading.point) is not str:
        raise MalformedReadingError("district and point: texts are expected")
    try:
        check_district(reading.district)
        check_gsrn(reading.point)
    except IdentityError as error:
        raise MalformedReadingError(str(error)) from error
    _check_name("meter", reading.meter, MalformedReadingError)


def _number(value: int | None) -> int | str:
    return "null" if value is None else value


def _is_count(value: object) -> bool:
    return type(value) is int and 1 <= value < canonical.INTEGER_LIMIT


def _check_name(name: str, value: object, error: type[ReadingError]) -> None:
    if not (type(value) is str and 0 < len(value) <= MAX_NAME and value.isprintable()):
        raise error(f"{name} {shown(value)}: 1 to {MAX_NAME} printable characters")


def _check_keys(
    fields: Mapping[str, object], expected: frozenset[str], error: type[ReadingError]
) -> None:
    if fields.keys() != expected:
        missing, unknown = expected - fields.keys(), fields.keys() - expected
        raise error(f"missing keys {sorted(missing)}, unknown keys {_few(unknown)}")


def _few(names: Set[str]) -> str:
    return f"[{', '.join(map(shown, sorted(names)[:5]))}]"


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields[name]
    if type(value) is not str:
        raise MalformedEnrolmentError(f"{name}: a text is expected, got {type(value).__name__}")
    return str(value)


def _member(members: Mapping[object, _Member], name: str, value: object) -> _Member:
    member = members.get(value) if type(value) is str else None
    if member is None:
        raise MalformedReadingError(f"{name} {shown(value)}: one of {list(members)}")
    return member

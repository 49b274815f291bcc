"""What gateway and district say to each other about an enrolment; pure, one spelling per value.

Bodies are canonical JSON (RFC 8785), so that a duplicate key, a float or an unknown field is
refused before anything looks at it. Formats: docs/protocol.md, "Commissioning".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Annotated, Final, Literal, Self, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from metering import canonical
from metering.identity import IdentityError, PublicKey, check_district, check_gsrn
from metering.interval import Interval, IntervalError

MAX_BODY_BYTES: Final = 64 * 1024
TOKEN_GROUPS: Final = 4
GROUP: Final = 4
COMPARED_GROUPS: Final = 2
"""How many of a fingerprint's groups, the last ones, a person types to confirm it."""
ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O or U, so that a token can be read out and typed."""

_MISREAD: Final = str.maketrans({"I": "1", "L": "1", "O": "0"})
_PREFIX: Final = "wattloom-fingerprint-v1\0"
_FINGERPRINT_BYTES: Final = 10
_is_token: Final = re.compile(rf"[{ALPHABET}]{{{TOKEN_GROUPS * GROUP}}}").fullmatch


class WireError(ValueError):
    """Root of this module's errors: reject the body for good; nothing of it is used."""


class MalformedRequestError(WireError):
    """Not a body of this protocol (400): use a gateway of the server's version."""


class MalformedTokenError(WireError):
    """Not the shape of a token (401): look for a typing error."""


def spell_token(text: str) -> str:
    """Return a token in its one spelling, ``K7QX-9F2M-TA4D-0WZE``; I, L and O are read as digits.

    Raises:
        MalformedTokenError: not 16 characters of the alphabet.
    """
    bare = re.sub(r"[\s-]", "", text[:64]).upper().translate(_MISREAD)
    if not _is_token(bare):
        raise MalformedTokenError(
            "this is no token: it has 16 letters and digits in four groups, such as "
            "K7QX-9F2M-TA4D-0WZE; type it as the web page shows it"
        )
    return "-".join(bare[at : at + GROUP] for at in range(0, len(bare), GROUP))


def token_hash(token: str) -> str:
    """Return what is kept of a token (spelt by :func:`spell_token`): its SHA-256, hex."""
    return hashlib.sha256(token.encode()).hexdigest()


def fingerprint(key: PublicKey) -> str:
    """Return what people compare of a key: 80 bits of a SHA-256 as five groups of hex.

    The prefix keeps anybody from using a hash that was worked out for something else.
    """
    digest = hashlib.sha256(_PREFIX.encode() + key.raw).hexdigest()[: 2 * _FINGERPRINT_BYTES]
    return " ".join(digest[at : at + GROUP] for at in range(0, len(digest), GROUP))


def compared(fingerprint_: str) -> tuple[str, str]:
    """Return a fingerprint as (shown where it is confirmed, to be typed there)."""
    groups = fingerprint_.split()
    return " ".join(groups[:-COMPARED_GROUPS]), " ".join(groups[-COMPARED_GROUPS:])


def same_groups(typed: str, expected: str) -> bool:
    """Tell whether somebody typed the expected groups, however they spaced and wrote them."""
    return re.sub(r"[\s-]", "", typed[:64]).lower() == expected.replace(" ", "")


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("printable characters only")
    return text


def _gsrn(text: str) -> str:
    return _of_protocol(check_gsrn, text)


def _district(text: str) -> str:
    return _of_protocol(check_district, text)


def _interval(text: str) -> str:
    return _of_protocol(lambda each: Interval.parse(each).key, text)


def _key(text: str) -> str:
    return _of_protocol(lambda each: PublicKey.parse(each).hex, text)


_Name = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)]
_Text = Annotated[str, Field(max_length=240), AfterValidator(_printable)]
_Key = Annotated[str, Field(max_length=64), AfterValidator(_key)]
_Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
_Wh = Annotated[int, Field(ge=0, lt=canonical.INTEGER_LIMIT)]
_Moment = Annotated[int, Field(ge=0, lt=4_102_444_800_000)]  # to the year 2100
_Payload = Annotated[str, Field(max_length=2_048)]

VERDICTS: Final = ("good", "unseen", "look", "wrong")
Verdict = Literal["good", "unseen", "look", "wrong"]
"""``good``; ``unseen``: nothing to judge by yet; ``look``: a person should; ``wrong``: mend it."""


class Message(BaseModel):
    """A body with one spelling: strict, without unknown fields, canonical JSON on the wire."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def to_json(self) -> str:
        """Return the one spelling of this message, canonical JSON."""
        return canonical.encode(self.model_dump()).decode()

    @classmethod
    def parse(cls, body: str | bytes) -> Self:
        """Return the message in a body or a stored text.

        Raises:
            MalformedRequestError: not canonical JSON, too long, or a field breaks its rule.
        """
        try:
            data = body.encode() if isinstance(body, str) else body
            return cls.model_validate(canonical.decode(data, MAX_BODY_BYTES))
        except (canonical.CanonicalError, UnicodeEncodeError) as error:
            raise MalformedRequestError(str(error)) from error
        except ValidationError as error:
            raise MalformedRequestError(_explain(error)) from error


class Finding(Message):
    """One thing that was looked at: what the meter shows, what is plausible, what to do.

    ``value`` and ``plausible`` are in ``unit``, as people read them.
    """

    check: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$")]
    label: _Name
    value: _Text
    unit: Annotated[str, Field(max_length=16), AfterValidator(_printable)]
    plausible: _Text
    verdict: Verdict
    advice: _Text


class Report(Message):
    """What ``wattloom meter test`` found, as the manager sees it beside the confirmation."""

    read_ms: _Moment
    profile: _Name
    version: Annotated[str, Field(pattern=r"^[0-9a-f]{0,64}$")]
    findings: Annotated[list[Finding], Field(max_length=64)]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all findings; ``unseen`` when there are none."""
        return cast(
            "Verdict",
            max((each.verdict for each in self.findings), key=VERDICTS.index, default="unseen"),
        )


class Registers(Message):
    """A meter's counters at a moment (UTC ms), Wh; ``None`` where it has no such counter."""

    at_ms: _Moment
    import_wh: _Wh | None
    export_wh: _Wh | None


class Exchange(Message):
    """One meter in another's place: what the old one showed last, and the new one first.

    ``closing_by`` says whether a poll or a person read the old one (it may be dead).
    """

    old_key: _Key
    closing: Registers
    closing_by: Literal["meter", "person"]
    opening: Registers


class GatewayName(Message):
    """Under which name and key the gateway signs its batches."""

    key: _Key
    name: _Name


class EnrolmentRequest(Message):
    """An enrolment as its meter signed it, who brings it, and what they saw."""

    by: _Name
    enrolment: _Payload
    exchange: Exchange | None
    gateway: GatewayName
    possession: _Signature
    report: Report


class Offer(Message):
    """What a token allows: one enrolment at a point, for a meter to come or in place of one."""

    district: Annotated[str, AfterValidator(_district)]
    point: Annotated[str, AfterValidator(_gsrn)]
    name: _Text
    purpose: Literal["add", "replace"]
    valid_from: Annotated[str, AfterValidator(_interval)]
    max_power_w: _Wh
    old_key: _Key | None
    old_serial: _Name | None


class RotationRequest(Message):
    """A new key for the same meter: its enrolment, signed by the new and by the old key."""

    enrolment: _Payload
    handover: _Signature
    old: _Key
    possession: _Signature


class Standing(Message):
    """How far an enrolment has come; ``registry`` and ``log_index`` once it is active."""

    key: _Key
    fingerprint: _Text
    point: Annotated[str, AfterValidator(_gsrn)]
    state: Literal["pending", "active", "revoked", "withdrawn"]
    registry: _Signature | None
    log_index: _Wh | None
    revoked_from: str | None


def _of_protocol(check: Callable[[str], str], text: str) -> str:
    """Run a check of the protocol as one of pydantic's."""
    try:
        return check(text)
    except (IdentityError, IntervalError) as error:
        raise ValueError(str(error)) from error


def _explain(error: ValidationError) -> str:
    """Name the first breaches by place and rule, and echo nothing of what was sent."""
    faults = error.errors(include_input=False, include_url=False)[:5]
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in faults)

"""Batches: how a gateway sends signed readings, and the per-item answer it gets back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, Self, cast

from nacl.signing import SigningKey

from metering import canonical
from metering.identity import IdentityError, PublicKey, check_district
from metering.reading import MAX_NAME, SignedReading
from metering.signing import Purpose, public_key, sign, verify

MAX_READINGS: Final = 1_000
MAX_BODY_BYTES: Final = 1024 * 1024
_MAX_HEADER_BYTES: Final = 2_048
_HEADER_KEYS: Final = frozenset({"count", "digest", "district", "gateway", "key", "uploaded_ms"})
_ITEM_OVERHEAD: Final = len('{"payload":,"signature":""},') + 2 * 64
_ENVELOPE_BYTES: Final = 1_024  # room for header, its signature and the braces
_is_hash: Final = re.compile(r"[0-9a-f]{64}").fullmatch
_is_signature: Final = re.compile(r"[0-9a-f]{128}").fullmatch


class BatchError(ValueError):
    """Root of this module's errors: the whole batch is refused, no item of it is stored."""


class BatchTooLargeError(BatchError):
    """More than 1,000 readings or 1 MiB: answer 413; the sender must split it."""


class MalformedBatchError(BatchError):
    """The body breaks the format: answer 400; mend the gateway."""


class ForgedBatchError(BatchError):
    """Header, digest, count or signature do not agree: answer 401 and keep a security event."""


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """What the gateway's key signs about a batch; ``digest`` is hex, time is district time.

    Raises:
        MalformedBatchError: a field breaks the protocol.
    """

    count: int
    digest: str
    district: str
    gateway: str
    key: PublicKey
    uploaded_ms: int

    def __post_init__(self) -> None:
        try:
            check_district(self.district)
        except IdentityError as error:
            raise MalformedBatchError(f"header: {error}") from error
        if type(self.count) is not int or not 1 <= self.count <= MAX_READINGS:
            raise MalformedBatchError(
                f"header: count {canonical.shown(self.count)}, 1 to {MAX_READINGS} allowed"
            )
        if not _is_hash(self.digest):
            raise MalformedBatchError("header: digest must be 64 lowercase hex digits")
        if not (0 < len(self.gateway) <= MAX_NAME and self.gateway.isprintable()):
            raise MalformedBatchError(
                f"header: gateway must be 1 to {MAX_NAME} printable characters"
            )
        if type(self.uploaded_ms) is not int or not 0 <= self.uploaded_ms < canonical.INTEGER_LIMIT:
            raise MalformedBatchError(
                "header: uploaded_ms must be a whole number from 0 to 2**53 - 1"
            )

    def to_payload(self) -> bytes:
        """Return the canonical bytes that the gateway's key signs."""
        return canonical.encode({
            "count": self.count, "digest": self.digest, "district": self.district,
            "gateway": self.gateway, "key": self.key.hex, "uploaded_ms": self.uploaded_ms,
        })  # fmt: skip

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Parse a header strictly.

        Raises:
            MalformedBatchError: not canonical, other keys, or a value out of range.
        """
        try:
            fields = canonical.decode(payload, _MAX_HEADER_BYTES)
            if fields.keys() != _HEADER_KEYS:
                raise MalformedBatchError(f"header: the keys must be {sorted(_HEADER_KEYS)}")
            texts = {name: _text(fields, name) for name in ("digest", "district", "gateway", "key")}
            return cls(
                count=cast("int", fields["count"]), digest=texts["digest"],
                district=texts["district"], gateway=texts["gateway"],
                key=PublicKey.parse(texts["key"]), uploaded_ms=cast("int", fields["uploaded_ms"]),
            )  # fmt: skip
        except (canonical.CanonicalError, IdentityError) as error:
            raise MalformedBatchError(f"header: {error}") from error


@dataclass(frozen=True, slots=True)
class Batch:
    """A signed header, verbatim, and its readings in order."""

    header: bytes
    header_signature: bytes
    readings: tuple[SignedReading, ...]

    @classmethod
    def pack(
        cls, readings: Sequence[SignedReading], key: SigningKey,
        district: str, gateway: str, uploaded_ms: int,
    ) -> Self:  # fmt: skip
        """Sign readings as one batch of ``gateway``.

        Raises:
            MalformedBatchError: none, or more than 1,000, or a name the protocol refuses.
        """
        header = BatchHeader(
            count=len(readings), digest=digest(readings), district=district, gateway=gateway,
            key=public_key(key), uploaded_ms=uploaded_ms,
        ).to_payload()  # fmt: skip
        return cls(header, sign(key, Purpose.BATCH, header), tuple(readings))

    def to_body(self) -> bytes:
        """Return the JSON body of ``POST /api/v1/readings``.

        Raises:
            BatchTooLargeError: the body exceeds 1 MiB: take fewer readings (:func:`fitting`).
        """
        items = [
            {"payload": reading.payload.decode(), "signature": reading.signature.hex()}
            for reading in self.readings
        ]
        body = canonical.dumps({
            "header": self.header.decode(), "header_signature": self.header_signature.hex(),
            "readings": items,
        })  # fmt: skip
        _check_size(len(body), len(items))
        return body

    @classmethod
    def from_body(cls, body: bytes) -> Self:
        """Parse a body; its shape is judged here, its signatures by :meth:`check` and per item.

        Raises:
            BatchTooLargeError: more than 1 MiB or 1,000 readings.
            MalformedBatchError: not JSON, duplicate, missing or unknown keys, wrong types.
        """
        _check_size(len(body), 0)
        fields = _loads(body)
        items = fields.get("readings")
        if fields.keys() != {"header", "header_signature", "readings"} or type(items) is not list:
            raise MalformedBatchError("the body must be {header, header_signature, readings: []}")
        _check_size(len(body), len(items))
        readings = tuple(_item(index, item) for index, item in enumerate(items))
        signature = _signature("header_signature", fields["header_signature"])
        return cls(_utf8("header", fields["header"]), signature, readings)

    def check(self) -> BatchHeader:
        """Return the header once signature, count and digest agree with it.

        The key is the one the header names: whether that is an enrolled gateway of this
        district is the caller's to look up.

        Raises:
            MalformedBatchError: the header breaks the format.
            ForgedBatchError: the signature, the count or the digest is wrong.
        """
        header = BatchHeader.from_payload(self.header)
        if not verify(header.key, Purpose.BATCH, self.header, self.header_signature):
            raise ForgedBatchError("header: the signature is not that of the key it names")
        if header.count != len(self.readings) or header.digest != digest(self.readings):
            raise ForgedBatchError("header: count or digest differ from the readings: send again")
        return header


def digest(readings: Sequence[SignedReading]) -> str:
    """Return SHA-256 (hex) over the concatenation of payload || signature of the readings."""
    state = hashlib.sha256()
    for reading in readings:
        state.update(reading.payload + reading.signature)
    return state.hexdigest()


def fitting(readings: Sequence[SignedReading]) -> int:
    """Return how many of the first readings go into one batch: at most 1,000 and 1 MiB."""
    room = MAX_BODY_BYTES - _ENVELOPE_BYTES
    for index, reading in enumerate(readings[:MAX_READINGS]):
        room -= len(json.dumps(reading.payload.decode(), ensure_ascii=False).encode())
        room -= _ITEM_OVERHEAD
        if room < 0:
            return index
    return min(len(readings), MAX_READINGS)


def _check_size(body_bytes: int, readings: int) -> None:
    if body_bytes > MAX_BODY_BYTES or readings > MAX_READINGS:
        raise BatchTooLargeError(
            f"{readings} readings in {body_bytes} bytes: at most {MAX_READINGS} and "
            f"{MAX_BODY_BYTES} are accepted, split the batch"
        )


def _loads(body: bytes) -> dict[str, object]:
    """Parse any spelling of the envelope; only what is signed has to be canonical."""
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_unique, parse_float=_refuse, parse_constant=_refuse
        )
    except MalformedBatchError:
        raise
    except (ValueError, RecursionError) as error:
        raise MalformedBatchError(f"not JSON in UTF-8: {canonical.json_fault(error)}") from error
    if type(value) is not dict:
        raise MalformedBatchError("an object is expected")
    return value


def _refuse(text: str) -> NoReturn:
    raise MalformedBatchError(f"{text[:40]!r}: no such number belongs into a batch")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedBatchError("a key stands twice in one object")
    return fields


def _item(index: int, item: object) -> SignedReading:
    if type(item) is not dict or item.keys() != {"payload", "signature"}:
        raise MalformedBatchError(f"readings[{index}] must be {{payload, signature}}")
    where = f"readings[{index}]"
    return SignedReading(_utf8(where, item["payload"]), _signature(where, item["signature"]))


def _utf8(where: str, value: object) -> bytes:
    try:
        if type(value) is str:
            return str(value).encode()
    except UnicodeEncodeError as error:
        raise MalformedBatchError(f"{where}: lone surrogate") from error
    raise MalformedBatchError(f"{where}: a text is expected")


def _signature(where: str, value: object) -> bytes:
    if type(value) is not str or not _is_signature(value):
        raise MalformedBatchError(f"{where}: a signature is 128 lowercase hex digits")
    return bytes.fromhex(value)


def _text(fields: canonical.Object, name: str) -> str:
    value = fields[name]
    if type(value) is not str:
        raise MalformedBatchError(f"header: {name} must be a text")
    return str(value)

"""Canonical JSON (RFC 8785) for what is signed: one text per value, and strict reading back.

Only the subset that docs/protocol.md allows: objects with ASCII keys, strings, integers with
``|n| < 2**53``, null and arrays. No floats and no booleans.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn, TypeAlias

Value: TypeAlias = "str | int | Sequence[Value] | Mapping[str, Value] | None"
Object: TypeAlias = "dict[str, Value]"

INTEGER_LIMIT: Final = 2**53
MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 16
_SHOWN: Final = 80  # characters of a refused value in an error message


class CanonicalError(ValueError):
    """Root of this module's errors: reject the bytes, or the value, for good."""


class UnencodableError(CanonicalError):
    """The value holds something outside the subset: mend the code that built it."""


class NotCanonicalError(CanonicalError):
    """The bytes are not canonical JSON: reject them (400); the sender must encode again."""


def _refuse_number(text: str) -> NoReturn:
    raise NotCanonicalError(
        f"{text[:40]!r} is not allowed: numbers are whole, without point or exponent"
    )


_encoder: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, sort_keys=True,
    separators=(",", ":"),
)  # fmt: skip
_decoder: Final = json.JSONDecoder(parse_float=_refuse_number, parse_constant=_refuse_number)


def encode(value: Mapping[str, Value]) -> bytes:
    """Return the canonical UTF-8 bytes of an object.

    Raises:
        UnencodableError: a float, a boolean, an integer beyond 2**53 - 1, a key that is not
            printable ASCII, a NUL or lone surrogate in a string, or too deep a nesting.
    """
    _check(value, "$", MAX_DEPTH)
    return _encoder.encode(value).encode()


def decode(data: bytes, max_bytes: int = MAX_BYTES) -> Object:
    """Return the object whose canonical bytes are ``data``; nothing else is accepted.

    Raises:
        NotCanonicalError: not UTF-8, not JSON, not an object, a value outside the subset, larger
            than ``max_bytes``, or any other spelling than the canonical one (which includes
            duplicate keys, since encoding again would drop one).
    """
    value = loads(data, max_bytes)
    try:
        again = encode(value)
    except UnencodableError as error:
        raise NotCanonicalError(str(error)) from error
    if again != data:
        raise NotCanonicalError(
            "not the canonical spelling (RFC 8785): sort the keys, each once, without spaces "
            "and without needless escapes"
        )
    return value


def loads(data: bytes, max_bytes: int = MAX_BYTES) -> Object:
    """Parse ``data`` to an object without judging its spelling: only for callers that do.

    Raises:
        NotCanonicalError: not UTF-8, not JSON, not an object, too large, too deep, or a float.
    """
    if len(data) > max_bytes:
        raise NotCanonicalError(f"{len(data)} bytes: at most {max_bytes} are accepted")
    try:
        value = _decoder.decode(data.decode())
    except CanonicalError:
        raise
    except (ValueError, RecursionError) as error:
        raise NotCanonicalError(f"not JSON in UTF-8: {json_fault(error)}") from error
    if type(value) is not dict:
        raise NotCanonicalError(f"an object is expected, got {type(value).__name__}")
    return value


def shown(value: object) -> str:
    """Return a refused value for an error message: printable, 80 characters at most."""
    if isinstance(value, str):
        text = repr(value[:_SHOWN])
    elif value is None or type(value) in (int, bool):
        text = repr(value)
    else:
        return "(a list)" if isinstance(value, list | tuple) else "(neither text nor number)"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def json_fault(error: ValueError | RecursionError) -> str:
    """Say in words why Python's parser refused a text."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} does not belong there"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "a number has too many digits"


def dumps(checked: Mapping[str, Value]) -> bytes:
    """Encode an object whose values the caller has checked already (the fast path of a Reading).

    Raises:
        UnencodableError: a lone surrogate in a string.
    """
    try:
        return _encoder.encode(checked).encode()
    except UnicodeEncodeError as error:
        raise UnencodableError("a text holds a lone surrogate") from error


def quoted(checked: str) -> str:
    """Spell a text that the caller has checked already, with its quotation marks."""
    return _encoder.encode(checked)


def _check(value: object, where: str, depth: int) -> None:
    """Walk a value and refuse whatever stands outside the subset, naming its place."""
    kind = type(value)
    if kind is str:
        _check_text(str(value), where)
    elif isinstance(value, int) and kind is int:
        if not -INTEGER_LIMIT < value < INTEGER_LIMIT:
            raise UnencodableError(f"{where}: the integer must lie within +-(2**53 - 1)")
    elif value is not None:
        _check_container(value, where, depth)


def _check_container(value: object, where: str, depth: int) -> None:
    if depth == 0:
        raise UnencodableError(f"{where}: nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str or not key.isascii() or not key.isprintable():
                raise UnencodableError(f"{where}: key {shown(key)} is not printable ASCII text")
            _check(item, f"{where}.{key[:_SHOWN]}", depth - 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]", depth - 1)
    else:
        raise UnencodableError(
            f"{where}: {type(value).__name__} is not allowed, only text, whole numbers, null, "
            "arrays and objects"
        )


def _check_text(text: str, where: str) -> None:
    if "\0" in text:
        raise UnencodableError(f"{where}: NUL in a text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UnencodableError(f"{where}: lone surrogate in a text") from error

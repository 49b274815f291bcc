"""What a message of an MQTT meter says, by its mapping: bytes in, exact values out; pure.

Decimals are read as they are written, never as floating point. A value that is null, NaN or absent
is missing; text that is no decimal is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

from metering.inputs.config import Device, Register, Time
from metering.quantities import Power, RegisterTotal
from metering.registers import MeterValues

MAX_BYTES: Final = 64 * 1024
_LARGEST: Final = 2**53  # of what a reading can carry
_DIGITS: Final = 30
_UNIX_MS_FROM: Final = 10**11  # seconds get there in the year 5138
_NUMBER: Final = re.compile(r"\s*[+-]?[0-9]{1,30}(\.[0-9]{1,30})?\s*")


class MessageError(ValueError):
    """Root of this module's errors: there is no reading from this message; wait for the next."""


class NotJsonError(MessageError):
    """It is no JSON, or too long: look at what the meter publishes there."""


class OddValueError(MessageError):
    """A value is none that a counter or a power can have: compare the mapping with a message."""


class StaleMessageError(MessageError):
    """It was measured long ago, or its time cannot be told: check the meter's clock."""


class _Absent:
    """Stands for a path that leads nowhere, which is not the same as null."""


_ABSENT: Final = _Absent()


def read_message(device: Device, payload: bytes, heard_ms: int) -> MeterValues | None:
    """Return what a message says; None where it tells of no counter, and so of something else.

    Raises:
        MessageError: it cannot be taken; the kind says why.
    """
    tree = _tree(payload)
    registers = (device.import_, device.export)
    found = [_ABSENT if one is None else _at(tree, one.path) for one in registers]
    if all(isinstance(one, _Absent) for one in found):
        return None
    if device.time is not None:
        _check_time(device, device.time, _at(tree, device.time.path), heard_ms)
    totals = [
        None if register is None else _total(register, value)
        for register, value in zip(registers, found, strict=True)
    ]
    return MeterValues(
        import_total=totals[0],
        export_total=totals[1],
        power=None if device.power is None else _power(device.power, _at(tree, device.power.path)),
        voltages_mv=(None, None, None),
        frequency_mhz=None,
        resolution_wh=device.resolution_wh,
        raw_digest=hashlib.sha256(payload).digest(),
    )


def _tree(payload: bytes) -> object:
    if len(payload) > MAX_BYTES:
        raise NotJsonError(f"{len(payload)} bytes: a message has at most {MAX_BYTES}")
    try:
        tree: object = json.loads(payload, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise NotJsonError(f"no JSON: {payload[:40]!r}") from error
    return tree


def _no_number(_: str) -> None:
    """NaN and the infinities say that there is no value."""


def _at(tree: object, path: str) -> object:
    for name in path.split("."):
        if isinstance(tree, dict) and name in tree:
            tree = tree[name]
        elif isinstance(tree, list) and name.isascii() and name.isdigit() and int(name) < len(tree):
            tree = tree[int(name)]
        else:
            return _ABSENT
    return tree


def _total(register: Register, value: object) -> RegisterTotal | None:
    """Return a counter, floored to whole Wh as those of registers are."""
    exact = _scaled(register, value)
    if exact is None:
        return None
    if exact < 0:
        raise OddValueError(f"{register.path}: {value} {register.unit}: a counter is never below 0")
    return RegisterTotal(math.floor(exact))


def _power(register: Register, value: object) -> Power | None:
    exact = _scaled(register, value)
    return None if exact is None else Power(math.floor(exact + Fraction(1, 2)))


def _scaled(register: Register, value: object) -> Fraction | None:
    if value is None or isinstance(value, _Absent):
        return None
    number = _number(register.path, value)
    if number is None:
        return None
    exact = number * register.factor()
    if abs(exact) >= _LARGEST:
        raise OddValueError(f"{register.path}: more {register.unit} than any meter counts")
    return exact


def _number(path: str, value: object) -> Fraction | None:
    """Return a number exactly; text counts if it is a plain decimal."""
    if isinstance(value, str) and value.strip().lower() in {"nan", "null", "unavailable", ""}:
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise OddValueError(f"{path}: {str(value)[:40]!r} is no number: does the path lead there?")
    if isinstance(value, Decimal) and (
        not value.is_finite()
        or abs(value.adjusted()) > _DIGITS
        or len(value.as_tuple().digits) > 2 * _DIGITS
    ):
        raise OddValueError(f"{path}: a number of another order than any meter's")
    return Fraction(value)


def _check_time(device: Device, time: Time, value: object, heard_ms: int) -> None:
    """Refuse what was measured longer ago than ``max_age_s``, or later than it came."""
    at_ms = _moment(time, value)
    off_s = (heard_ms - at_ms) / 1_000
    if abs(off_s) > device.max_age_s:
        when = f"{abs(off_s):,.0f} s {'before' if off_s > 0 else 'after'} it came"
        raise StaleMessageError(
            f"measured {when} (its {time.path}), allowed are {device.max_age_s:g} s (max_age_s): "
            "an old value, or a wrong clock or zone"
        )


def _moment(time: Time, value: object) -> int:
    try:
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                if not time.zone:
                    raise StaleMessageError(
                        f"{time.path}: {value[:40]!r} says no zone: write zone beside its path"
                    )
                moment = moment.replace(tzinfo=ZoneInfo(time.zone))
            return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        number = None if isinstance(value, _Absent | type(None)) else _number(time.path, value)
    except (ValueError, OverflowError) as error:
        if isinstance(error, MessageError):
            raise
        raise StaleMessageError(f"{time.path}: {value!s:.40} is no time: {error}") from error
    if number is None:
        raise StaleMessageError(f"{time.path} is absent: it cannot be told how old the values are")
    return math.floor(number * (1 if number >= _UNIX_MS_FROM else 1_000))

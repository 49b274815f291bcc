"""Telegrams of a P1 port (DSMR 4 and 5, eSMR): bytes in, a meter's values out; pure.

Source: DSMR P1 Companion Standard 5.0.2, sections 6.2 to 6.12: ``/`` + maker + identification, a
blank line, a COSEM object a line, ``!`` and a CRC-16 (polynomial x16 + x15 + x2 + 1, lowest bit
first) over everything from ``/`` to ``!``, written as four upper-case hexadecimal digits.
Counters and power are what the meter delivers *to* the client (import) and *by* the client.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from metering.quantities import Power, RegisterTotal
from metering.registers import MeterValues

MAX_BYTES: Final = 8 * 1024
"""The longest telegram looked at: one with every object and four M-Bus devices has some 2,000."""

_POLYNOMIAL: Final = 0xA001  # x16 + x15 + x2 + 1, lowest bit first
# Neither "/" nor "!" is a character of a telegram's text (IEC 62056-21).
_WHOLE: Final = re.compile(rb"/[^/!]*![^\n]*\n")
_FRAME: Final = re.compile(rb"(/[^/!]*!)([0-9A-F]{4})\r\n")
_OBJECT: Final = re.compile(r"([0-9]{1,3}-[0-9]{1,3}:[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})(\(.*\))")
_TIME: Final = re.compile(r"\(([0-9]{12})([SW])\)")
_OCTETS: Final = re.compile(r"\(((?:[0-9A-Fa-f]{2})+)\)")
_OFFSETS: Final = {"W": timezone(timedelta(hours=1)), "S": timezone(timedelta(hours=2))}

_TIMESTAMP: Final = "0-0:1.0.0"
_SERIAL: Final = "0-0:96.1.1"
_IMPORT, _EXPORT = "1-0:1.8", "1-0:2.8"
_POWERS: Final = ("1-0:1.7.0", "1-0:2.7.0")
_VOLTAGES: Final = ("1-0:32.7.0", "1-0:52.7.0", "1-0:72.7.0")
_TARIFFS: Final = range(1, 5)


class TelegramError(ValueError):
    """Root of this module's errors: there is no reading from this telegram; wait for the next."""


class FrameError(TelegramError):
    """It is no whole telegram: check the line's speed (115,200 baud, 8N1) and its inversion."""


class ChecksumError(TelegramError):
    """Its checksum does not fit: a byte was lost or changed on the way; check cable and length."""


class ObjectError(TelegramError):
    """An object is absent, there twice, or not of its form: show the telegram to a person."""


@dataclass(frozen=True, slots=True)
class Telegram:
    """What a meter said: its serial number, its own clock (UTC ms) and its values.

    The counters are the sums of their tariffs, exact to 1 Wh. ``at_ms`` is the meter's clock and
    no proof of the time at which the telegram came.
    """

    serial: str
    at_ms: int
    values: MeterValues


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """Cut what came over the line into whole telegrams and the beginning of the next.

    What precedes a ``/`` is dropped, a telegram that broke off before the next one began, and a
    beginning longer than :data:`MAX_BYTES`: a line that brings noise takes no memory.
    """
    end, telegrams = 0, []
    for match in _WHOLE.finditer(data):
        telegrams.append(match[0])
        end = match.end()
    start = data.rfind(b"/", end)
    return telegrams, data[start:] if start >= 0 and len(data) - start <= MAX_BYTES else b""


def parse(data: bytes) -> Telegram:
    """Return what one whole telegram says.

    Raises:
        FrameError: it does not reach from ``/`` to ``!``, a checksum and CR LF.
        ChecksumError: the checksum is not that of its bytes.
        ObjectError: naming the object and what is wrong with it.
    """
    if len(data) > MAX_BYTES:
        raise FrameError(f"{len(data)} bytes: a telegram has at most {MAX_BYTES}")
    frame = _FRAME.fullmatch(data)
    if frame is None:
        raise FrameError(
            f"not a telegram from '/' to '!', four hexadecimal digits and CR LF: "
            f"{data[:16]!r} ... {data[-8:]!r}; telegrams before DSMR 4 have no checksum and are "
            "not accepted"
        )
    expected, found = crc16(frame[1]), int(frame[2], 16)
    if expected != found:
        raise ChecksumError(f"its bytes make {expected:04X}, it says {found:04X}")
    objects = _objects(frame[1])
    return Telegram(
        serial=_serial(objects),
        at_ms=_moment(objects),
        values=MeterValues(
            import_total=_total(objects, _IMPORT),
            export_total=_total(objects, _EXPORT) if _has(objects, _EXPORT) else None,
            power=_power(objects),
            voltages_mv=_voltages(objects),
            frequency_mhz=None,
            resolution_wh=1,
            raw_digest=hashlib.sha256(data).digest(),
        ),
    )


def crc16(data: bytes) -> int:
    """Return the checksum of a telegram's bytes from ``/`` to ``!`` (CRC-16/ARC)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc


def _objects(body: bytes) -> dict[str, str]:
    """Return the text behind each object's OBIS code; lines that are no object are left out."""
    try:
        lines = body.decode("ascii").split("\r\n")
    except UnicodeDecodeError as error:
        raise FrameError(f"byte {error.start} is not ASCII") from error
    objects: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        match = _OBJECT.fullmatch(line)
        if match is None:
            continue
        if match[1] in objects:
            raise ObjectError(f"line {number}: {match[1]} is there twice")
        objects[match[1]] = match[2]
    return objects


def _text(objects: Mapping[str, str], code: str) -> str:
    if code not in objects:
        raise ObjectError(f"{code} is absent")
    return objects[code]


def _serial(objects: Mapping[str, str]) -> str:
    octets = _OCTETS.fullmatch(_text(objects, _SERIAL))
    serial = "" if octets is None else bytes.fromhex(octets[1]).decode("ascii", "replace")
    if not (serial.isascii() and serial.isprintable() and serial.strip()):
        raise ObjectError(f"{_SERIAL}{objects[_SERIAL][:40]} is no serial number in hexadecimal")
    return serial.strip()


def _moment(objects: Mapping[str, str]) -> int:
    """Return the meter's clock in UTC ms; S is summer time (UTC+2), W winter time (UTC+1)."""
    match = _TIME.fullmatch(_text(objects, _TIMESTAMP))
    try:
        if match is not None:
            local = datetime.strptime(match[1], "%y%m%d%H%M%S").replace(tzinfo=_OFFSETS[match[2]])
            return round((local - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))
    except ValueError:
        pass
    raise ObjectError(
        f"{_TIMESTAMP}{objects[_TIMESTAMP][:40]} is no moment YYMMDDhhmmss with S or W"
    )


def _has(objects: Mapping[str, str], counter: str) -> bool:
    return any(code.startswith(f"{counter}.") for code in objects)


def _total(objects: Mapping[str, str], counter: str) -> RegisterTotal:
    """Return the sum of a counter's tariffs, or its total where it has none."""
    tariffs = [code for n in _TARIFFS if (code := f"{counter}.{n}") in objects]
    return RegisterTotal(
        sum(_thousandths(objects, code, "kWh") for code in tariffs or [f"{counter}.0"])
    )


def _power(objects: Mapping[str, str]) -> Power | None:
    if not all(code in objects for code in _POWERS):
        return None
    to_client, by_client = (_thousandths(objects, code, "kW") for code in _POWERS)
    return Power(to_client - by_client)


def _voltages(objects: Mapping[str, str]) -> tuple[int | None, int | None, int | None]:
    l1, l2, l3 = (
        _thousandths(objects, code, "V") if code in objects else None for code in _VOLTAGES
    )
    return l1, l2, l3


def _thousandths(objects: Mapping[str, str], code: str, unit: str) -> int:
    """Return a decimal with at most three places in thousandths of its unit, exactly."""
    text = _text(objects, code)
    match = re.fullmatch(r"\(([0-9]{1,9})(?:\.([0-9]{1,3}))?\*" + unit + r"\)", text)
    if match is None:
        raise ObjectError(f"{code}{text[:40]} is no decimal in {unit} with up to three places")
    return int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0"))

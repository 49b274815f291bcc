"""Who tells the time: the kernel, chrony, an NTP server, the Date of the district's answers.

Each returns :class:`~metering.box.clock.Bounds` of this machine's clock, or ``None`` when it does
not know. Sources: adjtimex(2); chronyc(1), "tracking"; RFC 5905, section 7.3 (NTP packet) and
RFC 4330 (SNTP client); RFC 9110, section 6.6.1 (Date).
"""

from __future__ import annotations

import asyncio
import ctypes
import secrets
import shutil
import socket
import struct
import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from metering.box.clock import Bounds, steady_ms

_NTP_PORT: Final = 123
_NTP_EPOCH_S: Final = 2_208_988_800  # 1900 to 1970
_NTP_PACKET: Final = struct.Struct("!BBbb11I")
_NTP_TIMEOUT_S: Final = 2.0
_CHRONY_TIMEOUT_S: Final = 2.0
_UNSYNCHRONISED: Final = 0x0040  # STA_UNSYNC
_ALARM: Final = 3  # leap indicator: the server's own clock is not set
_LONGEST_WAY_MS: Final = 5_000


class TimeSourceError(Exception):
    """A source gave no usable answer: ask again later; what it said before grows old by itself."""


class _Timeval(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_usec", ctypes.c_long))


class _Timex(ctypes.Structure):
    """``struct timex`` of Linux, as far as we look."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", _Timeval),
        ("rest", ctypes.c_byte * 256),  # the kernel writes 19 more words at most
    )


def kernel() -> Bounds | None:
    """Return what the kernel knows: the largest error that its time daemon vouches for."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "adjtimex"):
        return None
    answer = _Timex()
    if libc.adjtimex(ctypes.byref(answer)) < 0 or answer.status & _UNSYNCHRONISED:
        return None
    return Bounds.around(0.0, answer.maxerror / 1_000, steady_ms())


async def chrony() -> Bounds | None:
    """Return what chronyd says, where it runs; it need not tell the kernel (``rtcsync``)."""
    program = shutil.which("chronyc")
    if program is None:
        return None
    process = await asyncio.create_subprocess_exec(
        program, "-c", "tracking",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_CHRONY_TIMEOUT_S):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    return parse_chrony(said.decode("ascii", "replace"), steady_ms())


def parse_chrony(line: str, heard_ms: float) -> Bounds | None:
    """Return the bounds in a line of ``chronyc -c tracking``, ``None`` if it is not in step.

    Fields from 0: system time less true time in s (4), root delay (10), root dispersion (11),
    leap status (13). The largest error is |offset| + dispersion + delay / 2.
    """
    fields = line.strip().split(",")
    try:
        offset_s, delay_s, dispersion_s = (float(fields[at]) for at in (4, 10, 11))
        leap = fields[13]
    except (ValueError, IndexError):
        return None
    if leap not in {"Normal", "Insert second", "Delete second"}:
        return None
    error_ms = (dispersion_s + delay_s / 2) * 1_000
    return Bounds.around(offset_s * 1_000, error_ms, heard_ms)


async def ntp(host: str, port: int = _NTP_PORT) -> Bounds:
    """Ask an NTP server once.

    Raises:
        TimeSourceError: no answer, a foreign one, or the server does not know the time itself.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_NTP_TIMEOUT_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, address = found[0]
            with socket.socket(family, kind, protocol) as asking:
                asking.settimeout(0)
                await loop.sock_connect(asking, address)  # others' packets are then not heard
                nonce = secrets.token_bytes(8)
                sent_ms, sent_at = time.time_ns() / 1_000_000, steady_ms()
                await loop.sock_sendall(asking, b"\x23" + bytes(39) + nonce)
                packet = await loop.sock_recv(asking, 512)
                way_ms = steady_ms() - sent_at
    except (OSError, TimeoutError) as error:
        raise TimeSourceError(f"NTP server {host}: {type(error).__name__} {error}") from error
    return parse_ntp(packet, nonce, sent_ms, way_ms)


def parse_ntp(packet: bytes, nonce: bytes, sent_ms: float, way_ms: float) -> Bounds:
    """Return the bounds in an NTP answer; ``way_ms`` is how long it took from question to answer.

    The question carried ``nonce`` in place of its own time, so that only who saw it can answer.

    Raises:
        TimeSourceError: it is no answer to our question, or the server is not in step itself.
    """
    if len(packet) < _NTP_PACKET.size or packet[24:32] != nonce:
        raise TimeSourceError("NTP: the answer is not to our question")
    first, stratum, _, _, delay, dispersion, *_ = _NTP_PACKET.unpack(packet[: _NTP_PACKET.size])
    if first & 7 != 4 or first >> 6 == _ALARM or not 1 <= stratum <= 15:
        raise TimeSourceError(f"NTP: the server does not know the time (stratum {stratum})")
    received_ms, answered_ms = _ntp_ms(packet[32:40]), _ntp_ms(packet[40:48])
    there_ms = max(0.0, answered_ms - received_ms)
    if way_ms > _LONGEST_WAY_MS or there_ms > way_ms + 1:
        raise TimeSourceError(f"NTP: the answer took {way_ms:.0f} ms, which tells nothing")
    # Ours less the server's, in the middle of the way; the way's length is its largest error.
    offset_ms = (sent_ms + way_ms / 2) - (received_ms + answered_ms) / 2
    error_ms = (way_ms - there_ms) / 2 + (delay / 2 + dispersion) / 65_536 * 1_000
    return Bounds.around(offset_ms, error_ms, steady_ms())


def date_bounds(date: str, asked_ms: float, way_ms: float) -> Bounds | None:
    """Return what a Date header says: it was made within ``way_ms`` from ``asked_ms`` (UTC ms).

    It tells whole seconds, and may be a second old where a server renews it each second.
    """
    try:
        moment: datetime = parsedate_to_datetime(date)
    except ValueError:
        return None
    if moment.tzinfo is None or way_ms > _LONGEST_WAY_MS:
        return None
    said_ms = moment.timestamp() * 1_000
    return Bounds(asked_ms - said_ms - 2_000, asked_ms + way_ms - said_ms, steady_ms())


def _ntp_ms(stamp: bytes) -> float:
    seconds = int.from_bytes(stamp[:4], "big")
    fraction = int.from_bytes(stamp[4:], "big")
    if seconds < 0x8000_0000:  # the era that begins in 2036 (RFC 4330, section 3)
        seconds += 1 << 32
    return (seconds - _NTP_EPOCH_S) * 1_000 + fraction / 2**32 * 1_000

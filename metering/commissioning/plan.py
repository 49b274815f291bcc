"""Where a scan looks: what somebody typed as lines and units, taken apart. Pure, no I/O.

A line is the name of one in the gateway's settings, or an address of its own:
``tcp://192.168.1.20``, a range ``tcp://192.168.1.20-40:502,503`` or ``tcp://192.168.1.0/28``,
``rtu-over-tcp://192.168.1.9:4001`` or ``serial:///dev/ttyUSB0?baud=19200&parity=even``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Final
from urllib.parse import parse_qsl

from metering.lines.config import LineConfig, LineConfigError, parse_line

FIRST_UNIT: Final = 1
LAST_UNIT: Final = 247
SOLE_UNIT: Final = 255
"""The unit id of a meter without a bus behind it (MODBUS Messaging on TCP/IP V1.0b, 4.4.1.2)."""

MAX_LINES: Final = 1_024
_NUMBERS: Final = {"baud", "stop_bits", "timeout_ms", "gap_ms"}
_ADDRESS: Final = re.compile(
    r"(?:(?P<kind>tcp|rtu-over-tcp|serial)://)?(?P<place>[^?\s]+?)(?:\?(?P<more>\S*))?"
)
_HOSTS: Final = re.compile(
    r"(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+?)(?:-(?P<last>\d{1,3})|/(?P<prefix>\d{1,2}))?"
    r"(?::(?P<ports>\d{1,5}(?:,\d{1,5})*))?"
)


class PlanError(ValueError):
    """A line or unit cannot be made out: nothing was asked; type it as the message says."""


def lines(typed: Sequence[str], known: Mapping[str, LineConfig]) -> tuple[LineConfig, ...]:
    """Return the lines that somebody typed, each once, in order.

    Args:
        typed: names of ``known`` lines, or addresses.
        known: the lines of the gateway's settings by name.

    Raises:
        PlanError: an address that is none, a range that is too large, an unknown name.
    """
    found: dict[str, LineConfig] = {}
    for text in typed:
        for line in (known[text],) if text in known else _addressed(text, known):
            found[line.name] = line
            if len(found) > MAX_LINES:
                raise PlanError(f"more than {MAX_LINES} addresses: scan a smaller range at a time")
    return tuple(found.values())


def units(typed: str, count: int) -> tuple[int, ...]:
    """Return the unit ids of ``1-247``, ``3,5,9-12`` or the like, sorted, each once.

    Nothing typed means 1 to 247 on one line; on several of them (``count``) 1 and 255, which is
    where a meter with an address of its own answers.

    Raises:
        PlanError: no unit ids.
    """
    if not typed.strip():
        every = range(FIRST_UNIT, LAST_UNIT + 1)
        return tuple(every) if count == 1 else (FIRST_UNIT, SOLE_UNIT)
    found: set[int] = set()
    for part in typed.split(","):
        match = re.fullmatch(r"\s*(\d{1,3})\s*(?:-\s*(\d{1,3})\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not 0 <= first <= last <= SOLE_UNIT:
            raise PlanError(f"{part.strip()!r}: unit ids are numbers to 255, such as 1-247 or 3,5")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def impatient(line: LineConfig, timeout_ms: int) -> LineConfig:
    """Return a line that waits no longer than this for a unit that may not be there."""
    return replace(line, timeout_ms=min(line.timeout_ms, timeout_ms))


def _addressed(text: str, known: Mapping[str, LineConfig]) -> Iterator[LineConfig]:
    match = _ADDRESS.fullmatch(text)
    if match is None or (match["kind"] is None and "." not in text and ":" not in text):
        names = ", ".join(known) or "none"
        raise PlanError(
            f"{text!r} is no line: name one of the gateway's settings ({names}), or write "
            "tcp://192.168.1.20, rtu-over-tcp://192.168.1.9:4001 or serial:///dev/ttyUSB0?baud=9600"
        )
    more: dict[str, object] = {
        name: int(value) if name in _NUMBERS and value.isdigit() else value
        for name, value in parse_qsl(match["more"] or "")
    }
    kind = match["kind"] or "tcp"
    if kind == "serial":
        yield _line(text, {"kind": kind, "name": text, "device": match["place"], **more})
        return
    for host, port in _hosts(text, match["place"].removesuffix("/")):
        place = {"host": host} if port is None else {"host": host, "port": port}
        name = f"{kind}://{host}" + ("" if port is None else f":{port}")
        yield _line(text, {"kind": kind, "name": name, **place, **more})


def _line(text: str, table: Mapping[str, object]) -> LineConfig:
    try:
        return parse_line(table, text)
    except LineConfigError as error:
        raise PlanError(str(error)) from error


def _hosts(text: str, place: str) -> Iterator[tuple[str, int | None]]:
    match = _HOSTS.fullmatch(place)
    if match is None:
        raise PlanError(f"{text!r}: an address is expected, such as tcp://192.168.1.20-40:502")
    ports = [int(port) for port in match["ports"].split(",")] if match["ports"] else [None]
    for host in _range(text, match["host"].strip("[]"), match["last"], match["prefix"]):
        for port in ports:
            yield host, port


def _range(text: str, host: str, last: str | None, prefix: str | None) -> Iterator[str]:
    if last is None and prefix is None:
        yield host
        return
    try:
        first = IPv4Address(host)
        if prefix is not None:
            network = IPv4Network(f"{first}/{prefix}", strict=False)
            if network.num_addresses > 2 * MAX_LINES:
                raise PlanError(f"{text!r}: more than {MAX_LINES} addresses: take a longer prefix")
            yield from (str(each) for each in network.hosts())
            return
        end = IPv4Address(f"{host.rsplit('.', 1)[0]}.{last}")
    except ValueError as error:
        if isinstance(error, PlanError):
            raise
        raise PlanError(f"{text!r}: a range is of IPv4 addresses: {error}") from error
    if end < first:
        raise PlanError(f"{text!r}: the range ends before it begins")
    for number in range(int(first), int(end) + 1):
        yield str(IPv4Address(number))

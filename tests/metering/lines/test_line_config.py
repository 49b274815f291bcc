"""A line's table: what is understood, what is refused by which name, what a slow bus carries."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from metering.lines.capacity import poll_ms, warnings, wire_ms
from metering.lines.config import (
    LineConfig,
    LineConfigError,
    RtuOverTcpLine,
    SerialLine,
    TcpLine,
    TlsLine,
    parse_line,
)
from metering.profiles import load_profile
from metering.registers import ReadRange

EXAMPLES = """
[[line]]
name = "cellar"
kind = "tcp"
host = "192.0.2.7"

[[line]]
name = "converter"
kind = "rtu-over-tcp"
host = "192.0.2.8"
port = 4001
baud = 19200

[[line]]
name = "bus"
kind = "serial"
device = "/dev/ttyUSB0"
parity = "even"
stop_bits = 1
timeout_ms = 400
gap_ms = 50

[[line]]
name = "substation"
kind = "tls"
host = "meter.example"
ca_file = "tls/ca.pem"
certificate_file = "tls/gateway.pem"
key_file = "/etc/wattloom/gateway.key"
role = "meter"
"""
SDM630 = load_profile("eastron_sdm630")


def parse(text: str) -> tuple[LineConfig, ...]:
    folder = Path("/etc/wattloom")
    return tuple(
        parse_line(table, f"gateway.toml: line {number}", folder)
        for number, table in enumerate(tomllib.loads(text)["line"], start=1)
    )


def test_each_kind_of_line_is_understood() -> None:
    assert parse(EXAMPLES) == (
        TcpLine(name="cellar", host="192.0.2.7"),
        RtuOverTcpLine(name="converter", host="192.0.2.8", port=4001, baud=19_200),
        SerialLine(
            name="bus", device="/dev/ttyUSB0", parity="even", timeout_ms=400, gap_ms=50
        ),
        TlsLine(
            name="substation", host="meter.example", role="meter",
            ca_file=Path("/etc/wattloom/tls/ca.pem"),
            certificate_file=Path("/etc/wattloom/tls/gateway.pem"),
            key_file=Path("/etc/wattloom/gateway.key"),
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ('kind = "tcp"\nname = "a"', "line 1: host: is absent"),
        ('name = "a"\nhost = "h"', "line 1: kind: is absent"),
        ('kind = "usb"\nname = "a"', "line 1: kind: is unknown: choose one of tcp, rtu-over-tcp"),
        ('kind = "tcp"\nname = "a"\nhost = "h"\nprot = 1', "line 1: prot: unknown key"),
        ('kind = "tcp"\nname = "a"\nhost = "h"\nport = "502"', "line 1: port: "),
        ('kind = "tcp"\nname = "a"\nhost = "h"\nport = 70000', "line 1: port: "),
        ('kind = "tcp"\nname = "a"\nhost = "h"\ntimeout_ms = 0', "line 1: timeout_ms: "),
        ('kind = "rtu-over-tcp"\nname = "a"\nhost = "h"', "line 1: port: is absent"),
        ('kind = "serial"\nname = "a"\ndevice = "d"\nparity = "E"', "line 1: parity: "),
        ('kind = "tls"\nname = "a"\nhost = "h"\nca_file = "c"', "certificate_file: is absent"),
    ],
)
def test_what_is_wrong_is_named_by_table_and_key(wrong: str, message: str) -> None:
    with pytest.raises(LineConfigError) as caught:
        parse(f"[[line]]\n{wrong}")
    assert f"gateway.toml: {message}" in str(caught.value) or message in str(caught.value)


def bus(baud: int = 9_600, gap_ms: int = 20) -> SerialLine:
    return SerialLine(name="bus", device="d", baud=baud, gap_ms=gap_ms)


def test_the_time_on_the_wire_is_that_of_its_characters() -> None:
    """80 registers: 8 + 165 characters of 11 bits with a parity bit, and 7 of silence."""
    even = SerialLine(name="bus", device="d", parity="even")
    assert wire_ms(even, ReadRange(4, 0, 80)) == 207  # 180 x 11 / 9600 s, rounded up
    assert wire_ms(bus(), ReadRange(4, 0, 80)) == 188
    assert wire_ms(TcpLine(name="a", host="h"), ReadRange(4, 0, 80)) == 0
    assert 1_000 / (poll_ms(even, SDM630)) < 5, "fewer than five such reads a second at 9600 baud"


@pytest.mark.parametrize(
    ("line", "meters", "warned"),
    [
        (bus(), 40, False),
        (bus(), 41, True),
        (bus(19_200), 64, False),
        (bus(19_200), 65, True),
        (bus(115_200, gap_ms=0), 150, False),
        (bus(300), 1, False),
        (bus(300), 2, True),
        (RtuOverTcpLine(name="c", host="h", port=1), 41, True),
        (TcpLine(name="g", host="h"), 247, False),
        (TcpLine(name="g", host="h", baud=9_600), 60, True),
    ],
)
def test_more_meters_than_a_border_allows_are_warned_of(
    line: LineConfig, meters: int, *, warned: bool
) -> None:
    found = warnings(line, [SDM630] * meters)
    assert bool(found) is warned
    if warned:
        assert f"{meters} meters at {line.baud} baud cannot all be read within 10 s" in found[0]


def test_a_bus_too_slow_for_one_meter_says_so() -> None:
    slow = bus(300, gap_ms=3_000)
    assert "not one of its meters" in warnings(slow, [load_profile("abb_b23")] * 2)[0]

"""Where a scan looks, as typed; and the spelling of tokens and fingerprints."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from metering.commissioning import plan
from metering.commissioning.plan import PlanError
from metering.commissioning.wire import (
    ALPHABET,
    MalformedTokenError,
    compared,
    fingerprint,
    same_groups,
    spell_token,
)
from metering.lines.config import RtuOverTcpLine, SerialLine, TcpLine
from metering.signing import public_key

KNOWN = {"bus": TcpLine(name="bus", host="10.0.0.9")}


def names(*typed: str) -> list[str]:
    return [line.name for line in plan.lines(typed, KNOWN)]


def test_lines_are_named_or_addressed() -> None:
    assert plan.lines(["bus"], KNOWN) == (KNOWN["bus"],)
    assert plan.lines(["192.168.1.20"], {}) == (
        TcpLine(name="tcp://192.168.1.20", host="192.168.1.20"),
    )
    assert plan.lines(["rtu-over-tcp://gw.example:4001?baud=19200"], {}) == (
        RtuOverTcpLine(
            name="rtu-over-tcp://gw.example:4001", host="gw.example", port=4001, baud=19_200
        ),
    )
    text = "serial:///dev/ttyUSB0?baud=19200&parity=even"
    assert plan.lines([text], {}) == (
        SerialLine(name=text, device="/dev/ttyUSB0", baud=19_200, parity="even"),
    )


def test_ranges_of_addresses_and_ports() -> None:
    assert names("tcp://10.0.0.8-10:502,503") == [
        f"tcp://10.0.0.{host}:{port}" for host in (8, 9, 10) for port in (502, 503)
    ]
    assert names("tcp://10.0.0.4/30") == ["tcp://10.0.0.5", "tcp://10.0.0.6"]
    assert names("tcp://10.0.0.5", "tcp://10.0.0.5") == ["tcp://10.0.0.5"]


@pytest.mark.parametrize(
    "typed",
    [
        "", "nobody", "ftp://10.0.0.1", "tcp://", "tcp://10.0.0.9-3", "tcp://10.0.0.1-300",
        "tcp://meter.example-9", "tcp://10.0.0.0/8", "tcp://10.0.0.1:99999", "tcp://10.0.0.1:x",
        "serial:///dev/ttyUSB0?baud=fast", "serial:///dev/ttyUSB0?tempo=9600", "rtu-over-tcp://a.b",
        "tcp://10.0.0.1/33", "tcp://a b",
    ],
)  # fmt: skip
def test_what_is_no_line_is_explained(typed: str) -> None:
    with pytest.raises(PlanError):
        plan.lines([typed], KNOWN)


@given(st.text(max_size=40))
def test_no_text_breaks_the_plan(typed: str) -> None:
    for ask in (lambda: plan.lines([typed], KNOWN), lambda: plan.units(typed, 1)):
        with suppress(PlanError):
            ask()


def test_units() -> None:
    assert plan.units("", 1) == tuple(range(1, 248))
    assert plan.units("", 2) == (1, 255)
    assert plan.units("9-11, 3,10", 1) == (3, 9, 10, 11)
    for typed in ("0-256", "9-3", "a", "1-", "-1", ","):
        with pytest.raises(PlanError):
            plan.units(typed, 1)


@given(st.text(ALPHABET, min_size=16, max_size=16), st.booleans())
def test_a_token_has_one_spelling(letters: str, lower: bool) -> None:
    spelt = spell_token(letters)
    assert spell_token((spelt.lower() if lower else spelt).replace("-", " ")) == spelt
    assert spell_token(spelt.replace("0", "O").replace("1", "l")) == spelt


@pytest.mark.parametrize("typed", ["", "K7QX", "U" * 16, "é" * 16, "0" * 17])
def test_what_is_no_token(typed: str) -> None:
    with pytest.raises(MalformedTokenError):
        spell_token(typed)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_fingerprint_is_of_one_key(one: bytes, other: bytes) -> None:
    mine, theirs = (fingerprint(public_key(SigningKey(seed))) for seed in (one, other))
    assert (mine == theirs) == (one == other)
    shown, typed = compared(mine)
    assert f"{shown} {typed}" == mine
    assert same_groups(typed.upper().replace(" ", ""), typed)
    assert not same_groups(shown, typed)

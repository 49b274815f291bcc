"""Proof of work (TIP-12): the published example, other implementations' figures, a slow Curl."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import StardustSyntaxError, blake2b_256
from ledger_client.stardust.pow import mine, score
from ledger_client.stardust.transaction import TaggedData

TABLE = (1, 0, -1, 2, 1, -1, 0, 2, -1, 1, 0)
NOTE = Block((bytes(32),), TaggedData(b"tag", b"data"))


def slow_zeros(data: bytes) -> int:
    """Curl-P-81 trit by trit, as TIP-12's references describe it."""
    state: list[int] = []
    for byte in blake2b_256(data[:-8]) + data[-8:]:
        rest = byte - 256 if byte > 127 else byte
        for _ in range(6):
            trit = (rest % 3 + 1) % 3 - 1
            state.append(trit)
            rest = (rest - trit) // 3
    state += [0] * (729 - len(state))
    for _ in range(81):
        at, turned = 0, []
        for _ in range(729):
            first = state[at]
            at += 364 if at < 365 else -365
            turned.append(TABLE[first + 4 * state[at] + 5])
        state = turned
    held = state[:243]
    return next((n for n, trit in enumerate(reversed(held)) if trit), len(held))


@pytest.mark.parametrize(
    ("data", "zeros"),
    [
        # TIP-12, "Example".
        (bytes.fromhex("48656c6c6f2c20576f726c64215ee6aaaaaaaaaaaa"), 9),
        # The figures on which iota.go and bee-pow agree.
        (bytes(8), 1),
        (bytes([203, 124, 2, 0, 0, 0, 0, 0]), 10),
        (bytes([65, 235, 119, 85, 85, 85, 85, 85]), 14),
        (bytes(10_000), 0),
    ],
    ids=["TIP-12", "1 zero", "10 zeros", "14 zeros", "none"],
)
def test_published_scores(data: bytes, zeros: int) -> None:
    assert score(data) == Fraction(3**zeros, len(data))


@given(st.binary(min_size=8, max_size=60))
@settings(max_examples=25)
def test_the_score_equals_the_slow_one(data: bytes) -> None:
    assert score(data) == Fraction(3 ** slow_zeros(data), len(data))


@pytest.mark.parametrize("least", [0, 1, 5])
def test_mining_finds_the_first_nonce_that_will_do(least: int) -> None:
    mined = mine(NOTE, least)
    assert score(mined.encode()) >= least
    assert all(
        score(Block(NOTE.parents, NOTE.payload, n).encode()) < least for n in range(mined.nonce)
    )
    assert mine(NOTE, least, mined.nonce + 1).nonce > mined.nonce


def test_bytes_without_a_nonce_are_refused() -> None:
    with pytest.raises(StardustSyntaxError, match="nonce"):
        score(bytes(7))

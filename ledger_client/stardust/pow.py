"""Proof of work of blocks (TIP-12): Curl-P-81 over a block's hash and nonce; pure.

Curl computes each of its 729 trits from two others, in an order that multiplies positions by 364.
Seen through a numbering that turns along with the rounds, the two partners are the state and the
state rotated, so that a round is a handful of operations on two whole integers (one bit of each
per trit) instead of 729 steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import count

from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import blake2b_256, require, u64

_STATE, _HASH, _ROUNDS = 729, 243, 81
_STEP = 364
_NONCE_LENGTH = 8
_ALL = (1 << _STATE) - 1


def _turns() -> tuple[tuple[int, ...], int]:
    """Return by how much each round rotates, and what the last numbering multiplies by.

    Round r numbers its trits so that number j stands for position ``factor * j``.
    """
    inverse, factor, turns = pow(_STEP, -1, _STATE), 1, []
    for _ in range(_ROUNDS):
        turns.append(_STEP * pow(factor, -1, _STATE) % _STATE)
        factor = factor * inverse % _STATE
    return tuple(turns), factor


_TURNS, _FACTOR = _turns()
_HASH_BITS = tuple(
    1 << position * pow(_FACTOR, -1, _STATE) % _STATE for position in reversed(range(_HASH))
)
"""Where the trits of the hash stand after the last round, from its last trit on."""


def _b1t6(data: bytes) -> list[int]:
    """Return six balanced trits per byte, read as a signed one, lowest first (TIP-5)."""
    trits = []
    for byte in data:
        value = byte - 256 if byte > 127 else byte
        for _ in range(6):
            trit = (value + 1) % 3 - 1
            trits.append(trit)
            value = (value - trit) // 3
    return trits


def _planes(trits: list[int]) -> tuple[int, int]:
    """Return (not 1, not -1) of each trit as bits, the rest of the state being zero trits."""
    low, high = _ALL, _ALL
    for position, trit in enumerate(trits):
        if trit == 1:
            low ^= 1 << position
        elif trit == -1:
            high ^= 1 << position
    return low, high


def _rotated(plane: int, turn: int) -> int:
    """Return the plane whose bit j is bit j + turn of ``plane``."""
    return plane >> turn | plane << (_STATE - turn) & _ALL


def _trailing_zeros(trits: list[int]) -> int:
    """Return how many zero trits end the Curl-P-81 hash of one block of 243 trits."""
    low, high = _planes(trits)
    for turn in _TURNS:
        other_low, other_high = _rotated(low, turn), _rotated(high, turn)
        # Curl's table of nine entries in bits: -1 is (1, 0), 0 is (1, 1), 1 is (0, 1).
        keep = (low | ~other_high) & (other_low ^ high)
        low, high = ~keep & _ALL, (low ^ other_high) | keep
    zeros = low & high
    return next((n for n, bit in enumerate(_HASH_BITS) if not zeros & bit), _HASH)


@dataclass(frozen=True, slots=True)
class _Work:
    """What one block's nonce is tried against."""

    digest: list[int]

    def zeros(self, nonce: bytes) -> int:
        return _trailing_zeros(self.digest + _b1t6(nonce))


def score(data: bytes) -> Fraction:
    """Return the proof-of-work score of a serialised block: 3^zeros / its length in bytes."""
    require(len(data) >= _NONCE_LENGTH, f"block: {len(data)} bytes hold no nonce")
    work = _Work(_b1t6(blake2b_256(data[:-_NONCE_LENGTH])))
    return Fraction(3 ** work.zeros(data[-_NONCE_LENGTH:]), len(data))


def mine(block: Block, least_score: int, first_nonce: int = 0) -> Block:
    """Return the block with the first nonce that reaches ``least_score``; takes what it takes."""
    data = block.encode()
    work = _Work(_b1t6(blake2b_256(data[:-_NONCE_LENGTH])))
    wanted = least_score * len(data)
    return Block(
        block.parents,
        block.payload,
        next(nonce for nonce in count(first_nonce) if 3 ** work.zeros(u64(nonce)) >= wanted),
    )

"""Bytes that were damaged on purpose: refused with the right error, or a block like any other."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_client.localnode.errors import BlockRefusedError
from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import blake2b_256
from ledger_client.stardust.output import (
    AddressUnlockCondition,
    BasicOutput,
    ExpirationUnlockCondition,
    MetadataFeature,
    SenderFeature,
    StorageDepositReturnUnlockCondition,
    TagFeature,
    TimelockUnlockCondition,
)
from ledger_client.stardust.transaction import TaggedData
from tests.ledger_client.tangle_kit import ALICE, BOB, START, SUPPLY, TREASURY, Net, transaction


def _world() -> tuple[Net, list[bytes]]:
    """A network, and sound blocks of every kind that may be sent to it."""
    net = Net()
    net.fund((ALICE, 1_000), (BOB, 1_000))
    tips = net.node.tips()
    rich = BasicOutput(
        500,
        (
            AddressUnlockCondition(BOB.address),
            StorageDepositReturnUnlockCondition(ALICE.address, 100),
            TimelockUnlockCondition(START + 100),
            ExpirationUnlockCondition(ALICE.address, START + 200),
        ),
        (SenderFeature(ALICE.address), MetadataFeature(b"meta"), TagFeature(b"tag")),
    )
    rest = BasicOutput.to(ALICE.address, 500)
    milestone = net.node.store.block(net.node.latest_milestone().block_id)
    assert milestone is not None
    return net, [
        Block(tips).encode(),
        Block(tips, TaggedData(b"tag", b"data")).encode(),
        Block(tips, transaction([net.output(ALICE)], [rich, rest], [ALICE])).encode(),
        milestone.data,
    ]


NET, SOUND = _world()

places = st.integers(0, 2_000)
Damage = Callable[[bytes], bytes]


def flip(at: int, bits: int) -> Damage:
    def damage(data: bytes) -> bytes:
        if not data:
            return data
        changed = bytearray(data)
        changed[at % len(data)] ^= bits
        return bytes(changed)

    return damage


def cut(first: int, second: int) -> Damage:
    return lambda data: data[: first % (len(data) + 1)] + data[second % (len(data) + 1) :]


def insert(at: int, more: bytes) -> Damage:
    return lambda data: data[: at % (len(data) + 1)] + more + data[at % (len(data) + 1) :]


def splice(at: int, other: bytes) -> Damage:
    return lambda data: data[: at % (len(data) + 1)] + other[at % (len(other) + 1) :]


damages = st.one_of(
    st.builds(flip, places, st.integers(1, 255)),
    st.builds(cut, places, places),
    st.builds(insert, places, st.binary(min_size=1, max_size=40)),
    st.builds(splice, places, st.sampled_from(SOUND)),
    st.builds(lambda size: lambda data: data + bytes(size), st.integers(1, 40_000)),
)


@given(st.sampled_from(SOUND), st.lists(damages, max_size=4))
@settings(max_examples=400)
def test_damaged_blocks_are_refused_or_are_blocks(sound: bytes, done: list[Damage]) -> None:
    data = sound
    for damage in done:
        data = damage(data)
    (verdict,) = NET.node.attach_many([data])
    if isinstance(verdict, BlockRefusedError):
        assert str(verdict)
        assert data not in SOUND[:3]
    else:
        assert verdict == blake2b_256(data)
        assert Block.decode(data).encode() == data


def test_nothing_that_was_refused_left_a_trace() -> None:
    """Runs after the damage: whatever got in is sound, and the ledger as it was signed for."""
    NET.node.issue_milestone()
    before = NET.node.store.ledger_rows()
    NET.node.rebuild()
    assert NET.node.store.ledger_rows() == before
    assert NET.node.stats().supply_units == SUPPLY
    assert NET.units(TREASURY) == SUPPLY - 2_000

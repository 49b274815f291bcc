"""Bytes of the public TIPs: golden values, round trips, and strictness."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from ledger_client.stardust.block import MAX_BLOCK_LENGTH, Block, block_id
from ledger_client.stardust.codec import (
    StardustSyntaxError,
    blake2b_256,
    network_id,
)
from ledger_client.stardust.milestone import Milestone, MilestoneEssence, MilestoneSignature
from ledger_client.stardust.output import (
    AddressUnlockCondition,
    BasicOutput,
    ExpirationUnlockCondition,
    MetadataFeature,
    Rent,
    SenderFeature,
    StorageDepositReturnUnlockCondition,
    TagFeature,
    TimelockUnlockCondition,
)
from ledger_client.stardust.transaction import (
    Essence,
    ReferenceUnlock,
    SignatureUnlock,
    TaggedData,
    Transaction,
    output_id,
)

TIP24_BLOCK = bytes.fromhex(
    "0202210fc7bb818639ac48a4c6afa2f1581a8b9525e20fda68927f2b2ff836f73578"
    "db0fa54c29f7fd928d92ca43f193dee47f591549f597a811c8fa67ab031ebd9c"
    "180000000500000004494f54410b00000068656c6c6f20776f726c64ce6d000000000000"
)

hashes = st.binary(min_size=32, max_size=32)
u32 = st.integers(1, 2**32 - 1)
tagged = st.builds(TaggedData, st.binary(max_size=64), st.binary(max_size=80))


@st.composite
def outputs(draw: st.DrawFn) -> BasicOutput:
    units = draw(st.integers(34, 2**64 - 1))
    back = st.builds(StorageDepositReturnUnlockCondition, hashes, st.integers(1, units))
    lock = st.builds(TimelockUnlockCondition, u32)
    expiry = st.builds(ExpirationUnlockCondition, hashes, u32)
    optional = [draw(st.none() | part) for part in (back, lock, expiry)]
    sender = st.builds(SenderFeature, hashes)
    metadata = st.builds(MetadataFeature, st.binary(min_size=1, max_size=40))
    tag = st.builds(TagFeature, st.binary(min_size=1, max_size=64))
    features = [draw(st.none() | part) for part in (sender, metadata, tag)]
    return BasicOutput(
        units,
        (AddressUnlockCondition(draw(hashes)), *(part for part in optional if part)),
        tuple(part for part in features if part),
    )


@st.composite
def transactions(draw: st.DrawFn) -> Transaction:
    ids = st.builds(output_id, hashes, st.integers(0, 127))
    inputs = draw(st.lists(ids, min_size=1, max_size=4, unique=True))
    essence = Essence(
        draw(st.integers(0, 2**64 - 1)),
        tuple(inputs),
        draw(hashes),
        tuple(draw(st.lists(outputs(), min_size=1, max_size=4))),
        draw(st.none() | tagged),
    )
    signatures = st.binary(min_size=64, max_size=64)
    first = SignatureUnlock(draw(hashes), draw(signatures))
    return Transaction(essence, (first, *(ReferenceUnlock(0) for _ in inputs[1:])))


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    parents = tuple(sorted(draw(st.sets(hashes, min_size=1, max_size=8))))
    essence = st.builds(
        MilestoneEssence, u32, u32, hashes, st.just(parents), hashes, hashes, st.binary(max_size=9)
    )
    signature = st.builds(MilestoneSignature, hashes, st.binary(min_size=64, max_size=64))
    signatures = st.lists(
        signature, min_size=1, max_size=4, unique_by=lambda item: item.public_key
    ).map(lambda items: tuple(sorted(items, key=lambda item: item.public_key)))
    milestones = st.builds(Milestone, essence, signatures)
    payload = draw(st.none() | tagged | transactions() | milestones)
    nonce = 0 if isinstance(payload, Milestone) else draw(st.integers(0, 2**64 - 1))
    return Block(parents, payload, nonce)


class TestGoldenBytes:
    def test_the_block_of_tip_24(self) -> None:
        block = Block.decode(TIP24_BLOCK)
        assert block.payload == TaggedData(b"IOTA", b"hello world")
        assert block.nonce == 28110
        assert block.encode() == TIP24_BLOCK

    @pytest.mark.parametrize(
        ("network", "number"),
        [
            ("iota-mainnet", 9374574019616453254),
            ("shimmer", 14364762045254553490),
            ("testnet-1", 1856588631910923207),
            ("example-mynetwork", 1967754805504104511),
        ],
    )
    def test_the_network_ids_of_tip_20(self, network: str, number: int) -> None:
        assert network_id(network) == number

    @pytest.mark.parametrize(
        ("rent", "units"), [((1, 1, 10), 426), ((1, 1, 0), 86), ((1, 0, 1), 34)]
    )
    def test_the_deposit_of_a_plain_output(self, rent: tuple[int, int, int], units: int) -> None:
        assert Rent(*rent).plain_deposit() == units

    def test_a_rich_output_has_the_bytes_that_the_official_client_writes(self) -> None:
        a, b = bytes(range(32)), bytes(range(32, 64))
        output = BasicOutput(
            5000,
            (
                AddressUnlockCondition(a),
                StorageDepositReturnUnlockCondition(b, 100),
                TimelockUnlockCondition(77),
                ExpirationUnlockCondition(b, 99),
            ),
            (SenderFeature(b), MetadataFeature(b"hello"), TagFeature(b"t")),
        )
        written = (
            "03 8813000000000000 00 04"
            f"00 00{a.hex()} 01 00{b.hex()} 6400000000000000 02 4d000000 03 00{b.hex()} 63000000"
            f"03 00 00{b.hex()} 02 0500 68656c6c6f 03 01 74"
        )
        assert output.encode().hex() == written.replace(" ", "")
        # Deposits by the official client's own calculator.
        assert Rent(1, 1, 10).deposit(output) == 556
        assert Rent(1, 1, 0).deposit(output) == 216
        assert Rent(1, 0, 1).deposit(output) == 34


class TestRoundTrips:
    @given(blocks())
    def test_what_is_encoded_decodes_to_the_same(self, block: Block) -> None:
        data = block.encode()
        assert Block.decode(data) == block
        assert block.id() == block_id(data) == blake2b_256(data)

    @given(blocks(), st.data())
    def test_a_changed_byte_is_refused_or_means_something_else(
        self, block: Block, data: st.DataObject
    ) -> None:
        raw = block.encode()
        at = data.draw(st.integers(0, len(raw) - 1))
        changed = bytearray(raw)
        changed[at] ^= data.draw(st.integers(1, 255))
        try:
            decoded = Block.decode(bytes(changed))
        except StardustSyntaxError:
            return
        # One meaning has one encoding: no two byte strings decode to the same block.
        assert decoded != block
        assert decoded.encode() == bytes(changed)

    @given(blocks(), st.data())
    def test_cut_or_longer_bytes_are_refused(self, block: Block, data: st.DataObject) -> None:
        raw = block.encode()
        cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
        for wrong in (cut, raw + data.draw(st.binary(min_size=1, max_size=8))):
            with pytest.raises(StardustSyntaxError):
                Block.decode(wrong)

    @given(st.binary(max_size=400))
    def test_noise_is_refused_with_the_right_error(self, noise: bytes) -> None:
        with pytest.raises(StardustSyntaxError):
            Block.decode(b"\x02\x01" + noise)


P = tuple(sorted(blake2b_256(bytes([n])) for n in range(9)))
A = bytes(32)
OWNER = AddressUnlockCondition(A)
PLAIN = BasicOutput.to(A, 100)
SIGNED = SignatureUnlock(A, bytes(64))
INPUTS = tuple(output_id(A, n) for n in range(129 - 1))
OTHER_INPUT = output_id(b"\x01" * 32, 0)


def _essence(inputs: tuple[bytes, ...] = INPUTS[:2], count: int = 1) -> Essence:
    return Essence(1, inputs, A, (PLAIN,) * count)


BROKEN = {
    "no parents": lambda: Block(()),
    "nine parents": lambda: Block(P),
    "unsorted parents": lambda: Block((P[1], P[0])),
    "a parent twice": lambda: Block((P[0], P[0])),
    "a short parent": lambda: Block((P[0][:31],)),
    "a long tag": lambda: TaggedData(bytes(65), b""),
    "a block too long": lambda: Block(P[:1], TaggedData(b"", bytes(MAX_BLOCK_LENGTH))).encode(),
    "no inputs": lambda: _essence(()),
    "129 inputs": lambda: _essence((*INPUTS, OTHER_INPUT)),
    "an input twice": lambda: _essence((INPUTS[0], INPUTS[0])),
    "an input index of 128": lambda: _essence((A + b"\x80\x00",)),
    "no outputs": lambda: _essence(count=0),
    "129 outputs": lambda: _essence(count=129),
    "an unlock too few": lambda: Transaction(_essence(), (SIGNED,)),
    "a signature twice": lambda: Transaction(_essence(), (SIGNED, SIGNED)),
    "a reference first": lambda: Transaction(_essence(), (ReferenceUnlock(0), SIGNED)),
    "a reference to itself": lambda: Transaction(_essence(), (SIGNED, ReferenceUnlock(1))),
    "a reference to a reference": lambda: Transaction(
        _essence(INPUTS[:3]), (SIGNED, ReferenceUnlock(0), ReferenceUnlock(1))
    ),
    "an amount of nothing": lambda: BasicOutput(0, (OWNER,)),
    "no owner": lambda: BasicOutput(100, (TimelockUnlockCondition(1),)),
    "no condition": lambda: BasicOutput(100, ()),
    "two owners": lambda: BasicOutput(100, (OWNER, OWNER)),
    "falling condition types": lambda: BasicOutput(
        100, (OWNER, ExpirationUnlockCondition(A, 1), TimelockUnlockCondition(1))
    ),
    "falling feature types": lambda: BasicOutput(
        100, (OWNER,), (TagFeature(b"t"), SenderFeature(A))
    ),
    "a return above the amount": lambda: BasicOutput(
        100, (OWNER, StorageDepositReturnUnlockCondition(A, 101))
    ),
    "a return below the deposit": lambda: Rent().check(
        BasicOutput(100, (OWNER, StorageDepositReturnUnlockCondition(A, 33)))
    ),
    "an output below the deposit": lambda: Rent().check(BasicOutput.to(A, 33)),
    "a timelock at 0": lambda: TimelockUnlockCondition(0),
    "an expiration at 0": lambda: ExpirationUnlockCondition(A, 0),
    "an empty tag feature": lambda: TagFeature(b""),
    "empty metadata": lambda: MetadataFeature(b""),
    "long metadata": lambda: MetadataFeature(bytes(8193)),
    "milestone 0": lambda: _milestone(index=0),
    "an unsigned milestone": lambda: Milestone(_milestone().essence, ()),
    "a milestone key twice": lambda: Milestone(_milestone().essence, _milestone().signatures * 2),
    "a milestone with other parents": lambda: Block(P[1:2], _milestone()),
    "a milestone with a nonce": lambda: Block(P[:1], _milestone(), 1),
}


def _milestone(index: int = 1) -> Milestone:
    essence = MilestoneEssence(index, 1, A, P[:1], A, A)
    return Milestone.sign(essence, [SigningKey(bytes(32))])


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_a_rule_cannot_be_made(name: str) -> None:
    with pytest.raises(StardustSyntaxError):
        BROKEN[name]()


@pytest.mark.parametrize(
    ("offset", "byte", "message"),
    [
        (0, 3, "protocol version"),
        (1, 0, "parent count"),
        (1, 9, "parent count"),
        (70, 9, "payload: type 9"),
        (74, 65, "tag"),
    ],
)
def test_a_broken_field_is_named(offset: int, byte: int, message: str) -> None:
    changed = bytearray(TIP24_BLOCK)
    changed[offset] = byte
    with pytest.raises(StardustSyntaxError, match=message):
        Block.decode(bytes(changed))


def test_only_pinned_keys_count_towards_a_milestones_threshold() -> None:
    keys = [SigningKey(bytes([n]) * 32) for n in range(1, 4)]
    public = [bytes(key.verify_key) for key in keys]
    essence = MilestoneEssence(1, 1, A, P[:1], A, A)
    milestone = Milestone.sign(essence, keys[:2])
    assert milestone.count_valid(public) == 2
    assert milestone.count_valid(public[1:]) == 1
    forged = Milestone(MilestoneEssence(1, 2, A, P[:1], A, A), milestone.signatures)
    assert forged.count_valid(public) == 0

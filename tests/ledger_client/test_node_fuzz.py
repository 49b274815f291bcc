"""Mutated blocks at the REST server: 2xx or 4xx, and what is stored is what was sent."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import StardustError
from ledger_client.stardust.json_form import block_json, hex_text, milestone_json, output_json
from ledger_client.stardust.json_read import (
    parse_json,
    read_block,
    read_milestone,
    read_output,
)
from ledger_client.stardust.milestone import Milestone, MilestoneEssence
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
from ledger_client.stardust.transaction import TaggedData, Transaction
from tests.conftest import LONG
from tests.ledger_client.node_rest import BINARY, Rest, block_path
from tests.ledger_client.tangle_kit import (
    ALICE,
    BOB,
    MILESTONE_KEYS,
    SUPPLY,
    TREASURY,
    transaction,
)

OUTPUT = BasicOutput(
    5000,
    (
        AddressUnlockCondition(ALICE.address),
        StorageDepositReturnUnlockCondition(BOB.address, 100),
        TimelockUnlockCondition(77),
        ExpirationUnlockCondition(BOB.address, 99),
    ),
    (SenderFeature(TREASURY.address), MetadataFeature(b"hello"), TagFeature(b"t")),
)
NUMBERS = (0, 1, -1, 2, 6, 7, 127, 128, 255, 2**16, 2**31, 2**32 - 1, 2**32, 2**63, 2**64)
TEXTS = ("", "0x", "0x0", "0xab", "0x" + "00" * 32, "0x" + "zz" * 32, "-1", "1e3", "\ud800", "٣")


@cache
def shared() -> Rest:
    """One node for all examples: it has to survive every one of them."""
    return Rest()


@cache
def seeds() -> tuple[bytes, ...]:
    """Sound blocks of every kind, as bytes."""
    net = shared().net
    tips, spent = net.node.tips(), net.output(TREASURY)
    rest = BasicOutput.to(TREASURY.address, SUPPLY - OUTPUT.units)
    essence = MilestoneEssence(2, 9, b"\x01" * 32, tips, bytes(32), bytes(32), b"meta")
    payloads = (
        None,
        TaggedData(b"tag", b"data"),
        transaction([spent], [OUTPUT, rest], [TREASURY]),
        Milestone.sign(essence, MILESTONE_KEYS),
    )
    return tuple(Block(tips, payload).encode() for payload in payloads)


@st.composite
def mutated_bytes(draw: st.DrawFn) -> bytes:
    """A sound block with bytes changed, cut out, doubled, swapped or added."""
    data = bytearray(draw(st.sampled_from(seeds())))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 40))
        piece = data[at : at + length]
        match draw(st.sampled_from(("flip", "cut", "double", "add", "swap", "number"))):
            case "flip" if at < len(data):
                data[at] ^= draw(st.integers(1, 255))
            case "cut":
                del data[at : at + length]
            case "double":
                data[at:at] = piece
            case "add":
                data[at:at] = draw(st.binary(max_size=40))
            case "swap":
                data[at : at + length] = piece[::-1]
            case "number":
                number = draw(st.sampled_from(NUMBERS)) % 2**64
                data[at : at + 8] = number.to_bytes(8, "little")
    return bytes(data)


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        found.append((value, key))
        if isinstance(inner, dict | list):
            _places(inner, found)
    return found


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.sampled_from(NUMBERS).map(str),
    st.binary(max_size=40).map(hex_text),
    # Made anew each time: a later mutation may write into them.
    st.builds(list),
    st.builds(dict),
    st.builds(lambda: {"type": 0}),
)


@st.composite
def mutated_json(draw: st.DrawFn) -> bytes:
    """The JSON of a sound block with fields replaced, removed, moved or added."""
    shown = json.loads(json.dumps(block_json(Block.decode(draw(st.sampled_from(seeds()))))))
    for _ in range(draw(st.integers(0, 3))):
        container, key = draw(st.sampled_from(_places(shown, [])))
        match draw(st.sampled_from(("replace", "remove", "copy", "add"))):
            case "replace":
                container[key] = draw(JUNK)
            case "remove":
                del container[key]
                if not shown:
                    break
            case "copy":
                _, other = draw(st.sampled_from(_places(shown, [])))
                container[key] = json.loads(json.dumps(container[key]))
                if isinstance(container, dict):
                    container[str(other)] = container[key]
            case "add" if isinstance(container, dict):
                container[draw(st.sampled_from(("hello", "metadata", "options", "tag")))] = draw(
                    JUNK
                )
    return json.dumps(shown).encode()


def check(body: bytes, kind: str) -> Block | None:
    """Send a body; check the answer and what is stored; return the block that was taken."""
    rest = shared()
    before = rest.net.node.stats()
    answer = rest.post(body, kind)
    assert 200 <= answer.status_code < 300 or 400 <= answer.status_code < 500, answer.text
    if answer.status_code != 201:
        assert answer.json()["error"]["code"] == str(answer.status_code)
        assert rest.net.node.stats() == before
        return None
    block_id = bytes.fromhex(answer.json()["blockId"][2:])
    stored = rest.raw(block_path(block_id))
    block = Block.decode(stored)
    assert block.id() == block_id
    assert block.encode() == stored
    assert read_block(parse_json(rest.client.get(block_path(block_id)).content)) == block
    return block


@given(mutated_bytes())
@settings(max_examples=5_000 if LONG else 100)
@example(b"")
def test_mutated_bytes(body: bytes) -> None:
    block = check(body, BINARY)
    assert block is None or block.encode() == body


@given(mutated_json())
@settings(max_examples=5_000 if LONG else 100)
def test_mutated_json(body: bytes) -> None:
    block = check(body, "application/json")
    if block is not None and "parents" in (shown := json.loads(body)) and shown["parents"]:
        assert read_block(parse_json(body), lambda: block.parents) == block


@given(st.binary(max_size=200), st.sampled_from((BINARY, "application/json")))
def test_noise(body: bytes, kind: str) -> None:
    check(body, kind)


def test_the_supply_is_there_in_the_end() -> None:
    """Whatever the examples before attached: a milestone judges it, and no unit is lost."""
    net = shared().net
    for seed in seeds()[:3]:
        check(seed, BINARY)
    net.node.issue_milestone()
    net.node.check_supply()
    net.node.rebuild()


# Both forms of everything ------------------------------------------------------------------------

IDS = st.binary(min_size=32, max_size=32)
UNITS = st.integers(1, 2**64 - 1)
TIMES = st.integers(1, 2**32 - 1)


@st.composite
def outputs(draw: st.DrawFn) -> BasicOutput:
    units = draw(UNITS)
    conditions = [AddressUnlockCondition(draw(IDS))]
    if draw(st.booleans()):
        back = draw(st.integers(1, units))
        conditions.append(StorageDepositReturnUnlockCondition(draw(IDS), back))
    if draw(st.booleans()):
        conditions.append(TimelockUnlockCondition(draw(TIMES)))
    if draw(st.booleans()):
        conditions.append(ExpirationUnlockCondition(draw(IDS), draw(TIMES)))
    features = []
    if draw(st.booleans()):
        features.append(SenderFeature(draw(IDS)))
    if draw(st.booleans()):
        features.append(MetadataFeature(draw(st.binary(min_size=1, max_size=50))))
    if draw(st.booleans()):
        features.append(TagFeature(draw(st.binary(min_size=1, max_size=64))))
    return BasicOutput(units, tuple(conditions), tuple(features))


@given(outputs())
def test_an_output_reads_back(output: BasicOutput) -> None:
    assert read_output(parse_json(json.dumps(output_json(output)).encode())) == output


@given(st.lists(IDS, min_size=1, max_size=8, unique=True), UNITS, st.binary(max_size=100))
def test_a_milestone_reads_back(parents: list[bytes], seed: int, metadata: bytes) -> None:
    essence = MilestoneEssence(
        seed % (2**32 - 1) + 1,
        seed % 2**32,
        parents[0],
        tuple(sorted(parents)),
        parents[-1],
        bytes(32),
        metadata,
    )
    milestone = Milestone.sign(essence, MILESTONE_KEYS)
    assert read_milestone(parse_json(json.dumps(milestone_json(milestone)).encode())) == milestone


def test_every_seed_reads_back() -> None:
    for data in seeds():
        block = Block.decode(data)
        assert read_block(parse_json(json.dumps(block_json(block)).encode())) == block
    kinds = {type(Block.decode(data).payload) for data in seeds()}
    assert kinds == {type(None), TaggedData, Transaction, Milestone}


@given(st.text(max_size=60))
def test_any_text_is_json_or_refused(text: str) -> None:
    try:
        value = parse_json(text.encode(errors="surrogatepass"))
    except StardustError:
        return
    assert value == json.loads(text)

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_client import merkle
from ledger_client.proof import SettlementProof, anchored, paid, salted_leaf, to_bytes
from ledger_client.stardust.merkle import inclusion_path, merkle_root
from ledger_client.stardust.transaction import TaggedData
from ledger_client.verify import (
    LayoutError,
    ReadingProof,
    blake,
    ledger_root,
    parse,
    poi_path,
    render,
    verify_bytes,
)
from ledger_client.wallet import TransferInput, build_transfer
from tests.ledger_client.ledger_bytes import salt
from tests.ledger_client.proof_chain import Sealing, World
from tests.ledger_client.tangle_kit import ALICE, MILESTONE_KEYS, NETWORK, TREASURY, Net


def test_a_proof_of_the_embedded_ledger_holds() -> None:
    """The anchor and the payment come out of a real node, through the port and the wallet."""
    net = Net()
    sealing = Sealing(World(transfers=[{"address": ALICE.address.hex(), "micro": 21_600}]))
    anchor = net.ledger.anchor(sealing.world.tag, sealing.anchored_data())
    source = net.output(TREASURY)
    signed = build_transfer(
        NETWORK,
        [TransferInput(source, TREASURY)],
        [(ALICE.address, 21_600), (TREASURY.address, source.units - 21_600)],
        TaggedData(b"wattloom-pay-v1", sealing.settlement_root + b"\0\0"),
    )
    transaction = net.ledger.transfer(signed.payload)
    net.node.issue_milestone()
    included = net.ledger.inclusion_proof(anchor)
    applied = net.ledger.inclusion_proof(transaction)
    assert included is not None
    assert applied is not None
    proof = replace(
        sealing.settlement(),
        anchor=anchored(included),
        payments=(paid(applied, [source.output_bytes]),),
    )
    pins = [
        {"from_index": 1, "key": bytes(key.verify_key).hex(), "to_index": None}
        for key in MILESTONE_KEYS
    ]
    keys = sealing.world.keys(milestones={"keys": pins, "threshold": 2})
    verdict = verify_bytes(to_bytes(proof), keys)
    assert verdict.code == 0, render(verdict)
    assert verify_bytes(to_bytes(proof), sealing.world.keys()).code == 1
    unpaid = replace(proof, payments=(paid(included, []),))
    assert verify_bytes(to_bytes(unpaid), keys).steps[-1].name == "payment"


def test_a_file_is_canonical_and_reads_back() -> None:
    world = World()
    settlement, single = world.settlement(), Sealing(world).single()
    for record in (settlement, single):
        data = to_bytes(record)
        assert data.endswith(b"}\n")
        assert json.dumps(
            json.loads(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ) == data.decode().removesuffix("\n")
        assert type(record).load(parse(data[:-1])) == record
    with pytest.raises(LayoutError, match="unknown fields"):
        SettlementProof.load(parse(to_bytes(single)[:-1]))
    with pytest.raises(LayoutError):
        ReadingProof.load(parse(to_bytes(settlement)[:-1]))


@given(st.integers(1, 30), st.data())
def test_paths_of_the_ledger_become_flat(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    blocks = [blake(bytes([n])) for n in range(size)]
    value, path = poi_path(inclusion_path(blocks, index))
    assert value == blocks[index]
    assert ledger_root(value, path) == merkle_root(blocks)


@pytest.mark.parametrize(
    "node",
    [
        None,
        {},
        {"h": "0x" + "00" * 32},
        {"value": "00" * 32},
        {"value": "0x" + "00" * 31},
        {"value": "0x" + "AA" * 32},
        {"value": "0x" + "00" * 32, "h": "0x" + "00" * 32},
        {"l": {"h": "0x" + "00" * 32}, "r": {"h": "0x" + "00" * 32}},
        {"l": {"value": "0x" + "00" * 32}, "r": {"value": "0x" + "00" * 32}},
        {"l": {"value": "0x" + "00" * 32}},
    ],
)
def test_what_is_no_path_is_refused(node: object) -> None:
    with pytest.raises(LayoutError):
        poi_path(node)


def test_a_path_that_is_too_deep_is_refused() -> None:
    node: object = {"value": "0x" + "00" * 32}
    for _ in range(65):
        node = {"l": node, "r": {"h": "0x" + "00" * 32}}
    with pytest.raises(LayoutError, match="deep"):
        poi_path(node)


def test_a_salted_leaf_knows_its_place() -> None:
    hashes = [salt(str(n)) for n in range(5)]
    leaf = salted_leaf("text", salt("x"), 3, hashes)
    assert (leaf.index, leaf.leaf, leaf.salt) == (3, "text", salt("x"))
    assert merkle.root_from_path(hashes[3], 3, 5, leaf.path) == merkle.root(hashes)

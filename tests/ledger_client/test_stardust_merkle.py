"""TIP-4 roots and paths against the published example and a recursive oracle."""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_client.stardust.codec import blake2b_256
from ledger_client.stardust.merkle import (
    InclusionPathError,
    fold_path,
    inclusion_path,
    merkle_root,
)

VECTORS = Path(__file__).parents[2].parent / "shared/vectors"
TIP4_LEAVES = [
    "52fdfc072182654f163f5f0f9a621d729566c74d10037c4d7bbb0407d1e2c649",
    "81855ad8681d0d86d1e91e00167939cb6694d2c422acd208a0072939487f6999",
    "eb9d18a44784045d87f3c67cf22746e995af5a25367951baa2ff6cd471c483f1",
    "5fb90badb37c5821b6d95526a41a9504680b4e7c8b763a1b1d49d4955c848621",
    "6325253fec738dd7a9e28bf921119c160f0702448615bbda08313f6a8eb668d2",
    "0bf5059875921e668a5bdf2c7fc4844592d2572bcd0668d2d6c52f5054e2d083",
    "6bf84c7174cb7476364cc3dbd968b0f7172ed85794bb358b0c3b525da1786f9f",
]
TIP4_ROOT = "bf67ce7ba23e8c0951b5abaec4f5524360d2c26d971ff226d3359fa70cdb0beb"


def _oracle(leaves: list[bytes]) -> bytes:
    """The recursion of TIP-4, word by word."""
    if not leaves:
        return blake2b(b"", digest_size=32).digest()
    if len(leaves) == 1:
        return blake2b(b"\x00" + leaves[0], digest_size=32).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    both = _oracle(leaves[:k]) + _oracle(leaves[k:])
    return blake2b(b"\x01" + both, digest_size=32).digest()


def _ids(count: int) -> list[bytes]:
    return [blake2b_256(n.to_bytes(4, "big")) for n in range(count)]


def test_the_example_of_tip_4() -> None:
    assert merkle_root([bytes.fromhex(leaf) for leaf in TIP4_LEAVES]).hex() == TIP4_ROOT


def test_the_empty_tree_has_the_root_of_a_first_milestone() -> None:
    assert merkle_root([]).hex().startswith("0e5751c026e543b2")


@given(st.integers(0, 300))
def test_roots_equal_the_recursive_definition(count: int) -> None:
    assert merkle_root(_ids(count)) == _oracle(_ids(count))


@given(st.integers(1, 200), st.data())
def test_every_leaf_has_a_path_to_the_root(count: int, data: st.DataObject) -> None:
    ids = _ids(count)
    index = data.draw(st.integers(0, count - 1))
    path = inclusion_path(ids, index)
    assert fold_path(json.loads(json.dumps(path))) == (merkle_root(ids), ids[index])


@given(st.integers(2, 64), st.data())
def test_a_changed_path_folds_to_another_root_or_not_at_all(
    count: int, data: st.DataObject
) -> None:
    ids = _ids(count)
    text = json.dumps(inclusion_path(ids, data.draw(st.integers(0, count - 1))))
    digits = [i for i, symbol in enumerate(text) if symbol in "123456789"]
    at = data.draw(st.sampled_from(digits))
    changed = json.loads(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
    assert fold_path(changed)[0] != merkle_root(ids)


H = "0x" + "ab" * 32
DEEP: dict[str, object] = {"value": H}
for _ in range(65):
    DEEP = {"l": DEEP, "r": {"h": H}}


@pytest.mark.parametrize(
    "path",
    [
        {"h": H},
        {"l": {"value": H}, "r": {"value": H}},
        {"l": {"value": H}},
        {"l": {"value": H}, "r": {"h": H}, "h": H},
        {"value": H[2:]},
        {"value": H + "00"},
        {"value": H[:-2] + "zz"},
        {"value": H.upper()},
        {"value": "0x" + "ab" * 31 + " a b"},
        {"value": 7},
        [],
        {},
        None,
        DEEP,
    ],
    ids=range(14),
)
def test_a_malformed_path_is_refused(path: object) -> None:
    with pytest.raises(InclusionPathError):
        fold_path(path)


@pytest.mark.parametrize("index", [-1, 3])
def test_there_is_no_path_to_a_leaf_outside_the_tree(index: int) -> None:
    with pytest.raises(InclusionPathError):
        inclusion_path(_ids(3), index)


def test_the_published_proof_of_inx_poi_holds() -> None:
    file = VECTORS / "inx-poi-example.json"
    if not file.exists():
        pytest.skip("the published vectors are not here")
    example = json.loads(file.read_text("utf-8"))
    root, value = fold_path(example["proof"])
    assert "0x" + root.hex() == example["milestone"]["inclusionMerkleRoot"]
    block = example["block"]
    parents = b"".join(bytes.fromhex(parent[2:]) for parent in block["parents"])
    tag, data = (bytes.fromhex(block["payload"][key][2:]) for key in ("tag", "data"))
    payload = b"\x05\x00\x00\x00" + bytes([len(tag)]) + tag + len(data).to_bytes(4, "little") + data
    raw = b"\x02" + bytes([len(block["parents"])]) + parents
    raw += len(payload).to_bytes(4, "little") + payload + int(block["nonce"]).to_bytes(8, "little")
    assert blake2b_256(raw) == value

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_client import merkle
from ledger_client.merkle import (
    MerkleError,
    PathError,
    consistency_path,
    inclusion_path,
    leaf_hash,
    root_from_path,
    verify_consistency,
    verify_inclusion,
)

VECTORS = Path(__file__).parents[2].parent / "shared/vectors/rfc6962"

LEAVES = [bytes(range(n)) for n in range(40)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


def oracle_root(leaves: list[bytes]) -> bytes:
    """MTH, word for word from RFC 9162 section 2.1.1."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\x01" + oracle_root(leaves[:k]) + oracle_root(leaves[k:])).digest()


def oracle_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH, word for word from section 2.1.3.1."""
    n = len(leaves)
    if n == 1:
        return []
    k = 1
    while 2 * k < n:
        k *= 2
    if m < k:
        return [*oracle_path(m, leaves[:k]), oracle_root(leaves[k:])]
    return [*oracle_path(m - k, leaves[k:]), oracle_root(leaves[:k])]


def oracle_proof(m: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF, word for word from section 2.1.4.1."""
    n = len(leaves)
    if m == n:
        return [] if whole else [oracle_root(leaves)]
    k = 1
    while 2 * k < n:
        k *= 2
    if m <= k:
        return [*oracle_proof(m, leaves[:k], whole=whole), oracle_root(leaves[k:])]
    return [*oracle_proof(m - k, leaves[k:], whole=False), oracle_root(leaves[:k])]


def test_the_empty_tree_and_a_known_root() -> None:
    assert merkle.root([]) == sha256(b"").digest()
    # The first two leaves of the test tree of RFC 6962's reference implementation.
    known = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert merkle.root([leaf_hash(b""), leaf_hash(b"\0")]).hex() == known


@pytest.mark.parametrize("size", range(len(LEAVES)))
def test_roots_and_paths_are_those_of_the_specification(size: int) -> None:
    leaves, hashes = LEAVES[:size], HASHES[:size]
    root = merkle.root(hashes)
    assert root == oracle_root(leaves)
    for index in range(size):
        path = inclusion_path(hashes, index)
        assert path == oracle_path(index, leaves)
        assert verify_inclusion(hashes[index], index, size, path, root)
        proof = consistency_path(hashes, index + 1)
        assert proof == oracle_proof(index + 1, leaves)
        assert verify_consistency(index + 1, size, proof, merkle.root(hashes[: index + 1]), root)


@given(st.integers(1, 40), st.data())
def test_a_path_proves_one_place_only(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(HASHES[:size], index)
    root = merkle.root(HASHES[:size])
    for other in range(size):
        assert verify_inclusion(HASHES[index], other, size, path, root) == (other == index)
    assert not verify_inclusion(HASHES[index - 1], index, size, path, root) or size == 1
    assert not verify_inclusion(HASHES[index], index, size, [*path, HASHES[0]], root)
    if path:
        assert not verify_inclusion(HASHES[index], index, size, path[:-1], root)


@given(st.integers(2, 40), st.data())
def test_no_other_history_is_consistent(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size - 1))
    proof = consistency_path(HASHES[:size], old)
    root, old_root = merkle.root(HASHES[:size]), merkle.root(HASHES[:old])
    forged = merkle.root([*HASHES[: old - 1], HASHES[-1] if old < 40 else HASHES[0]])
    assert not verify_consistency(old, size, proof, forged, root)
    assert not verify_consistency(old, size, proof, root, old_root)
    assert not verify_consistency(old, size, [*proof, HASHES[0]], old_root, root)
    assert not verify_consistency(old, size, proof[:-1], old_root, root)
    assert not verify_consistency(old, size, [part[:31] for part in proof], old_root, root)


def test_what_cannot_exist_is_an_error() -> None:
    with pytest.raises(MerkleError, match="no leaf 3"):
        inclusion_path(HASHES[:3], 3)
    with pytest.raises(MerkleError, match="from size 0"):
        consistency_path(HASHES[:3], 0)
    with pytest.raises(MerkleError, match="leaf hash 1 has 31 bytes"):
        merkle.root([HASHES[0], HASHES[1][:31]])
    with pytest.raises(PathError, match="32 bytes"):
        root_from_path(HASHES[0], 0, 2, [b"short"])
    assert not verify_consistency(0, 3, [], merkle.EMPTY_ROOT, merkle.root(HASHES[:3]))


def cases(kind: str) -> list[Path]:
    return sorted((VECTORS / kind).rglob("*.json"))


@pytest.mark.parametrize("kind", ["inclusion", "consistency"])
def test_published_vectors(kind: str) -> None:
    if not VECTORS.exists():
        pytest.skip("the published vectors are not at hand")
    judged = 0
    for path in cases(kind):
        case = json.loads(path.read_bytes())
        proof = [b64decode(item) for item in case["proof"] or []]
        if kind == "inclusion":
            leaf, root = b64decode(case["leafHash"]), b64decode(case["root"])
            held = verify_inclusion(leaf, case["leafIdx"], case["treeSize"], proof, root)
            dummy = len(root) != 32
        else:
            old, new = b64decode(case["root1"] or ""), b64decode(case["root2"] or "")
            held = verify_consistency(case["size1"], case["size2"], proof, old, new)
            dummy = len(old) != 32
        assert held == (not case["wantErr"] and not dummy), path
        judged += 1
    assert judged > 50

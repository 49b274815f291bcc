from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_client import log, merkle
from ledger_client.log import LogError, decode_entry, encode_entry


def grow(size: int) -> tuple[list[bytes], dict[log.Place, bytes]]:
    """A log of so many entries with the nodes that a store would keep."""
    nodes: dict[log.Place, bytes] = {}
    entries = [encode_entry("audit", {"n": n}) for n in range(size)]
    for n, entry in enumerate(entries):
        nodes.update(log.append(nodes.__getitem__, n, entry))
    return entries, nodes


ENTRIES, NODES = grow(70)
HASHES = [merkle.leaf_hash(entry) for entry in ENTRIES]


@given(st.integers(1, 70), st.data())
def test_roots_and_paths_equal_those_of_the_whole_tree(size: int, data: st.DataObject) -> None:
    node, hashes = NODES.__getitem__, HASHES[:size]
    index = data.draw(st.integers(0, size - 1))
    assert log.root_at(node, size) == merkle.root(hashes)
    assert log.inclusion_path(node, index, size) == merkle.inclusion_path(hashes, index)
    assert log.consistency_path(node, index + 1, size) == merkle.consistency_path(hashes, index + 1)


def test_the_empty_log() -> None:
    assert log.root_at({}.__getitem__, 0) == merkle.EMPTY_ROOT


def test_an_append_stores_two_nodes_on_average_and_never_changes_one() -> None:
    nodes: dict[log.Place, bytes] = {}
    for n, entry in enumerate(ENTRIES):
        new = log.append(nodes.__getitem__, n, entry)
        assert new[0] == ((0, n), merkle.leaf_hash(entry))
        assert not nodes.keys() & dict(new).keys()
        nodes.update(new)
    assert len(nodes) < 2 * len(ENTRIES)


def test_a_large_log_answers_with_few_looks() -> None:
    size = 100_000
    looks = 0

    def node(place: log.Place) -> bytes:
        nonlocal looks
        looks += 1
        return bytes(32)

    started = time.perf_counter()
    log.root_at(node, size)
    log.inclusion_path(node, 77_777, size)
    log.consistency_path(node, 65_537, size)
    log.append(node, size - 1, b"entry")
    assert looks < 100
    assert time.perf_counter() - started < 0.5


def test_an_entry_is_its_prefix_and_its_text() -> None:
    entry = encode_entry("payments", {"interval": "x", "district": "d", "transactions": [bytes(2)]})
    text = '{"district":"d","interval":"x","transactions":["0000"]}'
    assert entry == b"wattloom-entry-payments-v1\0" + text.encode()
    assert decode_entry(entry) == ("payments", text)
    assert encode_entry("payments", text) == entry


@pytest.mark.parametrize("kind", log.KINDS)
def test_kinds_round_trip(kind: str) -> None:
    assert decode_entry(encode_entry(kind, {"a": None})) == (kind, '{"a":null}')


@pytest.mark.parametrize(
    "text", ['{"b":1,"a":2}', '{"a": 1}', '{"a":1.5}', '{"a":true}', '{"a":1,"a":1}', "", "{", "-0"]
)
def test_text_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(LogError, match="not canonical JSON"):
        encode_entry("seal", text)
    with pytest.raises(LogError):
        decode_entry(b"wattloom-entry-seal-v1\0" + text.encode())


@pytest.mark.parametrize("entry", [b"", b"wattloom-entry-", b"wattloom-entry-other-v1\0{}", b"{}"])
def test_unknown_prefixes_are_refused(entry: bytes) -> None:
    with pytest.raises(LogError, match="prefix"):
        decode_entry(entry)
    with pytest.raises(LogError, match="unknown kind"):
        encode_entry("other", {})


@pytest.mark.parametrize(
    "value", [{"a": 2**53}, {"a": True}, {"a": 0.5}, {"ä": 1}, {"a": object()}]
)
def test_what_json_of_ours_cannot_hold_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="canonical"):
        encode_entry("audit", value)


@given(
    st.recursive(
        st.none() | st.integers(1 - 2**53, 2**53 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("abcxyz_", min_size=1), inner),
        max_leaves=20,
    )
)
def test_canonical_json_is_that_of_an_independent_implementation(value: object) -> None:
    rfc8785 = pytest.importorskip("rfc8785")
    entry = encode_entry("audit", {"v": value})
    text = decode_entry(entry)[1]
    assert text.encode() == rfc8785.dumps({"v": value})
    assert json.loads(text) == {"v": value}

"""Proofs of consistency, and evidence that a log's holder signed two histories."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_client import merkle
from ledger_client.checkpoint import Checkpoint, full_note, sign_note
from ledger_client.proof import ConsistencyProof, Equivocation, to_bytes
from ledger_client.verify import leaf_hash, render, verify_bytes
from tests.ledger_client.ledger_bytes import key, public, salt, text
from tests.ledger_client.proof_chain import World, cosign, failing_step
from tests.ledger_client.proof_records import ORIGIN

KEYS = World().keys()
LEAVES = [leaf_hash(bytes([n])) for n in range(20)]
FORKED = [*LEAVES[:4], *(leaf_hash(b"other" + bytes([n])) for n in range(16))]
SIZES = st.integers(1, len(LEAVES))


def note(leaves: list[bytes], size: int, signer: str = "log", origin: str = ORIGIN) -> str:
    return sign_note(Checkpoint(origin, size, merkle.root(leaves[:size])), key(signer))


def consistency(old: int, new: int) -> ConsistencyProof:
    path = merkle.consistency_path(LEAVES[:new], old)
    return ConsistencyProof(old=note(LEAVES, old), new=note(LEAVES, new), path=tuple(path))


def evidence(old: int, new: int) -> Equivocation:
    """The holder signed FORKED at the old size, and a log of LEAVES at the new one."""
    path = merkle.consistency_path(LEAVES[:new], old)
    root = merkle.root(LEAVES[:old])
    return Equivocation(old=note(FORKED, old), new=note(LEAVES, new), path=tuple(path), root=root)


@settings(max_examples=100, deadline=None)
@given(SIZES, SIZES)
def test_a_log_that_only_grew_is_consistent(one: int, two: int) -> None:
    old, new = sorted((one, two))
    verdict = verify_bytes(to_bytes(consistency(old, new)), KEYS)
    assert verdict.code == 0, render(verdict)
    assert [step.name for step in verdict.steps] == ["old", "new", "consistency"]


@settings(max_examples=100, deadline=None)
@given(SIZES.filter(lambda n: n > 4), SIZES.filter(lambda n: n > 4))
def test_two_histories_are_evidence_and_not_consistent(one: int, two: int) -> None:
    old, new = sorted((one, two))
    found = evidence(old, new)
    verdict = verify_bytes(to_bytes(found), KEYS)
    assert verdict.code == 0, render(verdict)
    assert "signed two histories" in verdict.steps[-1].text
    as_proof = ConsistencyProof(old=found.old, new=found.new, path=found.path)
    assert failing_step(verify_bytes(to_bytes(as_proof), KEYS)) == "consistency"


@settings(max_examples=100, deadline=None)
@given(SIZES, SIZES)
def test_an_honest_log_gives_no_evidence(one: int, two: int) -> None:
    old, new = sorted((one, two))
    honest = consistency(old, new)
    for root in (merkle.root(LEAVES[:old]), merkle.root(FORKED[:new]), salt("any")):
        claim = Equivocation(old=honest.old, new=honest.new, path=honest.path, root=root)
        assert failing_step(verify_bytes(to_bytes(claim), KEYS)) == "equivocation"


ORIGINALS = [
    to_bytes(consistency(3, 13)),
    to_bytes(consistency(8, 8)),
    to_bytes(evidence(8, 13)),
    to_bytes(evidence(7, 7)),
]
IDS = ["consistency", "one size", "rewritten", "split view"]


@pytest.mark.parametrize("original", ORIGINALS, ids=IDS)
def test_each_changed_character_makes_it_fail(original: bytes) -> None:
    for at, byte in enumerate(original):
        other = b"1" if byte != ord("1") else b"2"
        for changed in (
            original[:at] + other + original[at + 1 :],
            original[:at] + original[at + 1 :],
            original[:at] + other + original[at:],
        ):
            assert verify_bytes(changed, KEYS).code == 1, (at, chr(byte))


@pytest.mark.parametrize("original", ORIGINALS, ids=IDS)
@settings(max_examples=150, deadline=None)
@given(at=st.floats(0, 0.999), new=st.characters(codec="utf-8"))
def test_no_character_may_be_another(original: bytes, at: float, new: str) -> None:
    whole = original.decode()
    place = int(at * len(whole))
    changed = whole[:place] + new + whole[place + 1 :]
    assert changed == whole or verify_bytes(changed.encode(), KEYS).code == 1


STRANGE = note(FORKED, 7, "someone")
ELSEWHERE = note(FORKED, 7, origin="other.example")
COSIGNED = full_note(note(FORKED, 7), [cosign(Checkpoint(ORIGIN, 7, bytes(32)), "w", key("w"), 1)])


@pytest.mark.parametrize("bad", [STRANGE, ELSEWHERE, COSIGNED, "", "\n\n\n"])
def test_both_notes_have_to_be_of_the_pinned_log(bad: str) -> None:
    for found in (consistency(7, 9), evidence(7, 9)):
        for name in ("old", "new"):
            verdict = verify_bytes(to_bytes(replace(found, **{name: bad})), KEYS)
            assert failing_step(verdict) == name


def test_notes_in_the_wrong_order_prove_nothing() -> None:
    for found in (consistency(7, 9), evidence(7, 9)):
        turned = replace(found, old=found.new, new=found.old)
        assert verify_bytes(to_bytes(turned), KEYS).code == 1


def test_the_empty_log_proves_nothing() -> None:
    empty = sign_note(Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT), key("log"))
    odd = sign_note(Checkpoint(ORIGIN, 0, bytes(32)), key("log"))
    grown = ConsistencyProof(old=empty, new=note(LEAVES, 3), path=())
    assert verify_bytes(to_bytes(grown), KEYS).code == 1
    claim = Equivocation(old=empty, new=odd, path=(), root=bytes(32))
    assert verify_bytes(to_bytes(claim), KEYS).code == 1


def test_a_log_key_that_was_replaced_may_have_signed_the_old_note() -> None:
    keys = World().keys(log=[public("log").hex(), public("first log").hex()])
    proof = replace(consistency(3, 9), old=note(LEAVES, 3, "first log"))
    assert verify_bytes(to_bytes(proof), keys).code == 0
    assert failing_step(verify_bytes(to_bytes(proof), KEYS)) == "old"


@pytest.mark.parametrize(
    "change",
    [{"kind": "other"}, {"version": 2}, {"extra": 1}, {"path": None}, {"path": ["00"]}, {"old": 1}],
)
def test_the_layout_is_exact(change: dict[str, object]) -> None:
    for original in ORIGINALS:
        value = json.loads(original) | change
        verdict = verify_bytes(text(value).encode() + b"\n", KEYS)
        assert failing_step(verdict) == "file"


def test_keys_of_milestones_alone_cannot_judge_a_log() -> None:
    short = {"milestones": json.loads(KEYS)["milestones"], "version": 1}
    for original in ORIGINALS:
        assert verify_bytes(original, text(short).encode()).code == 2

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_client import merkle
from ledger_client.audit import Audit, History, audit_anchors
from ledger_client.checkpoint import Checkpoint, anchor_data, anchor_tag, sign_note
from ledger_client.proof import to_bytes
from ledger_client.verify import leaf_hash, render, verify_bytes
from tests.ledger_client.ledger_bytes import block, key, output, public, tagged, transaction
from tests.ledger_client.proof_chain import World
from tests.ledger_client.proof_records import ORIGIN

KEYS = World().keys()
LOG = [public("log")]
LEAVES = [leaf_hash(bytes([n])) for n in range(16)]
OTHER = [*LEAVES[:4], *(leaf_hash(b"other" + bytes([n])) for n in range(12))]


def anchor(leaves: list[bytes], size: int, signer: str = "log", origin: str = ORIGIN) -> bytes:
    head = Checkpoint(origin, size, merkle.root(leaves[:size]))
    return block(tagged(anchor_tag(origin), anchor_data(sign_note(head, key(signer)), None)))


def log_of(leaves: list[bytes]) -> History:
    def history(old: int, new: int) -> tuple[bytes, Sequence[bytes]]:
        return merkle.root(leaves[:old]), merkle.consistency_path(leaves[:new], old)

    return history


def check_evidence(audit: Audit) -> None:
    for found in audit.evidence:
        verdict = verify_bytes(to_bytes(found), KEYS)
        assert verdict.code == 0, render(verdict)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 16), max_size=8))
def test_an_honest_log_gives_no_finding(sizes: list[int]) -> None:
    blocks = [anchor(LEAVES, size) for size in sizes]
    audit = audit_anchors(blocks, ORIGIN, LOG, log_of(LEAVES))
    assert audit.ok
    assert [note.checkpoint.size for note in audit.notes] == sorted(set(sizes))
    assert audit.strange == ()


@settings(max_examples=80, deadline=None)
@given(
    st.sets(st.integers(1, 16), min_size=1, max_size=6),
    st.sets(st.integers(5, 16), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_two_histories_are_found_in_any_order(
    honest: set[int], forked: set[int], random: Random
) -> None:
    blocks = [anchor(LEAVES, size) for size in honest] + [anchor(OTHER, size) for size in forked]
    random.shuffle(blocks)
    without = audit_anchors(blocks, ORIGIN, LOG)
    assert len(without.evidence) == len(honest & forked)
    check_evidence(without)
    split = any(size > 4 for size in honest)  # up to 4 entries the two are the same
    for shown in (LEAVES, OTHER):
        audit = audit_anchors(blocks, ORIGIN, LOG, log_of(shown))
        assert audit.ok == (not split and (shown is OTHER or len(honest | forked) == 1))
        check_evidence(audit)


def test_a_rewritten_log_convicts_itself_by_its_own_path() -> None:
    blocks = [anchor(OTHER, 8), anchor(LEAVES, 13)]  # 8 leaves: the path leaves the root out
    audit = audit_anchors(blocks, ORIGIN, LOG, log_of(LEAVES))
    assert len(audit.evidence) == 1
    assert audit.unproven == ()
    check_evidence(audit)


def test_a_log_that_shows_nothing_is_not_proven() -> None:
    blocks = [anchor(LEAVES, 3), anchor(LEAVES, 9)]
    audit = audit_anchors(blocks, ORIGIN, LOG, lambda old, new: None)
    assert (audit.unproven, audit.evidence) == (((3, 9),), ())
    lies = audit_anchors(blocks, ORIGIN, LOG, log_of(OTHER))
    assert (lies.unproven, lies.evidence) == (((3, 9),), ())
    assert not lies.ok
    assert audit_anchors(blocks, ORIGIN, LOG).ok  # as far as notes alone show


def test_what_others_put_under_the_tag_is_told_and_convicts_nobody() -> None:
    junk = block(tagged(anchor_tag(ORIGIN), b"hello"))
    forged = anchor(OTHER, 9, signer="someone")
    moved = block(tagged(anchor_tag(ORIGIN), anchor_data("no note", None)))
    audit = audit_anchors([anchor(LEAVES, 9), junk, forged, moved], ORIGIN, LOG)
    assert audit.ok
    assert audit.strange == (junk, forged, moved)


def test_other_blocks_are_passed_by() -> None:
    paid = transaction([output(bytes(32), 1)], [output(bytes(32), 1)], b"", b"")
    others = [b"", b"junk", block(paid), block(b""), anchor(OTHER, 9, origin="other.example")]
    audit = audit_anchors([*others, anchor(LEAVES, 9)], ORIGIN, LOG)
    assert (len(audit.notes), audit.strange) == (1, ())


def test_the_same_note_twice_is_one() -> None:
    first = anchor(LEAVES, 9)
    again = first[:-8] + bytes([1] + [0] * 7)  # attached again: another nonce
    audit = audit_anchors([first, again], ORIGIN, LOG)
    assert [note.block for note in audit.notes] == [first]


def test_a_finding_does_not_hold_against_another_log() -> None:
    (found,) = audit_anchors([anchor(LEAVES, 9), anchor(OTHER, 9)], ORIGIN, LOG).evidence
    keys = World().keys(origin="other.example")
    assert verify_bytes(to_bytes(found), keys).code == 1
    assert verify_bytes(to_bytes(replace(found, root=bytes(32))), KEYS).code == 1

"""Evidence that keys of the ledger signed two milestones of one index."""

from __future__ import annotations

import json
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_client.proof import MilestoneEquivocation, to_bytes
from ledger_client.verify import Verdict, render, verify_bytes
from tests.ledger_client.ledger_bytes import blake, milestone, public, salt, text
from tests.ledger_client.proof_chain import World, failing_step

FULL = World().keys()
"""Three keys, of which a milestone needs two; the third may sign up to index 9."""
KEYS = text({"milestones": json.loads(FULL)["milestones"], "version": 1}).encode()
KIND = "milestone-equivocation"
SIGNERS = ["coo 1", "coo 2", "coo 3"]
TIME_S = 1_750_000_000


def signed(
    index: int = 7, root: str = "inclusion", names: list[str] = SIGNERS, time_s: int = TIME_S
) -> bytes:
    return milestone(index, time_s, salt(root), salt("applied"), names)


def evidence(first: bytes, second: bytes) -> bytes:
    return to_bytes(MilestoneEquivocation(first=first, second=second))


def judge(first: bytes, second: bytes, keys: bytes = KEYS) -> Verdict:
    return verify_bytes(evidence(first, second), keys)


def essence_id(payload: bytes, signatures: int) -> str:
    return blake(payload[4 : -1 - 97 * signatures]).hex()


SAME = signed()
OTHER = signed(root="other", names=["coo 2", "coo 3"], time_s=TIME_S + 5)


@pytest.mark.parametrize("keys", [KEYS, FULL], ids=["milestones only", "district's"])
def test_two_milestones_of_one_index_convict(keys: bytes) -> None:
    for pair in ((SAME, OTHER), (OTHER, SAME)):
        verdict = judge(*pair, keys)
        assert verdict.code == 0, render(verdict)
        assert [step.name for step in verdict.steps] == ["first", "second", KIND]
    first, second, last = (step.text for step in judge(SAME, OTHER).steps)
    assert essence_id(SAME, 3) in first
    assert "milestone 7 of 2025-06-15T15:06:40Z" in first
    assert essence_id(OTHER, 2) in second
    assert "milestone 7 of 2025-06-15T15:06:45Z" in second
    assert "keys of the ledger signed two milestones of one index, 7" in last
    (remark,) = judge(SAME, OTHER).remarks
    for name in SIGNERS:
        assert (public(name).hex() in remark) == (name != "coo 1")


def test_at_a_low_threshold_no_key_has_to_have_signed_both() -> None:
    pinned = json.loads(KEYS)
    pinned["milestones"]["threshold"] = 1
    verdict = judge(
        signed(names=["coo 1"]), signed(root="x", names=["coo 2"]), text(pinned).encode()
    )
    assert verdict.code == 0, render(verdict)
    assert "both: none" in verdict.remarks[0]


NONE = {
    "the same twice": (SAME, SAME, KIND),
    "other signatures under the same": (SAME, signed(names=["coo 1", "coo 2"]), KIND),
    "another index": (SAME, signed(8, "other"), KIND),
    "too few keys": (SAME, signed(root="other", names=["coo 1"]), "second"),
    "nobody's keys": (signed(root="other", names=["x", "y", "z"]), SAME, "first"),
    "a stranger among them": (SAME, signed(root="other", names=[*SIGNERS, "x"]), "second"),
    "one key twice": (SAME, signed(root="other", names=["coo 1", "coo 1"]), "second"),
    "a key past its last index": (signed(10), signed(10, "other"), "first"),
    "signatures of the other one": (SAME, OTHER[: -2 * 97] + SAME[-2 * 97 :], "second"),
    "something else": (SAME, b"", "second"),
    "more behind it": (SAME + b"\0", OTHER, "first"),
}


@pytest.mark.parametrize("case", NONE)
def test_what_is_no_evidence(case: str) -> None:
    first, second, step = NONE[case]
    assert failing_step(judge(first, second)) == step


def test_a_key_that_ended_convicts_up_to_its_last_index() -> None:
    names = ["coo 2", "coo 3"]
    made = partial(signed, names=names)
    assert judge(made(9), made(9, "other")).code == 0
    assert judge(made(10), made(10, "other")).code == 1


def test_an_honest_signature_of_nearly_the_same_is_of_no_use() -> None:
    """Any part of the essence that is changed after it was signed makes it nobody's."""
    for at in range(4, len(OTHER) - 1 - 2 * 97):
        bent = OTHER[:at] + bytes([OTHER[at] ^ 1]) + OTHER[at + 1 :]
        assert failing_step(judge(SAME, bent)) == "second"


ORIGINAL = evidence(SAME, OTHER)


def test_each_changed_character_makes_it_fail() -> None:
    for at, byte in enumerate(ORIGINAL):
        other = b"1" if byte != ord("1") else b"2"
        for changed in (
            ORIGINAL[:at] + other + ORIGINAL[at + 1 :],
            ORIGINAL[:at] + ORIGINAL[at + 1 :],
            ORIGINAL[:at] + other + ORIGINAL[at:],
        ):
            assert verify_bytes(changed, KEYS).code != 0, (at, chr(byte))
            assert verify_bytes(changed, FULL).code == 1, (at, chr(byte))


@settings(max_examples=150, deadline=None)
@given(at=st.floats(0, 0.999), new=st.characters(codec="utf-8"))
def test_no_character_may_be_another(at: float, new: str) -> None:
    whole = ORIGINAL.decode()
    place = int(at * len(whole))
    changed = whole[:place] + new + whole[place + 1 :]
    assert changed == whole or verify_bytes(changed.encode(), FULL).code == 1


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"extra": 1}, {"first": None}, {"second": "0g"}, {"second": "AA"}]
)
def test_the_layout_is_exact(change: dict[str, object]) -> None:
    value = json.loads(ORIGINAL) | change
    assert failing_step(verify_bytes(text(value).encode() + b"\n", KEYS)) == "file"


def test_keys_of_another_network_convict_nobody() -> None:
    pinned = {"from_index": 1, "key": public("x").hex(), "to_index": None}
    keys = text({"milestones": {"keys": [pinned], "threshold": 1}, "version": 1}).encode()
    assert failing_step(judge(SAME, OTHER, keys)) == "first"

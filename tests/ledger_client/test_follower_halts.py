"""A follower halts loudly: which milestone, which root, which block, and it stays halted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from nacl.signing import SigningKey

from ledger_client.follower import Halt, MismatchError
from ledger_client.follower.report import MARK, read_halt
from ledger_client.localnode import ConflictReason, confirmation
from ledger_client.stardust.block import Block, block_id
from ledger_client.stardust.milestone import Milestone, MilestoneEssence
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import SignatureUnlock, Transaction
from ledger_client.verify import MilestoneKey, Milestones, render, verify_bytes
from tests.ledger_client.fake_stardust import Answer, FakeStardust, answer, binary
from tests.ledger_client.follower_kit import (
    PINNED,
    Followable,
    catch_up,
    follower,
    keys_file,
    same,
)
from tests.ledger_client.tangle_kit import (
    ALICE,
    BOB,
    MILESTONE_KEYS,
    SUPPLY,
    TREASURY,
    Net,
    transaction,
)


@pytest.fixture
def source() -> Followable:
    made = Followable()
    made.grow()
    return made


def halted(folder: Path, source: Followable, pinned: Milestones = PINNED) -> Halt:
    """Follow until it halts; return the report, which the folder keeps as well."""
    with follower(folder, source, pinned) as auditor:
        with pytest.raises(MismatchError) as caught:
            catch_up(auditor)
        # What does not hold is not taken over: neither rows of its own nor blocks.
        assert auditor.store.count("milestones") == max(0, caught.value.halt.milestone - 1)
        assert len(auditor.store.all_milestones()) == auditor.store.count("milestones")
        latest = auditor.latest
        waiting = [identifier for identifier, _ in auditor.store.each_unreferenced()]
        assert waiting == ([latest.block_id] if latest else [])
    halt = caught.value.halt
    assert read_halt(folder) == halt
    assert str(caught.value) == halt.text()
    return halt


def shown(source: Followable, index: int, essence: MilestoneEssence, *keys: SigningKey) -> None:
    """Let the node show another milestone of an index, signed by ``keys`` or by the pinned ones."""
    payload = Milestone.sign(essence, keys or MILESTONE_KEYS).encode()

    def mischief(request: httpx.Request, told: Answer) -> Answer:
        here = request.url.path.endswith(f"/milestones/by-index/{index}")
        return binary(payload) if here else told

    source.node.mischief = mischief


def essence_of(source: Followable, index: int) -> MilestoneEssence:
    row = source.net.node.store.milestone_at(index)
    assert row is not None
    return Milestone.decode(row.payload).essence


# Roots ------------------------------------------------------------------------------------------


def _lenient(monkeypatch: pytest.MonkeyPatch, source: Followable) -> tuple[str, str]:
    """Let the node apply the second spend of an output, too; return both block ids."""
    spends = [
        transaction([source.net.output(TREASURY)], [_all_to(who)], [TREASURY])
        for who in (ALICE, BOB)
    ]
    blocks = [source.net.node.submit(spend) for spend in spends]
    real = confirmation._take

    def take(mutation: Any, block_id: bytes, spend: Transaction, output_of: Any) -> Any:
        found = real(mutation, block_id, spend, output_of)
        return ConflictReason.NONE if found is ConflictReason.SPENT_IN_MILESTONE else found

    with monkeypatch.context() as patch:
        patch.setattr(confirmation, "_take", take)
        source.net.node.issue_milestone()
    return blocks[0].hex(), blocks[1].hex()


def _all_to(owner: Any) -> BasicOutput:
    return BasicOutput.to(owner.address, SUPPLY)


def test_a_double_spend_that_was_applied_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = Followable()
    first, second = _lenient(monkeypatch, source)
    halt = halted(tmp_path, source)
    assert (halt.cause, halt.milestone, halt.block) == ("applied root", 2, second)
    assert halt.block_ours == "conflicting, conflict reason 2, number 2 of milestone 2"
    assert halt.block_theirs == "included, number 2 of milestone 2"
    assert halt.theirs == essence_of(source, 2).applied_root.hex()
    for part in ("milestone 2", "applied root", second, halt.ours, halt.theirs):
        assert part in halt.text()
    assert first not in halt.text()


def test_a_node_whose_words_are_ours_and_whose_root_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = Followable()
    _, second = _lenient(monkeypatch, source)

    def smooth(request: httpx.Request, told: Answer) -> Answer:
        if not request.url.path.endswith(f"{second}/metadata"):
            return told
        metadata: dict[str, Any] = json.loads(told.content)
        return answer(metadata | {"ledgerInclusionState": "conflicting", "conflictReason": 2})

    source.node.mischief = smooth
    halt = halted(tmp_path, source)
    assert (halt.cause, halt.block) == ("applied root", "")
    assert "judges all 3 blocks as we do" in halt.what


def test_a_node_that_falls_silent_is_reported_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = Followable()
    _lenient(monkeypatch, source)
    source.node.mischief = lambda request, told: (
        Answer(500) if request.url.path.endswith("/metadata") else told
    )
    halt = halted(tmp_path, source)
    assert halt.cause == "applied root"
    assert "which block is unknown" in halt.what


@pytest.mark.parametrize("root", ["inclusion", "applied"])
def test_a_root_of_nothing_in_particular(source: Followable, tmp_path: Path, root: str) -> None:
    wrong = replace(essence_of(source, 2), **{f"{root}_root": b"\7" * 32})
    shown(source, 2, wrong)
    halt = halted(tmp_path, source)
    assert (halt.cause, halt.milestone) == (f"{root} root", 2)
    assert halt.theirs == "07" * 32
    assert halt.ours == getattr(essence_of(source, 2), f"{root}_root").hex()
    assert "contradicts its own words" in halt.what


def test_a_signature_that_the_node_let_pass_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Money moved without its owner: the node's door stood open."""
    source = Followable()
    stolen = transaction([source.net.output(TREASURY)], [_all_to(BOB)], [TREASURY])
    unlock = stolen.unlocks[0]
    assert isinstance(unlock, SignatureUnlock)
    stolen = replace(stolen, unlocks=(replace(unlock, signature=bytes(64)),))
    with monkeypatch.context() as patch:
        patch.setattr("ledger_client.localnode.door.check_syntax", lambda *_args: None)
        block = source.net.node.submit(stolen)
    source.net.node.issue_milestone()
    assert source.net.units(BOB) == SUPPLY
    halt = halted(tmp_path, source)
    assert (halt.cause, halt.block) == ("applied root", block.hex())
    assert halt.block_ours.startswith("conflicting, conflict reason 5")


def test_a_bad_signature_that_the_node_ignored_is_no_mismatch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Some nodes let such a block in and resolve it with the conflicts."""
    source = Followable()
    bad = transaction([source.net.output(TREASURY)], [_all_to(BOB)], [TREASURY])
    unlock = bad.unlocks[0]
    assert isinstance(unlock, SignatureUnlock)
    bad = replace(bad, unlocks=(replace(unlock, signature=bytes(64)),))
    with monkeypatch.context() as patch:
        patch.setattr("ledger_client.localnode.door.check_syntax", lambda *_args: None)
        patch.setattr(confirmation, "_take", lambda *_args: ConflictReason.INVALID_SIGNATURE)
        source.net.node.submit(bad)
        source.net.node.issue_milestone()
    source.grow()
    with follower(tmp_path, source) as auditor:
        catch_up(auditor)
        same(auditor, source.net)


# Milestones -------------------------------------------------------------------------------------

STRANGERS = [SigningKey(bytes([n]) * 32) for n in (7, 8, 9)]
SIGNED: dict[str, Callable[[Followable], None]] = {
    "by strangers": lambda s: shown(s, 2, essence_of(s, 2), *STRANGERS),
    "by too few": lambda s: shown(s, 2, essence_of(s, 2), MILESTONE_KEYS[0]),
    "by one stranger too many": lambda s: shown(
        s, 2, essence_of(s, 2), *MILESTONE_KEYS, STRANGERS[0]
    ),
}


@pytest.mark.parametrize("how", list(SIGNED))
def test_signatures_that_do_not_count(source: Followable, tmp_path: Path, how: str) -> None:
    SIGNED[how](source)
    assert halted(tmp_path, source).cause == "signatures"


def test_a_signature_over_something_else(source: Followable, tmp_path: Path) -> None:
    row = source.net.node.store.milestone_at(2)
    assert row is not None
    source.node.mischief = lambda request, told: (
        binary(row.payload[:-1] + bytes([row.payload[-1] ^ 1]))
        if request.url.path.endswith("by-index/2")
        else told
    )
    assert halted(tmp_path, source).cause == "signatures"


def test_keys_count_for_the_indexes_they_are_pinned_for(source: Followable, tmp_path: Path) -> None:
    ended = Milestones(tuple(replace(key, to_index=2) for key in PINNED.keys), PINNED.threshold)
    halt = halted(tmp_path, source, ended)
    assert (halt.cause, halt.milestone) == ("signatures", 3)
    assert "another network" not in halt.text()


def test_pinned_keys_of_another_network(source: Followable, tmp_path: Path) -> None:
    pinned = Milestones((MilestoneKey(0, bytes(STRANGERS[0].verify_key), None),), 1)
    halt = halted(tmp_path, source, pinned)
    assert (halt.cause, halt.milestone) == ("signatures", 1)
    assert "KEYS may be those of another network" in halt.text()


@pytest.mark.parametrize("change", ["previous", "time"])
def test_a_milestone_that_does_not_follow(source: Followable, tmp_path: Path, change: str) -> None:
    essence = essence_of(source, 3)
    before = essence_of(source, 2)
    changed = {
        "previous": replace(essence, previous_id=b"\5" * 32),
        "time": replace(essence, timestamp=before.timestamp),
    }[change]
    shown(source, 3, changed)
    halt = halted(tmp_path, source)
    assert (halt.cause, halt.milestone) == ("chain", 3)


def test_a_first_milestone_that_has_one_before(source: Followable, tmp_path: Path) -> None:
    shown(source, 1, replace(essence_of(source, 1), previous_id=b"\5" * 32))
    assert halted(tmp_path, source).cause == "chain"


def test_a_block_of_another_kind_of_network(source: Followable, tmp_path: Path) -> None:
    """An output type that is unknown here cannot be judged: better to halt than to guess."""
    sound = Block((bytes(32),), None).encode()
    strange = sound[:34] + (4).to_bytes(4, "little") + (99).to_bytes(4, "little") + bytes(8)
    identifier = block_id(strange)
    shown(source, 2, replace(essence_of(source, 2), parents=(identifier,)))
    inner = source.node.mischief

    def mischief(request: httpx.Request, told: Answer) -> Answer:
        if request.url.path.endswith(identifier.hex()):
            return binary(strange)
        return inner(request, told)

    source.node.mischief = mischief
    halt = halted(tmp_path, source)
    assert (halt.cause, halt.block) == ("block", identifier.hex())


# Equivocation -----------------------------------------------------------------------------------


def _fork(tmp_path: Path) -> tuple[Followable, Followable]:
    """Two nodes with one past and, from milestone 4 on, a future each."""
    path = tmp_path / "one.db"
    net = Net(path)
    Followable(net).grow()
    net.node.close()
    shutil.copy(path, tmp_path / "two.db")
    nets = Net(path), Net(tmp_path / "two.db")
    for number, each in enumerate(nets):
        each.fund((ALICE, 1_000 + number))
        Followable(each).grow(2)
    assert nets[0].node.latest_milestone().index == nets[1].node.latest_milestone().index
    return Followable(nets[0]), Followable(nets[1])


@pytest.mark.parametrize("longer", [False, True])
def test_two_milestones_of_one_index_are_kept_as_evidence(tmp_path: Path, *, longer: bool) -> None:
    first, second = _fork(tmp_path)
    if longer:
        second.grow()
    folder = tmp_path / "audit"
    with follower(folder, first) as auditor:
        catch_up(auditor)
        same(auditor, first.net)
        first.web.nodes["one"] = FakeStardust(second.net)
        with pytest.raises(MismatchError) as caught:
            auditor.step()
    halt = caught.value.halt
    assert (halt.cause, halt.milestone) == ("equivocation", 4)
    evidence = (folder / "equivocation-4.json").read_bytes()
    keys = keys_file(tmp_path / "keys.json").read_bytes()
    verdict = verify_bytes(evidence, keys)
    assert verdict.code == 0, render(verdict)
    for step, each in zip(verdict.steps, (halt.ours, halt.theirs), strict=False):
        assert each in step.text
    found = json.loads(evidence)
    payloads = [bytes.fromhex(found[name]) for name in ("first", "second")]
    essences = [Milestone.decode(payload).essence for payload in payloads]
    assert [essence.index for essence in essences] == [4, 4]
    assert essences[0].previous_id == essences[1].previous_id
    assert [halt.ours, halt.theirs] == [essence.id().hex() for essence in essences]


def test_a_forged_past_is_no_equivocation(source: Followable, tmp_path: Path) -> None:
    """Whoever is not pinned can say what he likes about the past: he is not believed."""
    with follower(tmp_path, source) as auditor:
        catch_up(auditor)
        forged = replace(essence_of(source, 3), timestamp=1)
        shown(source, 3, forged, *STRANGERS)
        with pytest.raises(MismatchError) as caught:
            auditor.step()
    assert caught.value.halt.cause == "signatures"
    assert not list(tmp_path.glob("equivocation*"))


def test_other_signatures_under_the_same_milestone_are_none_either(
    source: Followable, tmp_path: Path
) -> None:
    with follower(tmp_path, source) as auditor:
        catch_up(auditor)
        shown(source, 3, essence_of(source, 3), *MILESTONE_KEYS[:2])
        assert auditor.step() is None


# The mark ---------------------------------------------------------------------------------------


def test_it_stays_halted_until_the_mark_is_removed(source: Followable, tmp_path: Path) -> None:
    SIGNED["by strangers"](source)
    halt = halted(tmp_path, source)
    source.node.mischief = lambda _request, told: told
    for _ in range(2):
        with pytest.raises(MismatchError) as caught, follower(tmp_path, source):
            pass
        assert caught.value.halt == halt
    (tmp_path / MARK).unlink()
    with follower(tmp_path, source) as auditor:
        catch_up(auditor)
        same(auditor, source.net)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"cause": 1}', b"\xff"])
def test_a_mark_that_cannot_be_read_counts(
    source: Followable, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / MARK).write_bytes(content)
    with pytest.raises(MismatchError, match="cannot be read"), follower(tmp_path, source):
        pass

"""A signer that follows: it signs what its own white flag gives, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from ledger_client.follower.opinion import FollowerCheck
from ledger_client.signer import EssenceCheckError, SignerUnavailableError
from ledger_client.stardust.merkle import merkle_root
from ledger_client.stardust.milestone import Milestone, MilestoneEssence
from ledger_client.stardust.transaction import TaggedData
from tests.ledger_client.follower_kit import PINNED, Followable
from tests.ledger_client.node_process import running_node
from tests.ledger_client.service_process import refused, signer, until
from tests.ledger_client.signer_kit import NETWORK
from tests.ledger_client.tangle_kit import ALICE, BOB, TREASURY


class Stage:
    """A network with a draft that waits for signatures, and a check that follows it."""

    def __init__(self, source: Followable, check: FollowerCheck) -> None:
        self.source = source
        self.check = check

    def draft(self) -> MilestoneEssence:
        """Attach a payment, the same spent twice, and data; return the milestone over them."""
        net = self.source.net
        for who in (ALICE, BOB):
            net.ledger.transfer(net.pay(TREASURY, (who, 100)).payload)
        net.node.submit(TaggedData(b"tag", b"data"))
        return net.node._new_draft().essence


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    source = Followable()
    with (
        source.web.client("one") as client,
        closing(FollowerCheck(tmp_path / "copy", client, PINNED)) as check,
    ):
        yield Stage(source, check)


def test_what_its_own_white_flag_gives_is_right(stage: Stage) -> None:
    stage.source.grow(2)
    essence = stage.draft()
    stage.check.check(essence)
    stage.check.check(essence)  # nothing of the first look is kept
    stage.source.net.node.issue_milestone()
    stage.source.grow()
    stage.check.check(stage.draft())


def test_a_milestone_that_is_confirmed_already_is_right_only_as_it_is(stage: Stage) -> None:
    essence = stage.draft()
    stage.source.net.node.issue_milestone()
    stage.check.check(stage.draft())
    assert stage.check._follower is not None
    while stage.check._follower.step():
        pass
    stage.check.check(essence)
    with pytest.raises(EssenceCheckError, match="another one"):
        stage.check.check(replace(essence, applied_root=bytes(32)))


WRONG: dict[str, dict[str, object]] = {
    "the applied root": {"applied_root": bytes(32)},
    "the inclusion root": {"inclusion_root": bytes(32)},
    "the past": {"previous_id": bytes(32)},
    "the time": {"timestamp": 1},
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_refused_and_forgotten(stage: Stage, case: str) -> None:
    stage.source.grow()
    essence = stage.draft()
    with pytest.raises(EssenceCheckError):
        stage.check.check(replace(essence, **WRONG[case]))
    stage.check.check(essence)


def test_a_node_that_does_not_answer_is_an_outage(stage: Stage) -> None:
    stage.source.grow()
    essence = stage.draft()
    nodes = stage.source.web.nodes
    node = nodes.pop("one")
    with pytest.raises(SignerUnavailableError):
        stage.check.check(essence)
    nodes["one"] = node
    stage.check.check(essence)


def test_what_cannot_be_seen_is_an_outage(stage: Stage) -> None:
    essence = stage.draft()
    with pytest.raises(SignerUnavailableError, match="does not hand out"):
        stage.check.check(replace(essence, parents=(b"\1" * 32,)))
    with pytest.raises(SignerUnavailableError, match="up to"):
        stage.check.check(replace(essence, index=essence.index + 3))


def test_the_first_milestone_is_judged_without_a_node(stage: Stage) -> None:
    row = stage.source.net.node.store.milestone_at(1)
    assert row is not None
    first = Milestone.decode(row.payload).essence
    stage.source.web.nodes.clear()
    stage.check.check(first)
    for wrong in (
        replace(first, applied_root=merkle_root([bytes(32)])),
        replace(first, parents=(b"\1" * 32,)),
    ):
        with pytest.raises(EssenceCheckError, match="nothing yet"):
            stage.check.check(wrong)


def test_one_question_at_a_time(stage: Stage) -> None:
    essence = stage.draft()
    with stage.check._turn, pytest.raises(SignerUnavailableError, match="still working"):
        stage.check.check(essence)
    stage.check.check(essence)


def test_a_signer_process_that_follows_its_node_kill(tmp_path: Path) -> None:
    blind = signer(tmp_path / "s")
    said = f"{blind.url}={blind.said['publicKey']}"
    with running_node(tmp_path / "node", "--network", NETWORK, "--signer", said) as node:
        blind.stop()
        options = ["--keys", str(node.keys_file), "--follow", node.url]
        seeing = signer(tmp_path / "s", *options, port=blind.port)
        try:
            before = seeing.said["lastSigned"]
            until(lambda: _last(seeing.url) >= int(before) + 2)
        finally:
            assert seeing.stop() == 0
    assert (tmp_path / "s" / "follower" / "ledger.db").exists()


def _last(url: str) -> int:

    return int(httpx.get(url + "/health", timeout=30).json()["lastSigned"]["index"])


def test_to_follow_it_needs_keys(tmp_path: Path) -> None:
    fixed = ["--data", str(tmp_path), "--network", NETWORK, "--follow", "http://127.0.0.1:1"]
    assert "--keys" in refused("node", "signer", *fixed)

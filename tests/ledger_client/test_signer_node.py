"""The node's options for signers elsewhere: who signs, who is pinned, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from ledger_client.localnode.http.serve import NodeCommand, NodeStartError, _open, run_node
from ledger_client.localnode.node import LocalNode
from ledger_client.serving.folder import service_key
from ledger_client.signer import RemoteSigner
from ledger_client.stardust.codec import MAX_U32
from ledger_client.stardust.milestone import Milestone
from tests.ledger_client.signer_kit import PUBLIC, Desk, serving

NAMES = [key.hex() for key in PUBLIC]


class Place:
    """Signers behind HTTP, and a folder for a node."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder / "node"
        self.folder.mkdir()
        self._stack = stack
        # The network is that of the signers, whose clock is late enough for anything.
        desks = [Desk(folder, number, now=MAX_U32) for number in range(3)]
        self.said = [
            f"{stack.enter_context(serving(desk.http.app))}={name}"
            for desk, name in zip(desks, NAMES, strict=True)
        ]

    def command(self, *signers: str, own_key: bool = False, threshold: int = 0) -> NodeCommand:
        return NodeCommand(
            self.folder,
            port=0,
            network="lindenhof",
            milestone_interval_s=3_600,
            threshold=threshold or None,
            signers=signers,
            own_key=own_key,
        )

    def open(self, command: NodeCommand) -> LocalNode:
        node = self._stack.enter_context(closing(_open(command)))
        assert isinstance(node.settings.signer, RemoteSigner)
        self._stack.callback(node.settings.signer.close)
        return node

    def own(self) -> str:
        return bytes(service_key(self.folder / "milestone.key").verify_key).hex()

    def pinned(self) -> tuple[list[str], int]:
        said = json.loads((self.folder / "keys.json").read_text())["milestones"]
        return [item["key"] for item in said["keys"]], said["threshold"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(tmp_path, stack)


def signers(milestone: Milestone) -> set[str]:
    return {item.public_key.hex() for item in milestone.signatures}


def test_the_majority_of_three_signers_is_pinned(place: Place) -> None:
    node = place.open(place.command(*place.said))
    assert place.pinned() == (sorted(NAMES), 2)
    assert len(signers(node.issue_milestone())) >= 2
    assert not (place.folder / "milestone.key").exists()


def test_an_own_key_beside_two_signers(place: Place) -> None:
    node = place.open(place.command(*place.said[:2], own_key=True))
    assert place.pinned() == (sorted([*NAMES[:2], place.own()]), 2)
    made = signers(node.issue_milestone())
    assert place.own() in made
    assert made <= {*NAMES[:2], place.own()}


def test_the_node_goes_on_with_fewer_signers_and_all_history(place: Place) -> None:
    with ExitStack() as first:
        node = first.enter_context(closing(_open(place.command(*place.said[:2], threshold=2))))
        for _ in range(3):
            node.issue_milestone()
    keys = json.loads((place.folder / "keys.json").read_text())
    keys["milestones"]["keys"].append({"from_index": 5, "key": NAMES[2], "to_index": None})
    (place.folder / "keys.json").write_text(json.dumps(keys))
    node = place.open(place.command(*place.said[1:]))
    for _ in range(2):  # the new one joins by proof from the node's history
        assert signers(node.issue_milestone()) == set(NAMES[1:])


def fails(command: NodeCommand) -> str:
    with pytest.raises(NodeStartError) as error:
        run_node(command, lambda _line: None)
    return str(error.value)


def test_what_cannot_be_is_said_at_the_start(place: Place) -> None:
    assert "http://HOST:PORT=KEY" in fails(place.command("nonsense"))
    assert "one key" in fails(place.command(place.said[0], place.said[0]))
    assert "there are 2 milestone keys" in fails(place.command(*place.said[:2], threshold=3))
    assert not (place.folder / "keys.json").exists()


def test_a_signer_that_is_not_pinned_is_refused(place: Place) -> None:
    place.open(place.command(*place.said[:2])).close()
    assert f"does not name the key {NAMES[2]}" in fails(place.command(*place.said))
    assert "with --threshold 2, not 1" in fails(place.command(*place.said[:2], threshold=1))


def test_a_network_waits_for_its_signers(place: Place) -> None:
    nobody = f"http://127.0.0.1:1={NAMES[0]}"
    said = fails(place.command(nobody))
    assert "milestone 1" in said
    node = place.open(place.command(place.said[0]))
    assert node.latest_milestone().index == 1

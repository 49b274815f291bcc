"""A node to follow, folders to follow into, and what the two have to have in common."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from ledger_client.follower import Followed, Follower
from ledger_client.follower.follower import LEDGER_FILE
from ledger_client.localnode import LocalNode, Store
from ledger_client.localnode.settings import keyed
from ledger_client.localnode.store import BlockRow, Connect, OutputRow, connect_sqlite
from ledger_client.verify import LedgerKeys, Milestones, plain
from tests.ledger_client.fake_stardust import FakeStardust, FakeWeb
from tests.ledger_client.tangle_kit import (
    ALICE,
    BOB,
    MILESTONE_KEYS,
    NETWORK,
    SUPPLY,
    TREASURY,
    Net,
)

PINNED: Milestones = keyed(MILESTONE_KEYS, 2)[1]
GENESIS: Mapping[bytes, int] = {TREASURY.address: SUPPLY}


class Followable:
    """A network with a node at http://one:14265; ``grow`` adds two milestones of everyday life."""

    def __init__(self, net: Net | None = None) -> None:
        self.net = net or Net()
        self.node = FakeStardust(self.net)
        self.web = FakeWeb({"one": self.node})
        self.lives = 0

    def grow(self, times: int = 1) -> None:
        """Pay, pay the same once more to somebody else, anchor, confirm; spend on at once."""
        for _ in range(times):
            self.lives += 1
            number = self.lives.to_bytes(2, "big")
            first, second = (self.net.pay(TREASURY, (who, 100)) for who in (ALICE, BOB))
            for signed in (first, second):
                self.net.ledger.transfer(signed.payload)
            for place in range(10):
                self.net.ledger.anchor(b"tag", number + bytes([place]))
            self.net.node.issue_milestone()
            self.net.node.issue_milestone()


@contextmanager
def follower(
    folder: Path,
    source: Followable,
    pinned: Milestones = PINNED,
    genesis: Mapping[bytes, int] | None = None,
    connect: Connect = connect_sqlite,
) -> Iterator[Follower]:
    """Follow ``source`` into ``folder`` for the length of a ``with``."""
    folder.mkdir(exist_ok=True)
    store = Store(folder / LEDGER_FILE, connect)
    try:
        network = store.settings().get("network")
        with source.web.client("one", network=network) as client:
            yield Follower.open(folder, store, client, pinned, genesis)
    finally:
        store.close()


def catch_up(follower: Follower) -> list[Followed]:
    """Take over whatever there is."""
    taken = []
    while (followed := follower.step()) is not None:
        taken.append(followed)
    return taken


def settled(store: Store) -> list[BlockRow | OutputRow]:
    """The ledger as milestones made it: what none references is each node's own."""
    return [
        row
        for row in store.ledger_rows()
        if isinstance(row, OutputRow) or row.milestone_index is not None
    ]


def same(follower: Follower, net: Net) -> None:
    """The copy is the node's ledger, row by row, and can be replayed by itself."""
    store = net.node.store
    assert settled(follower.store) == settled(store)
    assert follower.store.all_milestones() == store.all_milestones()


def replays(folder: Path) -> None:
    """The copy can be opened as a node's ledger, which replays it with every check."""
    signer, pinned = keyed(MILESTONE_KEYS, 2)
    node = LocalNode.open(
        folder / LEDGER_FILE, genesis=GENESIS, signer=signer, pinned=pinned, network=NETWORK
    )
    before = node.store.ledger_rows()
    node.rebuild()
    assert node.store.ledger_rows() == before
    node.close()


def keys_file(path: Path, pinned: Milestones = PINNED) -> Path:
    """Write pinned keys as a KEYS file."""
    path.write_text(json.dumps(plain(LedgerKeys(pinned, 1))), "utf-8")
    return path


def figures(taken: list[Followed]) -> list[tuple[int, int, int, int]]:
    """(index, blocks, applied, conflicting) of each milestone."""
    keep = ("index", "blocks", "applied", "conflicting")
    return [tuple(asdict(item)[name] for name in keep) for item in taken]

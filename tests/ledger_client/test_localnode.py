"""The embedded node: what it attaches, how conflicts end, milestones, replay, one writer."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from ledger_client.ledger import LedgerUnavailableError
from ledger_client.localnode import LocalNode
from ledger_client.localnode.errors import (
    BelowMaxDepthError,
    BlockRefusedError,
    LedgerCorruptError,
    LedgerSettingsError,
    ProofOfWorkMissingError,
    UnknownParentError,
)
from ledger_client.localnode.store import connect_sqlite
from ledger_client.localnode.tangle import SOLID_ENTRY_POINT, white_flag_order
from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import blake2b_256, network_id
from ledger_client.stardust.merkle import merkle_root
from ledger_client.stardust.milestone import Milestone
from ledger_client.stardust.output import (
    BasicOutput,
)
from ledger_client.stardust.pow import mine, score
from ledger_client.stardust.transaction import (
    Essence,
    TaggedData,
    Transaction,
    inputs_commitment,
)
from ledger_client.wallet import OwnerKey
from tests.ledger_client.tangle_kit import (
    ALICE,
    BOB,
    CAROL,
    MILESTONE_KEYS,
    NETWORK,
    START,
    SUPPLY,
    TREASURY,
    Net,
    sign,
    transaction,
)

GENESIS = {TREASURY.address: SUPPLY}
NOTE = TaggedData(b"tag", b"data")


def plain(owner: OwnerKey, units: int) -> BasicOutput:
    return BasicOutput.to(owner.address, units)


class TestAttaching:
    def test_a_block_is_known_by_its_hash_and_attached_once(self) -> None:
        net = Net()
        data = Block(net.node.tips(), NOTE).encode()
        first = net.node.attach(data)
        assert first == blake2b_256(data) == net.node.attach(data)
        assert net.node.stats().blocks == 2
        assert net.node.tips() == (first,)

    def test_the_genesis_is_a_parent_until_it_is_too_old(self) -> None:
        net = Net()
        for _ in range(14):
            net.node.issue_milestone()
        net.node.attach(Block((SOLID_ENTRY_POINT,), TaggedData(b"", b"15 deep")).encode())
        net.node.issue_milestone()
        with pytest.raises(BelowMaxDepthError):
            net.node.attach(Block((SOLID_ENTRY_POINT,), TaggedData(b"", b"16 deep")).encode())

    def test_the_age_of_a_block_counts_through_its_oldest_parent(self) -> None:
        net = Net()
        for _ in range(14):
            net.node.issue_milestone()
        old_and_new = Block((SOLID_ENTRY_POINT, *net.node.tips()), NOTE)
        net.node.attach(old_and_new.encode())
        net.node.issue_milestone()
        with pytest.raises(BelowMaxDepthError):
            net.node.attach(Block((SOLID_ENTRY_POINT, *net.node.tips()), NOTE).encode())
        # A milestone references the first one now: its own age counts, no longer the genesis'.
        net.node.attach(Block((old_and_new.id(),), NOTE).encode())

    @pytest.mark.parametrize(
        "broken",
        [
            b"",
            Block((SOLID_ENTRY_POINT,), NOTE).encode() + b"\x00",
            Block((SOLID_ENTRY_POINT,), NOTE).encode()[:-1],
            Block((SOLID_ENTRY_POINT,), NOTE)
            .encode()
            .replace(b"\x05\x00\x00\x00", b"\x08\x00\x00\x00"),
        ],
        ids=["nothing", "trailing", "cut", "unknown payload"],
    )
    def test_malformed_bytes_are_refused(self, broken: bytes) -> None:
        with pytest.raises(BlockRefusedError):
            Net().node.attach(broken)

    def test_an_unknown_parent_is_refused(self) -> None:
        with pytest.raises(UnknownParentError):
            Net().node.attach(Block((b"\x01" * 32,), NOTE).encode())

    def test_milestones_come_from_the_node_alone(self) -> None:
        net = Net()
        milestone = net.node.issue_milestone()
        forged = Milestone.sign(milestone.essence, [SigningKey(bytes(32))])
        with pytest.raises(BlockRefusedError, match="only this node"):
            net.node.attach(Block(milestone.essence.parents, forged).encode())
        with pytest.raises(BlockRefusedError, match="only this node"):
            net.node.submit(forged)

    @pytest.mark.parametrize("what", ["network", "deposit", "supply", "signature"])
    def test_a_transaction_that_can_never_hold_is_refused(self, what: str) -> None:
        net = Net()
        source = net.output(TREASURY)
        outputs = {
            "deposit": (plain(ALICE, 33), plain(BOB, SUPPLY - 33)),
            "supply": (plain(ALICE, SUPPLY), plain(BOB, 34)),
        }.get(what, (plain(ALICE, SUPPLY),))
        name = "another-network" if what == "network" else NETWORK
        commitment = inputs_commitment([source.output_bytes])
        essence = Essence(network_id(name), (source.output_id,), commitment, outputs)
        other = Essence(network_id(name), (source.output_id,), commitment, (plain(BOB, SUPPLY),))
        unlocks = sign(other if what == "signature" else essence, TREASURY)
        with pytest.raises(BlockRefusedError, match=what):
            net.node.submit(Transaction(essence, unlocks))
        assert net.node.stats().blocks == 1

    @given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
    @settings(max_examples=60)
    def test_a_changed_transfer_moves_nothing_but_what_its_owner_signed(
        self, at: int, flip: int
    ) -> None:
        net = Net()
        payload = bytearray(net.pay(TREASURY, (ALICE, 1000)).payload)
        payload[at % len(payload)] ^= flip
        before = net.ledger.balance(TREASURY.address)
        with pytest.raises(BlockRefusedError):
            net.node.attach(
                b"\x02\x01" + bytes(32) + len(payload).to_bytes(4, "little") + payload + bytes(8)
            )
        net.node.issue_milestone()
        assert net.ledger.balance(TREASURY.address) == before


class TestTips:
    def test_an_old_past_is_not_offered(self) -> None:
        """Blocks on all tips, one of which is barely young enough, would soon be refused."""
        net = Net()
        for _ in range(14):
            net.node.issue_milestone()
        newest = net.node.latest_milestone().block_id
        old = Block((SOLID_ENTRY_POINT,), NOTE)
        net.node.attach(old.encode())
        assert net.node.tips() == (newest,)
        on_both = Block(tuple(sorted((newest, old.id()))), NOTE)
        net.node.attach(on_both.encode())
        # Nothing young is left uncovered: the newest milestone is there for all.
        assert net.node.tips() == (newest,)
        net.node.submit(NOTE)
        net.node.issue_milestone()
        assert not net.node.has_pending()


class TestBatches:
    def test_each_block_is_judged_alone(self) -> None:
        net = Net()
        first = Block(net.node.tips(), TaggedData(b"a", b"1"))
        second = Block((first.id(),), TaggedData(b"a", b"2"))
        orphan = Block((bytes([7]) * 32,), NOTE)
        on_orphan = Block((orphan.id(),), NOTE)
        batch = [first, orphan, second, first, on_orphan]
        verdicts = net.node.attach_many([*(block.encode() for block in batch), b"no block"])
        assert verdicts[0] == verdicts[3] == first.id()
        assert verdicts[2] == second.id()
        assert isinstance(verdicts[1], UnknownParentError)
        assert isinstance(verdicts[4], UnknownParentError)
        assert type(verdicts[5]) is BlockRefusedError
        assert net.node.stats().blocks == 3
        assert net.node.tips() == (second.id(),)
        assert net.node.attach_many([second.encode(), first.encode()]) == [second.id(), first.id()]
        assert net.node.stats().blocks == 3

    def test_a_batch_is_one_commit(self, tmp_path: Path) -> None:
        statements: list[str] = []

        def connect(path: str) -> sqlite3.Connection:
            connection = connect_sqlite(path)
            connection.set_trace_callback(statements.append)
            return connection

        net = Net(tmp_path / "ledger.db", connect)
        tips = net.node.tips()
        blocks = [Block(tips, TaggedData(b"n", bytes([n]))).encode() for n in range(50)]
        statements.clear()
        net.node.attach_many(blocks)
        assert statements.count("COMMIT") == 1
        assert sum(each.startswith("\nINSERT INTO block") for each in statements) == 50

    def test_an_empty_batch_is_nothing(self) -> None:
        assert Net().node.attach_many([]) == []

    def test_a_proof_of_work_is_asked_of_strangers(self) -> None:
        node = LocalNode.open(
            ":memory:", genesis=GENESIS, milestone_keys=MILESTONE_KEYS, min_pow_score=3
        )
        block = Block(node.tips(), NOTE)
        lazy = next(
            candidate
            for nonce in range(1_000)
            if score((candidate := replace(block, nonce=nonce)).encode()) < 3
        )
        with pytest.raises(ProofOfWorkMissingError, match="below 3"):
            node.attach(lazy.encode())
        mined = mine(block, 3)
        assert node.attach(mined.encode()) == mined.id()
        own = node.submit(TaggedData(b"own", b""))
        node.issue_milestone()
        assert node.store.referenced_by(own) == 2
        node.close()


class TestMilestones:
    def test_every_block_is_confirmed_however_many_tips_there_are(self) -> None:
        net = Net()
        tip = net.node.tips()
        blocks = [
            net.node.attach(Block(tip, TaggedData(b"wide", bytes([n]))).encode()) for n in range(40)
        ]
        net.node.issue_milestone()
        assert all(net.node.store.block(block).milestone_index == 2 for block in blocks)
        assert not net.node.has_pending()

    def test_signatures_roots_and_chain(self) -> None:
        net = Net()
        keys = {bytes(key.verify_key) for key in MILESTONE_KEYS}
        net.fund((ALICE, 100))
        net.ledger.anchor(b"tag", b"data")
        net.node.issue_milestone()
        first, second, third = net.node.store.all_milestones()
        assert Milestone.decode(first.payload).essence.inclusion_root == merkle_root([])
        previous = bytes(32)
        for row in (first, second, third):
            milestone = Milestone.decode(row.payload)
            assert milestone.count_valid(keys) == 3
            assert milestone.essence.previous_id == previous
            previous = milestone.essence.id()
        essence = Milestone.decode(second.payload).essence
        included = net.node.store.referenced_ids(2, applied_only=False)
        assert first.block_id in included
        assert essence.inclusion_root == merkle_root(included)
        assert essence.applied_root == merkle_root(
            net.node.store.referenced_ids(2, applied_only=True)
        )

    def test_time_never_stands_still_and_follows_the_clock(self) -> None:
        net = Net()
        stamps = [net.node.issue_milestone().essence.timestamp for _ in range(2)]
        net.now = START + 100
        stamps.append(net.node.issue_milestone().essence.timestamp)
        net.now = START
        stamps.append(net.node.issue_milestone().essence.timestamp)
        assert stamps == [START + 1, START + 2, START + 100, START + 101]

    def test_an_interval_issues_them_by_itself(self) -> None:
        ticks = threading.Semaphore(0)

        def now() -> float:
            ticks.release()
            return START

        node = LocalNode.open(
            ":memory:",
            genesis=GENESIS,
            milestone_keys=MILESTONE_KEYS,
            threshold=2,
            now=now,
            milestone_interval_s=0.001,
        )
        for _ in range(4):
            assert ticks.acquire(timeout=10)
        node.close()
        with pytest.raises(LedgerUnavailableError, match="closed"):
            node.stats()

    @given(st.data())
    def test_white_flag_order_equals_the_recursive_walk(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, 14))
        ids = [blake2b_256(bytes([n])) for n in range(count)]
        graph: dict[bytes, tuple[bytes, ...]] = {}
        for n, identifier in enumerate(ids):
            older = st.sampled_from([SOLID_ENTRY_POINT, *ids[:n]])
            graph[identifier] = tuple(sorted(data.draw(st.sets(older, min_size=1, max_size=4))))
        parents = tuple(sorted(data.draw(st.sets(st.sampled_from(ids), min_size=1, max_size=4))))
        order: list[bytes] = []

        def walk(identifier: bytes) -> None:
            if identifier in graph and identifier not in order:
                for parent in graph[identifier]:
                    walk(parent)
                order.append(identifier)

        for parent in parents:
            walk(parent)
        assert white_flag_order(parents, graph) == order

    def test_a_chain_of_thousands_is_no_recursion(self) -> None:
        chain = {n.to_bytes(32, "big"): ((n - 1).to_bytes(32, "big"),) for n in range(1, 5000)}
        assert white_flag_order(((4999).to_bytes(32, "big"),), chain) == sorted(chain)


class TestRestart:
    def test_everything_is_there_again(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.db"
        net = Net(path)
        net.fund((ALICE, 100))
        anchored = net.ledger.anchor(b"tag", b"pending at the restart")
        before, tips = net.node.store.ledger_rows(), net.node.tips()
        net.node.close()
        again = Net(path)
        assert again.node.store.ledger_rows() == before
        assert again.node.tips() == tips
        assert again.ledger.inclusion_proof(anchored) is not None

    def test_a_backup_is_a_ledger_of_its_own(self, tmp_path: Path) -> None:
        net = Net(tmp_path / "ledger.db")
        net.fund((ALICE, 100))
        net.node.store.backup(tmp_path / "copy.db")
        before = net.node.store.ledger_rows()
        net.fund((BOB, 100))
        copy = Net(tmp_path / "copy.db")
        assert copy.node.store.ledger_rows() == before
        assert (copy.units(ALICE), copy.units(BOB)) == (100, 0)

    def test_one_process_writes(self, tmp_path: Path) -> None:
        net = Net(tmp_path / "ledger.db")
        with pytest.raises(LedgerUnavailableError):
            Net(tmp_path / "ledger.db")
        net.node.close()
        Net(tmp_path / "ledger.db").node.close()

    @pytest.mark.parametrize("change", ["network", "hrp", "genesis"])
    def test_another_network_is_not_opened(self, tmp_path: Path, change: str) -> None:
        common = {"milestone_keys": MILESTONE_KEYS, "genesis": GENESIS}
        LocalNode.open(tmp_path / "ledger.db", **common).close()
        changed = {**common, change: {ALICE.address: 99} if change == "genesis" else "other"}
        with pytest.raises(LedgerSettingsError, match=change):
            LocalNode.open(tmp_path / "ledger.db", **changed)

    @pytest.mark.parametrize(
        ("genesis", "keys", "threshold"),
        [
            ({}, MILESTONE_KEYS, 1),
            ({TREASURY.address: 33}, MILESTONE_KEYS, 1),
            ({TREASURY.address: 2**63}, MILESTONE_KEYS, 1),
            ({b"short": 99}, MILESTONE_KEYS, 1),
            (GENESIS, [], 1),
            (GENESIS, MILESTONE_KEYS, 4),
            (GENESIS, MILESTONE_KEYS, 0),
            (GENESIS, MILESTONE_KEYS[:1] * 2, 2),
        ],
    )
    def test_unusable_settings(
        self, genesis: dict[bytes, int], keys: list[SigningKey], threshold: int
    ) -> None:
        with pytest.raises(LedgerSettingsError):
            LocalNode.open(":memory:", genesis=genesis, milestone_keys=keys, threshold=threshold)


class TestRebuild:
    def _net(self) -> Net:
        net = Net()
        net.fund((ALICE, 100), (BOB, 200))
        net.conflict(transaction([net.output(TREASURY)], [plain(CAROL, 34)], [TREASURY]))
        net.ledger.anchor(b"tag", b"data")
        return net

    def test_replay_gives_the_same_state(self) -> None:
        net = self._net()
        before = net.node.store.ledger_rows()
        net.node.rebuild()
        assert net.node.store.ledger_rows() == before
        assert net.node.issue_milestone().essence.index == 4

    @pytest.mark.parametrize(
        "damage",
        [
            "UPDATE block SET bytes = zeroblob(40) WHERE seq = 2",
            "DELETE FROM block WHERE payload_type = 6",
            "DELETE FROM milestone WHERE milestone_index = 2",
            "UPDATE milestone SET timestamp = timestamp + 1 WHERE milestone_index = 2",
            "UPDATE milestone SET payload = zeroblob(9) WHERE milestone_index = 2",
            "UPDATE milestone SET id = randomblob(32) WHERE milestone_index = 2",
        ],
    )
    def test_damage_is_found_and_nothing_is_changed(self, damage: str) -> None:
        net = self._net()
        with net.node.store.writing():
            net.node.store._connection.execute(damage)
        before = net.node.store.ledger_rows()
        with pytest.raises(LedgerCorruptError):
            net.node.rebuild()
        assert net.node.store.ledger_rows() == before

    def test_a_balance_out_of_nothing_is_found_and_mended(self) -> None:
        net = self._net()
        good = net.node.store.ledger_rows()
        with net.node.store.writing():
            net.node.store._connection.execute("UPDATE output SET units = units + 1")
        with pytest.raises(LedgerCorruptError, match="supply"):
            net.node.check_supply()
        net.node.rebuild()
        assert net.node.store.ledger_rows() == good


def test_many_threads_share_one_node(tmp_path: Path) -> None:
    net = Net(tmp_path / "ledger.db")
    net.fund(*((owner, 10_000) for owner in (ALICE, BOB, CAROL)))

    def work(number: int) -> bytes:
        if number % 10 == 0:
            net.node.issue_milestone()
        return net.ledger.anchor(b"thread", number.to_bytes(2, "big"))

    with ThreadPoolExecutor(8) as pool:
        blocks = list(pool.map(work, range(120)))
    net.node.issue_milestone()
    rows = [net.node.store.block(block) for block in blocks]
    assert all(row is not None and row.milestone_index is not None for row in rows)
    before = net.node.store.ledger_rows()
    net.node.rebuild()
    assert net.node.store.ledger_rows() == before
    assert net.node.stats().supply_units == SUPPLY

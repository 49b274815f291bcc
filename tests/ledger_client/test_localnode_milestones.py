"""Milestones that others sign: pinned keys, drafts that wait, signers that come and go."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from ledger_client.ledger import LedgerUnavailableError, TransferStatus
from ledger_client.localnode import LocalNode, NodeSettings
from ledger_client.localnode.errors import (
    LedgerCorruptError,
    LedgerSettingsError,
    MilestoneClockError,
    MilestoneUnsignedError,
    SignatureWait,
)
from ledger_client.localnode.issuing import MAX_LEAP_S
from ledger_client.localnode.signing import KeyedSigner, MilestoneSigner
from ledger_client.stardust.block import Block
from ledger_client.stardust.milestone import Milestone, MilestoneEssence, MilestoneSignature
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import TaggedData
from ledger_client.verify import MilestoneKey, Milestones, RefusedError, check_milestone
from tests.ledger_client.tangle_kit import (
    ALICE,
    BOB,
    MILESTONE_KEYS,
    NETWORK,
    START,
    SUPPLY,
    TREASURY,
    Net,
    transaction,
)

PUBLIC = [bytes(key.verify_key) for key in MILESTONE_KEYS]
STRANGER = SigningKey(bytes(range(32)))


def pinned(threshold: int = 2, *ranges: tuple[int, int | None]) -> Milestones:
    """Pin the three keys, each for its range of indexes."""
    spans = [*ranges, *[(0, None)] * (len(PUBLIC) - len(ranges))]
    keys = [
        MilestoneKey(first, key, last) for key, (first, last) in zip(PUBLIC, spans, strict=True)
    ]
    return Milestones(tuple(keys), threshold)


class RecordingSigner(MilestoneSigner):
    """Signs with those of the keys that are at hand; never two essences of one index."""

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        self.keys = list(keys)
        self.asked: list[MilestoneEssence] = []
        self.seen: dict[int, bytes] = {}

    def sign(self, essence: MilestoneEssence) -> tuple[MilestoneSignature, ...]:
        self.asked.append(essence)
        assert self.seen.setdefault(essence.index, essence.encode()) == essence.encode()
        return KeyedSigner(self.keys).sign(essence)


class Held(MilestoneSigner):
    """Lets the caller wait until it is released, as a signer far away does."""

    def __init__(self) -> None:
        self.asked, self.released = threading.Event(), threading.Event()

    def sign(self, essence: MilestoneEssence) -> tuple[MilestoneSignature, ...]:
        self.asked.set()
        assert self.released.wait(30)
        return KeyedSigner(MILESTONE_KEYS).sign(essence)


class Forger(MilestoneSigner):
    """Returns a stranger's signature, one that does not hold, and a good one."""

    def __init__(self, good: int) -> None:
        self.good = good

    def sign(self, essence: MilestoneEssence) -> tuple[MilestoneSignature, ...]:
        strange = KeyedSigner([STRANGER]).sign(essence)
        wrong = MilestoneSignature(PUBLIC[2], bytes(64))
        return (*KeyedSigner(MILESTONE_KEYS[: self.good]).sign(essence), wrong, *strange)


class Signed(Net):
    """A network whose milestones are signed by whoever is given."""

    def __init__(
        self, path: str | Path, signer: MilestoneSigner, keys: Milestones | None = None
    ) -> None:
        self.signer = signer
        self.keys = keys or pinned()
        super().__init__(path)

    def settings(self) -> NodeSettings:
        return NodeSettings(NETWORK, "wl", {TREASURY.address: SUPPLY}, self.keys, self.signer)


class TestSignatures:
    def test_only_pinned_keys_whose_signature_holds_are_taken(self) -> None:
        net = Signed(":memory:", Forger(good=2))
        milestone = net.node.issue_milestone()
        assert {item.public_key for item in milestone.signatures} == set(PUBLIC[:2])
        assert check_milestone(milestone.encode(), net.node.pinned).index == 2
        net.node.rebuild()

    def test_too_few_make_no_milestone(self) -> None:
        signer = RecordingSigner(MILESTONE_KEYS)
        net = Signed(":memory:", signer)
        signer.keys = MILESTONE_KEYS[:1]
        with pytest.raises(MilestoneUnsignedError, match="2 has 1 of 2 signatures"):
            net.node.issue_milestone()
        assert net.node.waiting_for_signatures == SignatureWait(2, 1, 2)
        assert net.node.latest_milestone().index == 1
        signer.keys = MILESTONE_KEYS[1:]
        assert net.node.issue_milestone().essence.index == 2
        assert net.node.waiting_for_signatures is None

    def test_no_answer_at_all_is_no_signature(self) -> None:
        class Away(RecordingSigner):
            def sign(self, essence: MilestoneEssence) -> tuple[MilestoneSignature, ...]:
                if not self.keys:
                    raise LedgerUnavailableError("no route")
                return super().sign(essence)

        signer = Away(MILESTONE_KEYS)
        net = Signed(":memory:", signer)
        signer.keys = []
        with pytest.raises(MilestoneUnsignedError):
            net.node.issue_milestone()
        assert net.node.waiting_for_signatures == SignatureWait(2, 0, 2)

    def test_a_key_counts_for_its_indexes_alone(self) -> None:
        """The first key retires after milestone 2, the third begins with milestone 3."""
        signer = RecordingSigner(MILESTONE_KEYS)
        net = Signed(":memory:", signer, pinned(2, (0, 2), (0, None), (3, None)))
        second, third = net.node.issue_milestone(), net.node.issue_milestone()
        assert {item.public_key for item in second.signatures} == {PUBLIC[0], PUBLIC[1]}
        assert {item.public_key for item in third.signatures} == {PUBLIC[1], PUBLIC[2]}
        net.node.rebuild()
        signer.keys = MILESTONE_KEYS[:2]
        with pytest.raises(MilestoneUnsignedError):
            net.node.issue_milestone()

    def test_replay_asks_for_the_keys_of_each_index(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.db"
        net = Signed(path, RecordingSigner(MILESTONE_KEYS))
        net.node.issue_milestone()
        net.node.close()
        late = Signed(path, RecordingSigner(MILESTONE_KEYS), pinned(2, (2, None)))
        with pytest.raises(LedgerCorruptError, match="milestone 1"):
            late.node.rebuild()
        late.node.close()
        all_three = Signed(path, RecordingSigner(MILESTONE_KEYS), pinned(3))
        all_three.node.rebuild()

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"signer": Forger(1)},
            {"pinned": pinned()},
            {"milestone_keys": MILESTONE_KEYS, "signer": Forger(1), "pinned": pinned()},
            {"signer": Forger(1), "pinned": Milestones((), 0)},
            {"signer": Forger(1), "pinned": pinned(4)},
            {"milestone_keys": [MILESTONE_KEYS[0]] * 2},
            {"milestone_keys": MILESTONE_KEYS, "min_pow_score": -1},
            {"milestone_keys": MILESTONE_KEYS, "milestone_interval_s": 0},
        ],
    )
    def test_unusable_signers(self, options: dict[str, object]) -> None:
        with pytest.raises(LedgerSettingsError):
            LocalNode.open(":memory:", genesis={TREASURY.address: SUPPLY}, **options)


class TestDrafts:
    def test_a_draft_is_issued_as_it_was_drafted(self) -> None:
        signer = RecordingSigner(MILESTONE_KEYS)
        net = Signed(":memory:", signer)
        net.ledger.transfer(net.pay(TREASURY, (ALICE, 1000)).payload)
        signer.keys = []
        with pytest.raises(MilestoneUnsignedError):
            net.node.issue_milestone()
        assert net.units(ALICE) == 0
        drafted = signer.asked[-1]
        net.now += 500
        later = net.ledger.anchor(b"seal", b"after the draft")
        rival = net.node.attach(
            Block(
                drafted.parents,
                transaction(
                    [net.output(TREASURY)], [BasicOutput.to(BOB.address, SUPPLY)], [TREASURY]
                ),
            ).encode()
        )
        signer.keys = MILESTONE_KEYS
        milestone = net.node.issue_milestone()
        assert milestone.essence == drafted
        assert net.units(ALICE) == 1000
        assert net.node.store.block(later).milestone_index is None
        second = net.node.issue_milestone()
        assert second.essence.timestamp == START + 500
        assert net.node.store.block(later).milestone_index == 3
        assert net.node.store.block(rival).conflict == 1
        before = net.node.store.ledger_rows()
        net.node.rebuild()
        assert net.node.store.ledger_rows() == before

    def test_who_asks_for_a_fate_on_demand_gets_past_an_old_draft(self) -> None:
        signer = RecordingSigner(MILESTONE_KEYS)
        net = Signed(":memory:", signer)
        signer.keys = []
        with pytest.raises(MilestoneUnsignedError):
            net.node.issue_milestone()
        sent = net.ledger.transfer(net.pay(TREASURY, (ALICE, 1000)).payload)
        anchored = net.ledger.anchor(b"seal", b"1")
        with pytest.raises(LedgerUnavailableError):
            net.ledger.status(sent)
        signer.keys = MILESTONE_KEYS
        assert net.ledger.status(sent) is TransferStatus.CONFIRMED
        assert net.ledger.inclusion_proof(anchored).milestone_index == 3

    def test_a_draft_outlives_the_process(self, tmp_path: Path) -> None:
        path, signer = tmp_path / "ledger.db", RecordingSigner(MILESTONE_KEYS)
        net = Signed(path, signer)
        net.ledger.transfer(net.pay(TREASURY, (ALICE, 1000)).payload)
        signer.keys = MILESTONE_KEYS[:1]
        with pytest.raises(MilestoneUnsignedError):
            net.node.issue_milestone()
        net.ledger.anchor(b"seal", b"after the draft")
        net.node.rebuild()
        net.node.close()
        again = Signed(path, signer)
        again.now = START - 100
        signer.keys = MILESTONE_KEYS[:2]
        assert again.node.issue_milestone().essence == signer.asked[1]
        assert again.units(ALICE) == 1000
        before = again.node.store.ledger_rows()
        again.node.rebuild()
        assert again.node.store.ledger_rows() == before
        again.node.close()

    def test_a_network_is_founded_when_its_signers_answer(self, tmp_path: Path) -> None:
        path, signer = tmp_path / "ledger.db", RecordingSigner([])
        for _ in range(2):
            with pytest.raises(LedgerUnavailableError):
                Signed(path, signer)
        signer.keys = MILESTONE_KEYS
        net = Signed(path, signer)
        assert net.node.latest_milestone().index == 1
        assert len({essence.encode() for essence in signer.asked}) == 1
        assert net.units(TREASURY) == SUPPLY

    def test_blocks_are_attached_while_signers_think(self) -> None:
        signer = Held()
        signer.released.set()
        net = Signed(":memory:", signer)
        signer.released.clear()
        signer.asked.clear()
        base = net.node.attach(Block(net.node.tips(), TaggedData(b"a", b"base")).encode())
        waiting = threading.Thread(target=net.node.issue_milestone)
        waiting.start()
        assert signer.asked.wait(30)
        on_top = net.node.attach(Block((base,), TaggedData(b"a", b"on top")).encode())
        assert net.node.latest_milestone().index == 1
        signer.released.set()
        waiting.join(30)
        assert net.node.store.block(base).milestone_index == 2
        assert net.node.store.block(on_top).milestone_index is None
        assert on_top in net.node.tips()
        # What rests on it now rests on milestone 2, in memory as after a restart.
        assert net.node._tangle.oldest_root(on_top) == 2
        net.node._is_stale = True
        assert net.node._current().oldest_root(on_top) == 2

    def test_a_damaged_draft_is_found(self) -> None:
        signer = RecordingSigner(MILESTONE_KEYS)
        net = Signed(":memory:", signer)
        signer.keys = []
        with pytest.raises(MilestoneUnsignedError):
            net.node.issue_milestone()
        net.node._draft = None
        with net.node.store.writing():
            net.node.store.drop_draft()
            essence = signer.asked[-1].encode()
            damaged = essence[:-67] + bytes(64) + essence[-3:]
            net.node.store.put_draft(2, damaged)
        with pytest.raises(LedgerCorruptError, match="draft of milestone 2"):
            net.node.issue_milestone()

    def test_an_interval_tries_again_by_itself(self) -> None:
        signer = RecordingSigner(MILESTONE_KEYS)
        enough = threading.Event()

        class Returning(MilestoneSigner):
            def sign(self, essence: MilestoneEssence) -> tuple[MilestoneSignature, ...]:
                if len(signer.asked) == 1:
                    signer.keys = []
                if len(signer.asked) == 4:
                    signer.keys = MILESTONE_KEYS
                if len(signer.asked) == 6:
                    enough.set()
                return signer.sign(essence)

        node = LocalNode.open(
            ":memory:",
            genesis={TREASURY.address: SUPPLY},
            signer=Returning(),
            pinned=pinned(),
            milestone_interval_s=0.001,
        )
        assert enough.wait(30)
        node.close()
        assert [essence.index for essence in signer.asked[:6]] == [1, 2, 2, 2, 2, 3]


class TestTime:
    def test_a_leap_of_the_clock_makes_no_milestone(self) -> None:
        net = Net()
        net.now += MAX_LEAP_S + 100
        with pytest.raises(MilestoneClockError, match="set the clock"):
            net.node.issue_milestone()
        net.now = START + 50
        assert net.node.issue_milestone().essence.timestamp == START + 50

    def test_a_milestone_of_another_key_is_refused_by_a_reader(self) -> None:
        net = Net()
        forged = Milestone.sign(net.node.issue_milestone().essence, [STRANGER, *MILESTONE_KEYS])
        with pytest.raises(RefusedError, match="unknown"):
            check_milestone(forged.encode(), net.node.pinned)

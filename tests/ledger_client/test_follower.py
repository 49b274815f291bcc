"""A follower's copy: the node's ledger row by row, whatever happens to it on the way."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import settings

from ledger_client.follower import Follower, FollowerSettingsError, HistoryGoneError
from ledger_client.ledger import LedgerUnavailableError
from ledger_client.localnode import Store
from ledger_client.localnode.errors import LedgerSettingsError
from ledger_client.localnode.store import Connect
from tests.conftest import LONG
from tests.ledger_client import test_localnode_property as history
from tests.ledger_client.crash_story import fused
from tests.ledger_client.fake_stardust import Answer, FakeStardust, answer, refusal
from tests.ledger_client.follower_kit import (
    GENESIS,
    PINNED,
    Followable,
    catch_up,
    figures,
    follower,
    replays,
    same,
    settled,
)
from tests.ledger_client.power_cut import Breaker, PowerCutError
from tests.ledger_client.tangle_kit import ALICE, BOB, SUPPLY, TREASURY, Net


@pytest.fixture
def source() -> Followable:
    made = Followable()
    made.grow()
    return made


def test_a_copy_is_the_nodes_ledger(source: Followable, tmp_path: Path) -> None:
    source.grow()
    with follower(tmp_path, source) as auditor:
        taken = catch_up(auditor)
        same(auditor, source.net)
        assert auditor.target() == auditor.latest.index == 5
    assert figures(taken) == [
        (1, 0, 0, 0),
        (2, 13, 1, 1),
        (3, 1, 0, 0),
        (4, 13, 1, 1),
        (5, 1, 0, 0),
    ]
    replays(tmp_path)


def test_it_goes_on_where_it_was(source: Followable, tmp_path: Path) -> None:
    with follower(tmp_path, source) as auditor:
        catch_up(auditor)
    asked = len(source.node.asked)
    for _ in range(3):
        source.grow()
        with follower(tmp_path, source, genesis=GENESIS) as auditor:
            assert len(catch_up(auditor)) == 2
            same(auditor, source.net)
    blocks = [item for item in source.node.asked[asked:] if "/blocks/" in item]
    assert len(blocks) == len(set(blocks))  # each is fetched once


def test_two_followers_agree_whenever_they_look(source: Followable, tmp_path: Path) -> None:
    with follower(tmp_path / "a", source) as early:
        catch_up(early)
        source.grow(2)
        catch_up(early)
        with follower(tmp_path / "b", source, genesis=GENESIS) as late:
            catch_up(late)
            assert late.store.ledger_rows() == early.store.ledger_rows()
            assert late.store.all_milestones() == early.store.all_milestones()


def test_a_follower_can_be_followed(source: Followable, tmp_path: Path) -> None:
    """A copy that is served is as good as the node."""
    source.grow()
    with follower(tmp_path / "a", source) as first:
        catch_up(first)
        copy = Followable(_CopyNet(first))
        with follower(tmp_path / "b", copy) as second:
            catch_up(second)
            same(second, source.net)


class _CopyNet(Net):
    """Serves a follower's store."""

    def __init__(self, auditor: Follower) -> None:
        super().__init__()
        self.node.close()
        self.node.store = auditor.store


# The genesis ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "genesis",
    [
        {TREASURY.address: SUPPLY - 1},
        {TREASURY.address: SUPPLY, ALICE.address: 1_000},
        {},
    ],
)
def test_a_genesis_that_is_not_the_supply_is_refused(
    source: Followable, tmp_path: Path, genesis: dict[bytes, int]
) -> None:
    with (
        pytest.raises(FollowerSettingsError, match="add up to"),
        follower(tmp_path, source, genesis=genesis),
    ):
        pass
    with follower(tmp_path, source, genesis=GENESIS) as auditor:
        assert catch_up(auditor)


def test_a_genesis_of_somebody_else_does_not_hold(source: Followable, tmp_path: Path) -> None:
    """The same supply at another address: the first payment has no output to spend."""
    with follower(tmp_path, source, genesis={BOB.address: SUPPLY}) as auditor:
        auditor.step()
        with pytest.raises(Exception, match="applied root"):
            auditor.step()


def test_another_genesis_later_is_refused(source: Followable, tmp_path: Path) -> None:
    with follower(tmp_path, source) as auditor:
        catch_up(auditor)
    with (
        pytest.raises(FollowerSettingsError, match="another genesis"),
        follower(tmp_path, source, genesis={BOB.address: SUPPLY}),
    ):
        pass


def test_a_node_without_genesis_outputs_is_refused(source: Followable, tmp_path: Path) -> None:
    source.node.mischief = lambda request, told: (
        refusal(404) if "/outputs/" in request.url.path else told
    )
    with (
        pytest.raises(FollowerSettingsError, match="0 genesis outputs"),
        follower(tmp_path, source),
    ):
        pass


def test_a_threshold_above_the_keys_is_refused(source: Followable, tmp_path: Path) -> None:
    with (
        pytest.raises(LedgerSettingsError, match="threshold"),
        follower(tmp_path, source, replace(PINNED, threshold=4)),
    ):
        pass


# Hiccups ----------------------------------------------------------------------------------------


def test_what_does_not_answer_is_waited_out(source: Followable, tmp_path: Path) -> None:
    """Every second request fails in one way or the other; nothing is stored by halves."""
    troubles: Iterator[Answer | None] = iter(_troubles())

    def mischief(request: httpx.Request, told: Answer) -> Answer:
        trouble = next(troubles, None)
        if trouble is None:
            return told
        if trouble.status_code == 599:
            raise httpx.ReadTimeout("hangs", request=request)
        return trouble

    with follower(tmp_path, source) as auditor:
        source.node.mischief = mischief
        waits = 0
        while waits < 200 and auditor.store.count("milestones") < 3:
            before = auditor.store.ledger_rows()
            try:
                auditor.step()
            except LedgerUnavailableError:
                waits += 1
                assert auditor.store.ledger_rows() == before
        assert waits > 5
        same(auditor, source.net)


def _troubles() -> Iterator[Answer | None]:
    for number in range(60):
        # A few in a row, so that the client's own quick tries do not hide them.
        bad = [refusal(503), Answer(599), Answer(200, content=b"{"), answer([])][number % 4]
        yield from [bad] * 3
        yield from [None] * (number % 3 + 1)


def test_a_block_that_is_not_handed_out_is_waited_for(source: Followable, tmp_path: Path) -> None:
    row = source.net.node.store.blocks_with_tag(b"tag")[3]
    source.node.forgotten.add(row.block_id)
    with follower(tmp_path, source) as auditor:
        auditor.step()
        with pytest.raises(LedgerUnavailableError, match=f"hand out block {row.block_id.hex()}"):
            auditor.step()
        assert auditor.latest.index == 1
        source.node.forgotten.clear()
        catch_up(auditor)
        same(auditor, source.net)


def test_bytes_of_another_block_are_not_taken(source: Followable, tmp_path: Path) -> None:
    other = source.net.node.store.blocks_with_tag(b"tag")[0]

    def swap(request: httpx.Request, told: Answer) -> Answer:
        if "/blocks/" not in request.url.path or told.status_code != 200:
            return told
        return Answer(200, content=other.data, headers=told.headers)

    with follower(tmp_path, source) as auditor:
        auditor.step()
        source.node.mischief = swap
        with pytest.raises(LedgerUnavailableError, match="not those of the block"):
            auditor.step()
        source.node.mischief = lambda _request, told: told
        catch_up(auditor)
        same(auditor, source.net)


def test_a_node_behind_us_is_waited_for(source: Followable, tmp_path: Path) -> None:
    """As after the restore of an old backup: what it still says is what we know."""

    def behind(request: httpx.Request, told: Answer) -> Answer:
        path = request.url.path
        return refusal(404) if "/milestones/by-index/" in path and path[-1] in "34" else told

    with follower(tmp_path, source) as auditor:
        catch_up(auditor)
        source.node.mischief = behind
        with pytest.raises(LedgerUnavailableError, match="does not hand out milestone 3"):
            auditor.step()


def test_a_node_that_dropped_its_history_is_named(source: Followable, tmp_path: Path) -> None:
    def pruned(request: httpx.Request, told: Answer) -> Answer:
        if request.url.path.endswith("/info"):
            info = FakeStardust.info(source.node)
            info["status"]["pruningIndex"] = 2
            return answer(info)
        return refusal(404) if "milestones" in request.url.path else told

    with follower(tmp_path, source) as auditor:
        source.node.mischief = pruned
        with pytest.raises(HistoryGoneError, match="no history up to milestone 2"):
            auditor.step()


# Power cuts -------------------------------------------------------------------------------------


def _life(folder: Path, source: Followable, fuse: Breaker) -> None:
    connect: Connect = fused(fuse, synchronous="OFF")
    try:
        with follower(folder, source, connect=connect) as auditor:
            catch_up(auditor)
            same(auditor, source.net)
    finally:
        for connection in fuse.connections:
            with suppress(sqlite3.Error):
                connection.close()


def test_a_power_cut_at_every_write_step(source: Followable, tmp_path: Path) -> None:
    whole = Breaker(None)
    _life(tmp_path / "calm", source, whole)
    assert whole.steps > 50
    for step in range(0, whole.steps, 1 if LONG else 5):
        folder = tmp_path / str(step)
        with pytest.raises(PowerCutError):
            _life(folder, source, Breaker(step))
        _life(folder, source, Breaker(None))
    replays(tmp_path / str(step))


# Any history ------------------------------------------------------------------------------------


class Followed(history.Spending):
    """Whatever honest and conflicting payments a history has, followers come to the same."""

    def teardown(self) -> None:
        for _ in range(2):
            self.confirm(away=False)
        source = Followable(self.net)
        copies = [_copied(source, pace) for pace in (1, 3)]
        assert copies[0] == copies[1] == settled(self.net.node.store)
        self.net.node.close()


def _copied(source: Followable, pace: int) -> list[object]:
    """Follow in memory, ``pace`` milestones between two looks at the node's last word."""
    with source.web.client("one") as client:
        store = Store(":memory:")
        auditor = Follower.open(Path("/nonexistent"), store, client, PINNED)
        while sum(auditor.step() is not None for _ in range(pace)):
            assert auditor.target() >= auditor.latest.index
        rows = list[object](settled(store))
        store.close()
        return rows


TestFollowed = Followed.TestCase
TestFollowed.settings = settings(
    max_examples=500 if LONG else 10, stateful_step_count=40 if LONG else 20
)

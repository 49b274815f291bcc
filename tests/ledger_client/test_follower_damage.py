"""Copies that a disk or a hand has changed between two runs: nobody is accused on their word."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from ledger_client.follower.follower import LEDGER_FILE
from ledger_client.localnode.errors import LedgerCorruptError, LedgerSettingsError
from ledger_client.verify import MilestoneKey, Milestones
from tests.ledger_client.follower_kit import Followable, catch_up, follower, same

_LAST = "WHERE milestone_index = (SELECT max(milestone_index) FROM milestone)"
_TREASURY = "WHERE units > 900000 AND spent_index IS NULL"

MENDED = {
    "an output has another id": f"UPDATE output SET id = randomblob(34) {_TREASURY}",
    "an output has another owner": (
        "UPDATE output SET bytes = (SELECT bytes FROM output WHERE units = 100 LIMIT 1) "
        + _TREASURY
    ),
    "an output is spent": (
        "UPDATE output SET spent_index = 1, units = 100 WHERE units > 900000; "
        "UPDATE output SET units = units + 1000000 - "
        "(SELECT sum(units) FROM output WHERE spent_index IS NULL) "
        "WHERE id = (SELECT min(id) FROM output WHERE spent_index IS NULL)"
    ),
}
BEYOND_MENDING = {
    "a milestone has another id": f"UPDATE milestone SET id = randomblob(32) {_LAST}",
    "a milestone has another time": f"UPDATE milestone SET timestamp = timestamp + 9000 {_LAST}",
    "a milestone is another": (
        "UPDATE milestone SET id = randomblob(32), "
        f"payload = (SELECT payload FROM milestone WHERE milestone_index = 2) {_LAST}"
    ),
    "the last block has other bytes": (
        "UPDATE block SET bytes = zeroblob(length(bytes)) WHERE milestone_index IS NULL"
    ),
    "a milestone is gone": f"DELETE FROM milestone {_LAST}",
}


_BLOCK = "(SELECT id FROM block WHERE tag IS NOT NULL AND milestone_index = 2 LIMIT 1)"
_FIRST = "(SELECT payload FROM milestone WHERE milestone_index = 1)"
_UNSIGNED = "CAST(substr(payload, 1, length(payload) - 64) || zeroblob(64) AS BLOB)"
NAMED = {
    "an old block is zeroed": (
        f"UPDATE block SET bytes = zeroblob(length(bytes)) WHERE id = {_BLOCK}",
        f"SELECT 'block ' || hex({_BLOCK}) || ': bytes of another'",
    ),
    "an old block is gone": (
        f"DELETE FROM block WHERE id = {_BLOCK}",
        f"SELECT 'milestone 2: block ' || hex({_BLOCK}) || ' is missing'",
    ),
    "a milestone's block is gone": (
        "DELETE FROM block WHERE id = (SELECT block_id FROM milestone WHERE milestone_index = 2)",
        "SELECT 'milestone 2: its block is missing'",
    ),
    "an old block is hidden from the audit": (
        f"UPDATE block SET tag = NULL WHERE id = {_BLOCK}",
        f"SELECT 'block ' || hex({_BLOCK}) || ': its tag'",
    ),
    "a payload is another": (
        f"UPDATE milestone SET payload = {_FIRST} WHERE milestone_index = 2",
        "SELECT 'milestone 2 does not follow'",
    ),
    "a payload has another signature": (
        f"UPDATE milestone SET payload = {_UNSIGNED} WHERE milestone_index = 2",
        "SELECT 'on milestone 2 is wrong'",
    ),
    "an old milestone is gone": (
        "DELETE FROM milestone WHERE milestone_index = 2",
        "SELECT 'milestone 2 is missing'",
    ),
    "the last milestone is gone": (
        f"DELETE FROM milestone {_LAST}",
        "SELECT 'block ' || min(hex(id)) FROM block WHERE milestone_index = 3",
    ),
    "an address is another": (
        f"UPDATE output SET address = zeroblob(32) {_TREASURY}",
        f"SELECT 'output ' || hex(id) FROM output {_TREASURY}",
    ),
    "a spent output is gone": (
        "DELETE FROM output WHERE spent_index IS NOT NULL",
        "SELECT 'output ' || min(hex(id)) FROM output WHERE spent_index IS NOT NULL",
    ),
    "a conflict is none": (
        "UPDATE block SET conflict = 0 WHERE conflict > 0",
        "SELECT 'block ' || min(hex(id)) FROM block WHERE conflict > 0",
    ),
}


def _followed(folder: Path, source: Followable) -> None:
    """Follow a while, then let the node go on without the follower."""
    source.grow()
    with follower(folder, source) as auditor:
        catch_up(auditor)
    source.grow()


def _damage(folder: Path, script: str) -> None:
    with closing(sqlite3.connect(folder / LEDGER_FILE)) as connection:
        connection.executescript(script)


def _dump(folder: Path, query: str = "") -> list[str]:
    """Everything in the copy, or the answer to a query."""
    with closing(sqlite3.connect(folder / LEDGER_FILE)) as connection:
        return [row[0] for row in connection.execute(query)] if query else [*connection.iterdump()]


def _accusations(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.json"))


@pytest.mark.parametrize("case", MENDED)
def test_what_follows_from_the_blocks_is_worked_out_again(tmp_path: Path, case: str) -> None:
    source = Followable()
    _followed(tmp_path, source)
    _damage(tmp_path, MENDED[case])
    with follower(tmp_path, source) as auditor:
        catch_up(auditor)
        same(auditor, source.net)
    assert _accusations(tmp_path) == []


@pytest.mark.parametrize("case", BEYOND_MENDING)
def test_a_damaged_copy_accuses_nobody(tmp_path: Path, case: str) -> None:
    source = Followable()
    _followed(tmp_path, source)
    _damage(tmp_path, BEYOND_MENDING[case])
    with (
        follower(tmp_path, source) as auditor,
        pytest.raises(LedgerCorruptError, match=r"damaged|restore a backup"),
    ):
        catch_up(auditor)
    assert _accusations(tmp_path) == []


@pytest.mark.parametrize("case", NAMED)
def test_a_replay_names_what_is_damaged_and_changes_nothing(tmp_path: Path, case: str) -> None:
    source = Followable()
    _followed(tmp_path, source)
    script, query = NAMED[case]
    (words,) = _dump(tmp_path, query)
    _damage(tmp_path, script)
    before = _dump(tmp_path)
    asked = len(source.node.asked)
    with (
        follower(tmp_path, source) as auditor,
        pytest.raises(LedgerCorruptError, match=f"(?i){words}") as caught,
    ):
        auditor.replay()
    assert "\n" not in str(caught.value)
    assert ("KEYS" in str(caught.value)) == ("signature" in case)
    assert _dump(tmp_path) == before
    assert _accusations(tmp_path) == []
    assert len(source.node.asked) == asked


def test_a_sound_copy_goes_on_after_its_replay(tmp_path: Path) -> None:
    source = Followable()
    _followed(tmp_path, source)
    before = sorted(_dump(tmp_path))
    with follower(tmp_path, source) as auditor:
        auditor.replay()
        auditor.replay()
    assert sorted(_dump(tmp_path)) == before
    with follower(tmp_path, source) as auditor:
        auditor.replay()
        catch_up(auditor)
        same(auditor, source.net)


def test_a_copy_replayed_with_other_keys_accuses_nobody(tmp_path: Path) -> None:
    source = Followable()
    _followed(tmp_path, source)
    stranger = MilestoneKey(0, bytes(SigningKey(bytes(32)).verify_key), None)
    with (
        follower(tmp_path, source, Milestones((stranger,), 1)) as auditor,
        pytest.raises(LedgerCorruptError, match="if it was made with these KEYS"),
    ):
        auditor.replay()
    assert _accusations(tmp_path) == []


@pytest.mark.parametrize("name", ["genesis", "rent"])
@pytest.mark.parametrize("value", ["x", "1", "{}", '{"zz": 1}', '["a", 0, 0]'])
def test_unreadable_settings_are_told(tmp_path: Path, name: str, value: str) -> None:
    source = Followable()
    _followed(tmp_path, source)
    _damage(tmp_path, f"UPDATE setting SET value = '{value}' WHERE name = '{name}'")
    with pytest.raises((LedgerCorruptError, LedgerSettingsError)), follower(tmp_path, source):
        pass
    assert _accusations(tmp_path) == []

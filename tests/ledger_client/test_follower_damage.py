"""Copies that a disk or a hand has changed between two runs: nobody is accused on their word."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ledger_client.follower.follower import LEDGER_FILE
from ledger_client.localnode.errors import LedgerCorruptError, LedgerSettingsError
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


def _followed(folder: Path, source: Followable) -> None:
    """Follow a while, then let the node go on without the follower."""
    source.grow()
    with follower(folder, source) as auditor:
        catch_up(auditor)
    source.grow()


def _damage(folder: Path, script: str) -> None:
    connection = sqlite3.connect(folder / LEDGER_FILE)
    connection.executescript(script)
    connection.close()


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


@pytest.mark.parametrize("name", ["genesis", "rent"])
@pytest.mark.parametrize("value", ["x", "1", "{}", '{"zz": 1}', '["a", 0, 0]'])
def test_unreadable_settings_are_told(tmp_path: Path, name: str, value: str) -> None:
    source = Followable()
    _followed(tmp_path, source)
    _damage(tmp_path, f"UPDATE setting SET value = '{value}' WHERE name = '{name}'")
    with pytest.raises((LedgerCorruptError, LedgerSettingsError)), follower(tmp_path, source):
        pass
    assert _accusations(tmp_path) == []

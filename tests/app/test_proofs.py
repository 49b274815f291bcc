"""Seals and proofs over whatever an interval was: estimated, empty, carried, missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs.finalise import finalise
from app.services.proofs import NoSuchProofError, ProofNotReadyError, settlement_proof
from app.tables import CheckpointRow, LogEntryRow
from ledger_client.checkpoint import Checkpoint
from ledger_client.log import decode_entry
from ledger_client.merkle import root
from ledger_client.verify import open_note, verify_bytes
from metering.interval import LENGTH_MS
from metering.signing import public_key
from tests.app.district_kit import START, Kit, key

TRADE = {"solar": (0, 900), "flat": (300, 0)}


@pytest.fixture
def kit(database_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, database_url)
    yield kit
    kit.check()
    kit.close()


def test_everybody_can_prove_every_interval(kit: Kit) -> None:
    kit.live(**TRADE)  # shop has no trade
    kit.live(silent=["flat"], **TRADE)  # estimated: no closing
    kit.quarter(silent=["flat", "solar"], **TRADE)
    kit.settle()  # missing: neither border
    kit.live(**TRADE)  # no opening
    for number in range(4):
        for name in kit.names:
            verdict = kit.prove(key(number), name)
            assert verdict.code == 0, (number, name, verdict.steps[-1])
    seals = [kit.seal(key(n)).counts for n in range(4)]
    assert [counts.estimated for counts in seals] == [0, 1, 2, 2]
    assert [counts.missing for counts in seals] == [0, 0, 1, 0]
    assert [counts.trades for counts in seals] == [1, 0, 0, 0]
    assert [counts.statements for counts in seals] == [3] * 4


def test_a_slot_with_a_closing_alone_is_not_missing(kit: Kit) -> None:
    kit.live(**TRADE)
    kit.live(silent=["flat"])
    kit.live()
    slot = kit.slot(key(2), "flat")
    assert (slot.count, slot.opening, slot.estimated) == (0, None, True)
    assert slot.closing is not None
    assert kit.seal(key(2)).counts.missing == 0
    assert kit.prove(key(2), "flat").code == 0


def test_a_proof_that_is_not_ready_says_so(kit: Kit) -> None:
    with pytest.raises(NoSuchProofError, match="no interval"):
        settlement_proof(kit.house, key(0), "flat")
    kit.quarter(**TRADE)
    kit.worker.run_due()
    with pytest.raises(ProofNotReadyError, match="closed"):
        settlement_proof(kit.house, key(0), "flat")
    with pytest.raises(ProofNotReadyError, match="open"):
        settlement_proof(kit.house, key(1), "flat")
    kit.ledger.down = True
    kit.settle()
    with pytest.raises(ProofNotReadyError, match="sealed"):
        settlement_proof(kit.house, key(0), "flat")
    kit.ledger.down = False
    kit.worker.run_due()
    with pytest.raises(NoSuchProofError, match="nobody has no statement"):
        settlement_proof(kit.house, key(0), "nobody")
    assert kit.prove(key(0), "flat").code == 0


def test_a_proof_stays_the_same_as_the_log_grows(kit: Kit) -> None:
    kit.live(**TRADE)
    before = settlement_proof(kit.house, key(0), "flat")
    kit.live(**TRADE)
    assert settlement_proof(kit.house, key(0), "flat") == before
    assert verify_bytes(before, kit.keys()).code == 0


def test_another_participants_proof_says_nothing_of_ones_own(kit: Kit) -> None:
    kit.live(**TRADE)
    mine, theirs = (settlement_proof(kit.house, key(0), name) for name in ("flat", "solar"))
    swapped = json.loads(mine) | {"points": json.loads(theirs)["points"]}
    text = json.dumps(swapped, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    assert verify_bytes(text, kit.keys()).code == 1


# --- The seal ------------------------------------------------------------------------------------


def test_each_checkpoint_covers_the_log_and_names_its_predecessor(kit: Kit) -> None:
    for _ in range(3):
        kit.live(**TRADE)
    rows = sorted(kit.rows(CheckpointRow), key=lambda row: row.size)
    entries = sorted(kit.rows(LogEntryRow), key=lambda row: row.position)
    assert len(rows) == 3
    origin, pinned = kit.settings.origin, bytes(public_key(kit.keyring.log).raw)
    before: Checkpoint | None = None
    for number, row in enumerate(rows):
        head = open_note(row.note, origin, [pinned])
        assert (head.size, head.root) == (row.size, row.root)
        assert head.root == root([bytes(entry.leaf) for entry in entries[: row.size]])
        previous = json.loads(row.data)["previous"]
        assert previous == (before and {"root": before.root.hex(), "size": before.size})
        assert decode_entry(bytes(entries[row.size - 1].entry))[0] == "seal"
        assert kit.interval(key(number)).seal_index == row.size - 1
        before = head


def test_a_simulated_clock_is_named_in_the_seal(kit: Kit) -> None:
    kit.live()
    assert kit.seal(key(0)).clock == "simulated"


# --- The end -------------------------------------------------------------------------------------


def test_an_interval_becomes_final_when_its_window_closes(
    tmp_path: Path, database_url: str
) -> None:
    kit = Kit(tmp_path, database_url, changes={"correction_days": 1})
    kit.live(**TRADE)
    day = 96 * LENGTH_MS
    for minutes, state in ((0, "sealed"), (14, "sealed"), (15, "final")):
        kit.clock.advance_to(START.start_ms + day + minutes * 60_000)
        finalise(kit.house)
        assert kit.state(key(0)) == state
    assert kit.prove(key(0), "flat").code == 0
    kit.close()

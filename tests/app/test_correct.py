"""Estimates made good: parts that add up, one gap at a time, and nobody else touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col

from app.jobs.correct import correct_estimates
from app.tables import (
    CorrectionRow,
    OrderRow,
    Payment,
    PaymentParty,
    ReadingRow,
    StatementRow,
    TradeRow,
)
from ledger_client.merkle import root
from metering.interval import LENGTH_MS, Interval
from tests.app.district_kit import START, Kit, key


@pytest.fixture
def kit(database_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, database_url)
    yield kit
    kit.close()


@pytest.fixture
def plain(sqlite_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, sqlite_url)
    yield kit
    kit.close()


# One line per quarter-hour: what flat draws in it, and whether its meter answers at the end.
# Expected: what each interval's import came to, '=' as measured at once, '~' as corrected.
GAPS = {
    "one border missed, two quarters": ("300. 300! 300!", "~450 ~150 =300"),
    "three equal shares, remainder to the first keys": ("100. 100. 101!", "~101 ~100 ~100"),
    "two gaps, each by itself": ("90. 30! 500! 7. 8!", "~60 ~60 =500 ~8 ~7"),
    "nothing drawn": ("0. 0. 0!", "~0 ~0 ~0"),
    "still silent": ("5! 100. 100.", "=5 ?0 ?0"),
    "measured beside a gap": ("5! 100. 99! 4!", "=5 ~100 ~99 =4"),
}


@pytest.mark.parametrize("case", GAPS)
def test_gaps(plain: Kit, case: str) -> None:
    quarters, expected = (text.split() for text in GAPS[case])
    if case == "one border missed, two quarters":
        plain.add_history("flat", Interval.containing_ms(START.start_ms - 7 * 96 * LENGTH_MS), 300)
        plain.add_history(
            "flat", Interval.containing_ms(START.start_ms - (7 * 96 - 1) * LENGTH_MS), 100
        )
    for quarter in quarters:
        silent = [] if quarter.endswith("!") else ["flat"]
        plain.live(silent=silent, solar=(0, 2_000), flat=(int(quarter[:-1]), 0))
    assert _story(plain, len(quarters)) == expected
    drawn = sum(int(q[:-1]) for q in quarters)
    told = sum(int(text[1:]) for text in expected)
    assert told == (drawn if quarters[-1].endswith("!") else 5)
    plain.check()


def _story(kit: Kit, count: int) -> list[str]:
    corrected = kit.corrections("flat")
    found = []
    for number in range(count):
        import_wh, _, estimated = kit.energy(key(number), "flat")
        if not estimated:
            found.append(f"={import_wh}")
        elif key(number) in corrected:
            found.append(f"~{corrected[key(number)][0]}")
        else:
            found.append(f"?{import_wh}")
    return found


def test_a_late_border_inside_a_gap_closes_its_first_part(kit: Kit) -> None:
    kit.live(flat=(10, 0))
    kit.quarter(silent=["flat"], flat=(40, 0))
    middle = kit.sign("flat", kit.clock.now_ms())  # read in time, sent an hour later
    kit.settle()
    kit.live(silent=["flat"], flat=(50, 0))
    assert kit.corrections("flat") == {}
    kit.to(51)
    assert kit.send([middle]) == [200]
    kit.live(silent=["flat"], flat=(60, 0))
    assert kit.corrections("flat") == {key(1): (40, 0)}
    kit.live(flat=(1, 0))
    assert kit.corrections("flat") == {
        key(1): (40, 0), key(2): (37, 0), key(3): (37, 0), key(4): (37, 0)
    }  # fmt: skip
    kit.check()


def test_readings_after_the_seal_stand_in_the_next_seals_late_root(kit: Kit) -> None:
    kit.live()
    kit.quarter(silent=["flat"], flat=(40, 0))
    held = [kit.sign("flat", kit.clock.now_ms() - 60_000 * n) for n in (3, 2, 1)]
    kit.settle()
    assert kit.send(held) == [200] * 3
    late = [row for row in kit.rows(ReadingRow) if "late" in row.flags.split()]
    assert [row.seal_interval for row in late] == [key(2)] * 3
    kit.live()
    seal = kit.seal(key(2))
    assert seal.late_root == root(sorted(bytes(row.leaf) for row in late))
    own = sum(slot["count"] for slot in kit.slots_of(key(2)))
    assert seal.counts.readings == own + 3
    assert kit.seal(key(1)).late_root == root([])


def test_a_correction_touches_nobody_else(kit: Kit) -> None:
    kit.live(solar=(0, 900), flat=(300, 0), shop=(300, 0))
    kit.live(silent=["flat", "solar"], solar=(7, 900), flat=(300, 0), shop=(300, 0))
    assert kit.notices("corrected/") == []
    before = _untouchable(kit)
    wallets = kit.wallets()
    others = {f"wallet:{name}" for name in wallets} | {"receivable:shop"}
    booked = len(kit.postings())
    kit.live(solar=(0, 900), flat=(300, 0), shop=(300, 0))
    assert kit.corrections("flat").keys() == kit.corrections("solar").keys() == {key(1), key(2)}
    assert {k: v for k, v in _untouchable(kit).items() if k <= key(1)} == before
    # In the third quarter-hour nobody could sell: no wallet moves, only receivables.
    assert kit.wallets() == wallets
    new = [posting for posting in kit.postings()[booked:] if posting[1] == "correction"]
    assert new
    assert {account for _, _, account, _ in new}.isdisjoint(others)
    assert sum(micro for *_, micro in new) == 0
    assert kit.corrections("solar")[key(1)][1] + kit.corrections("solar")[key(2)][1] == 1_800
    assert len(kit.notices("corrected/")) == 2
    kit.check()


def _untouchable(kit: Kit) -> dict[str, Any]:
    """Orders, trades, statements and payments of each interval."""
    found: dict[str, Any] = {}
    for table in (OrderRow, TradeRow, StatementRow):
        for row in kit.rows(table):
            found.setdefault(row.interval, []).append(repr(row.model_dump()))
    owner = {row.id: row.interval for row in kit.rows(Payment, col(Payment.interval).is_not(None))}
    for party in kit.rows(PaymentParty):
        if party.payment in owner:
            found.setdefault(owner[party.payment], []).append(repr(party.model_dump()))
    return {interval: sorted(rows) for interval, rows in found.items()}


def test_correcting_again_changes_nothing(kit: Kit) -> None:
    kit.live(silent=["flat"], flat=(100, 0))
    kit.live(flat=(100, 0))
    corrections, postings = kit.rows(CorrectionRow), kit.postings()
    assert len(corrections) == 2
    assert not correct_estimates(kit.house)
    assert kit.rows(CorrectionRow) == corrections
    assert kit.postings() == postings


def test_a_gap_that_closes_after_final_is_a_note(tmp_path: Path, sqlite_url: str) -> None:
    """Energy is never lost: what was settled for good is made good by a debit note."""
    kit = Kit(tmp_path, sqlite_url, changes={"correction_days": 0})
    kit.live(silent=["flat"], flat=(100, 0))
    kit.worker.run_due()
    kit.live(silent=["flat"], flat=(100, 0))
    kit.live(silent=["flat"], flat=(100, 0))
    assert kit.state(key(0)) == "final"
    kit.live(flat=(100, 0))
    assert kit.corrections("flat") == {key(number): (100, 0) for number in range(4)}
    notes = {row.interval: row.note for row in kit.rows(CorrectionRow)}
    assert notes[key(0)] == "debit"
    assert notes[key(3)] is None  # its window is open
    assert kit.state(key(0)) == "final"
    kit.check()
    kit.close()


@pytest.mark.parametrize("gone", [("import_wh", 400), ("import_wh", None), ("export_wh", 3)])
def test_registers_that_do_not_go_on_leave_the_estimates(
    plain: Kit, gone: tuple[str, int | None]
) -> None:
    plain.homes["flat"].export_wh = None
    plain.live()
    plain.live(silent=["flat"], flat=(100, 0))
    setattr(plain.homes["flat"], *gone)
    plain.live()
    plain.live()
    assert plain.corrections("flat") == {}
    if gone != ("import_wh", 400):  # a fallen register was told of when it came in
        assert [notice.level for notice in plain.notices("reset/")] == ["alarm"]
    for number in range(3):
        assert plain.prove(key(number), "flat").code == 0


def test_a_home_without_export_register_is_corrected_for_what_it_drew(plain: Kit) -> None:
    plain.homes["flat"].export_wh = None
    plain.live(silent=["flat"], flat=(100, 0))
    plain.live(flat=(100, 0))
    assert plain.corrections("flat") == {key(0): (100, 0), key(1): (100, 0)}

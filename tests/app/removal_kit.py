"""A small district at the turn of a month: border readings, and some a few minutes in between."""

from __future__ import annotations

import atexit
import copy
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from sqlmodel import col, select

from app.clock import SimulatedClock
from app.services.erasure import erase
from app.services.erasure.plan import Plan, plan
from app.services.house import House
from app.services.proofs import settlement_proof
from app.store import removed
from app.tables import (
    DisputeRow,
    IntervalRow,
    MonthlyStatementRow,
    ReadingRow,
    SlotRow,
    StatementRunRow,
)
from ledger_client.merkle import root
from metering.interval import Interval
from metering.reading import SignedReading
from tests.app.district_kit import Kit

MINUTE_MS = 60_000
JUNE, JULY = Interval.parse("2026-06-30T23:30:00Z"), Interval.parse("2026-07-01T00:00:00Z")
LATER_MS = 40 * 86_400_000


class RemovalKit(Kit):
    """Two quarters of June and two of July, final; every reading that was signed is at hand."""

    def __init__(self, folder: Path, url: str, quarters: int = 4) -> None:
        settings: dict[str, object] = {"correction_days": 0, "retention_days": 31}
        super().__init__(folder, url, changes=settings, start=JUNE)
        self.signed: dict[str, list[SignedReading]] = {name: [] for name in self.homes}
        for _ in range(quarters):
            self.quarter_with_minutes()
        if quarters:
            self.close_the_last()

    def sign(self, name, moment_ms, **fields):
        signed = super().sign(name, moment_ms, **fields)
        self.signed[name].append(signed)
        return signed

    def quarter_with_minutes(self) -> None:
        """Live one quarter: its opening border, two readings within, its closing border."""
        start = Interval.containing_ms(self.clock.now_ms()).start_ms
        if not any(home.seq for home in self.homes.values()):
            self.read()
        for minute in (7, 9):
            self.clock.advance_to(max(self.clock.now_ms(), start + minute * MINUTE_MS))
            self.homes["flat"].use(import_wh=70)
            self.read(power_w=840)
        self.live(solar=(0, 400), flat=(100, 0), shop=(50, 0))

    def close_the_last(self) -> None:
        """Bring what is sealed to its end, without living on."""
        while any(state == "sealed" for state in self.states().values()):
            before = self.states()
            self.worker.run_due()
            if self.states() == before:
                return

    def set_state(self, key: str, state: str) -> None:
        with self.database.write() as session:
            session.get_one(IntervalRow, key).state = state

    def dispute(self) -> str:
        """Let the flat have a statement of July (local) with a line in dispute."""
        number = "S-2026-000001"
        with self.database.write() as session:
            session.add(
                StatementRunRow(
                    id=1, month="2026-07", issued_ms=0, root=b"", log_index=0, issued_by="command"
                )
            )
            session.flush()
            session.add(
                MonthlyStatementRow(
                    number=number, run=1, position=0, month="2026-07", participant="flat",
                    final=False, payload=b"{}", salt=b"", due_micro=0,
                )
            )  # fmt: skip
            session.flush()
            session.add(
                DisputeRow(
                    statement=number, participant="flat", line="1", held_micro=0, text="no",
                    opened_ms=0, state="open",
                )
            )  # fmt: skip
        return number

    def proof(self, interval: str, name: str) -> bytes:
        return settlement_proof(self.house, interval, name)

    @property
    def later(self) -> House:
        """The house, when June is older than its readings are kept."""
        clock = SimulatedClock(self.clock.now_ms() + LATER_MS)
        return replace(self.house, clock=clock)

    def states(self) -> Mapping[str, str]:
        return {row.key: row.state for row in self.rows(IntervalRow)}

    def final(self) -> list[str]:
        return [key for key, state in self.states().items() if state == "final"]

    def plan(
        self, subject: str, begin: Interval | None = None, end: Interval | None = None
    ) -> Plan:
        return self.ask(lambda session: plan(self.house, session, subject, begin, end))

    def erase(
        self, subject: str, begin: Interval | None = None, end: Interval | None = None
    ) -> int:
        return erase.erase(self.house, self.plan(subject, begin, end), "asked", "administrator")

    def readings(self, name: str | None = None) -> Sequence[ReadingRow]:
        rows = self.rows(ReadingRow)
        return [row for row in rows if name is None or row.point == self.homes[name].point]

    def roots(self) -> Mapping[str, object]:
        """Every sealed interval's roots, worked out from what is stored of its leaves."""
        return {
            key: self.ask(lambda session, key=key: _roots(session, key)) for key in self.final()
        }


def alive(folder: Path, url: str) -> RemovalKit:
    """Return the district on either engine; June alone where it has to be built anew."""
    return reopened(folder) if url.startswith("sqlite") else RemovalKit(folder, url, quarters=2)


@cache
def _built() -> RemovalKit:
    folder = Path(tempfile.mkdtemp(prefix="wattloom-removal-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    kit = RemovalKit(folder, f"sqlite:///{folder / 'district.db'}")
    kit.close()
    return kit


def reopened(folder: Path) -> RemovalKit:
    """Return a copy of a district on SQLite that was built once for all tests."""
    built = _built()
    shutil.copytree(built.folder, folder, dirs_exist_ok=True)
    kit = RemovalKit(folder, f"sqlite:///{folder / 'district.db'}", quarters=0)
    kit.homes, kit.signed = copy.deepcopy(built.homes), copy.deepcopy(built.signed)
    kit.clock.advance_to(built.clock.now_ms())
    return kit


def _roots(session, key: str) -> object:
    slots = session.exec(
        select(SlotRow).where(SlotRow.interval == key).order_by(col(SlotRow.position))
    ).all()
    found = removed.leaves(session, key, frozenset(slot.point for slot in slots))
    made = [root(found.within.get(slot.point, ())) for slot in slots]
    assert made == [slot.readings_root for slot in slots]
    return made, root(found.late), root([slot.leaf for slot in slots])

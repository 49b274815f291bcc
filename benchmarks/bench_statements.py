"""A month's statements of 1,000 participants: issued, and written as PDF, against three minutes.

Run: ``pytest benchmarks/bench_statements.py`` (``make bench``). The month's sums (bill lines,
roll-ups by day and month, links) and its postings are laid in bulk, one metering point each, every
third one a seller. Printed: seconds of the issue and of the PDFs, their ratio to the limit, and the
peak of memory.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlmodel import Session

from app.commands.statement_run import export_month
from app.jobs.statements import issue
from app.services.statements.span import Span
from app.store import journal
from app.tables import (
    BillLineRow,
    IntervalRow,
    JournalEntry,
    LinkRow,
    MeteringPointRow,
    ParticipantRow,
    PostingRow,
    RollupRow,
)
from market.journal import entry_of, receivable, supplier, wallet
from market.settlement import Kind, creditor
from metering.interval import Interval
from tests.app.district_kit import Kit, gsrn
from tests.conftest import sqlite_url

__all__ = ["sqlite_url"]

PEOPLE = 1_000
LIMIT_S = 180.0
MONTH = "2026-06"
DRAWN: dict[Kind, int] = {
    Kind.LOCAL_BUY: -12_345_678,
    Kind.RESIDUAL_IMPORT: -45_678_901,
    Kind.LOCAL_FEE: -3_000_001,
    Kind.GRID_FEE: -20_000_005,
    Kind.LEVY: -6_000_003,
    Kind.VAT: -16_534_671,
}
SOLD: dict[Kind, int] = {Kind.LOCAL_SELL: 24_691_356, Kind.RESIDUAL_EXPORT: 9_876_543}


@pytest.fixture
def kit(tmp_path: Path, sqlite_url: str) -> Iterator[Kit]:
    kit = Kit(
        tmp_path,
        sqlite_url,
        names=("solar",),
        changes={"statement_days": 0},
        start=Interval.parse("2026-05-31T22:00:00Z"),
    )
    yield kit
    kit.close()


def who(number: int) -> str:
    return f"person-{number:04}"


def amounts(number: int) -> Mapping[Kind, int]:
    return DRAWN | SOLD if number % 3 == 0 else DRAWN


def lay(kit: Kit) -> None:
    """Lay a settled month of all participants."""
    span = Span.of(MONTH, kit.settings.tz)
    keys = [Interval.containing_ms(at).key for at in range(span.start_ms, span.end_ms + 1, 900_000)]
    with kit.database.write() as session:
        rows: Mapping[type, Sequence[Mapping[str, object]]] = {
            IntervalRow: [
                {"key": k, "state": "sealed", "rule": "mid-market", "mode": "metered"}
                | {"payment": "confirmed", "anchor": "confirmed", "fallback": False}
                for k in keys
            ],
            ParticipantRow: [_person(number) for number in range(PEOPLE)],
            MeteringPointRow: [_point(number) for number in range(PEOPLE)],
            LinkRow: [row for number in range(PEOPLE) for row in _links(number, span.first)],
            BillLineRow: [row for number in range(PEOPLE) for row in _lines(number)],
            RollupRow: [row for number in range(PEOPLE) for row in _rollups(number, span)],
        }
        for table, values in rows.items():
            session.execute(insert(table), [dict(value) for value in values])
        _book(session, keys)
    kit.clock.advance_to(span.end_ms + 86_400_000)


def _person(number: int) -> Mapping[str, object]:
    return {
        "id": who(number),
        "name": f"Jörg Müller {number}",
        "account": 1_000 + number,
        "address": f"{number:064x}",
        "credit_limit_micro": 0,
        "postal_address": f"Lindenweg {number}, 10115 Berlin",
    }


def _point(number: int) -> Mapping[str, object]:
    return {
        "gsrn": gsrn(10_000 + number),
        "name": f"Flat {number}",
        "kind": "home",
        "feeder": "f",
        "participant": who(number),
        "tariff": "t",
        "max_power_w": 50_000,
    }


def _links(number: int, first: str) -> Iterator[Mapping[str, object]]:
    targets = {"participant": who(number), "supplier": "", "tariff": "t", "feeder": "f"}
    for role, target in (targets | {"balance-party": "", "building": ""}).items():
        yield {
            "point": gsrn(10_000 + number),
            "role": role,
            "target": target,
            "valid_from": first,
            "valid_to": None,
            "known_ms": 0,
            "entered_by": "bench",
        }


def _lines(number: int) -> Iterator[Mapping[str, object]]:
    for kind, micro in amounts(number).items():
        yield {
            "month": MONTH,
            "participant": who(number),
            "point": gsrn(10_000 + number),
            "origin": MONTH,
            "kind": kind.value,
            "vat_ppm": 190_000,
            "supplier": "",
            "lines": 2_000,
            "wh": 100_000,
            "micro": micro,
            "low_micro_per_kwh": 150_000,
            "high_micro_per_kwh": 290_000,
        }


def _rollups(number: int, span: Span) -> Iterator[Mapping[str, object]]:
    energies = dict.fromkeys(
        ("import_wh", "import_residual_wh", "export_wh", "export_residual_wh"), 100_000
    )
    rest = dict.fromkeys(
        ("import_local_wh", "import_own_wh", "export_local_wh", "export_own_wh"), 0
    )
    for kind, starts in (("month", [MONTH]), ("day", [d.isoformat() for d in span.days])):
        for start in starts:
            yield {
                "span": kind,
                "start": start,
                "point": gsrn(10_000 + number),
                "participant": who(number),
                "feeder": "f",
                "building": "",
                "supplier": "",
                "balance_party": "",
                "intervals": 96 if kind == "day" else 2_880,
                "estimated": 0,
                "peak_import_wh": 1_000,
                "peak_export_wh": 1_000,
                "wallet_micro": 0,
                "memo_micro": 0,
                "saving_micro": 4_000_000,
                **energies,
                **rest,
            }


def _book(session: Session, keys: Sequence[str]) -> None:
    """Book the month's sums once, and in every interval postings that cancel out with the next.

    Of those only the receivables, which an issue reads; the creditors' side is one posting each.
    """
    sums = [
        (wallet(who(n)) if kind.moves_wallet else receivable(who(n)), micro)
        for n in range(PEOPLE)
        for kind, micro in amounts(n).items()
    ]
    against = [
        (supplier("") if kind.moves_wallet else creditor(kind, ""), -micro)
        for n in range(PEOPLE)
        for kind, micro in amounts(n).items()
    ]
    journal.book(session, entry_of(keys[0], "memo", sums + against), interval=keys[0], booked_ms=1)
    for place, key in enumerate(keys[1:2_879]):
        entry = JournalEntry(ref=key, kind="memo", interval=key, booked_ms=1)
        session.add(entry)
        session.flush()
        sign = 1 if place % 2 else -1  # an even number of intervals cancels out
        session.execute(
            insert(PostingRow),
            [
                {"entry": entry.id, "account": receivable(who(n)), "micro": sign * (n + 1)}
                for n in range(PEOPLE)
            ],
        )


def test_a_months_statements(kit: Kit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lay(kit)
    began = time.perf_counter()
    done = issue(kit.house, MONTH, "bench")
    issued = time.perf_counter() - began
    out = tmp_path / "pdf"
    export_month(kit.house, MONTH, None, "pdf", out)
    total = time.perf_counter() - began
    files = list(out.iterdir())
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    with capsys.disabled():
        print(
            f"\n{len(done.numbers)} statements with {done.credit_notes} credit notes: issued in "
            f"{issued:.1f} s, with {len(files)} PDFs in {total:.1f} s, {total / LIMIT_S:.2f} of "
            f"the limit of {LIMIT_S:.0f} s; peak {peak_mib} MiB"
        )
    assert len(done.numbers) == len(files) >= PEOPLE

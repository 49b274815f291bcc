"""Roll-ups and bills again, the slow way: from settled rows, statement lines and the journal."""

from __future__ import annotations

from collections import Counter, defaultdict
from zoneinfo import ZoneInfo

from sqlmodel import Session, select

from app.tables import (
    BillLineRow,
    JournalEntry,
    PostingRow,
    RollupRow,
    SettledRow,
    SettlementLine,
)
from market.settled import buckets
from metering.interval import Interval

PARTIES = ("point", "participant", "feeder", "building", "supplier", "balance_party")
ENERGIES = tuple(
    f"{way}_{part}wh"
    for way in ("import", "export")
    for part in ("", "local_", "own_", "residual_")
)
LOCAL = ("local-buy", "local-sell")
Rows = dict[tuple[str, ...], dict[str, int]]


def check_sums(session: Session, zone: ZoneInfo) -> None:
    """Compare everything that settlement and corrections keep with what it is a sum of."""
    settled = session.exec(select(SettledRow)).all()
    for row in settled:
        for way in ("import", "export"):
            parts = [getattr(row, f"{way}_{part}_wh") for part in ("local", "own", "residual")]
            assert sum(parts) == getattr(row, f"{way}_wh"), row
    found = {
        (row.span, row.start, *(getattr(row, name) for name in PARTIES)): row.model_dump()
        for row in session.exec(select(RollupRow))
    }
    expected = rolled_up(session, zone)
    assert found.keys() == expected.keys()
    for place, sums in expected.items():
        assert {name: found[place][name] for name in sums} == sums, place
    assert billed(session) == lines(session)
    check_journal(session)


def rolled_up(session: Session, zone: ZoneInfo) -> Rows:
    money: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for line in session.exec(select(SettlementLine)):
        kind = "wallet_micro" if line.kind in LOCAL else "memo_micro"
        money[line.interval, line.point][kind] += line.micro
    expected: Rows = {}
    for row in session.exec(select(SettledRow)):
        for bucket in buckets(Interval.parse(row.interval), zone):
            place = (*bucket, *(getattr(row, name) for name in PARTIES))
            sums = expected.setdefault(place, defaultdict(int))
            sums["intervals"] += 1
            sums["estimated"] += row.estimated
            sums["saving_micro"] += row.saving_micro
            for name in ENERGIES:
                sums[name] += getattr(row, name)
            for way in ("import", "export"):
                sums[f"peak_{way}_wh"] = max(sums[f"peak_{way}_wh"], getattr(row, f"{way}_wh"))
            for kind in ("wallet_micro", "memo_micro"):
                sums[kind] += money[row.interval, row.point][kind]
    return expected


def lines(session: Session) -> Rows:
    expected: Rows = defaultdict(lambda: dict.fromkeys(("lines", "wh", "micro"), 0))
    for line in session.exec(select(SettlementLine)):
        sums = expected[line.participant, line.point, line.kind]
        sums["lines"] += 1
        sums["wh"] += line.wh
        sums["micro"] += line.micro
    return dict(expected)


def billed(session: Session) -> Rows:
    found: Rows = defaultdict(lambda: dict.fromkeys(("lines", "wh", "micro"), 0))
    for row in session.exec(select(BillLineRow)):
        sums = found[row.participant, row.point, row.kind]
        for name in sums:
            sums[name] += getattr(row, name)
    return dict(found)


def check_journal(session: Session) -> None:
    """The bills are what settlement and corrections moved on receivables and wallets."""
    billed_micro, moved = Counter[str](), Counter[str]()
    for row in session.exec(select(BillLineRow)):
        account = "wallet" if row.kind in LOCAL else "receivable"
        billed_micro[f"{account}:{row.participant}"] += row.micro
    for account, micro in session.exec(
        select(PostingRow.account, PostingRow.micro)
        .join(JournalEntry, JournalEntry.id == PostingRow.entry)
        .where(JournalEntry.kind.in_(("local", "memo", "correction")))
    ):
        if account.startswith(("wallet:", "receivable:")):
            moved[account] += micro
    assert {k: v for k, v in billed_micro.items() if v} == {k: v for k, v in moved.items() if v}

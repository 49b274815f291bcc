"""Writes settled rows, roll-ups and bill lines as an interval is settled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from sqlmodel import Session

from app.store import forward, settled
from app.tables import IntervalRow
from market.order import Side
from market.parties import MeteredPoint
from market.settled import (
    Bucket,
    Contracted,
    Record,
    Span,
    buckets,
    records,
)
from market.settlement import Settlement, Statement
from metering.interval import Interval
from metering.localtime import day_start, days_of, next_month


def record(session: Session, zone: ZoneInfo, key: str, settlement: Settlement) -> None:
    """Write an interval's settled rows and add them to roll-ups and bills; once per interval."""
    write(session, zone, key, settlement.points, settlement.statements)


def write(
    session: Session,
    zone: ZoneInfo,
    key: str,
    points: Iterable[MeteredPoint],
    statements: Iterable[Statement],
) -> list[Record]:
    """Write what an interval's statements say; return the records."""
    found = records(points, statements, _contracted(session, key))
    settled.insert_settled(session, key, (each.settled for each in found))
    add(session, zone, key, found)
    return found


def add(session: Session, zone: ZoneInfo, key: str, changes: Sequence[Record]) -> None:
    """Add records of an interval to its roll-ups and to the bills that are open for them."""
    into = buckets(Interval.parse(key), zone)
    settled.add_sums(session, into, changes)
    origin = into[-1].start
    people = {each.settled.participant for each in changes}
    settled.add_bill_lines(session, bill_months(session, people, origin), origin, changes)


def bill_month(session: Session, participant: str, origin: str) -> str:
    """Return the month (YYYY-MM) on whose statement lines of ``origin`` stand when written now."""
    return bill_months(session, [participant], origin)[participant]


def bill_months(session: Session, participants: Iterable[str], origin: str) -> Mapping[str, str]:
    """Return :func:`bill_month` of each participant."""
    found = {}
    for participant, issued in settled.issued_months(session, participants, origin).items():
        month = origin
        while month in issued:
            month = next_month(month)
        found[participant] = month
    return found


def borders(bucket: Bucket, zone: ZoneInfo) -> tuple[str, str]:
    """Return the keys of a bucket's first interval and of the first one after it."""
    if bucket.span is Span.HOUR:
        first = Interval.parse(bucket.start)
        return first.key, Interval(first.start + timedelta(hours=1)).key
    if bucket.span is Span.DAY:
        day = date.fromisoformat(bucket.start)
        return day_start(day, zone).key, day_start(day + timedelta(days=1), zone).key
    days = days_of(bucket.start)
    return day_start(days[0], zone).key, day_start(days[-1] + timedelta(days=1), zone).key


def _contracted(session: Session, key: str) -> Mapping[str, Contracted] | None:
    """Return what each point agreed on for a forward interval; None in the other modes."""
    row = session.get_one(IntervalRow, key)
    held_by = forward.covering(session, key) if row.mode == "forward" else None
    if held_by is None:
        return None
    bought, sold = Counter[str](), Counter[str]()
    for contract in forward.contracts(session, held_by.first, key):
        bought[contract.buyer.removesuffix(f"-{Side.BID}")] += contract.wh
        sold[contract.seller.removesuffix(f"-{Side.OFFER}")] += contract.wh
    return {point: Contracted(bought[point], sold[point]) for point in bought.keys() | sold.keys()}

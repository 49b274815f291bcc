"""Gives a folder from before there were settled rows its rows and sums, from its statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from zoneinfo import ZoneInfo

from sqlmodel import Session, col, exists, select

from app.db import Database
from app.services.settled.amending import amend
from app.services.settled.writing import write
from app.store import intervals, market, settled
from app.store.leaves import tariff_of
from app.tables import CorrectionRow, IntervalRow, SettledRow, SettlementLine, StatementRow
from market.correction import Metered, Settled, correct
from market.money import Price
from market.settlement import Kind, Line

_CHUNK: Final = 96  # intervals of one transaction
_AFTER_ALL: Final = "9"  # above every interval key


def ensure(database: Database, zone: ZoneInfo) -> int:
    """Write what is missing of settled rows, roll-ups and bills; return for how many intervals.

    In transactions of a day's intervals each, newest first, so that the oldest interval tells
    whether there is anything to do; what was written is left alone.
    """
    with database.read() as session:
        first = select(StatementRow.interval).order_by(StatementRow.interval).limit(1)
        oldest = session.exec(first).first()
        if oldest is None or _is_written(session, oldest):
            return 0
    done, before = 0, _AFTER_ALL
    while keys := _missing(database, before):
        with database.write() as session:
            for key in keys:
                fill_in(session, zone, key)
        done, before = done + len(keys), keys[-1]
    return done


def fill_in(session: Session, zone: ZoneInfo, key: str) -> None:
    """Write an interval from its statements and corrections, unless it is written already."""
    if _is_written(session, key):
        return
    write(session, zone, key, market.metered_points(session, key), settled.statements(session, key))
    corrections = session.exec(
        select(CorrectionRow)
        .where(CorrectionRow.interval == key)
        .order_by(col(CorrectionRow.point), col(CorrectionRow.version))
    ).all()
    if corrections:
        _amend_by(session, zone, key, corrections)


def _amend_by(
    session: Session, zone: ZoneInfo, key: str, corrections: Sequence[CorrectionRow]
) -> None:
    tariffs = {slot.point: tariff_of(slot) for slot in intervals.slots(session, key)}
    lines = _lines(session, key)
    first: dict[str, Settled] = {}
    for row in corrections:
        before = settled.settled_point(session, key, row.point)
        if before is None:
            continue  # it measures alone, and has no part in the settlement
        tariff = tariffs[row.point]
        began = Settled(before.participant, tariff, before.drawn, before.fed_in)
        found = correct(
            f"{key}/{row.point}/{row.version}",
            first.setdefault(row.point, began),
            Metered(row.import_wh, row.export_wh),
        )
        booked = replace(found, lines=tuple(lines.get((row.point, row.version), ())))
        amend(session, zone, key, booked, tariff, row.version)


def _is_written(session: Session, key: str) -> bool:
    row = select(SettledRow.point).where(SettledRow.interval == key).limit(1)
    return session.exec(row).first() is not None


def _missing(database: Database, before: str) -> Sequence[str]:
    """Return intervals before a key that have statements and no settled rows, newest first."""
    with database.read() as session:
        return session.exec(
            select(IntervalRow.key)
            .where(
                IntervalRow.key < before,
                exists().where(col(StatementRow.interval) == IntervalRow.key),
                ~exists().where(col(SettledRow.interval) == IntervalRow.key),
            )
            .order_by(col(IntervalRow.key).desc())
            .limit(_CHUNK)
        ).all()


def _lines(session: Session, key: str) -> Mapping[tuple[str, int], Sequence[Line]]:
    """Return the lines of corrections as they were booked, by point and version."""
    rows = session.exec(
        select(SettlementLine).where(SettlementLine.interval == key, SettlementLine.version > 0)
    )
    found: dict[tuple[str, int], list[Line]] = defaultdict(list)
    for row in rows:
        line = Line(Kind(row.kind), row.point, Price(row.price_micro_per_kwh), row.wh, row.micro)
        found[row.point, row.version].append(line)
    return found

"""Carries an erasure out, in small transactions, from where it stopped last."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from app.services.erasure import plan as planning
from app.services.erasure.plan import ErasureError, Plan, Span
from app.services.house import House
from app.services.retention.removal import candidates, keep_remains, take_away
from app.store import log, partitions
from app.store.partitions import READING, Month
from app.tables import (
    ErasureRow,
    ErasureSpanRow,
    EvidenceRow,
    ForecastRow,
    ForecastScoreRow,
    GatewayEventRow,
    MeterChangeRow,
    NoticeRow,
)
from metering import canonical
from metering.canonical import Value
from metering.interval import Interval

BATCH: Final = 1_000
MOST_REASON: Final = 500
_SALT: Final = 32
# What a decided change says that the registers showed; that and when it began stays.
_SHOWN: Final = (
    "closing_import_wh",
    "closing_export_wh",
    "opening_import_wh",
    "opening_export_wh",
    "salt",
)
Told = Callable[[int], None]  # how many readings went with a step


def erase(
    house: House, what: Plan, reason: str, asked_by: str, told: Told = lambda _count: None
) -> int:
    """Erase what a plan says; return how many readings went.

    First who asked for what and why is written down, and its salted hash into the log. Each step
    after that is whole or not at all; what is stopped goes on with :func:`resume`.

    Raises:
        ErasureError: no reason is given, or since the plan was made something forbids it.
        RemovalError: a seal could not be worked out from what would stay; that step is undone.
        DatabaseUnavailableError: try again; what was done stays done.
    """
    text = " ".join(reason.split())[:MOST_REASON]
    if not text:
        raise ErasureError("say why: the reason stays on record")
    with house.database.write() as session:
        first, last = _ends(what.spans)
        planning.plan(house, session, what.subject, first, last)  # nothing forbids it since
        number = _ask(house, session, what, text, asked_by)
    total = 0
    while (count := step(house, number)) is not None:
        total += count
        told(count)
    return total


def resume(house: House, steps: int) -> bool:
    """Go on with erasures that were stopped; return whether there was one."""
    unfinished = select(ErasureRow.id).where(col(ErasureRow.finished_ms).is_(None))
    with house.database.read() as session:
        number = session.exec(unfinished.order_by(col(ErasureRow.id)).limit(1)).first()
    if number is None:
        return False
    for _ in range(steps):
        if step(house, number) is None:
            break
    return True


def scrub(house: House, spans: Sequence[Span]) -> None:
    """Let no byte of what was erased stay in the database's files.

    Raises:
        DatabaseUnavailableError: the database is in use for too long: try again.
    """
    months = {
        Month.at(ms)
        for span in spans
        for ms in range(
            Interval.parse(span.first).start_ms, Interval.parse(span.after).start_ms, _DAY_MS
        )
    }
    last = {Month.at(Interval.parse(span.after).start_ms - 1) for span in spans}
    partitions.scrub(house.database, sorted(months | last))


_DAY_MS: Final = 86_400_000


def step(house: House, number: int) -> int | None:
    """Erase the next readings; return how many, None once the erasure is finished."""
    with house.database.write() as session:
        row = session.get_one(ErasureRow, number, with_for_update=True)
        if row.finished_ms is not None:
            return None
        spans = spans_of(session, number)
        found = session.connection().execute(
            candidates()
            .where(planning.of(session, spans))
            .order_by(READING.c.answered_ms, READING.c.id)
            .limit(BATCH)
        )
        rows = found.mappings().all()
        if not rows:
            _finish(house, session, row, spans)
            return 0
        keep_remains(session, rows, number)
        take_away(session, rows)
        row.readings += len(rows)
        return len(rows)


def spans_of(session: Session, number: int) -> list[Span]:
    """Return what an erasure covers."""
    rows = session.exec(
        select(ErasureSpanRow)
        .where(ErasureSpanRow.erasure == number)
        .order_by(ErasureSpanRow.point, ErasureSpanRow.first)
    )
    return [Span(row.point, row.first, row.after) for row in rows]


def _ends(spans: Sequence[Span]) -> tuple[Interval | None, Interval | None]:
    if not spans:
        return None, None
    return (
        Interval.parse(min(span.first for span in spans)),
        Interval.parse(max(span.after for span in spans)),
    )


def _ask(house: House, session: Session, what: Plan, reason: str, asked_by: str) -> int:
    """Write down who asked for what; the log gets a hash that nobody can guess it from."""
    now_ms, salt = house.clock.now_ms(), secrets.token_bytes(_SALT)
    said = record(what.subject, what.spans, reason, asked_by, now_ms)
    entry = {
        "action": "erasure",
        "at_ms": now_ms,
        "digest": hashlib.sha256(salt + canonical.dumps(said)).hexdigest(),
        "district": house.settings.origin,
    }
    row = ErasureRow(
        subject=what.subject,
        reason=reason,
        asked_by=asked_by,
        asked_ms=now_ms,
        salt=salt,
        log_index=log.append(session, "audit", entry),
    )
    session.add(row)
    session.flush()
    number = row.id or 0
    session.add_all(ErasureSpanRow(erasure=number, **span._asdict()) for span in what.spans)
    return number


def record(
    subject: str, spans: Sequence[Span], reason: str, asked_by: str, asked_ms: int
) -> Mapping[str, Value]:
    """Return what the log's entry of an erasure holds the salted hash of (docs/protocol.md)."""
    return {
        "asked_by": asked_by,
        "asked_ms": asked_ms,
        "reason": reason,
        "spans": [span._asdict() for span in spans],
        "subject": subject,
    }


def _finish(house: House, session: Session, row: ErasureRow, spans: Sequence[Span]) -> None:
    """Take what else is readings in disguise."""
    run = session.connection().execute
    doubles = planning.doubles(session, spans)
    run(delete(EvidenceRow).where(col(EvidenceRow.id).in_(doubles)))
    run(delete(ForecastRow).where(planning.forecasts(spans)))
    run(delete(ForecastScoreRow).where(planning.scores(spans, house.settings.tz)))
    events, notices, changes = planning.told(spans)
    run(delete(GatewayEventRow).where(events))
    run(delete(NoticeRow).where(notices))
    nothing: dict[str, object] = dict.fromkeys(_SHOWN)
    run(update(MeterChangeRow).where(changes).values(nothing))
    row.finished_ms = house.clock.now_ms()

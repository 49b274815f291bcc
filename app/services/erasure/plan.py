"""What an erasure would take away, what stays and why, and what forbids it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, exists, false
from sqlmodel import Session, SQLModel, col, func, or_, select

from app.services.house import House
from app.services.retention.plan import horizon
from app.store import disputes, registry
from app.store.partitions import READING
from app.tables import (
    CorrectionRow,
    DisputeRow,
    EnrolmentRow,
    ErasureSpanRow,
    EvidenceRow,
    ForecastRow,
    ForecastRunRow,
    ForecastScoreRow,
    GatewayEventRow,
    LinkRow,
    MeterChangeRow,
    MeteringPointRow,
    MonthlyStatementRow,
    NoticeRow,
    ParticipantRow,
    SlotRow,
)
from market.registry import Role
from metering.interval import Interval
from metering.localtime import day_of, month_of
from metering.reading import MalformedReadingError, Reading


class ErasureError(Exception):
    """It may not be erased, or not yet: nothing was changed; mend it as the message says."""


class Span(NamedTuple):
    """A point's intervals from ``first`` on, up to ``after`` (not included), as keys."""

    point: str
    first: str
    after: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes: ``readings`` (``bytes`` of them), ``doubles`` (signed twice under one number),
    ``forecasts``. What stays: ``quarters`` as they were settled, monthly ``statements``.

    ``limit`` is the interval from which on nothing may go yet.
    """

    subject: str
    spans: Sequence[Span]
    readings: int
    bytes: int
    doubles: int
    forecasts: int
    quarters: int
    statements: int
    limit: str

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to erase."""
        return not (self.readings or self.doubles or self.forecasts)


def plan(
    house: House, session: Session, subject: str, begin: Interval | None, end: Interval | None
) -> Plan:
    """Return what would be erased of a participant's or a point's readings.

    ``begin`` None: from the first on; ``end`` None: up to what may be erased today.

    Raises:
        ErasureError: there is no such participant or point, or it may not be erased yet.
    """
    limit = horizon(session)
    if end is not None and end.key > limit:
        raise ErasureError(
            f"what may still be corrected cannot be erased ({house.settings.correction_days} days, "
            f"and until it is paid and anchored): give --to {limit} or less, and ask again later"
        )
    spans = _spans(session, subject, begin.key if begin else "", end.key if end else limit)
    statements = _statements(session, spans, house.settings.tz)
    _check(session, spans, statements, limit)
    weight = func.length(READING.c.payload) + func.length(READING.c.signature)
    counted = select(func.count(), func.coalesce(func.sum(weight), 0)).where(of(session, spans))
    readings, size = session.connection().execute(counted).one()
    return Plan(
        subject=subject,
        spans=spans,
        readings=readings,
        bytes=int(size),
        doubles=len(doubles(session, spans)),
        forecasts=_count(session, ForecastRow, forecasts(spans))
        + _count(session, ForecastScoreRow, scores(spans, house.settings.tz)),
        quarters=_count(session, SlotRow, _within(spans, SlotRow.point, SlotRow.interval)),
        statements=len(statements),
        limit=limit,
    )


def _count(session: Session, table: type[SQLModel], where: ColumnElement[bool]) -> int:
    return session.exec(select(func.count()).select_from(table).where(where)).one()


def _spans(session: Session, subject: str, begin: str, end: str) -> list[Span]:
    """Return the intervals in question; of a participant's points only while they were theirs."""
    stays: list[registry.Stay] = []
    if session.get(MeteringPointRow, subject) is not None:
        stays = [registry.Stay(subject, "", None)]
    elif session.get(ParticipantRow, subject) is not None:
        stays = registry.stays(session, [subject])
    else:
        raise ErasureError(
            f"{subject[:40]!r} is neither a participant nor a metering point: `wattloom point "
            "list` names them"
        )
    started = session.exec(
        select(EnrolmentRow.point, func.min(EnrolmentRow.valid_from)).group_by(EnrolmentRow.point)
    )
    since = dict(started.all())
    spans = [
        Span(stay.point, max(stay.begin, begin, since[stay.point]), min(stay.end or end, end))
        for stay in stays
        if stay.point in since
    ]
    return [span for span in spans if span.first < span.after]


def _within(spans: Sequence[Span], point: str, interval: str) -> ColumnElement[bool]:
    """Return the condition that a row's point and interval (columns) are in one of the spans."""
    return or_(
        false(),
        *(
            and_(col(point) == span.point, col(interval) >= span.first, col(interval) < span.after)
            for span in spans
        ),
    )


def of(session: Session, spans: Sequence[Span]) -> ColumnElement[bool]:
    """Return the condition of the readings that go.

    The one at a border that a span shares with an interval outside of it stays, unless that
    interval is erased as well.
    """
    return or_(false(), *(_of(session, span) for span in spans))


def _of(session: Session, span: Span) -> ColumnElement[bool]:
    first, after = (Interval.parse(key) for key in (span.first, span.after))
    inside: ColumnElement[bool] = READING.c.answered_ms.between(first.start_ms, after.start_ms - 1)
    begin = _closing(session, span.point, first.previous())
    if begin is not None and not _is_erased(session, span.point, first.previous()):
        inside = and_(inside, READING.c.id != begin)
    end = _closing(session, span.point, after.previous())
    if end is not None and _is_erased(session, span.point, after):
        inside = or_(inside, READING.c.id == end)
    return and_(READING.c.point == span.point, READING.c.payload != b"", inside)


def _closing(session: Session, point: str, interval: Interval) -> int | None:
    """Return the id of the reading at an interval's end, as its slot names it."""
    of_slot = (SlotRow.point == point, SlotRow.interval == interval.key)
    return session.exec(select(SlotRow.closing).where(*of_slot)).first()


def _is_erased(session: Session, point: str, interval: Interval) -> bool:
    covers = (
        ErasureSpanRow.point == point,
        ErasureSpanRow.first <= interval.key,
        ErasureSpanRow.after > interval.key,
    )
    return session.exec(select(ErasureSpanRow.erasure).where(*covers).limit(1)).first() is not None


def doubles(session: Session, spans: Sequence[Span]) -> list[int]:
    """Return the ids of readings in the spans whose number had been used for other bytes."""
    rows = session.exec(
        select(EvidenceRow)
        .join(EnrolmentRow, col(EnrolmentRow.key) == EvidenceRow.key)
        .where(col(EnrolmentRow.point).in_([span.point for span in spans]))
    )
    return [row.id for row in rows if row.id is not None and _is_in(row.payload, spans)]


def _is_in(payload: bytes, spans: Sequence[Span]) -> bool:
    try:
        reading = Reading.from_payload(payload)
    except MalformedReadingError:
        return True  # it can prove nothing either
    key = Interval.containing_ms(reading.answered_ms).key
    return any(span.point == reading.point and span.first <= key < span.after for span in spans)


def forecasts(spans: Sequence[Span]) -> ColumnElement[bool]:
    """Return the condition of the forecasts (of points) that began in the spans."""
    run = select(ForecastRunRow.first).where(ForecastRunRow.id == ForecastRow.run)
    first = run.correlate(ForecastRow).scalar_subquery()
    return or_(
        false(),
        *(
            and_(col(ForecastRow.point) == span.point, first >= span.first, first < span.after)
            for span in spans
        ),
    )


def scores(spans: Sequence[Span], zone: tzinfo) -> ColumnElement[bool]:
    """Return the condition of the figures by day that say how good these were."""
    return or_(false(), *(_scores(span, zone) for span in spans))


def told(
    spans: Sequence[Span],
) -> tuple[ColumnElement[bool], ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions of gateways' events, of notices of them, and of decided changes.

    They repeat what registers showed, and tell when a meter was silent.
    """
    event, notice, change = GatewayEventRow, NoticeRow, MeterChangeRow
    of_event, decided = col(notice.ref).startswith("event/"), col(change.state) != "proposed"
    return (
        _between(spans, event.point, event.at_ms),
        and_(_between(spans, notice.point, notice.at_ms), of_event),
        and_(_between(spans, change.point, change.opening_ms), decided),
    )


def _between(spans: Sequence[Span], point: str | None, at_ms: int | None) -> ColumnElement[bool]:
    """Return the condition that a row's point and moment (columns) are in one of the spans."""
    return or_(
        false(),
        *(
            and_(
                col(point) == span.point,
                col(at_ms) >= Interval.parse(span.first).start_ms,
                col(at_ms) < Interval.parse(span.after).start_ms,
            )
            for span in spans
        ),
    )


def _scores(span: Span, zone: tzinfo) -> ColumnElement[bool]:
    first, last = (
        day_of(interval.start, zone).isoformat()
        for interval in (Interval.parse(span.first), Interval.parse(span.after).previous())
    )
    return and_(
        col(ForecastScoreRow.point) == span.point, col(ForecastScoreRow.day).between(first, last)
    )


def _statements(session: Session, spans: Sequence[Span], zone: tzinfo) -> list[str]:
    """Return the numbers of the statements on which the spans' energy stands."""
    found: set[str] = set()
    for span in spans:
        whose = select(LinkRow.target).where(
            LinkRow.point == span.point,
            LinkRow.role == Role.PARTICIPANT.value,
            LinkRow.valid_from < span.after,
            or_(col(LinkRow.valid_to).is_(None), col(LinkRow.valid_to) > span.first),
        )
        ends = (Interval.parse(span.first), Interval.parse(span.after).previous())
        first, last = (month_of(interval.start, zone) for interval in ends)
        found |= set(
            session.exec(
                select(MonthlyStatementRow.number).where(
                    col(MonthlyStatementRow.participant).in_(whose),
                    col(MonthlyStatementRow.month).between(first, last),
                )
            )
        )
    return sorted(found)


def _awaits() -> tuple[ColumnElement[bool], ...]:
    """Return the condition of slots whose estimate the meter may still make good.

    Then both readings around the gap are needed. Wider than what corrects them: rather ask again.
    """
    estimated = and_(col(SlotRow.estimated).is_(True), col(SlotRow.made_good).is_(None))
    disputed = col(SlotRow.disputed).in_(("marked", "replaced"))
    corrected = (
        col(CorrectionRow.interval) == col(SlotRow.interval),
        col(CorrectionRow.point) == col(SlotRow.point),
    )
    return (
        or_(and_(estimated, ~exists().where(*corrected)), disputed),
        col(SlotRow.fault).is_(None),
        registry.settling(SlotRow.point),
    )


def _check(session: Session, spans: Sequence[Span], statements: Sequence[str], limit: str) -> None:
    """See that nothing is disputed, awaits its meter or stands in a seal that is not final.

    Raises:
        ErasureError: something is; it says what.
    """
    for problem in _problems(session, spans, statements, limit):
        raise ErasureError(problem)


def _problems(
    session: Session, spans: Sequence[Span], statements: Sequence[str], limit: str
) -> Iterator[str]:
    disputed = session.exec(
        select(DisputeRow.statement).where(
            DisputeRow.state == disputes.OPEN, col(DisputeRow.statement).in_(statements)
        )
    ).first()
    if disputed:
        yield f"a line of statement {disputed} is disputed: close the dispute first"
    waiting = session.exec(
        select(SlotRow.point, SlotRow.interval)
        .where(*_awaits(), _within(spans, SlotRow.point, SlotRow.interval))
        .order_by(SlotRow.interval)
        .limit(1)
    ).first()
    if waiting:
        point, key = waiting
        yield f"the estimates of {point} from {key} on still wait for the meter: give --to {key}"
    late = session.connection().scalar(
        select(func.min(READING.c.seal_interval)).where(
            of(session, spans), READING.c.seal_interval >= limit
        )
    )
    if late:
        yield (
            f"a reading came late and is sealed in {late}, which is not final: ask again once it is"
        )

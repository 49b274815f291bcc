"""The page of meters: satisfies :class:`web.ports.meters.Meters`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from sqlmodel import Session, col, select

from app.clock import wall_ms
from app.services import changes
from app.services.commissioning import register, requests, tokens
from app.services.commissioning.errors import CommissioningError
from app.services.enrolment import EnrolmentError
from app.services.house import House
from app.store import people, registry
from app.tables import EnrolmentRequestRow, EnrolmentRow, EnrolmentTokenRow
from metering.commissioning.wire import Exchange, Registers, Report, compared, fingerprint
from metering.identity import PublicKey, PublicKeyError
from metering.interval import LENGTH_MS, Interval, IntervalError
from metering.reading import Enrolment
from web.ports import RefusedError
from web.ports.meters import (
    CounterLine,
    ExchangeLine,
    FindingLine,
    MeterPoint,
    MetersPage,
    NewToken,
    WaitingMeter,
)

_STALE_MS: Final = 2 * LENGTH_MS
_MINUTE_MS: Final = 60_000


@contextmanager
def _on_the_page() -> Iterator[None]:
    try:
        yield
    except CommissioningError as error:
        raise RefusedError(str(error), error.field) from error
    except EnrolmentError as error:
        raise RefusedError(str(error)) from error
    except (IntervalError, PublicKeyError) as error:
        raise RefusedError(str(error), "begin") from error


class MetersDesk:
    """The meters at the points of the ``managed`` participants; tokens live by ``now_ms``."""

    def __init__(
        self, house: House, managed: Collection[str], now_ms: Callable[[], int] = wall_ms
    ) -> None:
        self._house = house
        self._managed = managed
        self._now_ms = now_ms

    def page(self) -> MetersPage:
        """Return the page."""
        now_ms = self._house.clock.now_ms()
        now = Interval.containing_ms(now_ms)
        with self._house.database.read() as session:
            own = self._own(session)
            names = {gsrn: row.name for gsrn, row in people.points(session).items() if gsrn in own}
            meters = register.meters(session, own, now_ms)
            waiting = {row.point: row for row in requests.open_requests(session)}
            unused = _unused(session, self._now_ms())
            proposals = _proposals(session, own)
            return MetersPage(
                zone=people.district(session).zone,
                clock_ms=now_ms,
                next_key=now.next().key,
                points=[
                    MeterPoint(
                        point=point,
                        name=names[point],
                        meters=meters.get(point, []),
                        waiting=_waiting(session, waiting[point]) if point in waiting else None,
                        proposals=proposals.get(point, []),
                        token_until_ms=unused.get(point),
                    )
                    for point in sorted(own, key=lambda each: (names[each], each))
                ],
            )

    def token(self, point: str, by: str) -> NewToken:
        """Make a one-time token for a point; an earlier one that nobody used is void."""
        with _on_the_page():
            self._check_point(point)
            made = tokens.issue(self._house, point, by, self._now_ms())
        with self._house.database.read() as session:
            old = tokens.holder(session, self._house, point)
            return NewToken(
                point=point,
                name=people.points(session)[point].name,
                replaces=old.serial if old else None,
                token=made.text,
                command=f"wattloom meter {made.purpose} --token {made.text}",
                minutes=tokens.LIVES_MS // _MINUTE_MS,
            )

    def confirm(self, request: int, typed: str, by: str) -> None:
        """Confirm that the gateway shows the fingerprint whose last groups were typed."""
        with _on_the_page():
            self._check_request(request)
            requests.confirm(self._house, request, typed, by)

    def withdraw(self, request: int, by: str) -> None:
        """Turn an enrolment down that waits."""
        with _on_the_page():
            self._check_request(request)
            requests.withdraw(self._house, request, by)

    def revoke(self, key: str, begin: str, by: str) -> None:
        """Refuse a key's readings from an interval on (its UTC start; '': the next one)."""
        with _on_the_page():
            self._check_key(key)
            register.revoke(self._house, key, begin, by)

    def keep(self, key: str, by: str) -> None:
        """Take a revocation back that has not begun."""
        with _on_the_page():
            self._check_key(key)
            register.keep(self._house, key, by)

    def _own(self, session: Session) -> frozenset[str]:
        """Return the points that are a managed participant's now."""
        now = Interval.containing_ms(self._house.clock.now_ms()).key
        return frozenset(
            stay.point
            for stay in registry.stays(session, frozenset(self._managed))
            if stay.begin <= now and (stay.end is None or stay.end > now)
        )

    def _check_point(self, point: str) -> None:
        with self._house.database.read() as session:
            if point not in self._own(session):
                raise RefusedError("there is no such metering point among those you manage")

    def _check_request(self, request: int) -> None:
        with self._house.database.read() as session:
            row = session.get(EnrolmentRequestRow, request)
            if row is None or row.point not in self._own(session):
                raise RefusedError("there is no such enrolment at the points that you manage")

    def _check_key(self, key: str) -> None:
        with self._house.database.read() as session:
            query = select(EnrolmentRow.point).where(EnrolmentRow.key == key)
            if session.exec(query).first() not in self._own(session):
                raise RefusedError("there is no such key at the points that you manage")


def _proposals(session: Session, points: Collection[str]) -> Mapping[str, list[str]]:
    """Say which changes of counters wait for a decision, by point."""
    found: dict[str, list[str]] = defaultdict(list)
    for each in changes.listed(session, points):
        found[each.point].append(
            f"{each.kind.value.capitalize()} proposed (epoch {each.new.epoch} of meter "
            f"{each.new.serial}): it counts once you approve it under Meter changes"
        )
    return found


def _unused(session: Session, now_ms: int) -> Mapping[str, int]:
    row = EnrolmentTokenRow
    query = select(row.point, row.expires_ms)
    return dict(
        session.exec(query.where(col(row.used_ms).is_(None), row.expires_ms > now_ms)).all()
    )


def _waiting(session: Session, row: EnrolmentRequestRow) -> WaitingMeter:
    report = Report.parse(row.report)
    return WaitingMeter(
        request=row.id or 0,
        serial=row.serial,
        profile=register.title(row.profile),
        version=row.profile_version,
        gateway=row.gateway,
        brought_by=row.brought_by,
        sent_ms=row.sent_ms,
        valid_from=Enrolment.from_payload(row.payload).valid_from.key,
        shown=compared(fingerprint(PublicKey.parse(row.key)))[0],
        verdict=report.verdict,
        findings=[
            FindingLine(
                each.label, each.value, each.unit, each.plausible, each.verdict, each.advice
            )
            for each in report.findings
        ],
        exchange=_exchange(session, row.exchange) if row.exchange else None,
    )


def _exchange(session: Session, text: str) -> ExchangeLine:
    found = Exchange.parse(text)
    query = select(EnrolmentRow.serial).where(EnrolmentRow.key == found.old_key)
    return ExchangeLine(
        old_serial=session.exec(query).first() or "",
        closing=_counters(found.closing),
        closing_by=found.closing_by,
        opening=_counters(found.opening),
    )


def _counters(found: Registers) -> CounterLine:
    return CounterLine(found.at_ms, found.import_wh, found.export_wh)

"""The pages of certificates: satisfies :class:`web.ports.certificates.Certificates`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from typing import Final

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, func, select

from app.files.rows import INTEGER
from app.services.certificates.accounts import Choice, act
from app.services.certificates.figures import month_figures
from app.services.house import House
from app.services.typed import TypedError, scaled
from app.store import people
from app.tables import CertificateRow, DeviceRow, MeteringPointRow, RollupRow
from market.certificate import EXPIRY_YEARS, CertificateError, Status
from market.certificate_bundle import Action
from metering.interval import Interval, from_ms
from metering.localtime import LocalTimeError, day_start, month_of, parse_day
from web.ports import RefusedError
from web.ports.certificates import (
    AskedAction,
    AskedPreview,
    CertificateDay,
    CertificateMonth,
    CertificatesPage,
    HeldLine,
)

DAYS: Final = 7


class CertificateDesk:
    """Certificates of one district, for their pages."""

    def __init__(self, house: House) -> None:
        self._house = house

    def held(self, participants: Sequence[tuple[str, str]]) -> Sequence[HeldLine]:
        """Return this month's figures of accounts (id, name)."""
        with self._house.database.read() as session:
            return [HeldLine(who, name, self._month(session, who)) for who, name in participants]

    def certificates(self, participant: str, before: str) -> CertificatesPage:
        """Return an account's page."""
        with self._house.database.read() as session:
            days, older = self._days(session, participant, _day(before) if before else None)
            return CertificatesPage(
                participant=participant,
                name=people.participants(session)[participant].name,
                zone=people.district(session).zone,
                month=self._month(session, participant),
                days=days,
                older=older,
                devices=_devices(session, participant),
                expiry_years=EXPIRY_YEARS,
            )

    def preview(self, participant: str, asked: AskedAction) -> AskedPreview:
        """Return how many Wh an action would concern, of how many."""
        wh = self._act(participant, replace(asked, free=""), "", preview=True)
        every = replace(asked, free="", amount="")
        return AskedPreview(wh, self._act(participant, every, "", preview=True))

    def act(self, participant: str, asked: AskedAction, role: str) -> int:
        """Do it; return how many Wh it concerned."""
        return self._act(participant, asked, role, preview=False)

    def _act(self, participant: str, asked: AskedAction, role: str, *, preview: bool) -> int:
        zone = self._house.settings.tz
        with _on_the_page():
            day = _day(asked.day)
            first, before = day_start(day, zone).key, day_start(day + timedelta(days=1), zone).key
            choice = Choice(first=first, before=before, free_wh=_free(asked.free))
            action = _action(asked.action)
            to = asked.to.strip() if action in (Action.TRANSFER, Action.CANCEL) else ""
            wh = _wh(asked.amount)
            return act(self._house, participant, action, choice, wh, to, role, preview=preview)

    def _month(self, session: Session, participant: str) -> CertificateMonth:
        zone = self._house.settings.tz
        month = month_of(from_ms(self._house.clock.now_ms()), zone)
        figures = month_figures(session, participant, month)
        drawn = session.exec(
            select(func.coalesce(func.sum(RollupRow.import_wh), 0)).where(
                RollupRow.span == "month",
                RollupRow.start == month,
                RollupRow.participant == participant,
            )
        ).one()
        return CertificateMonth(
            month=month,
            consumption_wh=int(drawn) + figures.self_used_wh,
            matched_wh=figures.matched_wh,
            self_used_wh=figures.self_used_wh,
            issued_wh=figures.issued_wh,
            received_wh=figures.received_wh,
            sent_wh=figures.sent_wh,
            claimed_wh=figures.claimed_wh,
            avoided_g=figures.avoided_g,
        )

    def _days(
        self, session: Session, participant: str, before: date | None
    ) -> tuple[list[CertificateDay], str | None]:
        """Return the newest days with certificates and, if there are older ones, where they end."""
        zone = self._house.settings.tz
        start = CertificateRow.production_starting_interval
        own = CertificateRow.account_id == participant
        limit = () if before is None else (start < day_start(before, zone).key,)
        newest = session.exec(select(func.max(start)).where(own, *limit)).first()
        if newest is None:
            return [], None
        last = Interval.parse(newest).start.astimezone(zone).date()
        first = last - timedelta(days=DAYS - 1)
        rows = session.exec(
            select(start, CertificateRow.certificate_bundle_status, func.sum(_wh_of_row()))
            .where(own, start >= day_start(first, zone).key, *limit)
            .group_by(start, CertificateRow.certificate_bundle_status)
        )
        held: dict[date, Counter[str]] = {}
        for key, status, wh in rows:
            day = Interval.parse(key).start.astimezone(zone).date()
            held.setdefault(day, Counter())[status] += int(wh)
        oldest = session.exec(select(func.min(start)).where(own)).first()
        older = first.isoformat() if oldest and oldest < day_start(first, zone).key else None
        return [self._line(day, held[day]) for day in sorted(held, reverse=True)], older

    def _line(self, day: date, held: Counter[str]) -> CertificateDay:
        # An interval is final once its whole window has passed: the day's last one, a day later.
        free = day + timedelta(days=self._house.settings.correction_days + 1)
        return CertificateDay(
            day=day.isoformat(),
            reserved_wh=held[Status.RESERVED],
            active_wh=held[Status.ACTIVE],
            claimed_wh=held[Status.CLAIMED],
            stored_wh=held[Status.LOCKED],
            gone_wh=held[Status.CANCELLED] + held[Status.WITHDRAWN] + held[Status.EXPIRED],
            free_from=free.isoformat(),
        )


@contextmanager
def _on_the_page() -> Iterator[None]:
    try:
        yield
    except CertificateError as error:
        raise RefusedError(str(error), "action") from error


def _wh_of_row() -> ColumnElement[int]:
    table = CertificateRow
    first = col(table.certificate_bundle_id_range_start)
    return col(table.certificate_bundle_id_range_end) - first + 1


def _action(text: str) -> Action:
    try:
        return Action(text)
    except ValueError as error:
        raise RefusedError("choose what to do with them", "action") from error


def _wh(text: str) -> int | None:
    if not text.strip():
        return None
    try:
        return scaled(text, 1000, "1.25 kWh")
    except TypedError as error:
        raise RefusedError(str(error), "amount") from error


def _free(text: str) -> int | None:
    if not text:
        return None
    if not (INTEGER.fullmatch(text) and len(text) < 17):
        raise RefusedError("that page is old: ask again what it would mean", "action")
    return int(text)


def _day(text: str) -> date:
    try:
        return parse_day(text)
    except LocalTimeError as error:
        raise RefusedError("that is no day: choose one of the list", "day") from error


def _devices(session: Session, participant: str) -> Sequence[str]:
    return session.exec(
        select(DeviceRow.name)
        .join(MeteringPointRow, col(MeteringPointRow.gsrn) == col(DeviceRow.point))
        .where(
            MeteringPointRow.participant == participant,
            col(DeviceRow.kind) != "charger",
            col(DeviceRow.valid_to).is_(None),
        )
        .order_by(DeviceRow.name)
    ).all()

"""The meters at each point, for the page and for the command line, and the end of their keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Final

from sqlmodel import Session, col, func, select

from app.services import enrolment
from app.services.commissioning import requests
from app.services.commissioning.errors import UnknownRequestError
from app.services.house import House
from app.store import people
from app.tables import EnrolmentRequestRow, EnrolmentRow, ReadingRow
from metering.commissioning.wire import compared, fingerprint
from metering.identity import PublicKey
from metering.inputs.types import meter_type
from metering.interval import LENGTH_MS, Interval, from_ms
from metering.profiles import ProfileError
from web.ports.meters import MeterLine

_STALE_MS: Final = 2 * LENGTH_MS


def meters(session: Session, points: Collection[str], now_ms: int) -> Mapping[str, list[MeterLine]]:
    """Return the meters of each point, the one that begins last first."""
    newest = (
        select(func.max(ReadingRow.answered_ms))
        .where(ReadingRow.point == EnrolmentRow.point, ReadingRow.key == EnrolmentRow.key)
        .correlate(EnrolmentRow)
        .scalar_subquery()
    )
    version = EnrolmentRequestRow.profile_version
    rows = session.exec(
        select(EnrolmentRow, newest, version)
        .outerjoin(EnrolmentRequestRow, col(EnrolmentRequestRow.key) == EnrolmentRow.key)
        .where(col(EnrolmentRow.point).in_(sorted(points)))
        .order_by(col(EnrolmentRow.valid_from).desc(), col(EnrolmentRow.id).desc())
    )
    now = Interval.containing_ms(now_ms).key
    found: dict[str, list[MeterLine]] = defaultdict(list)
    for row, last_ms, digest in rows:
        found[row.point].append(
            MeterLine(
                key=row.key,
                fingerprint=fingerprint(PublicKey.parse(row.key)),
                serial=row.serial,
                profile=title(row.profile),
                version=digest or "",
                epoch=row.epoch,
                valid_from=row.valid_from,
                revoked_from=row.revoked_from,
                over=row.revoked_from is not None and row.revoked_from <= now,
                last_ms=last_ms,
                stale=last_ms is None or now_ms - last_ms > _STALE_MS,
            )
        )
    return found


def title(profile: str) -> str:
    """Return what a profile is called; its name where this house has no such file."""
    try:
        return meter_type(profile).title
    except ProfileError:
        return profile


def listed(house: House) -> list[dict[str, object]]:
    """Return every key of every point, and the enrolments that wait, as plain values."""
    now_ms = house.clock.now_ms()
    with house.database.read() as session:
        points = people.points(session)
        waiting = {row.point: row for row in requests.open_requests(session)}
        found = meters(session, points, now_ms)
    rows: list[dict[str, object]] = []
    for gsrn, point in sorted(points.items()):
        begin = {"point": gsrn, "name": point.name}
        if gsrn in waiting:
            row = waiting[gsrn]
            rows.append(begin | _waiting(row))
        rows += [begin | _line(each) for each in found.get(gsrn, ())]
        if gsrn not in waiting and gsrn not in found:
            rows.append(begin | dict.fromkeys(_KEYS) | {"state": "no meter"})
    return rows


def waiting(house: House, point: str) -> int:
    """Return the number of the enrolment that waits at a point.

    Raises:
        UnknownRequestError: none does.
    """
    with house.database.read() as session:
        for row in requests.open_requests(session):
            if row.point == point:
                return row.id or 0
    raise UnknownRequestError(f"no enrolment waits at {point}")


def revoke(house: House, key: str, begin: str, by: str) -> Interval:
    """Refuse a key's readings from an interval on ('': the next one); return that interval.

    Raises:
        IntervalError, PublicKeyError: no interval's or no key.
        EnrolmentError: the key is not enrolled, or revoked from then on already.
    """
    start = Interval.parse(begin.strip()) if begin.strip() else _now(house).next()
    with house.database.write() as session:
        enrolment.revoke(session, house.settings.origin, PublicKey.parse(key), start)
        _tell(house, session, key, f"is revoked from {start} on, by the {by}")
    return start


def keep(house: House, key: str, by: str) -> None:
    """Take a revocation back that has not begun.

    Raises:
        PublicKeyError: no key.
        EnrolmentError: it is not revoked, that began, or another key takes over.
    """
    with house.database.write() as session:
        origin = house.settings.origin
        enrolment.withdraw(session, origin, PublicKey.parse(key), _now(house))
        _tell(house, session, key, f"stays in service: the {by} took its revocation back")


_KEYS: Final = ("serial", "profile", "version", "key", "fingerprint", "last_reading")


def _moment(ms: int | None) -> str | None:
    return None if ms is None else f"{from_ms(ms):%Y-%m-%dT%H:%M:%SZ}"


def _line(each: MeterLine) -> dict[str, object]:
    ending = "in service" if each.revoked_from is None else f"ends {each.revoked_from}"
    return {
        "serial": each.serial,
        "profile": each.profile,
        "version": each.version,
        "key": each.key,
        "fingerprint": each.fingerprint,
        "last_reading": _moment(each.last_ms),
        "state": "revoked" if each.over else ending,
    }


def _waiting(row: EnrolmentRequestRow) -> dict[str, object]:
    """Return what waits, without the groups of its fingerprint that a person has to type."""
    shown, _ = compared(fingerprint(PublicKey.parse(row.key)))
    return {
        "serial": row.serial,
        "profile": title(row.profile),
        "version": row.profile_version,
        "key": None,
        "fingerprint": f"{shown} ...",
        "last_reading": None,
        "state": "awaiting confirmation",
    }


def _now(house: House) -> Interval:
    return Interval.containing_ms(house.clock.now_ms())


def _tell(house: House, session: Session, key: str, what: str) -> None:
    row = session.exec(select(EnrolmentRow).where(EnrolmentRow.key == key)).one()
    now_ms = house.clock.now_ms()
    people.notify(
        session,
        ref=f"key/{key}/{now_ms}",
        at_ms=now_ms,
        level="warning",
        text=f"Meter {row.serial}: its key {fingerprint(PublicKey.parse(key))} {what}",
        point=row.point,
    )

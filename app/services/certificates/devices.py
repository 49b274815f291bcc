"""Devices that certificates are issued for: founded with green points, added and ended by hand."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session, col, func, select

from app.services.house import House
from app.store import people
from app.tables import DeviceRow, ForeignDeviceRow, LinkRow, MeteringPointRow
from market.certificate import CertificateError
from market.money import PPM
from metering.interval import Interval

# AIB, EECS Rules Fact Sheet 5: technology "solar", energy source "solar photovoltaic".
SOLAR: Final = "T010000"
SOLAR_SOURCE: Final = "F01040100"
KINDS: Final = ("production", "storage", "charger")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_MOST: Final = 2 * 10**9  # W, mg per kWh: what their columns hold
_MOST_NAME: Final = 120
_TECHNOLOGY: Final = re.compile(r"T\d{6}")
_SOURCE: Final = re.compile(r"F\d{8}")


@dataclass(frozen=True, slots=True)
class NewDevice:
    """What ``wattloom device add`` says."""

    id: str
    point: str
    kind: str = "production"
    meter_point: str | None = None
    output_register: str = "export"
    name: str = ""
    technology: str = SOLAR
    source: str = SOLAR_SOURCE
    capacity_w: int = 0
    efficiency_ppm: int | None = None
    emissions_mg_per_kwh: int = 0


def ensure(session: Session) -> None:
    """Give each green metering point without a device one of its own export register.

    Nothing is certified backwards: in a folder from before there were certificates they begin with
    the next interval to be metered. Safe to repeat. Ids are drawn by lot, since whoever gets a
    certificate reads its device's, and shall not read a neighbour's metering point from it.
    """
    if not _without_device(session):
        return
    district = people.district(session, lock=True)
    for row in _without_device(session):
        began = session.exec(
            select(func.min(LinkRow.valid_from))
            .where(LinkRow.point == row.gsrn)
            .group_by(LinkRow.point)
        ).first()
        if began is None:
            continue  # not linked yet: its turn comes with its first link
        through = district.metered_through
        session.add(
            DeviceRow(
                id=f"production-{secrets.token_hex(4)}",
                point=row.gsrn,
                name=row.name,
                kind="production",
                technology=SOLAR,
                source=SOLAR_SOURCE,
                capacity_w=row.max_power_w,
                valid_from=max(began, Interval.parse(through).next().key) if through else began,
            )
        )
    session.flush()


def _without_device(session: Session) -> Sequence[MeteringPointRow]:
    return session.exec(
        select(MeteringPointRow)
        .where(
            col(MeteringPointRow.green).is_(True),
            col(MeteringPointRow.purpose).is_(None),
            col(MeteringPointRow.gsrn).not_in(select(DeviceRow.point)),
        )
        .order_by(MeteringPointRow.gsrn)
    ).all()


def listed(session: Session) -> Sequence[DeviceRow]:
    """Return every device by id."""
    return session.exec(select(DeviceRow).order_by(DeviceRow.id)).all()


def add(house: House, device: NewDevice, start: Interval | None = None) -> DeviceRow:
    """Add a device from an interval on: the next one, or a later one.

    Raises:
        CertificateError: something about it is not possible; nothing is written.
    """
    with house.database.write() as session:
        return add_within(house, session, device, start)


def add_within(
    house: House, session: Session, device: NewDevice, start: Interval | None = None
) -> DeviceRow:
    """Add a device as :func:`add` does, in the caller's transaction.

    Raises:
        CertificateError: something about it is not possible.
    """
    first = _from(house, start)
    _check(device)
    _check_points(session, device, first)
    row = DeviceRow(
        id=device.id,
        point=device.point,
        meter_point=device.meter_point,
        output_register=device.output_register,
        name=device.name or people.points(session)[device.point].name,
        kind=device.kind,
        technology=device.technology,
        source=device.source,
        capacity_w=device.capacity_w,
        efficiency_ppm=device.efficiency_ppm,
        emissions_mg_per_kwh=device.emissions_mg_per_kwh,
        valid_from=first,
    )
    session.add(row)
    session.flush()
    return row


def end(house: House, device: str, at: Interval | None = None) -> DeviceRow:
    """Certify a device no longer, from the next interval on or later; what it gave stands.

    Raises:
        CertificateError: there is no such device, or it has ended.
    """
    with house.database.write() as session:
        return end_within(house, session, device, at)


def end_within(
    house: House, session: Session, device: str, at: Interval | None = None
) -> DeviceRow:
    """End a device as :func:`end` does, in the caller's transaction.

    Raises:
        CertificateError: there is no such device, or it has ended.
    """
    row = session.get(DeviceRow, device)
    if row is None:
        raise CertificateError(f"there is no device {device!r}: see `wattloom device list`")
    last = _from(house, at)
    if row.valid_to is not None and row.valid_to <= last:
        raise CertificateError(f"device {device} has ended: {row.valid_to} is without it")
    row.valid_to = max(last, row.valid_from)
    return row


def _from(house: House, start: Interval | None) -> str:
    """Return the key from which on a change holds."""
    following = Interval.containing_ms(house.clock.now_ms()).next()
    if start is not None and start.start_ms < following.start_ms:
        raise CertificateError(
            f"{start.key} has begun: nothing is certified backwards; say {following.key} or later"
        )
    return (start or following).key


def _check(device: NewDevice) -> None:
    """Refuse what does not hold by itself."""
    wrong = {
        "an id has 1 to 40 letters, digits, '.', '_' or '-'": not _ID.fullmatch(device.id),
        f"a kind is one of {', '.join(KINDS)}": device.kind not in KINDS,
        "a technology code is T and six digits, such as T010000": not _TECHNOLOGY.fullmatch(
            device.technology
        ),
        "an energy source code is F and eight digits, such as F01040100": not _SOURCE.fullmatch(
            device.source
        ),
        "the register is export or import": device.output_register not in ("export", "import"),
        f"capacity and emissions are 0 or more, at most {_MOST}": not all(
            0 <= number <= _MOST for number in (device.capacity_w, device.emissions_mg_per_kwh)
        ),
        f"a name has at most {_MOST_NAME} printable characters": not (
            len(device.name) <= _MOST_NAME and device.name.isprintable()
        ),
    }
    if device.kind == "storage":
        efficiency = device.efficiency_ppm or 0
        wrong["a storage needs its efficiency, 1 to 1000000 ppm"] = not 0 < efficiency <= PPM
        wrong["a storage needs a sub-meter of its own"] = device.meter_point is None
    for rule, broken in wrong.items():
        if broken:
            raise CertificateError(f"device {device.id[:40]!r}: {rule}")


def _check_points(session: Session, device: NewDevice, first: str) -> None:
    """Refuse a device whose points are not there, of another purpose, or taken."""
    points, others = people.points(session), listed(session)
    taken_ids = {row.id for row in others}
    if device.id in taken_ids or session.get(ForeignDeviceRow, device.id) is not None:
        raise CertificateError(f"device {device.id!r} is there already: choose another id")
    point = points.get(device.point)
    if point is None or point.purpose is not None:
        raise CertificateError(
            f"device {device.id!r}: {device.point} is no metering point that settles"
        )
    living = [row for row in others if row.valid_to is None or row.valid_to > first]
    if device.meter_point is None:
        if device.kind == "production" and any(
            row.point == device.point and row.kind == "production" and row.meter_point is None
            for row in living
        ):
            raise CertificateError(
                f"device {device.id!r}: another device already counts by the export register of "
                f"{device.point}; give this one a sub-meter, or end the other"
            )
        return
    meter = points.get(device.meter_point)
    if meter is None or meter.purpose != device.kind:
        raise CertificateError(
            f"device {device.id!r}: {device.meter_point} is no metering point of purpose "
            f"{device.kind}"
        )
    if taken := [row.id for row in living if row.meter_point == device.meter_point]:
        raise CertificateError(
            f"device {device.id!r}: {device.meter_point} measures {taken[0]}; one meter, one device"
        )

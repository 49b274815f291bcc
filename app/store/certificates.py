"""Rows of certificates as the domain's bundles, written in bulk; their history; sums by month."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, bindparam, insert, update
from sqlmodel import Session, SQLModel, col, select

from app.store.bulk import add_to
from app.tables import (
    CertificateDebtRow,
    CertificateEventRow,
    CertificateRow,
    CertifiedRow,
    DeviceRow,
    ForeignDeviceRow,
)
from ledger_client.verify import canonical
from market.certificate import Status
from market.certificate_bundle import Bundle

Device: TypeAlias = DeviceRow | ForeignDeviceRow

HASH_PREFIX: Final = b"wattloom-certificate-v1\0"
SUMS: Final = (
    "issued_wh",
    "received_wh",
    "sent_wh",
    "self_used_wh",
    "claimed_wh",
    "matched_wh",
    "avoided_mg",
)
_BUNDLES: Final = SQLModel.metadata.tables["certificate"]
_MONTHS: Final = SQLModel.metadata.tables["certificate_month"]
_CHUNK: Final = 500  # how many values one query may name


class Event(NamedTuple):
    """What happened to watt-hours of an issuance; see :class:`app.tables.CertificateEventRow`."""

    action: str
    bundle: Bundle
    source: str | None
    target: str | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When (UTC ms of the district clock) and by whom something happens, in which district."""

    district: str
    at_ms: int
    by: str


def digest(district: str, device: Device, bundle: Bundle) -> str:
    """Return a bundle's hash, in hex (``docs/money.md``, "Certificates", says what it covers)."""
    covered = {
        "capacity_w": device.capacity_w,
        "certificate_bundle_id_range_end": bundle.last,
        "certificate_bundle_id_range_start": bundle.first,
        "device_id": bundle.device,
        "district": district,
        "emissions_mg_per_kwh": device.emissions_mg_per_kwh,
        "energy_source": device.source,
        "is_storage": int(bundle.is_storage),
        "issuance_id": bundle.issuance,
        "production_starting_interval": bundle.interval,
        "technology_type": device.technology,
    }
    return hashlib.sha256(HASH_PREFIX + canonical(covered)).hexdigest()


def devices(session: Session, ids: Iterable[str]) -> Mapping[str, Device]:
    """Return devices by id, those of elsewhere included."""
    wanted = sorted(set(ids))
    found: dict[str, Device] = {}
    for start in range(0, len(wanted), _CHUNK):
        some = wanted[start : start + _CHUNK]
        own = session.exec(select(DeviceRow).where(col(DeviceRow.id).in_(some)))
        foreign = session.exec(select(ForeignDeviceRow).where(col(ForeignDeviceRow.id).in_(some)))
        found |= {row.id: row for row in own} | {row.id: row for row in foreign}
    return found


def devices_at(session: Session, key: str) -> Sequence[DeviceRow]:
    """Return the devices that may be certified in an interval, by id."""
    return session.exec(
        select(DeviceRow)
        .where(
            col(DeviceRow.kind).in_(("production", "storage")),
            DeviceRow.valid_from <= key,
            col(DeviceRow.valid_to).is_(None) | (col(DeviceRow.valid_to) > key),
        )
        .order_by(DeviceRow.id)
    ).all()


def to_bundle(row: CertificateRow) -> Bundle:
    """Turn a row into the domain's bundle."""
    return Bundle(
        issuance=row.issuance_id,
        device=row.device_id,
        interval=row.production_starting_interval,
        account=row.account_id,
        status=Status(row.certificate_bundle_status),
        first=row.certificate_bundle_id_range_start,
        last=row.certificate_bundle_id_range_end,
        expires=row.expiry_datestamp,
        beneficiary=row.beneficiary or "",
        is_storage=row.is_storage,
        row=row.id,
    )


def bundles(
    session: Session, *conditions: ColumnElement[bool] | bool, lock: bool = False
) -> list[Bundle]:
    """Return the bundles that meet the conditions, the oldest production first.

    ``lock`` them where they are to be changed, so that of two changes one comes after the other.
    """
    query = (
        select(CertificateRow)
        .where(*conditions)
        .order_by(
            col(CertificateRow.production_starting_interval),
            col(CertificateRow.issuance_id),
            col(CertificateRow.certificate_bundle_id_range_start),
        )
        # Bundles are written past the session, so that what it remembers of them may be old.
        .execution_options(populate_existing=True)
    )
    rows = session.exec(query.with_for_update() if lock else query)
    return [to_bundle(row) for row in rows]


def of_interval(session: Session, key: str, *states: Status, lock: bool = False) -> list[Bundle]:
    """Return an interval's bundles in one of the states (without any: all of them)."""
    wanted = [status.value for status in states or Status]
    return bundles(
        session,
        CertificateRow.production_starting_interval == key,
        col(CertificateRow.certificate_bundle_status).in_(wanted),
        lock=lock,
    )


def stock(session: Session, storage: str, before: str, *, lock: bool = False) -> list[Bundle]:
    """Return what is locked for a storage from intervals before a key, the oldest first."""
    return bundles(
        session,
        CertificateRow.beneficiary == storage,
        CertificateRow.certificate_bundle_status == Status.LOCKED.value,
        CertificateRow.production_starting_interval < before,
        lock=lock,
    )


def write(
    session: Session,
    stamp: Stamp,
    known: Mapping[str, Device],
    new: Sequence[Bundle],
    changed: Sequence[Bundle],
) -> None:
    """Insert new bundles and write changed ones (by their row), hashes included."""
    connection = session.connection()
    if new:
        connection.execute(
            insert(_BUNDLES), [_values(stamp.district, known[each.device], each) for each in new]
        )
    if changed:
        statement = update(_BUNDLES).where(_BUNDLES.c.id == bindparam("row"))
        connection.execute(
            statement,
            [
                {"row": each.row, **_values(stamp.district, known[each.device], each)}
                for each in changed
            ],
        )


def record(session: Session, stamp: Stamp, events: Sequence[Event]) -> None:
    """Write what happened; the rows never change."""
    if events:
        session.connection().execute(
            insert(SQLModel.metadata.tables["certificate_event"]),
            [
                {
                    "issuance_id": event.bundle.issuance,
                    "action": event.action,
                    "range_start": event.bundle.first,
                    "range_end": event.bundle.last,
                    "source_account": event.source,
                    "target_account": event.target,
                    "at_ms": stamp.at_ms,
                    "by": stamp.by,
                    "note": event.note,
                }
                for event in events
            ],
        )


def history(session: Session, issuance: str) -> Sequence[CertificateEventRow]:
    """Return what happened to an issuance, in order."""
    return session.exec(
        select(CertificateEventRow)
        .where(CertificateEventRow.issuance_id == issuance)
        .order_by(col(CertificateEventRow.id))
    ).all()


def add_to_months(session: Session, sums: Mapping[tuple[str, str], Mapping[str, int]]) -> None:
    """Add to the sums of (month, participant); in their order, so that writers never cross."""
    rows = [
        {"month": month, "participant": participant, **{name: one.get(name, 0) for name in SUMS}}
        for (month, participant), one in sorted(sums.items())
        if any(one.values())
    ]
    add_to(session, _MONTHS, rows)


def certified(session: Session, key: str) -> Mapping[str, CertifiedRow]:
    """Return what the devices' certificates of an interval rest on, by device."""
    rows = session.exec(select(CertifiedRow).where(CertifiedRow.interval == key))
    return {row.device_id: row for row in rows}


def last_deducted(session: Session, device: str) -> str | None:
    """Return the newest interval of a device in which a debt was paid off."""
    return session.exec(
        select(CertifiedRow.interval)
        .where(CertifiedRow.device_id == device, CertifiedRow.deducted_wh > 0)
        .order_by(col(CertifiedRow.interval).desc())
        .limit(1)
    ).first()


def debts(session: Session) -> dict[str, CertificateDebtRow]:
    """Return the debt of every device that ever had one."""
    return {row.device_id: row for row in session.exec(select(CertificateDebtRow))}


def _values(district: str, device: Device, bundle: Bundle) -> dict[str, object]:
    return {
        "issuance_id": bundle.issuance,
        "device_id": bundle.device,
        "production_starting_interval": bundle.interval,
        "account_id": bundle.account,
        "certificate_bundle_status": bundle.status.value,
        "certificate_bundle_id_range_start": bundle.first,
        "certificate_bundle_id_range_end": bundle.last,
        "is_storage": bundle.is_storage,
        "beneficiary": bundle.beneficiary or None,
        "hash": digest(district, device, bundle),
        "expiry_datestamp": bundle.expires,
    }

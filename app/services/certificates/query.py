"""Certificates for others to read: filtered, page by page, and no more than the reader may know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, or_
from sqlmodel import Session, col, select

from app.files.certificates import CARRIER, FACE_VALUE_WH, Item, factor_text, hidden
from app.services.certificates.accounts import Choice
from app.services.house import House
from app.store import certificates
from app.tables import CertificateRow, CertifiedRow, DeviceRow, ForeignDeviceRow
from market.certificate import CertificateError
from metering.interval import Interval

MOST = 500


@dataclass(frozen=True, slots=True)
class Sight:
    """Whose certificates somebody may read. ``accounts`` None: all, without whose they are."""

    accounts: frozenset[str] | None

    @property
    def blind(self) -> bool:
        """Whether accounts and beneficiaries stay hidden: the grid operator sees energy."""
        return self.accounts is None


@dataclass(frozen=True, slots=True)
class Page:
    """Some bundles, and the cursor of those after them."""

    items: Sequence[Item]
    after: str | None


def page(house: House, sight: Sight, choice: Choice, cursor: str = "", limit: int = 100) -> Page:
    """Return the bundles that the reader may see, the oldest production first.

    Raises:
        CertificateError: the cursor is none of ours.
    """
    with house.database.read() as session:
        return _page(house, session, sight, choice, (cursor, limit))


def every(house: House, sight: Sight, choice: Choice) -> Iterator[Item]:
    """Yield all bundles that the reader may see, from one view of the data."""
    with house.database.read() as session:
        cursor: str | None = ""
        while cursor is not None:
            found = _page(house, session, sight, choice, (cursor, MOST))
            yield from found.items
            cursor = found.after


def _page(
    house: House, session: Session, sight: Sight, choice: Choice, part: tuple[str, int]
) -> Page:
    cursor, limit = part
    conditions = choice.conditions()
    if sight.accounts is not None:
        conditions.append(col(CertificateRow.account_id).in_(sorted(sight.accounts)))
    if cursor:
        conditions.append(_after(cursor))
    rows = session.exec(
        select(CertificateRow)
        .where(*conditions)
        .order_by(col(CertificateRow.production_starting_interval), col(CertificateRow.id))
        .limit(limit + 1)
    ).all()
    shown = rows[:limit]
    after = None
    if len(rows) > limit:
        after = f"{shown[-1].production_starting_interval}~{shown[-1].id}"
    return Page(_items(house, session, sight, shown), after)


def _after(cursor: str) -> ColumnElement[bool]:
    interval, _, row = cursor.partition("~")
    if not (row.isascii() and row.isdigit() and len(row) < 19):
        raise CertificateError("that cursor is none of ours: begin again without one")
    start = col(CertificateRow.production_starting_interval)
    return or_(start > interval, and_(start == interval, col(CertificateRow.id) > int(row)))


def _items(
    house: House, session: Session, sight: Sight, rows: Sequence[CertificateRow]
) -> list[Item]:
    known = certificates.devices(session, {row.device_id for row in rows})
    owners = {
        (row.interval, row.device_id): row.account_id
        for row in session.exec(
            select(CertifiedRow).where(
                col(CertifiedRow.interval).in_({row.production_starting_interval for row in rows}),
                col(CertifiedRow.device_id).in_(known),
            )
        )
    }
    return [
        hidden(
            _item(house, row, known[row.device_id]),
            device=_foreign_to(sight, row, owners),
            account=sight.blind,
        )
        for row in rows
    ]


def _foreign_to(sight: Sight, row: CertificateRow, owners: dict[tuple[str, str], str]) -> bool:
    """Whether the device is a neighbour's: what it is called and where stays theirs."""
    owner = owners.get((row.production_starting_interval, row.device_id))
    return sight.accounts is not None and owner is not None and owner not in sight.accounts


def _item(house: House, row: CertificateRow, device: certificates.Device) -> Item:
    zone = (
        device.issue_market_zone if isinstance(device, ForeignDeviceRow) else house.settings.origin
    )
    first, last = row.certificate_bundle_id_range_start, row.certificate_bundle_id_range_end
    return Item(
        issuance_id=row.issuance_id,
        hash=row.hash,
        certificate_bundle_status=row.certificate_bundle_status,
        account_id=row.account_id,
        certificate_bundle_id_range_start=first,
        certificate_bundle_id_range_end=last,
        bundle_quantity=last - first + 1,
        face_value=FACE_VALUE_WH,
        beneficiary=row.beneficiary,
        energy_carrier=CARRIER,
        energy_source=device.source,
        device_id=row.device_id,
        device_name=device.name,
        device_technology_type=device.technology,
        device_capacity=device.capacity_w,
        device_location=device.point if isinstance(device, DeviceRow) else device.location,
        production_starting_interval=row.production_starting_interval,
        production_ending_interval=Interval.parse(row.production_starting_interval).next().key,
        expiry_datestamp=row.expiry_datestamp,
        is_storage=row.is_storage,
        storage_efficiency_factor=factor_text(device.efficiency_ppm),
        emissions_factor=device.emissions_mg_per_kwh,
        issue_market_zone=zone,
    )

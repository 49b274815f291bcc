"""Participants, points and tariffs as the domain's objects; notices that people must see."""

from __future__ import annotations

from collections.abc import Mapping

from sqlmodel import Session, select

from app.store.bulk import insert_once
from app.tables import (
    DistrictRow,
    MeteringPointRow,
    ParticipantRow,
    TariffRow,
)
from market.money import Price
from market.tariff import Tariff


def district(session: Session, *, lock: bool = False) -> DistrictRow:
    """Return the district's row."""
    query = select(DistrictRow)
    return session.exec(query.with_for_update() if lock else query).one()


def participants(session: Session) -> Mapping[str, ParticipantRow]:
    """Return every participant by id, in id order."""
    rows = session.exec(select(ParticipantRow).order_by(ParticipantRow.id))
    return {row.id: row for row in rows}


def points(session: Session) -> Mapping[str, MeteringPointRow]:
    """Return every metering point by GSRN, in GSRN order."""
    rows = session.exec(select(MeteringPointRow).order_by(MeteringPointRow.gsrn))
    return {row.gsrn: row for row in rows}


def to_tariff(row: TariffRow) -> Tariff:
    """Turn a row into the domain's tariff."""
    return Tariff(
        energy=Price(row.energy_micro_per_kwh),
        grid_fee=Price(row.grid_fee_micro_per_kwh),
        local_grid_fee=Price(row.local_grid_fee_micro_per_kwh),
        levy=Price(row.levy_micro_per_kwh),
        feed_in=Price(row.feed_in_micro_per_kwh),
        vat_ppm=row.vat_ppm,
    )


def notify(
    session: Session, ref: str, at_ms: int, level: str, text: str, point: str | None
) -> bool:
    """Write a notice unless one of this ``ref`` stands already; return whether it is new."""
    notice = {"ref": ref, "at_ms": at_ms, "level": level, "text": text, "point": point}
    return insert_once(session, "notice", [notice]) > 0

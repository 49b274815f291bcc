"""Certificates as intervals go: reserved when settled, amended by corrections, free when final.

Each is one call in the transaction of its step, so that an interval and its certificates are
never apart; what has no step of its own (expiry) has a daily look.
"""

from __future__ import annotations

from sqlmodel import col, select

from app.services.certificates.final import expire
from app.services.house import House
from app.tables import CertificateRow
from market.certificate import Status
from metering.interval import from_ms


def expire_daily(house: House, last: str) -> str:
    """Let old certificates expire when the UTC day is another than ``last``; return the day."""
    today = from_ms(house.clock.now_ms()).date().isoformat()
    if today == last:
        return last
    old = select(CertificateRow.id).where(
        CertificateRow.certificate_bundle_status == Status.ACTIVE.value,
        col(CertificateRow.expiry_datestamp) < today,
    )
    with house.database.read() as session:
        found = session.exec(old.limit(1)).first()
    if found is not None:
        with house.database.write() as session:
            expire(house, session)
    return today

"""A participant's certificates in a month, from the sums that are kept as things happen."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session

from app.tables import CertificateMonthRow
from market.money import round_half_up


@dataclass(frozen=True, slots=True)
class MonthFigures:
    """Wh of certificates, and grams of CO2 that the claimed ones avoided.

    ``claimed_wh`` holds ``self_used_wh``. ``matched_wh`` is consumption that a certificate of the
    same quarter-hour covers, those that are still reserved for it included.
    """

    issued_wh: int = 0
    received_wh: int = 0
    sent_wh: int = 0
    self_used_wh: int = 0
    claimed_wh: int = 0
    matched_wh: int = 0
    avoided_g: int = 0


def month_figures(session: Session, participant: str, month: str) -> MonthFigures:
    """Return a participant's figures of a local month (YYYY-MM), as its statement shows them."""
    row = session.get(CertificateMonthRow, (month, participant), populate_existing=True)
    if row is None:
        return MonthFigures()
    return MonthFigures(
        issued_wh=row.issued_wh,
        received_wh=row.received_wh,
        sent_wh=row.sent_wh,
        self_used_wh=row.self_used_wh,
        claimed_wh=row.claimed_wh,
        matched_wh=row.matched_wh,
        avoided_g=round_half_up(row.avoided_mg, 1000),
    )

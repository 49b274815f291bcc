"""Values that stand in for disputed ones: a file of values like any other, written by ourselves.

So every version that a dispute leads to is in the log, in proofs and in audits as an authorised
value is (docs/money.md, "Corrections").
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Final

from sqlmodel import Session, col, select

from app.files.values import COLUMNS
from app.services.house import House
from app.tables import SlotRow, ValueFileRow
from market.correction import Metered
from market.estimates import estimate_import
from metering.interval import Interval
from metering.quantities import Energy

ENTERED_BY: Final = "district"
_WEEKS: Final = 4


def estimate(session: Session, slot: SlotRow) -> Metered:
    """Return what an interval is estimated at: as first estimated, else from the weeks before."""
    if slot.estimated:
        return Metered(slot.import_wh, slot.export_wh)
    start = Interval.parse(slot.interval).start
    keys = [Interval(start - timedelta(weeks=n)).key for n in range(1, _WEEKS + 1)]
    rows = session.exec(
        select(SlotRow.import_wh).where(
            SlotRow.point == slot.point,
            col(SlotRow.interval).in_(keys),
            col(SlotRow.estimated).is_(False),
            col(SlotRow.disputed).is_(None),
        )
    )
    return Metered(estimate_import([Energy(wh) for wh in rows]).wh, 0)


def file_of(
    house: House, session: Session, reason: str, rows: Mapping[tuple[str, str], Metered]
) -> ValueFileRow:
    """Store a file of values, by (point, interval), and return its row."""
    lines = [",".join(COLUMNS)]
    lines += [
        f"{point},{key},{now.import_wh},{now.export_wh}" for (point, key), now in rows.items()
    ]
    content = "\n".join(lines).encode() + b"\n"
    row = ValueFileRow(
        name="disputed.csv",
        content=content,
        digest=sha256(content).digest(),
        reason=reason,
        entered_by=ENTERED_BY,
        entered_ms=house.clock.now_ms(),
    )
    session.add(row)
    session.flush()
    return row

"""What metering points measured in an interval: the only thing that certificates rest on.

A reading counts, an estimate never does. A gap made good later counts where it is one interval with
a border reading at each end; what a longer gap's register difference was spread over its intervals
stays an estimate of when it flowed. A substitute value lowers what was measured, never raises it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlmodel import Session, col, select

from app.store import borders
from app.tables import CorrectionRow, SlotRow
from metering.interval import Interval


class Measured(NamedTuple):
    """A point's measured registers over one interval, in Wh."""

    import_wh: int
    export_wh: int

    def output_wh(self, register: str) -> int:
        """Return what the register counted that tells what comes out of a device."""
        return self.import_wh if register == "import" else self.export_wh

    def input_wh(self, register: str) -> int:
        """Return what the other register counted."""
        return self.export_wh if register == "import" else self.import_wh


def measured(session: Session, key: str) -> Mapping[str, Measured]:
    """Return what each point measured in an interval, as known now; estimates are left out."""
    corrections: dict[str, list[CorrectionRow]] = defaultdict(list)
    for row in session.exec(
        select(CorrectionRow)
        .where(CorrectionRow.interval == key)
        .order_by(col(CorrectionRow.version))
    ):
        corrections[row.point].append(row)
    found = {}
    slots = session.exec(
        select(SlotRow.point, SlotRow.estimated, SlotRow.import_wh, SlotRow.export_wh).where(
            SlotRow.interval == key
        )
    )
    for point, estimated, import_wh, export_wh in slots:
        own = corrections[point]
        told = _made_good(session, key, own) if estimated else Measured(import_wh, export_wh)
        if told is not None:
            found[point] = _lowered(told, own)
    return found


def _made_good(session: Session, key: str, own: Sequence[CorrectionRow]) -> Measured | None:
    """Return what readings told later of an estimated interval, where it is a gap by itself."""
    by_readings = [row for row in own if row.source in (None, "readings")]
    if not by_readings:
        return None
    interval, row = Interval.parse(key), by_readings[0]
    ends = borders.of_point(session, row.point, interval.start_ms, interval.end_ms)
    if interval.start_ms not in ends or interval.end_ms not in ends:
        return None
    return Measured(row.import_wh, row.export_wh)


def _lowered(told: Measured, own: Sequence[CorrectionRow]) -> Measured:
    if not own:
        return told
    return Measured(min(told.import_wh, own[-1].import_wh), min(told.export_wh, own[-1].export_wh))

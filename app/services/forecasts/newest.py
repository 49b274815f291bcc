"""What a metering point is expected to draw and feed in."""

from __future__ import annotations

from sqlmodel import Session

from app.store import forecasts
from app.tables import ForecastRow
from metering.interval import Interval


def forecast_wh(session: Session, point: str, interval_key: str) -> tuple[int, int] | None:
    """Return the (import, export) in Wh that was forecast for a point before an interval began.

    None without a forecast of its import; a point that is not known to feed in exports 0. From the
    interval's start on the answer never changes.
    """
    run = forecasts.run_for(session, interval_key)
    row = session.get(ForecastRow, (run.id, point)) if run else None
    if run is None or row is None:
        return None
    at = forecasts.place(run, Interval.parse(interval_key))
    import_wh = forecasts.read_list(row.import_wh)[at]
    export_wh = forecasts.read_list(row.export_wh)[at]
    return None if import_wh is None else (import_wh, export_wh or 0)

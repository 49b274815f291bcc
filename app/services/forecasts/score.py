"""How good the forecasts were: once per local day, on what was known before the day began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlmodel import Session

from app.store import forecasts, people
from app.tables import ForecastRow, ForecastRunRow, ForecastScoreRow
from metering.interval import Interval, from_ms
from metering.localtime import day_start
from optimizer.forecast.score import DISTRICT, Score, score

_LOOK_BACK: Final = timedelta(days=35)
_IMPORT, _EXPORT = "import", "export"


def local_day(day: date, zone: ZoneInfo) -> Sequence[Interval]:
    """Return the quarter-hours of a local day: 92, 96 or 100 of them."""
    interval = day_start(day, zone)
    end = day_start(day + timedelta(days=1), zone)
    found = []
    while interval < end:
        found.append(interval)
        interval = interval.next()
    return found


def due_days(session: Session, now_ms: int) -> Sequence[date]:
    """Return the local days that are over, wholly metered, and have no score yet, oldest first."""
    row = people.district(session)
    zone = ZoneInfo(row.zone)
    first = forecasts.first_run(session)
    if first is None or not row.metered_through:
        return []
    today = from_ms(now_ms).astimezone(zone).date()
    begin = from_ms(first.issued_ms).astimezone(zone).date() + timedelta(days=1)
    if (last := forecasts.last_scored(session)) is not None:
        begin = date.fromisoformat(last) + timedelta(days=1)
    day, days = max(begin, today - _LOOK_BACK), []
    while day < today and local_day(day, zone)[-1].key <= row.metered_through:
        days.append(day)
        day += timedelta(days=1)
    return days


def score_day(session: Session, day: date, now_ms: int) -> list[ForecastScoreRow]:
    """Return the scores of a local day, by point and for the sum; none where no run covers it.

    Judged is the newest run that was issued before the day began, so nothing is known in hindsight.
    Persistence is the same wall time of the day before: of two, the later one; of an hour that the
    clock skipped, none, and then these quarters count for neither.
    """
    zone = ZoneInfo(people.district(session).zone)
    today, yesterday = local_day(day, zone), local_day(day - timedelta(days=1), zone)
    run = forecasts.newest_run(session, today[0].start_ms)
    if run is None or run.id is None or not _covers(run, today):
        return []
    by_clock = {f"{each.start.astimezone(zone):%H:%M}": each.key for each in yesterday}
    before = [by_clock.get(f"{each.start.astimezone(zone):%H:%M}", "") for each in today]
    slots = {
        (key, point): {_IMPORT: import_wh, _EXPORT: export_wh}
        for key, point, import_wh, export_wh in forecasts.measured(
            session, yesterday[0].key, today[-1].key
        )
    }
    rows = forecasts.rows(session, run)
    return [
        _row(day, point, direction, run.id, model, found, now_ms)
        for direction in (_IMPORT, _EXPORT)
        for point, model, found in _scores(run, rows, slots, direction, today, before)
    ]


def _covers(run: ForecastRunRow, today: Sequence[Interval]) -> bool:
    return forecasts.place(run, today[0]) >= 0 and forecasts.place(run, today[-1]) < run.quarters


def _scores(
    run: ForecastRunRow,
    rows: Mapping[str, ForecastRow],
    slots: Mapping[tuple[str, str], Mapping[str, int]],
    direction: str,
    today: Sequence[Interval],
    before: Sequence[str],
) -> list[tuple[str, str, Score]]:
    """Return (point, model, score) of one direction, the district's last; all with quarters."""
    begin = forecasts.place(run, today[0])
    nothing: Mapping[str, int] = {}

    def told(point: str, keys: Sequence[str]) -> list[int | None]:
        return [slots.get((key, point), nothing).get(direction) for key in keys]

    lists = {p: row.import_wh if direction == _IMPORT else row.export_wh for p, row in rows.items()}
    by_point, total = score(
        [forecasts.read_list(text)[begin : begin + len(today)] for text in lists.values()],
        [told(point, [each.key for each in today]) for point in rows],
        [told(point, before) for point in rows],
    )
    models = [r.import_model if direction == _IMPORT else r.export_model for r in rows.values()]
    found = [*zip(rows, models, by_point, strict=True), (DISTRICT, run.model, total)]
    return [each for each in found if each[2].quarters]


def _row(
    day: date, point: str, direction: str, run: int, model: str, found: Score, now_ms: int
) -> ForecastScoreRow:
    return ForecastScoreRow(
        day=day.isoformat(),
        point=point,
        direction=direction,
        run=run,
        model=model,
        quarters=found.quarters,
        measured_wh=found.measured_wh,
        abs_wh=found.abs_wh,
        bias_wh=found.bias_wh,
        persistence_abs_wh=found.persistence_abs_wh,
        persistence_bias_wh=found.persistence_bias_wh,
        known_ms=now_ms,
    )

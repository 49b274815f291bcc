"""The daily forecast: what it says, when it runs, how it is scored, and what stops nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlmodel import delete

from app.jobs import forecast as job
from app.jobs.forecast import score_days
from app.services.forecasts.score import local_day
from app.store import forecasts
from app.store.forecasts import forecasts_wh
from app.tables import ForecastRow, ForecastRunRow, ForecastScoreRow, SlotRow
from app.worker import Worker
from metering.interval import Interval
from tests.app.district_kit import START, Kit
from tests.app.forecast_kit import (
    BERLIN,
    HOMES,
    district,
    forecaster,
    import_wh,
    measure,
    sky_at_hand,
    week,
    weeks_back,
)

HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def _sky(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "kit" not in request.fixturenames:
        sky_at_hand(monkeypatch)


@pytest.fixture
def kit(database_url: str, tmp_path: Path) -> Iterator[Kit]:
    """Four weeks of six homes, on each engine."""
    kit = district(tmp_path, database_url)
    measure(kit, weeks_back(START, 4), START)
    yield kit
    kit.close()


@pytest.fixture
def plain(sqlite_url: str, tmp_path: Path) -> Iterator[Kit]:
    """Two homes without any history, on SQLite alone."""
    kit = district(tmp_path, sqlite_url, HOMES[:2])
    yield kit
    kit.close()


def forecast_of(kit: Kit, name: str, interval: Interval) -> tuple[int, int] | None:
    found = kit.ask(lambda session: forecasts_wh(session, [interval.key]))
    return found.get(interval.key, {}).get(kit.homes[name].point)


def after(hours: float) -> Interval:
    return Interval.containing_ms(START.start_ms + int(hours * HOUR_MS))


def test_a_whole_session_is_looked_up_in_one_reading(kit: Kit) -> None:
    """While a gate closes readings wait, and a query per point and interval took 15 seconds."""
    forecaster(kit).run()
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "FROM forecast \n" in statement:
            asked.append(statement)

    event.listen(kit.database.engine, "before_cursor_execute", note)
    keys = [after(hours / 4).key for hours in range(96)]
    found = kit.ask(lambda session: forecasts_wh(session, keys))
    event.remove(kit.database.engine, "before_cursor_execute", note)
    assert sorted(found) == keys[1:]
    assert {len(each) for each in found.values()} == {len(HOMES)}
    assert len(asked) == 1


def test_four_weeks_of_a_district_are_forecast_and_scored(kit: Kit) -> None:
    forecaster(kit).run()
    (run,) = kit.rows(ForecastRunRow)
    assert (run.issued_ms, run.first, run.quarters) == (START.start_ms, START.next().key, 192)
    assert (run.model, run.remark) == ("baseline-1", "")
    models = {row.point: (row.import_model, row.export_model) for row in kit.rows(ForecastRow)}
    assert models.pop(kit.homes["solar"].point) == ("baseline-1", "solar-1")
    assert set(models.values()) == {("baseline-1", "")}

    assert forecast_of(kit, "flat", START) is None, "it had begun when the forecast was made"
    for hours in (0.25, 12, 30, 47.75):
        assert forecast_of(kit, "flat", after(hours)) == (import_wh(2, after(hours)), 0)
    assert forecast_of(kit, "flat", after(48.25)) is None
    noon = forecast_of(kit, "solar", Interval.parse("2026-06-24T12:00:00Z"))
    assert noon is not None
    assert 700 < noon[1] < 1100, "900 Wh on each of the last days, and the sun stands as high"
    night = forecast_of(kit, "solar", Interval.parse("2026-06-24T00:00:00Z"))
    assert night == (import_wh(1, Interval.parse("2026-06-24T00:00:00Z")), 0)

    measure(kit, START, after(48))
    score_days(kit.house, after(48).start_ms)
    scores = {(row.day, row.point, row.direction): row for row in kit.rows(ForecastScoreRow)}
    assert {day for day, _, _ in scores} == {"2026-06-24"}, "of 23 June only a part was foreseen"
    own = scores["2026-06-24", kit.homes["flat"].point, "import"]
    # Exact by weekday, whereas yesterday was 10 Wh lower in each quarter.
    assert (own.quarters, own.abs_wh, own.bias_wh) == (96, 0, 0)
    assert (own.persistence_abs_wh, own.persistence_bias_wh) == (960, -960)
    total = scores["2026-06-24", "", "import"]
    assert (total.model, total.quarters, total.abs_wh) == ("baseline-1", 96, 0)
    assert (total.persistence_abs_wh, total.persistence_bias_wh) == (5_760, -5_760)
    sold = scores["2026-06-24", kit.homes["solar"].point, "export"]
    assert (sold.model, sold.persistence_abs_wh) == ("solar-1", 0)
    assert 0 < sold.abs_wh < sold.measured_wh / 5
    assert sold == scores["2026-06-24", "", "export"].model_copy(
        update={"point": sold.point, "model": "solar-1"}
    )
    score_days(kit.house, after(48).start_ms)
    assert len(kit.rows(ForecastScoreRow)) == len(scores), "a day is scored once"


def test_a_run_comes_once_a_day_at_noon_and_survives_restarts(plain: Kit) -> None:
    measure(plain, weeks_back(START, 1), START)

    def issues(hours: float) -> list[float]:
        """Move on, look twice, and once more with a worker that was started anew."""
        plain.clock.advance_to(after(0).start_ms + int(hours * HOUR_MS))
        for each in (running, running, forecaster(plain)):
            each.run()
        rows = plain.rows(ForecastRunRow)
        return sorted((row.issued_ms - START.start_ms) / HOUR_MS for row in rows)

    running = forecaster(plain)
    assert issues(0) == [0], "11:00, at the start, since there was none"
    assert issues(0.9) == [0]
    assert issues(1) == [0, 1], "12:00"
    assert issues(24.9) == [0, 1]
    assert issues(25.5) == [0, 1, 25.5], "the day after, half an hour late"
    assert issues(72) == [0, 1, 25.5, 72], "two noons later"
    newest = plain.ask(forecasts.newest_run)
    assert newest.issued_ms == after(72).start_ms


def test_what_was_forecast_before_an_interval_stays(plain: Kit) -> None:
    measure(plain, weeks_back(START, 1), START)
    forecaster(plain).run()
    first = forecast_of(plain, "flat", after(1))
    with plain.database.write() as session:
        session.exec(delete(SlotRow).where(SlotRow.point == plain.homes["flat"].point))
    measure(plain, START, after(0.75))
    plain.clock.advance_to(after(1).start_ms)
    forecaster(plain).run()
    assert len(plain.rows(ForecastRunRow)) == 2
    assert forecast_of(plain, "flat", after(1)) == first, "it begins as the new run is made"
    assert forecast_of(plain, "flat", after(1.25)) is None, "nothing is known of it any more"


def test_the_worker_forecasts_where_there_is_a_day_to_look_back_at(plain: Kit) -> None:
    plain.live(solar=(0, 100), flat=(100, 0))
    assert plain.rows(ForecastRunRow) == []
    (slots,) = {len(plain.rows(SlotRow))}
    assert slots == 2, "a quarter-hour was metered, and that is no day"
    measure(plain, weeks_back(START, 1), START)
    plain.clock.advance_to(Interval.containing_ms(plain.clock.now_ms()).end_ms)
    Worker(plain.house).run_due()
    (run,) = plain.rows(ForecastRunRow)
    assert run.issued_ms == plain.clock.now_ms()
    assert forecast_of(plain, "flat", after(3)) == (import_wh(2, after(3)), 0)
    plain.check()


def test_estimates_are_no_history(plain: Kit) -> None:
    measure(plain, weeks_back(START, 1), START, estimated=True, import_wh=5_000)
    measure(plain, weeks_back(START, 2), weeks_back(START, 1))
    forecaster(plain).run()
    assert forecast_of(plain, "flat", after(20)) == (import_wh(2, after(20)), 0)


def test_a_district_of_estimates_says_nothing(plain: Kit) -> None:
    measure(plain, weeks_back(START, 1), START, estimated=True)
    forecaster(plain).run()
    assert forecast_of(plain, "flat", after(20)) is None
    assert len(plain.rows(ForecastRunRow)) == 1, "it is not worked out again and again"


def test_a_broken_weather_file_stops_nothing_and_is_told(tmp_path: Path) -> None:
    file = tmp_path / "weather.csv"
    file.write_text("time,w_per_m2\n2026-06-23T09:00:00Z,bright\n")
    kit = week(tmp_path, HOMES[:2], weather_file=file)
    try:
        forecaster(kit).run()
        (notice,) = kit.notices("alarm/forecast/")
        assert "row 2: 'bright' is no irradiance" in notice.text
        assert "a clear sky stands in" in notice.text
        (run,) = kit.rows(ForecastRunRow)
        assert run.remark in notice.text
        file.unlink()
        kit.clock.advance_to(after(1).start_ms)
        forecaster(kit).run()
        assert "cannot be read (No such file or directory)" in kit.rows(ForecastRunRow)[1].remark
    finally:
        kit.close()


def test_a_weather_file_makes_the_sun_as_bright_as_it_says(tmp_path: Path) -> None:
    file = tmp_path / "weather.csv"
    hours = [weeks_back(START, 1).start + timedelta(hours=n) for n in range(9 * 24)]
    rows = [f"{hour:%Y-%m-%dT%H:%M:%SZ},{100 * max(0, 6 - abs(hour.hour - 12))}" for hour in hours]
    ahead = [row.replace(",", ",0.") if row > START.key else row for row in rows]
    file.write_text("\n".join(["time,w_per_m2", *ahead]) + "\n")
    kit = week(tmp_path, HOMES[:2], weather_file=file)
    try:
        forecaster(kit).run()
        noon = forecast_of(kit, "solar", Interval.parse("2026-06-24T12:00:00Z"))
        assert noon is not None
        assert noon[1] <= 1, "900 Wh per 600 W/m2 lately, and less than 1 W/m2 foreseen"
    finally:
        kit.close()


@pytest.mark.parametrize(("day", "quarters"), [("2026-10-25", 100), ("2027-03-28", 92)])
def test_a_local_day_is_scored_whole(
    sqlite_url: str, tmp_path: Path, day: str, quarters: int
) -> None:
    """Also where the clock changes: of the day after, the skipped hour has no yesterday."""
    kit = Kit(tmp_path, sqlite_url, ("solar", "flat"), start=noon_before(day))
    try:
        today = date.fromisoformat(day)
        assert len(local_day(today, BERLIN)) == quarters
        measure(kit, weeks_back(kit.start, 2), kit.start)
        forecaster(kit).run()
        end = local_day(today + timedelta(days=1), BERLIN)[-1].next()
        measure(kit, kit.start, end)
        score_days(kit.house, end.start_ms)
        flat = kit.homes["flat"].point
        (row,) = kit.rows(
            ForecastScoreRow,
            ForecastScoreRow.day == day,
            ForecastScoreRow.point == flat,
            ForecastScoreRow.direction == "import",
        )
        assert (row.quarters, row.abs_wh) == (quarters, 0)
        assert row.persistence_bias_wh == -10 * quarters, "both are Sundays, 10 Wh above Saturday"
    finally:
        kit.close()


def noon_before(day: str) -> Interval:
    first = local_day(date.fromisoformat(day), BERLIN)[0]
    return Interval.containing_ms(first.start_ms - 12 * HOUR_MS)


def test_an_hour_that_was_skipped_yesterday_counts_for_neither(
    sqlite_url: str, tmp_path: Path
) -> None:
    kit = Kit(tmp_path, sqlite_url, ("solar", "flat"), start=noon_before("2027-03-29"))
    try:
        measure(kit, weeks_back(kit.start, 2), kit.start)
        forecaster(kit).run()
        end = local_day(date(2027, 3, 29), BERLIN)[-1].next()
        measure(kit, kit.start, end)
        score_days(kit.house, end.start_ms)
        rows = kit.rows(ForecastScoreRow, ForecastScoreRow.direction == "import")
        assert {row.quarters for row in rows} == {92}
    finally:
        kit.close()


def test_of_two_workers_at_one_moment_one_writes(plain: Kit) -> None:
    measure(plain, weeks_back(START, 1), START)
    first, second = (job.make(plain.house, START.start_ms) for _ in range(2))
    assert [job.keep(plain.house, each) for each in (first, second)] == [True, False]
    assert len(plain.rows(ForecastRunRow)) == 1
    assert len(plain.rows(ForecastRow)) == 2

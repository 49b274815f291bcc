"""The forecast page's figures, from the rows: whose they are, and what stays hidden."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs.forecast import score_days
from app.services.forecasts.desk import ForecastDesk
from metering.interval import Interval
from tests.app.district_kit import RATE, START, Kit
from tests.app.forecast_kit import (
    HOMES,
    district,
    forecaster,
    import_wh,
    measure,
    sky_at_hand,
    week,
)
from web.ports import NotFoundError
from web.ports.forecasts import ForecastPage

DAY_MS = 86_400_000


def forecast_district(folder: Path, names: tuple[str, ...]) -> Kit:
    kit = week(folder, names)
    forecaster(kit).run()
    later = Interval.containing_ms(START.start_ms + 2 * DAY_MS)
    measure(kit, START, later)
    score_days(kit.house, later.start_ms)
    return kit


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    """Six homes with a run and a scored day."""
    sky_at_hand(monkeypatch)
    kit = forecast_district(tmp_path, HOMES)
    yield kit
    kit.close()


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    """The same of four."""
    sky_at_hand(monkeypatch)
    kit = forecast_district(tmp_path, HOMES[:4])
    yield kit
    kit.close()


def page(kit: Kit, *own: str, name: str = "", prices: bool = True) -> ForecastPage:
    point = kit.homes[name].point if name else ""
    return ForecastDesk(kit.house).page(set(own), point, prices=prices)


def test_the_district_is_the_sum_of_all(kit: Kit) -> None:
    shown = page(kit)
    assert (shown.issued_ms, shown.models, shown.remark) == (START.start_ms, ("baseline-1",), "")
    assert len(shown.quarters) == 192
    for each in shown.quarters:
        interval = Interval.parse(each.key)
        assert each.import_wh == sum(import_wh(number, interval) for number in range(1, 7))
        assert each.price_micro_per_kwh == (RATE if each.export_wh else None)
    assert [(line.day, line.direction) for line in shown.scores] == [
        ("2026-06-24", "import"),
        ("2026-06-24", "export"),
    ]
    assert shown.scores[0].abs_wh == 0
    assert shown.choices == []


def test_what_is_over_is_no_forecast_any_more(kit: Kit) -> None:
    kit.clock.advance_to(START.start_ms + DAY_MS)
    shown = page(kit).quarters
    assert shown[0].key == Interval.containing_ms(START.start_ms + DAY_MS).key
    assert len(shown) == 97


def test_a_point_is_shown_to_whose_it_is(kit: Kit) -> None:
    shown = page(kit, "flat", "shop", name="flat")
    assert shown.choices == [
        (kit.homes["flat"].point, "flat"),
        (kit.homes["shop"].point, "shop"),
    ]
    assert shown.quarters[5].import_wh == import_wh(2, Interval.parse(shown.quarters[5].key))
    assert {each.export_wh for each in shown.quarters} == {0}
    assert RATE in {each.price_micro_per_kwh for each in shown.quarters}
    assert {line.quarters for line in shown.scores} == {96}
    for own, name in ((("flat",), "solar"), ((), "flat")):
        with pytest.raises(NotFoundError):
            page(kit, *own, name=name)


def test_without_prices_there_are_none(kit: Kit) -> None:
    assert {each.price_micro_per_kwh for each in page(kit, prices=False).quarters} == {None}


def test_four_participants_see_their_own_and_no_sum(few: Kit) -> None:
    shown = page(few)
    assert (shown.hidden, shown.quarters, shown.scores) == (True, [], [])
    own = page(few, "flat", name="flat")
    assert not own.hidden
    assert len(own.quarters) == 192
    assert {each.price_micro_per_kwh for each in own.quarters} == {None}
    assert own.scores


def test_before_the_first_run_there_is_nothing(sqlite_url: str, tmp_path: Path) -> None:
    kit = district(tmp_path, sqlite_url, HOMES[:2])
    try:
        shown = page(kit, "flat", name="flat")
        assert (shown.issued_ms, shown.hidden, shown.quarters, shown.scores) == (
            None,
            False,
            [],
            [],
        )
    finally:
        kit.close()

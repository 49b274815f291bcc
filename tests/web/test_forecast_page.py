"""The forecast page: chart, table and scores; who sees what; and once in a real browser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import expect

from metering.interval import Interval
from tests.web.browsing import SCREENS, Open
from tests.web.forecast_fakes import (
    DISTRICT,
    EMPTY,
    HIDDEN,
    HOSTILE,
    OTHER,
    ROOF,
    SCORES,
    FakeForecasts,
    line,
    quarter,
)
from tests.web.page_kit import audit, enter
from tests.web.test_browser import CONTRAST, SMALL_TARGETS
from web import outlook
from web.ports import Role
from web.ports.forecasts import ForecastPage, ForecastQuarter

ZONE = "Europe/Berlin"


def test_the_page_shows_chart_table_price_and_scores(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    text = client.get("/forecasts").text
    assert audit(text).forbidden == []
    assert text.count("<path") - text.count('class="warp"') >= 3
    assert "Expected local price" in text
    assert "16.50\u00a0ct/kWh" in text
    assert text.count('<th scope="row">') == len(DISTRICT.quarters) + len(SCORES)
    figures = audit(text).figures
    for figure in ("84\u00a0Wh", "\u221242\u00a0Wh", "140\u00a0Wh", "+4.0\u00a0Wh", "+40\u00a0%"):
        assert figure in figures, figure
    assert "\u221230\u00a0%" in figures, "130 Wh of error where yesterday's had 100"
    assert "baseline-1" in text
    assert "2 of 24 series have less than 14 days to learn from." in text


def test_the_operator_sees_energy_and_no_price(
    client: TestClient, forecasts: FakeForecasts
) -> None:
    enter(client, Role.OPERATOR)
    text = client.get("/forecasts").text
    assert "kWh" in text
    assert "ct/kWh" not in text
    assert "price" not in text.lower()
    assert forecasts.asked == [(frozenset(), "", False)]
    assert "<select" not in text, "no points of single people to choose from"
    assert client.get(f"/forecasts?point={ROOF}").status_code == 404


def test_a_prosumer_chooses_among_their_own_points(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    text = client.get("/forecasts").text
    assert ROOF in text
    assert OTHER not in text
    own = client.get(f"/forecasts?point={ROOF}").text
    assert "Forecast of Roof &lt;script&gt;alert(1)&lt;/script&gt;" in own
    assert f'<option value="{ROOF}" selected>' in own
    assert client.get(f"/forecasts?point={OTHER}").status_code == 404
    assert client.get("/forecasts?point=' or 1=1").status_code == 404


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (EMPTY, "No forecast yet"),
        (HIDDEN, "Fewer than five participants"),
        (replace(EMPTY, issued_ms=0), "Nothing was measured here yet"),
    ],
)
def test_what_is_not_there_is_said(
    client: TestClient, forecasts: FakeForecasts, shown: ForecastPage, said: str
) -> None:
    forecasts.shown = shown
    enter(client, Role.MANAGER)
    text = client.get("/forecasts").text
    assert said in text
    assert "No score yet" in text
    assert 'class="outlook"' not in text


def test_the_picture_has_gaps_where_nothing_is_known() -> None:
    known = [quarter(number, 1) for number in range(4)]
    gap = replace(known[1], import_wh=None, export_wh=None, price_micro_per_kwh=None)
    drawn = outlook.draw([known[0], gap, *known[2:]], ZONE)
    assert drawn is not None
    assert drawn.imports.count("M") == 2, "a line begins anew after the gap"
    assert drawn.imports.count("H") == 3
    assert outlook.draw([gap], ZONE) is None
    assert outlook.draw([], ZONE) is None


def test_a_step_line_is_to_scale() -> None:
    first = quarter(0, 1)
    steps = [replace(first, import_wh=wh, export_wh=0) for wh in (0, 500, 1_000)]
    drawn = outlook.draw(steps, ZONE)
    assert drawn is not None
    top, bottom = outlook.ENERGY
    heights = [part.split()[1] for part in drawn.imports.replace("H", " ").split("L")]
    assert [float(each.split()[0]) for each in heights] == [bottom, (top + bottom) / 2, top]
    assert drawn.exports == ""


@pytest.mark.parametrize(
    ("first", "hours"), [("2026-10-24T22:00:00Z", 25), ("2027-03-27T23:00:00Z", 23)]
)
def test_a_day_of_the_table_is_a_local_day(first: str, hours: int) -> None:
    interval, quarters = Interval.parse(first), []
    for _ in range(hours * 4 + 1):
        quarters.append(ForecastQuarter(interval.key, 1, 0, None))
        interval = interval.next()
    days = outlook.by_day(quarters, ZONE)
    assert [len(each) for _, each in days] == [hours * 4, 1]
    drawn = outlook.draw(quarters, ZONE)
    assert drawn is not None
    assert len(drawn.days) == 1


@pytest.mark.parametrize(
    ("ours", "yesterdays", "told"),
    [(50, 100, "+50\u00a0%"), (100, 100, "0\u00a0%"), (150, 100, "\u221250\u00a0%")],
)
def test_skill_in_words(ours: int, yesterdays: int, told: str) -> None:
    assert outlook.skill(line("2026-06-22", "import", ours, yesterdays)) == told


def test_skill_against_a_perfect_yesterday() -> None:
    assert outlook.skill(line("2026-06-22", "import", 1, 0)) == "–"
    assert outlook.skill(line("2026-06-22", "import", 0, 0)) == "0\u00a0%"
    assert outlook.mean_wh(-3, 96, plus=True) == "0.0\u00a0Wh"


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_the_page_in_a_browser(open_as: Open, width: int, scheme: str) -> None:
    page, console = open_as("prosumer", width=width, color_scheme=scheme)
    page.get_by_role("link", name="Market", exact=True).click()
    page.get_by_role("link", name="Forecasts").click()
    page.wait_for_url("**/forecasts")
    expect(page.locator("svg.outlook path")).to_have_count(3)
    page.select_option("#point", ROOF)
    page.get_by_role("button", name="Show").click()
    page.wait_for_url(f"**/forecasts?point={ROOF}")
    expect(page.locator("h1")).to_have_text(f"Forecast of {HOSTILE}")
    page.locator("#forecast-table summary").click()
    overflow = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow == 0
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(SMALL_TARGETS) == []
    assert console.lines == []

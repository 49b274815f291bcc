"""The page of tariffs: components, the day as picture and table, who sees what, a phone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from tests.web.page_kit import audit, enter
from tests.web.tariff_fakes import CARD, PAGE, FakeTariffs
from web import tariff_day
from web.ports import Role
from web.ports.tariffs import QuarterPrice


def test_a_tariff_shows_its_components_and_its_day(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    text = client.get("/tariffs").text
    found = audit(text)
    assert found.forbidden == []
    assert len(set(found.ids)) == len(found.ids)
    assert "14.50 ct/kWh" in text
    assert "28.00\u00a0ct/kWh to 34.00\u00a0ct/kWh" in text
    assert "another version begins on" in text
    assert "is not known: the fallback price" in text
    assert text.count("<path") >= 2


def test_the_grid_operator_sees_grid_fees_alone(client: TestClient) -> None:
    enter(client, Role.OPERATOR)
    text = client.get("/tariffs").text
    assert "The grid fee on a kWh from outside the district is 9.00\u00a0ct/kWh all day." in text
    for hidden in ("14.50", "Feed-in", "VAT 19", "6.00\u00a0ct", "abababab"):
        assert hidden not in text


def test_nobody_sees_it_without_entering_and_none_is_said(
    client: TestClient, tariffs: FakeTariffs
) -> None:
    assert "14.50" not in client.get("/tariffs").text
    tariffs.shown = replace(PAGE, tariffs=[])
    enter(client, Role.PROSUMER)
    assert "No metering point of yours is on a tariff" in client.get("/tariffs").text


def test_runs_of_one_price_are_a_row_each() -> None:
    spans = tariff_day.spans(CARD.day, PAGE.zone)
    assert [(span.start[:5], span.end[:5]) for span in spans] == [
        ("00:00", "06:00"),
        ("06:00", "12:00"),
        ("12:00", "13:00"),
        ("13:00", "22:00"),
        ("22:00", "00:00"),
    ]
    assert tariff_day.spans([], PAGE.zone) == []
    assert tariff_day.picture([], PAGE.zone) is None
    assert tariff_day.summary([], fees_only=False) == "No price is known."


# What a day's lines look like: prices of a day, and the lowest and highest point of the picture.
@pytest.mark.parametrize(
    ("prices", "zero"), [([0], False), ([250_000], False), ([-50_000, 30_000], True)]
)
def test_the_picture_holds_every_price(prices: list[int], zero: bool) -> None:
    day = [QuarterPrice(CARD.day[n].key, price, -price) for n, price in enumerate(prices)]
    found = tariff_day.picture(day, PAGE.zone)
    assert found is not None
    assert (found.zero_y is not None) == (zero or prices == [250_000])
    heights = [float(part.split("H")[0]) for part in found.drawn.split("V")[1:]]
    assert all(tariff_day.TOP <= y <= tariff_day.BOTTOM for y in heights)
    assert 1 <= len(found.y_ticks) <= 8

"""The balance page: figures, chart, table, places; who sees what; empty states; a phone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from market.balance import Flows, Month, Year
from tests.web.balance_fakes import DARK, DAY, NOTHING, PAGE, YEAR, FakeBalance
from tests.web.page_kit import audit, enter
from web import balance_picture
from web.ports import Role
from web.ports.balance import BalancePage


def test_the_page_shows_figures_chart_table_and_places(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    text = client.get("/balance").text
    found = audit(text)
    assert found.forbidden == []
    assert len(set(found.ids)) == len(found.ids)
    assert text.count("<rect") == 6, "four parts of a sunny day, two of a dark one"
    assert "made at least 36.8\u00a0% of it itself" in text
    assert "complete" in text
    assert "1.6 of 30 days" in text
    assert "26.4\u00a0kg" in text
    assert "fewer than five participants" in text
    assert "Is this a positive-energy district?" in text
    assert "Not known yet: a year has 360 days" in text


def test_the_operator_sees_energy_and_no_money(client: TestClient, balance: FakeBalance) -> None:
    enter(client, Role.OPERATOR)
    text = client.get("/balance?span=year&at=2026").text
    assert "kWh" in text
    assert "€" not in text
    assert balance.asked == [((), "year", "2026", "", True)]


def test_one_may_look_at_ones_own(client: TestClient, balance: FakeBalance) -> None:
    enter(client, Role.PROSUMER)
    assert client.get("/balance?whose=weber").status_code == 200
    assert client.get("/balance?whose=bakery").status_code == 404
    assert client.get("/balance?span=week").status_code == 404
    answer = client.get("/balance.csv?at=2026-06")
    assert answer.headers["content-disposition"].endswith('"wattloom-balance-2026-06.csv"')
    assert client.get("/balance.csv?span=%0d%0aX:1").status_code == 404


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (NOTHING, "No balance yet"),
        (replace(NOTHING, began=True), "Nothing was settled in June 2026"),
        (replace(NOTHING, began=True, hidden=True), "Fewer than five participants took part"),
        (replace(PAGE, bars=None), "The days are not shown"),
        (replace(PAGE, bars=[]), "Nothing was used or made here"),
    ],
)
def test_what_is_not_there_is_said(
    client: TestClient, balance: FakeBalance, shown: BalancePage, said: str
) -> None:
    balance.shown = shown
    enter(client, Role.MANAGER)
    text = client.get("/balance").text
    assert said in text
    assert '<svg class="balance"' not in text


@pytest.mark.parametrize(
    ("flows", "settled", "said"),
    [
        (Flows(import_wh=9_000, export_wh=10_000), 2_880, "Yes: from July 2025 to June 2026"),
        (Flows(import_wh=9_000, export_wh=8_000), 2_880, "No: from July 2025 to June 2026"),
        (Flows(), 0, "Not known yet: a year has 360 days, and 0 of those"),
    ],
)
def test_the_verdict(flows: Flows, settled: int, said: str) -> None:
    months = [Month(each.name, flows, settled, 2_880) for each in YEAR.months]
    assert balance_picture.verdict(Year(months)).startswith(said)


def test_the_parts_of_a_bar_add_up() -> None:
    for flows in (DAY, DARK, DAY + DARK, Flows(), Flows(5, 0, 0, 4, 0, 0, 0, 4)):
        self_used, local, grid, out = balance_picture.parts(flows)
        assert self_used + local + grid == flows.consumption_wh
        assert out == flows.production_wh - flows.used_here_wh
        assert min(self_used, local, grid, out) >= 0

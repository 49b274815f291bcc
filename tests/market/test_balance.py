"""The balance: the scenario table, and what holds for any flows."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.balance import BalanceError, Flows, Month, Year, total
from market.money import PPM
from tests.conftest import LONG

TABLE = Path(__file__).with_name("balance_scenarios.txt").read_text("utf-8")


def rows() -> list[list[str]]:
    lines = [line for line in TABLE.splitlines() if "|" in line]
    return [[cell.strip() for cell in line.split("|")] for line in lines[1:]]


def _ppm(text: str) -> int | None:
    return None if text == "-" else int(Decimal(text) * PPM / 100)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_scenarios(row: list[str]) -> None:
    imports, exports, beside, sums, shares = (cells.split() for cells in row[1:])
    flows = Flows(*(int(each) * 1000 for each in (*imports, *exports, *beside)))
    told = (flows.consumption_wh, flows.production_wh, flows.surplus_wh)
    assert told == tuple(int(each) * 1000 for each in sums)
    assert [
        flows.self_sufficiency_ppm,
        flows.self_consumption_ppm,
        flows.local_share_ppm,
        flows.ratio_ppm,
    ] == [_ppm(each) for each in shares]


WH = st.integers(0, 10**9)


@st.composite
def any_flows(draw: st.DrawFn) -> Flows:
    parts = [draw(WH) for _ in range(7)]
    import_wh, export_wh = sum(parts[:3]), sum(parts[3:6])
    cycled = draw(st.integers(0, min(import_wh, export_wh)))
    return Flows(import_wh, *parts[1:3], export_wh, *parts[4:6], parts[6], cycled, draw(WH))


@settings(max_examples=4_000 if LONG else 150)
@given(any_flows(), any_flows())
def test_what_always_holds(one: Flows, other: Flows) -> None:
    both = one + other
    assert total([one, other]) == both
    for flows in (one, other, both):
        assert flows.surplus_wh == flows.production_wh - flows.consumption_wh
        assert 0 <= flows.made_here_wh <= flows.consumption_wh
        assert 0 <= flows.used_here_wh <= flows.production_wh
        for share in (flows.self_sufficiency_ppm, flows.self_consumption_ppm):
            assert share is None or 0 <= share <= PPM
    assert both.consumption_wh == one.consumption_wh + other.consumption_wh
    more = replace(one, self_used_wh=one.self_used_wh + 1_000)
    assert more.surplus_wh == one.surplus_wh, "self-use is made and used"
    assert (more.self_sufficiency_ppm or 0) >= (one.self_sufficiency_ppm or 0), "a lower bound"
    assert (more.self_consumption_ppm or 0) >= (one.self_consumption_ppm or 0), "a lower bound"


@pytest.mark.parametrize(
    ("flows", "reason"),
    [
        ({"import_wh": -1}, "below 0"),
        ({"import_wh": 1, "import_local_wh": 2}, "more than was metered"),
        ({"export_wh": 1, "export_local_wh": 1, "export_own_wh": 1}, "more than was metered"),
        ({"import_wh": 5, "export_wh": 3, "cycled_wh": 4}, "gave out more"),
    ],
)
def test_what_no_meter_can_have_measured(flows: dict[str, int], reason: str) -> None:
    with pytest.raises(BalanceError, match=reason):
        Flows(**flows)


def _year(surplus_wh: int, settled: int) -> Year:
    flows = Flows(import_wh=100, export_wh=100 + surplus_wh)
    names = [f"2026-{n:02}" for n in range(1, 13)]
    return Year([Month(name, flows, settled if name == "2026-07" else 10, 10) for name in names])


@pytest.mark.parametrize(
    ("surplus_wh", "settled", "positive"),
    [(1, 10, True), (0, 10, False), (-1, 10, False), (1, 9, None), (-1, 0, None)],
)
def test_a_year_is_judged_when_it_is_complete(
    surplus_wh: int, settled: int, positive: bool | None
) -> None:
    year = _year(surplus_wh, settled)
    assert year.positive is positive
    assert (year.of, year.settled) == (120, 110 + settled)
    with pytest.raises(BalanceError, match="no year"):
        Year(year.months[1:])

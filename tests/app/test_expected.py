"""Expected prices: what they are made of, who sees them, how they are handed out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.jobs import publish
from app.main import create_app
from app.services.forecasts.prices import expected_price
from app.services.sessions import SessionStore
from app.store import agents
from app.tables import ExpectedPriceRow, ForecastRunRow
from market.agents import Instruction, Strategy
from market.money import Price
from metering.interval import Interval
from optimizer.compiled import SolverError
from tests.app.district_kit import CEILING, FEED_IN, RATE, START, Kit
from tests.app.forecast_kit import (
    HOMES,
    forecaster,
    import_wh,
    sky_at_hand,
    week,
)

NOON = Interval.parse("2026-06-24T12:00:00Z")
NIGHT = Interval.parse("2026-06-24T00:00:00Z")
GRID_ALL_IN = (200_000 + 90_000 + 20_000) * 119 // 100
LOCAL_ALL_IN = (RATE + 40_000 + 20_000) * 119 // 100
PATH = "/api/v1/prices/expected"


@pytest.fixture(autouse=True)
def _sky(monkeypatch: pytest.MonkeyPatch) -> None:
    sky_at_hand(monkeypatch)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    """Six homes with a week behind them."""
    kit = week(tmp_path)
    yield kit
    kit.close()


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Kit]:
    """Four of them."""
    kit = week(tmp_path, HOMES[:4])
    yield kit
    kit.close()


def client(kit: Kit) -> TestClient:
    app = create_app(kit.house, kit.board, kit.views(), SessionStore(kit.database, "flat"))
    return TestClient(app, "http://127.0.0.1:8000", raise_server_exceptions=False)


def price_at(kit: Kit, interval: Interval) -> Price | None:
    return kit.ask(lambda session: expected_price(session, interval.key))


def intervals(answer: Any) -> dict[str, dict[str, Any]]:
    return {each["start"]: each for each in answer.json()["intervals"]}


def test_a_sunny_noon_is_priced_and_a_night_is_not(kit: Kit) -> None:
    forecaster(kit).run()
    answer = client(kit).get(PATH)
    assert answer.status_code == 200
    body = answer.json()
    assert body["district"] == kit.settings.origin
    assert body["issued_at"] == START.key
    assert (body["model"], body["tariff"]) == ("baseline-1", "t")
    assert body["grid_all_in_micro_per_kwh"] == GRID_ALL_IN
    assert body["feed_in_micro_per_kwh"] == FEED_IN
    assert [each["start"] for each in body["intervals"]] == sorted(intervals(answer))
    assert len(body["intervals"]) == 192

    noon, night = intervals(answer)[NOON.key], intervals(answer)[NIGHT.key]
    drawn_wh = sum(import_wh(number, NOON) for number in range(1, 7))
    sold_wh = noon["export_wh"]
    assert 700 < sold_wh < 1_100
    # The roof's own bid has its share of the roof's offer, and nobody buys from themselves.
    local_wh = noon["local_wh"]
    assert local_wh == pytest.approx(sold_wh - sold_wh * import_wh(1, NOON) / drawn_wh, abs=1)
    share = local_wh * 1_000_000 // drawn_wh
    assert noon == {
        "start": NOON.key,
        "local_price_micro_per_kwh": RATE,
        "local_all_in_micro_per_kwh": LOCAL_ALL_IN,
        "mean_all_in_micro_per_kwh": (share * LOCAL_ALL_IN + (1_000_000 - share) * GRID_ALL_IN)
        // 1_000_000,
        "local_share_ppm": share,
        "import_wh": drawn_wh,
        "export_wh": sold_wh,
        "local_wh": local_wh,
    }
    assert (night["local_price_micro_per_kwh"], night["local_all_in_micro_per_kwh"]) == (None, None)
    assert (night["mean_all_in_micro_per_kwh"], night["local_share_ppm"]) == (GRID_ALL_IN, 0)
    assert (price_at(kit, NOON), price_at(kit, NIGHT)) == (Price(RATE), None)
    assert price_at(kit, START) is None, "it had begun"


def test_caches_may_keep_it_and_ask_again(kit: Kit) -> None:
    forecaster(kit).run()
    web = client(kit)
    answer = web.get(PATH)
    assert answer.headers["cache-control"] == "public, max-age=300"
    again = web.get(PATH, headers={"If-None-Match": f'"other", {answer.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    kit.clock.advance_to(START.start_ms + 3_600_000)
    forecaster(kit).run()
    assert web.get(PATH, headers={"If-None-Match": answer.headers["etag"]}).status_code == 200
    assert web.get("/api/v1/health").headers["cache-control"] == "no-store"


def test_without_a_forecast_it_says_so(kit: Kit) -> None:
    answer = client(kit).get(PATH)
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "no forecast yet" in answer.json()["detail"]


def test_of_fewer_than_five_participants_nothing_is_told(few: Kit) -> None:
    forecaster(few).run()
    answer = client(few).get(PATH)
    assert answer.status_code == 404
    assert "fewer than 5 participants" in answer.json()["detail"]
    assert str(RATE) not in answer.text
    assert price_at(few, NOON) == Price(RATE), "their own strategies may use it"


def instruct(kit: Kit, name: str, instruction: Instruction, first: Interval) -> None:
    row = agents.to_row(kit.homes[name].point, 1, instruction)
    row.valid_from, row.known_ms, row.entered_by = first.key, START.start_ms, name
    with kit.database.write() as session:
        session.add(row)


def test_standing_limits_count_from_when_they_hold(tmp_path: Path) -> None:
    """The one seller wants more than anybody pays, from tomorrow on; before that, nothing."""
    kit = week(tmp_path, rule="uniform")
    try:
        wish = Instruction(Strategy.OWN_LIMITS, sell=Price(CEILING + 1))
        instruct(kit, "solar", wish, Interval.parse("2026-06-24T11:00:00Z"))
        forecaster(kit).run()
        before = price_at(kit, Interval.parse("2026-06-24T10:45:00Z"))
        assert before is not None
        assert FEED_IN <= before.micro_per_kwh <= CEILING
        assert price_at(kit, Interval.parse("2026-06-24T11:00:00Z")) is None
        assert price_at(kit, NOON) is None
    finally:
        kit.close()


def test_who_follows_the_expected_price_does_not_make_it(kit: Kit) -> None:
    forecaster(kit).run()
    for name in HOMES:
        instruct(kit, name, Instruction(Strategy.BY_FORECAST), START)
    kit.clock.advance_to(START.start_ms + 3_600_000)
    forecaster(kit).run()
    assert len(kit.rows(ForecastRunRow)) == 2
    assert price_at(kit, NOON) == Price(RATE)


def test_a_sharing_district_without_keys_expects_no_price(tmp_path: Path) -> None:
    kit = week(tmp_path, mode="sharing")
    try:
        forecaster(kit).run()
        noon = intervals(client(kit).get(PATH))[NOON.key]
        assert (noon["local_price_micro_per_kwh"], noon["local_wh"]) == (None, 0)
        assert noon["export_wh"] > 700
    finally:
        kit.close()


def test_an_engine_without_an_answer_is_replaced_as_in_the_interval_itself(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_answer(_: object) -> None:
        raise SolverError("no optimum")

    monkeypatch.setattr(publish, "clear", no_answer)
    forecaster(kit).run()
    assert price_at(kit, NOON) == Price(RATE)


def test_what_cannot_be_a_book_has_no_price_and_people_are_told(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise publish.BookError("two orders of one name")

    monkeypatch.setattr(publish, "metered_book", broken)
    forecaster(kit).run()
    assert kit.rows(ExpectedPriceRow) == []
    (notice,) = kit.notices("alarm/forecast/")
    assert "192 quarter-hours have no price (2026-06-23T09:15:00Z: two orders" in notice.text

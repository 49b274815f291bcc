"""The page of losses: energy alone, for the manager and the grid operator."""

from __future__ import annotations

from fastapi.testclient import TestClient

from tests.web.losses_fakes import NORTH, QUARTERS, FakeLosses
from tests.web.page_kit import audit, enter
from web import loss_bars
from web.ports import Role


def test_a_prosumer_sees_no_feeders(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    assert client.get("/losses").status_code == 404
    assert "/losses" not in client.get("/district").text


def test_a_day_of_losses(client: TestClient, losses: FakeLosses) -> None:
    for role in (Role.MANAGER, Role.OPERATOR):
        enter(client, role)
        answer = client.get("/losses")
        assert answer.status_code == 200
        found = audit(answer.text)
        assert found.forbidden == []
        assert "<b>small</b>" not in answer.text
        assert "€" not in answer.text.split("<main", 1)[1]
        assert answer.text.count("<svg viewBox=") == 2
        for words in ("✖ High", "In order", "Fewer than five", "13.5", "0.27", "11:00–11:15"):
            assert words in answer.text, words
        assert 'href="/losses?day=2026-06-22"' in answer.text
        assert 'href="/losses"' in client.get("/district").text
    assert client.get("/losses?day=2026-06-22").status_code == 200
    assert client.get("/losses?day=yesterday").status_code == 404
    assert losses.asked == ["", "", "2026-06-22", "yesterday"]


def test_a_district_without_heads_says_so(client: TestClient, losses: FakeLosses) -> None:
    losses.feeders = []
    enter(client, Role.OPERATOR)
    assert "They need a head" in client.get("/losses").text


def test_bars_stand_on_a_line_at_nothing() -> None:
    drawn = loss_bars.draw(NORTH.quarters)
    assert (drawn.high_wh, drawn.low_wh, drawn.zero) == (360, -90, 96.0)
    assert [(bar.y, bar.height, bar.estimated) for bar in drawn.bars] == [
        (0.0, 96.0, False),
        (96.0, 0.0, True),
        (96.0, 24.0, False),
    ]
    assert loss_bars.draw([]).bars == []
    assert loss_bars.draw(QUARTERS[:1]).low_wh == 0

"""The page of meters over the tables: whose meters it shows, and what its steps do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.services.commissioning import register, requests
from app.services.commissioning.desk import MetersDesk
from metering.interval import LENGTH_MS
from metering.signing import public_key
from tests.app.commissioning_kit import Cellar
from tests.app.district_kit import Kit
from tests.app.doorway import key_of
from web.ports import RefusedError

KEY = key_of(501)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, f"sqlite:///{tmp_path / 'district.db'}", ("solar", "flat"))
    yield kit
    kit.close()


def brought(kit: Kit, desk: MetersDesk, name: str) -> int:
    """Have a token made on the page and an enrolment brought with it."""
    made = desk.token(kit.homes[name].point, "manager")
    assert made.command == f"wattloom meter replace --token {made.token}"
    assert made.replaces == f"meter-{name}"
    hand = Cellar.__new__(Cellar)  # the gateway's half alone, over this house
    hand.house, hand.district, hand.wall_ms = kit.house, kit, 0
    offer = requests.offer(kit.house, made.token, 0)
    request = hand.request(offer, KEY)
    requests.bring(kit.house, made.token, request, 0)
    return register.waiting(kit.house, offer.point)


def test_a_manager_sees_and_decides_on_their_own_points(kit: Kit) -> None:
    kit.read()
    desk = MetersDesk(kit.house, {"flat"}, lambda: 0)
    (point,) = desk.page().points
    (meter,) = point.meters
    assert (point.point, meter.serial, meter.stale) == (
        kit.homes["flat"].point,
        "meter-flat",
        False,
    )
    kit.clock.advance_to(kit.clock.now_ms() + 2 * LENGTH_MS + 1)
    assert desk.page().points[0].meters[0].stale
    number = brought(kit, desk, "flat")
    waiting = desk.page().points[0].waiting
    assert waiting is not None
    assert (waiting.request, waiting.serial, waiting.verdict) == (number, "SN-1", "good")
    assert waiting.exchange is not None
    assert waiting.exchange.closing.import_wh == 1_500
    hand = Cellar.__new__(Cellar)
    typed = hand.groups(KEY)
    assert typed not in str(desk.page()), "it has to be read off the gateway"
    rows = register.listed(kit.house)  # what `wattloom meter list` shows
    assert [row["state"] for row in rows].count("awaiting confirmation") == 1
    assert typed not in str(rows)
    assert public_key(KEY).hex not in str(rows)
    stranger = MetersDesk(kit.house, {"solar"}, lambda: 0)
    for step in (
        lambda: stranger.confirm(number, typed, "m"),
        lambda: stranger.withdraw(number, "m"),
        lambda: stranger.token(kit.homes["flat"].point, "m"),
        lambda: stranger.revoke(meter.key, "", "m"),
        lambda: stranger.keep(meter.key, "m"),
    ):
        with pytest.raises(RefusedError, match="manage"):
            step()
    with pytest.raises(RefusedError) as refused:
        desk.confirm(number, "dead beef", "m")
    assert refused.value.field == "fingerprint"
    desk.confirm(number, typed, "m")
    first, before = desk.page().points[0].meters
    assert (first.key, first.version) == (public_key(KEY).hex, "ab" * 32)
    assert before.revoked_from == first.valid_from


def test_a_revocation_can_be_taken_back_until_it_begins(kit: Kit) -> None:
    desk = MetersDesk(kit.house, {"flat"}, lambda: 0)
    key = desk.page().points[0].meters[0].key
    desk.revoke(key, "", "m")
    assert desk.page().points[0].meters[0].revoked_from == desk.page().next_key
    desk.keep(key, "m")
    assert desk.page().points[0].meters[0].revoked_from is None
    for begin in ("tomorrow", "2026-06-23T09:01:00Z"):
        with pytest.raises(RefusedError) as refused:
            desk.revoke(key, begin, "m")
        assert refused.value.field == "begin"
    desk.revoke(key, desk.page().next_key, "m")
    kit.clock.advance_to(kit.clock.now_ms() + LENGTH_MS)
    assert desk.page().points[0].meters[0].over
    with pytest.raises(RefusedError, match="began"):
        desk.keep(key, "m")

"""``wattloom meter`` at the server: tokens, the list, confirming, withdrawing, revoking."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.clock import wall_ms
from app.commands.meter import meter_cli
from app.services.commissioning import requests
from app.settings import Settings
from tests.app.commissioning_kit import Cellar
from tests.app.district_kit import Kit
from tests.app.doorway import key_of

KEY = key_of(501)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, Settings(data=tmp_path).sqlalchemy_url, ("solar", "flat"))
    yield kit
    kit.close()


def test_the_commands_at_the_server(kit: Kit) -> None:
    def run(*args: str) -> Result:
        return CliRunner().invoke(meter_cli, [*args, "--data", str(kit.folder)])

    def listed(point: str) -> list[dict[str, str]]:
        rows = json.loads(run("list", "--json").stdout)
        return [row for row in rows if row["point"] == point]

    hand, point = Cellar.__new__(Cellar), kit.homes["flat"].point
    hand.house, hand.district, hand.wall_ms = kit.house, kit, wall_ms()
    assert "meter-flat" in run("list").stdout
    assert run("token", "123").exit_code == 1
    for groups, code in (("dead beef", 1), (hand.groups(KEY), 0)):
        if not code:
            assert run("withdraw", point).exit_code == 0
        key = KEY if not code else key_of(502)
        made = json.loads(run("token", point, "--json").stdout)
        assert made["line"] == f"wattloom meter replace --token {made['token']}"
        offer = requests.offer(kit.house, made["token"], wall_ms())
        hand.bring(made["token"], hand.request(offer, key))
        assert listed(point)[0]["state"] == "awaiting confirmation"
        assert run("confirm", point, groups).exit_code == code
    new, old = listed(point)
    assert new["state"] == "in service"
    assert old["state"].startswith("ends ")
    assert run("confirm", point, "0000 0000").exit_code == 1, "nothing waits any more"
    later = "2030-01-01T00:00:00Z"
    assert run("revoke", new["key"], "--from", later).exit_code == 0
    assert listed(point)[0]["state"] == f"ends {later}"
    assert run("revoke", new["key"], "--undo").exit_code == 0
    assert listed(point)[0]["state"] == "in service"
    for wrong in (["revoke", "xy"], ["revoke", new["key"], "--from", "soon"]):
        refused = run(*wrong)
        assert refused.exit_code == 1
        assert refused.stderr.startswith("wattloom meter: ")

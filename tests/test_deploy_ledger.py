"""`deploy/ledger.yaml`: what nothing here can run is read, and compared with what it relies on."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

from app.cli import cli
from app.commands.node import node_cli
from app.settings import load_settings

ROOT = Path(__file__).parents[1]
yaml = pytest.importorskip("yaml")
DISTRICT = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
LEDGER = yaml.safe_load((ROOT / "deploy" / "ledger.yaml").read_text("utf-8"))
NODE = LEDGER["services"]["ledger"]


def test_the_node_understands_its_options() -> None:
    program, *options = NODE["command"]
    assert program in {group.name for group in cli.registered_groups}
    known = {name for parameter in get_command(node_cli).params for name in parameter.opts}
    assert {option.partition("=")[0] for option in options} <= known


def test_the_district_takes_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = LEDGER["services"]["district"]["environment"]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(None)
    port = next(text for text in NODE["command"] if text.startswith("--port="))
    assert settings.ledger_url == (f"http://ledger:{port.removeprefix('--port=')}",)
    assert environment["WATTLOOM_LEDGER_KEYS"] in {
        item["target"] for item in LEDGER["services"]["district"]["configs"]
    }


def test_it_is_as_hardened_as_the_district_and_kept_apart_from_it() -> None:
    other = DISTRICT["services"]["district"]
    for key in ("image", *DISTRICT["x-hardened"], "tmpfs"):
        assert NODE[key] == other[key], key
    assert set(NODE["networks"]) <= set(other["networks"])
    assert not {text.partition(":")[0] for text in NODE["volumes"]} & set(DISTRICT["volumes"])
    assert "ports" not in NODE

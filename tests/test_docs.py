"""Undocumented means red: settings, commands and routes have their place in docs/, and links hold.

It goes both ways: what the code has and the page lacks is red, and so is what the page describes
and the code no longer has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from app.cli import cli
from app.clock import SimulatedClock
from app.db import Database
from app.main import create_app
from app.services.house import House
from app.services.keyring import Keyring
from app.services.live import LiveBoard
from app.services.sessions import SessionStore
from app.services.views import DatabaseViews
from app.settings import Settings, load_settings
from ledger_client.ledger import Ledger

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md"), *(ROOT / "deploy").glob("*.md")])

every_page = pytest.mark.parametrize(
    "page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES]
)


def _page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def _rows(page: str) -> set[str]:
    """What the tables of a page describe: each row's first cell, without its backticks."""
    return set(re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE))


def _sections(page: str) -> dict[str, str]:
    """The text below each heading that is a name in backticks."""
    parts = re.split(r"^#+ `([^`]+)`.*$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


# Settings


def test_the_settings_are_those_of_the_page() -> None:
    assert _rows(_page("settings.md")) == set(Settings.model_fields)


def test_the_page_tells_the_settings_defaults() -> None:
    told = dict(re.findall(r"^\| `([^`]+)` \| (\S+) \|", _page("settings.md"), re.MULTILINE))
    for name, field in Settings.model_fields.items():
        value = field.default
        default = (
            "" if value in ((), None) else str(value).lower() if value is False else str(value)
        )
        assert told[name] == (f"`{default}`" if default else "empty"), name


def test_the_production_settings_load() -> None:
    assert load_settings(ROOT / "deploy" / "district.toml").rule == "mid-market"


# Commands


def _commands(group: TyperGroup, path: str) -> Iterator[tuple[str, set[str]]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _commands(command, f"{path} {name}")
        if not isinstance(command, TyperGroup) or command.invoke_without_command:
            yield f"{path} {name}", {max(parameter.opts, key=len) for parameter in command.params}


def _documented_commands() -> dict[str, set[str]]:
    root = get_command(cli)
    assert isinstance(root, TyperGroup)
    return dict(_commands(root, "wattloom"))


def test_the_commands_are_those_of_the_page() -> None:
    assert set(_sections(_page("cli.md"))) == set(_documented_commands())


def test_each_option_of_a_command_is_named() -> None:
    sections = _sections(_page("cli.md"))
    for command, parameters in _documented_commands().items():
        text = sections[command]
        for option in parameters:
            shown = option if option.startswith("-") else option.upper()
            assert f"| `{shown}" in text, f"docs/cli.md, {command}: {shown} is not named"


# Routes


@pytest.fixture
def house(tmp_path: Path) -> House:
    settings = load_settings(data=tmp_path)
    database = Database(settings.sqlalchemy_url)
    keyring = Keyring.open(tmp_path / "keys")
    ledger = cast("Ledger", None)  # no route is called
    return House(settings, database, keyring, SimulatedClock(0), ledger)


def test_the_routes_are_those_of_the_page(house: House) -> None:
    board = LiveBoard()
    views = DatabaseViews(house, board, frozenset(), "", ())
    api = create_app(house, board, views, SessionStore(house.database, None)).openapi()
    served = {
        f"{method.upper()} {path}" for path, methods in api["paths"].items() for method in methods
    }
    assert _rows(_page("api.md")) == served


# Links and names


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@every_page
def test_files_that_are_named_exist(page: Path) -> None:
    folders = "app|deploy|docs|ledger_client|market|metering|optimizer|scripts|tests|web"
    for name in re.findall(rf"`((?:{folders})/[\w./-]+)`", page.read_text("utf-8")):
        assert (ROOT / name).exists(), f"{page.name} names {name}"


@every_page
def test_make_targets_that_are_named_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    blocks_and_quotes = "\n".join(page.read_text("utf-8").split("`")[1::2])
    for name in re.findall(r"^make ([a-z-]+)", blocks_and_quotes, re.MULTILINE):
        assert name in targets, f"{page.name} names make {name}"

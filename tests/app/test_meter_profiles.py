"""The command that lists types of meters, and the page that describes them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from app.commands.meter_profiles import EPILOG, profiles
from metering.profiles import Profile, load_profile, parse_profile, profile_names

PAGE = (Path(__file__).parents[2] / "docs" / "meters.md").read_text("utf-8")

group = typer.Typer()
group.callback()(lambda: None)
group.command("profiles", epilog=EPILOG)(profiles)


def listed(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(group, ["profiles", *arguments])
    return result.exit_code, result.stdout, result.stderr


def row(profile: Profile) -> str:
    """The line of the page's table that a profile has to have."""
    counters = [name for name in ("import", "export") if f"{name}_total" in profile.quantities]
    watched = "; ".join(setting.name for setting in profile.watch) or "-"
    cells = (
        f"`{profile.name}`",
        profile.title,
        ", ".join(counters),
        profile.evidence,
        "yes" if profile.serial else "no",
        watched,
    )
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("name", profile_names())
def test_the_page_says_of_each_type_what_its_profile_says(name: str) -> None:
    profile = load_profile(name)
    assert row(profile) in PAGE
    assert f"| `{name}` | {profile.source} |" in PAGE


def test_the_page_describes_no_type_that_is_not_there() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert set(profile_names()) <= told
    types = PAGE.split("## How to add one")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", types, re.MULTILINE)) == set(profile_names())


def test_the_worked_example_of_the_page_is_a_profile() -> None:
    (text,) = re.findall(r"```toml\n(title.*?)```", PAGE, re.DOTALL)
    profile = parse_profile("my_meter", text)
    assert profile.evidence == "register"
    assert profile.quantities >= {"import_total", "export_total", "power"}
    assert profile.watch


def test_the_command_lists_every_type_as_json() -> None:
    code, out, err = listed("--json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert [entry["name"] for entry in rows] == list(profile_names())
    inverter = next(entry for entry in rows if entry["name"] == "sunspec_inverter")
    assert inverter["role"] == "production"
    assert "import_total" not in inverter["quantities"]
    assert rows[0]["version"] == load_profile(rows[0]["name"]).version


def test_a_faulty_file_is_explained_beside_what_is_right(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('title = "t"\nlike = "abb_b23"\nsource = "s"', "utf-8")
    (tmp_path / "wrong.toml").write_text('like = "abb_b23"\nsource = "s"', "utf-8")
    code, out, err = listed("--folder", str(tmp_path))
    assert code == 1
    assert "mine" in out
    assert f"types of meters: {len(profile_names()) + 1}" in err
    assert "wattloom meter profiles: wrong.toml: title: is absent: add it" in err


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    code, out, err = listed("--folder", str(tmp_path / "gone"))
    assert (code, out) == (1, "")
    assert "no folder of profiles: No such file or directory" in err

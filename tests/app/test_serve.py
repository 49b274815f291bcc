"""``wattloom init``, ``serve`` and ``worker``: founding, refusals in words, a clean end."""

from __future__ import annotations

import socket
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlmodel import select
from typer.testing import CliRunner, Result

from app.cli import cli
from app.clock import SimulatedClock
from app.serve.command import run_serve, run_worker
from app.serve.district import open_real
from app.services.founding import Founding, found
from app.services.keyring import Keyring
from app.settings import load_settings
from app.tables import DistrictRow, IntervalRow
from app.worker import Worker
from market.tariffs import flat
from metering.interval import LENGTH_MS, Interval
from tests.app.runs import ROOT
from tests.app.schema import lay_tables
from tests.app.served import TARIFF, Served, until

SAMPLE = ROOT / "docs" / "samples" / "tariff.toml"


def init(folder: Path, *more: str, tariff: Path = SAMPLE) -> Result:
    given = ["init", str(folder), "--origin", "hof.example", "--tariff", str(tariff), *more]
    return CliRunner().invoke(cli, given)


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served.found(tmp_path / "hof", f"sqlite:///{tmp_path / 'hof' / 'district.db'}", 1)


# --- Founding ------------------------------------------------------------------------------------


def test_a_district_is_founded_and_works(tmp_path: Path) -> None:
    """Its worker waits for the first meter: quarter-hours begin with that."""
    folder = tmp_path / "hof"
    result = init(folder, "--name", 'The "Hof"', "--zone", "Europe/Oslo")
    assert result.exit_code == 0, result.output
    settings = load_settings(folder / "district.toml")
    assert (settings.name, settings.zone, settings.data) == ('The "Hof"', "Europe/Oslo", folder)
    keys = list((folder / "keys").glob("*.key"))
    assert keys
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o400}
    with open_real(settings, working=True) as house:
        with house.database.read() as session:
            start_ms = session.exec(select(DistrictRow)).one().clock_ms
        clock = SimulatedClock(start_ms)
        worker = Worker(replace(house, clock=clock))
        for quarter in range(4):
            clock.advance_to(start_ms + quarter * LENGTH_MS)
            worker.run_due()
        with house.database.read() as session:
            states = session.exec(select(IntervalRow.state).order_by(IntervalRow.key)).all()
    assert states == []


REFUSED: dict[str, tuple[Callable[[Path], Result], str]] = {
    "a folder that holds something": (lambda folder: init(folder.parent), "is not empty"),
    "a name that is none": (lambda folder: init(folder, "--origin", "Hof!"), "district name"),
    "a zone that is none": (lambda folder: init(folder, "--zone", "Here"), "time zone"),
    "no tariff": (lambda folder: init(folder, tariff=folder / "t.toml"), "t.toml"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_district_is_not_founded(tmp_path: Path, name: str) -> None:
    (tmp_path / "there").touch()
    make, words = REFUSED[name]
    result = make(tmp_path / "hof")
    assert result.exit_code == 1
    assert words in result.output
    assert not (tmp_path / "hof").exists()


def test_what_cannot_be_founded_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATTLOOM_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    result = init(tmp_path / "hof")
    assert result.exit_code == 1
    assert "does not answer" in result.output
    assert not (tmp_path / "hof").exists()


# --- Serving -------------------------------------------------------------------------------------


def test_it_serves_until_it_is_told_to_stop(served: Served) -> None:
    with served.running() as process:
        until(served.answers)
        told = httpx.get(f"{served.url}/api/v1/district", trust_env=False).json()
        assert (told["district"], told["clock_simulated"]) == (served.settings.origin, False)
        assert run_worker(served.file, {}) == 1  # somebody works here
        process.terminate()
        process.join(30)
        assert process.exitcode == 0
    assert run_serve(served.file, {"host": "203.0.113.7"}, working=False) == 1


def told(capsys: pytest.CaptureFixture[str], code: int) -> str:
    assert code == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def test_a_busy_port_is_told(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", served.port)):
        said = told(capsys, run_serve(served.file, {}, working=True))
    assert f"port {served.port} on 127.0.0.1 is not free" in said


def test_an_empty_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, run_serve(None, {"data": tmp_path}, working=True))
    assert "holds no district" in said
    assert "wattloom init" in said


def test_a_simulated_district_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = load_settings(None, data=tmp_path)
    keyring = Keyring.open(tmp_path / "keys")
    database = Served(tmp_path, settings.sqlalchemy_url, 0, 0).database
    lay_tables(database)
    start = Interval.parse("2026-06-23T09:00:00Z")
    with database.write() as session:
        found(session, settings, keyring, Founding({"t": flat(TARIFF)}, (), start, True, 0))
    database.close()
    said = told(capsys, run_serve(None, {"data": tmp_path}, working=False))
    assert "wattloom demo" in said


def test_missing_settings_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, run_serve(tmp_path / "none.toml", {}, working=True))
    assert "none.toml" in said

"""The whole path, as a new user runs it: real Modbus, door, market, ledger, proofs, on both
databases. One run per database serves every test here."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from app.cli import cli
from ledger_client.verify import verify_bytes
from tests.app import forked

SUMMARY_FIELDS = {
    "intervals", "participants", "metering_points", "district_clock", "readings_accepted",
    "readings_rejected", "trades", "traded_wh", "local_share", "import_wh", "export_wh",
    "saving_micro", "postings_sum_micro", "ledger", "balances_micro",
    "journal_minus_ledger_micro", "last_seq_by_meter", "interval_states", "proofs", "keys",
    "wall_seconds",
}  # fmt: skip
BAKERY = "401234500000000098"


def wattloom(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def refused(folder: Path, *arguments: object) -> str:
    """What a demo says that cannot run."""
    with forked.wattloom(folder / "said", "demo", "--headless", *arguments) as working:
        assert working.end() == 1
    return " ".join(working.said().split())


def story(folder: Path) -> list[object]:
    out, run = folder / "summary.json", folder / "run"
    begin = ["demo", "--headless", "--intervals", 8, "--speed", "max"]
    return [*begin, "--data", run, "--summary", out]


def demo(folder: Path, *more: object) -> dict[str, Any]:
    with forked.wattloom(folder / "said", *story(folder), *more) as working:
        assert working.end() == 0, working.said()
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def summary(folder: Path) -> dict[str, Any]:
    done = wattloom(*story(folder))
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "summary.json").read_text())


def test_the_summary_adds_up(summary: dict[str, Any]) -> None:
    assert summary.keys() == SUMMARY_FIELDS
    assert (summary["intervals"], summary["participants"]) == (8, 12)
    assert summary["postings_sum_micro"] == summary["journal_minus_ledger_micro"] == 0
    assert summary["ledger"]["supply_units"] == summary["ledger"]["supply_expected_units"]
    assert summary["trades"] > 0
    assert 0 < float(summary["local_share"]) <= 1
    assert summary["readings_rejected"] == 0
    assert summary["readings_accepted"] == sum(summary["last_seq_by_meter"].values())
    states = list(summary["interval_states"].values())
    assert states == ["sealed"] * 8


def test_wallets_hold_the_top_ups_and_nothing_else(summary: dict[str, Any]) -> None:
    # Local energy only moves money between wallets, so their sum is what was paid in.
    assert sum(summary["balances_micro"].values()) == 380_000_000


def test_buyers_and_sellers_both_save(summary: dict[str, Any]) -> None:
    saving = summary["saving_micro"]
    assert min(saving.values()) > 0
    assert saving["office"] > 0 < saving["bakery"]  # a seller and a buyer


def test_a_finished_run_ends_at_once_with_the_same_summary(
    folder: Path, summary: dict[str, Any]
) -> None:
    again = demo(folder)
    assert {**again, "wall_seconds": 0} == {**summary, "wall_seconds": 0}


def test_the_silent_meter_was_estimated_and_corrected(
    folder: Path, summary: dict[str, Any]
) -> None:
    assert summary["intervals"]
    connection = sqlite3.connect(folder / "run" / "district.db")
    gap = connection.execute(
        "SELECT interval FROM slot WHERE estimated AND point = ? ORDER BY interval", [BAKERY]
    ).fetchall()
    assert [key for (key,) in gap] == [
        "2026-06-23T09:30:00Z",
        "2026-06-23T09:45:00Z",
        "2026-06-23T10:00:00Z",
    ]
    (estimated_orders,) = connection.execute(
        "SELECT count(*) FROM market_order o JOIN slot s USING (interval, point) WHERE s.estimated"
    ).fetchone()
    assert estimated_orders == 0
    before, after = connection.execute(
        "SELECT min(import_wh), max(import_wh) FROM reading"
        " WHERE point = ? AND answered_ms IN (1782207000000, 1782209700000)",
        [BAKERY],
    ).fetchone()
    (corrected,) = connection.execute("SELECT sum(import_wh) FROM correction").fetchone()
    assert corrected == after - before > 0
    told = connection.execute(
        "SELECT e.kind, n.level FROM gateway_event e JOIN notice n ON n.point = e.point"
        " AND n.ref LIKE 'event/' || e.kind || '/%' WHERE e.point = ? ORDER BY e.at_ms",
        [BAKERY],
    ).fetchall()
    assert told == [("offline", "warning"), ("answers-again", "info")]
    (all_told,) = connection.execute("SELECT count(*) FROM gateway_event").fetchone()
    assert all_told == len(told), "of the others there is nothing to tell"


def test_postgresql_gives_the_same_market(
    tmp_path: Path, summary: dict[str, Any], postgres_url: str
) -> None:
    config = tmp_path / "district.toml"
    config.write_text(f'database_url = "{postgres_url}"\n')
    there = demo(tmp_path, "--settings", config)
    for field in ("trades", "traded_wh", "balances_micro", "saving_micro", "import_wh"):
        assert there[field] == summary[field], field
    assert there["journal_minus_ledger_micro"] == there["postings_sum_micro"] == 0


# Proofs


@pytest.fixture(scope="module")
def keys(summary: dict[str, Any]) -> bytes:
    return Path(summary["keys"]).read_bytes()


@pytest.fixture(scope="module")
def proofs(summary: dict[str, Any]) -> list[bytes]:
    return [Path(path).read_bytes() for path in summary["proofs"]]


def test_every_proof_holds(proofs: list[bytes], keys: bytes) -> None:
    assert len(proofs) >= 12
    for proof in proofs:
        verdict = verify_bytes(proof, keys)
        assert verdict.code == 0, verdict.steps[-1]


def test_the_command_and_the_lone_file_agree(summary: dict[str, Any], tmp_path: Path) -> None:
    proof, keys = summary["proofs"][0], summary["keys"]
    assert wattloom("verify", proof, "--keys", keys).returncode == 0
    assert wattloom("verify", proof).returncode == 2
    lone = tmp_path / "verify.py"
    lone.write_bytes(Path("ledger_client/verify.py").read_bytes())
    run = subprocess.run(
        [sys.executable, "-I", lone, proof, "--keys", keys],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "HOLDS" in run.stdout


def test_the_readme_shows_what_verify_prints(summary: dict[str, Any]) -> None:
    text = Path("README.md").read_text("utf-8")
    (shown,) = re.findall(r"^```\n(✓.*?)```$", text, re.DOTALL | re.MULTILINE)
    proof = next(path for path in summary["proofs"] if "090000Z-home-3" in path)
    printed = iter(_shape(wattloom("verify", proof, "--keys", summary["keys"]).stdout))
    lines = [line for line in _shape(shown) if line.strip() != "..."]
    assert len(lines) > 8
    for line in lines:
        assert line in printed, line  # an iterator: each has to come after the one before


def _shape(text: str) -> list[str]:
    """Return the lines without the hashes and numbers, which differ from run to run."""
    return re.sub(r"[0-9a-f]{16,}|[0-9]+", "#", text).splitlines()


@settings(max_examples=150)
@given(data=st.data())
def test_any_changed_character_is_noticed(
    data: st.DataObject, proofs: list[bytes], keys: bytes
) -> None:
    text = data.draw(st.sampled_from(proofs))
    place = data.draw(st.integers(0, len(text) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != text[place]))
    verdict = verify_bytes(text[:place] + bytes([byte]) + text[place + 1 :], keys)
    assert verdict.code == 1
    assert verdict.steps[-1].name
    assert not verdict.steps[-1].ok


def test_swapped_readings_and_foreign_ones_are_noticed(proofs: list[bytes], keys: bytes) -> None:
    documents = [json.loads(proof) for proof in proofs]
    first, second = documents[0], documents[1]
    point = first["points"][0]
    point["opening"], point["closing"] = point["closing"], point["opening"]
    assert verify_bytes(_file(first), keys).code == 1
    point["opening"], point["closing"] = point["closing"], point["opening"]
    assert verify_bytes(_file(first), keys).code == 0
    point["closing"] = second["points"][0]["closing"]
    assert verify_bytes(_file(first), keys).code == 1


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One interval of another district."""
    folder = tmp_path_factory.mktemp("elsewhere")
    config = folder / "other.toml"
    config.write_text('origin = "elsewhere.wattloom.example"\n')
    return demo(folder, "--settings", config, "--intervals", 1)


def test_other_keys_and_another_checkpoint_are_noticed(
    proofs: list[bytes], keys: bytes, elsewhere: dict[str, Any]
) -> None:
    strange = Path(elsewhere["keys"]).read_bytes()
    assert verify_bytes(proofs[0], strange).code == 1
    log_of_another = json.loads(keys) | {"log": json.loads(strange)["log"]}
    assert verify_bytes(proofs[0], _file(log_of_another)).code == 1
    renamed = json.loads(keys) | {"origin": "elsewhere.wattloom.example"}
    assert verify_bytes(proofs[0], _file(renamed)).code == 1
    other = json.loads(Path(elsewhere["proofs"][0]).read_bytes())
    mixed = json.loads(proofs[0]) | {"anchor": other["anchor"]}
    assert verify_bytes(_file(mixed), keys).code == 1


def _file(document: object) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


# Bad input


@pytest.mark.parametrize(
    ("settings_file", "arguments", "says"),
    [
        ('naem = "x"\n', [], "naem: no such setting"),
        ("port = 70000\n", [], "port: Input should be less than or equal to 65535"),
        ("port = [\n", [], "is not TOML"),
        ('zone = "Mars/Olympus"\n', [], "no IANA time zone"),
        ("", ["--speed", "warp"], "is no speed"),
        ("", ["--intervals", "0"], "--intervals"),
    ],
)
def test_wrong_settings_say_what_to_mend(
    tmp_path: Path, settings_file: str, arguments: list[str], says: str
) -> None:
    config = tmp_path / "district.toml"
    config.write_text(settings_file)
    folder = str(tmp_path / "run")
    given = ["demo", "--headless", "--data", folder, "--settings", str(config), *arguments]
    done = CliRunner().invoke(cli, given)
    assert done.exit_code != 0
    assert says in " ".join(done.stderr.split())
    assert isinstance(done.exception, SystemExit)
    assert not (tmp_path / "run").exists()


def test_another_seed_is_refused_on_the_same_folder(folder: Path, summary: dict[str, Any]) -> None:
    assert summary["intervals"] == 8
    said = refused(folder, "--seed", 2, "--data", folder / "run")
    assert "name another --data folder" in said


def test_a_key_file_that_others_can_read_is_refused(elsewhere: dict[str, Any]) -> None:
    folder = Path(elsewhere["keys"]).parent
    (folder / "keys" / "log.key").chmod(0o644)
    assert "chmod 600" in refused(folder.parent, "--intervals", 1, "--data", folder)

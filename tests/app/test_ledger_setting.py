"""One setting puts the district on a node over HTTP: the same trades, balances and proofs."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.services.keyring import Keyring
from app.services.ledger import LedgerSetupError, open_ledger
from app.settings import Settings, load_settings
from ledger_client.verify import verify_bytes
from tests.app.forked import Working
from tests.app.runs import EQUAL, Run
from tests.ledger_client.node_process import NodeProcess, running_node

UNITS = 10**12
INTERVALS = 2


def district(folder: Path, **overrides: object) -> tuple[Settings, Keyring]:
    settings = load_settings(data=folder / "data", **overrides)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    return settings, Keyring.open(folder / "data" / "keys")


def genesis_options(folder: Path) -> list[str]:
    """The node's options, as the district's own error names them."""
    settings, keyring = district(folder, ledger_url="http://127.0.0.1:1")
    with pytest.raises(LedgerSetupError) as refused:
        open_ledger(settings, keyring, UNITS)
    found = re.search(r"wattloom node (.+) --data", str(refused.value))
    assert found, refused.value
    return found[1].split()


def run(folder: Path, node: NodeProcess | None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the demo to its end, on a node or on its embedded one."""
    if node is not None:
        monkeypatch.setenv("WATTLOOM_LEDGER_URL", node.url)
        monkeypatch.setenv("WATTLOOM_LEDGER_KEYS", str(node.keys_file))
    return Run(folder, intervals=INTERVALS).finish()


def check_proofs(summary: dict[str, Any]) -> None:
    keys = Path(summary["keys"]).read_bytes()
    assert summary["proofs"]
    for file in summary["proofs"]:
        verdict = verify_bytes(Path(file).read_bytes(), keys)
        assert verdict.code == 0, verdict


def test_a_node_over_http_gives_what_the_embedded_one_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = run(tmp_path / "embedded", None, monkeypatch)
    with running_node(tmp_path / "node", *genesis_options(tmp_path / "rest")) as node:
        over_http = run(tmp_path / "rest", node, monkeypatch)
    assert {name: over_http[name] for name in EQUAL} == {name: embedded[name] for name in EQUAL}
    assert over_http["ledger"]["supply_units"] == UNITS
    assert over_http["ledger"]["milestones"] > 0
    assert not (tmp_path / "rest" / "data" / "ledger.db").exists()
    check_proofs(over_http)


def test_a_node_killed_and_back_costs_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = [*genesis_options(tmp_path / "rest"), "--port", port]
    demo = Run(tmp_path / "rest", intervals=INTERVALS)
    with running_node(tmp_path / "node", *options) as node:
        monkeypatch.setenv("WATTLOOM_LEDGER_URL", node.url)
        monkeypatch.setenv("WATTLOOM_LEDGER_KEYS", str(node.keys_file))
        with demo.start() as working:
            wait_until_open(demo, working)
            node.stop(signal.SIGKILL)
            with running_node(tmp_path / "node", "--port", port):
                summary = demo.summary(working.end(), working.said())
    assert summary["journal_minus_ledger_micro"] == summary["postings_sum_micro"] == 0
    check_proofs(summary)


def wait_until_open(demo: Run, working: Working) -> None:
    """Wait until the run has found its ledger: the top-ups are on their way from then on."""
    while not (demo.data / "keys.json").exists():
        assert working.process.is_alive(), working.said()
        time.sleep(0.05)


def strange_hrp(folder: Path) -> list[str]:
    return ["--hrp", "xy"]


def strange_treasury(folder: Path) -> list[str]:
    return genesis_options(folder / "another")


@pytest.mark.parametrize(
    ("options", "says"),
    [(strange_hrp, "begin with 'xy', hrp is 'wl'"), (strange_treasury, "not this district's")],
)
def test_a_ledger_of_others_is_refused(
    options: Callable[[Path], list[str]], says: str, tmp_path: Path
) -> None:
    network = ["--network", "wattloom-lindenhof"]
    with running_node(tmp_path / "node", *options(tmp_path), *network) as node:
        settings, keyring = district(
            tmp_path / "rest", ledger_url=node.url, ledger_keys=node.keys_file
        )
        with pytest.raises(LedgerSetupError, match=says):
            open_ledger(settings, keyring, UNITS)


def test_keys_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text('{"version": 1}')
    settings, keyring = district(
        tmp_path, ledger_url="http://127.0.0.1:1", ledger_keys=tmp_path / "keys.json"
    )
    with pytest.raises(LedgerSetupError, match="no KEYS file of milestones"):
        open_ledger(settings, keyring, UNITS)

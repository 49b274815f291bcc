"""What people do with a wallet of the official client, against a node process over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ledger_client.stardust.bech32 import encode_address_text
from tests.ledger_client.node_process import running_node
from tests.ledger_client.test_official_client import MNEMONIC, UNITS, _address

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="iota-sdk 1.1.4 has no wheel for this interpreter"
)

ROOT = Path(__file__).parents[2]


def play(folder: Path, scene: str, owned: int = 1) -> Any:
    """Run one scene in its own process on its own network; ``owned`` addresses hold units."""
    given = [
        f"--genesis-address={encode_address_text('wl', _address(MNEMONIC, index))}:{UNITS}"
        for index in range(owned)
    ]
    command = [sys.executable, "-m", "tests.ledger_client.official_wallet", scene]
    with running_node(folder / "node", *given) as node:
        run = subprocess.run(
            [*command, node.url, str(folder / "wallet")],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "MNEMONIC": MNEMONIC},
            cwd=ROOT,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_payments_under_conditions_are_claimed_or_come_back(tmp_path: Path) -> None:
    seen = play(tmp_path, "conditions")
    assert "insufficient funds" in seen["shy"]  # the client wants to be told: allow_micro_amount
    here = UNITS - 100_000 - (10 + 34) - 34 - 3_300 - (5 + 34)
    there = 100_000 + 10 + 34 + 3_300
    assert seen["paid"] == [here, there]
    assert seen["small"] == 2
    here, there = here + 2 * 34, there + 5  # both deposits are back
    assert seen["claimed"] == [here, there]
    here -= 3_100 + 3_200
    assert seen["waiting"] == [here, there]
    here, there = here + 3_200, there + 3_100  # expired, and no longer locked
    assert seen["late"] == seen["end"] == [here, there]
    assert seen["back"] == 1
    assert here + there == UNITS
    assert set(seen["states"]) == {"Confirmed"}


def test_a_wallet_is_looked_after(tmp_path: Path) -> None:
    seen = play(tmp_path, "upkeep")
    assert "already exists" in seen["twice"]
    assert seen["kept"] == [UNITS]
    assert seen["crowded"] == [[12_700], 127]
    assert seen["tidy"] == [[12_700], 1]
    assert seen["end"] == [UNITS - 12_700 - 1_234, 12_700 + 1_234]
    assert seen["recovered"] == 2
    assert "invalid output amount" in seen["too much"]
    assert seen["nothing pending"] == 0
    assert "type is 4, must be 3" in seen["alias"] + seen["sync"]


def test_the_clients_other_calls(tmp_path: Path) -> None:
    seen = play(tmp_path, "helpers", owned=3)
    assert seen["inputs"] == 2
    assert "insufficient amount" in seen["poor"]
    assert all("need to be promoted or reattached" in said for said in seen["unasked"])
    assert [item["ledgerInclusionState"] for item in seen["pushed"]] == ["noTransaction"] * 2
    assert seen["blocks"] == 3
    assert seen["outputs"] == 0  # the one that is missing is left out
    assert "was not found" in seen["missing"]
    assert seen["aliases"] == seen["nfts"] == []
    assert "was not found" in seen["peers"]
    assert seen["consolidated"]
    assert seen["sound"]

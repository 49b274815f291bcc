"""The private Tangle's files: they parse, pin their images, and hold no secret."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from string import Template
from typing import Any

import pytest

from ledger_client.stardust.output import Rent

DEPLOY = Path(__file__).parents[1] / "deploy"
COMPOSE = (DEPLOY / "hornet.yaml").read_text("utf-8")
EXAMPLE = dict(
    line.split("=", 1)
    for line in (DEPLOY / "hornet.env.example").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
)


def _contents() -> dict[str, dict[str, Any]]:
    """The JSON files that stand within the YAML, by name, with the example's variables."""
    found = re.findall(r"^  (\w+):\n    content: \|\n((?:      .*\n?)+)", COMPOSE, re.MULTILINE)
    return {
        name: json.loads(Template(textwrap.dedent(text)).substitute(EXAMPLE))
        for name, text in found
    }


def _services() -> dict[str, str]:
    """The text of each service."""
    block = COMPOSE.split("\nservices:\n")[1].split("\nnetworks:\n")[0]
    parts = re.split(r"^  ([a-z0-9-]+):$", block, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_variables_are_those_of_the_example() -> None:
    assert set(re.findall(r"\$\{([A-Z0-9_]+)", COMPOSE)) == set(EXAMPLE)


def test_the_example_holds_no_secret() -> None:
    assert {name for name, value in EXAMPLE.items() if "KEY" in name and value} == set()
    assert not re.search(r"[0-9a-f]{64}", COMPOSE)


def test_the_protocol_is_the_one_that_the_district_speaks() -> None:
    protocol = _contents()["protocol"]
    rent = Rent()
    assert protocol["rentStructure"] == {
        "vByteCost": rent.v_byte_cost,
        "vByteFactorData": rent.v_byte_factor_data,
        "vByteFactorKey": rent.v_byte_factor_key,
    }
    assert (protocol["version"], protocol["minPoWScore"], protocol["belowMaxDepth"]) == (2, 0, 15)
    assert protocol["tokenSupply"].isdigit()


def test_two_keys_sign_and_nothing_is_pruned() -> None:
    node = _contents()["node"]
    assert node["protocol"]["milestonePublicKeyCount"] == 2
    assert len(node["protocol"]["publicKeyRanges"]) == 2
    assert not any(item["enabled"] for item in node["pruning"].values())
    assert all("control" not in route for route in node["restAPI"]["publicRoutes"])


def test_images_are_pinned() -> None:
    images = re.findall(r"image: (\S+)", COMPOSE)
    assert len(images) >= 5
    for image in images:
        assert re.fullmatch(r"[a-z/-]+:[0-9]+(\.[0-9]+)+", image), image


def test_each_node_has_the_other_as_its_peer_and_both_services() -> None:
    services = _services()
    for own, other in (("1", "2"), ("2", "1")):
        assert f"/dns/hornet-{other}/tcp/15600/p2p/" in services[f"hornet-{own}"]
        for kind in ("indexer", "poi"):
            assert f"--inx.address=hornet-{own}:9029" in services[f"{kind}-{own}"]
            assert f"advertiseAddress={kind}-{own}:" in services[f"{kind}-{own}"]


def test_ports_are_open_to_this_machine_alone() -> None:
    ports = re.findall(r"ports: \[(.*)\]", COMPOSE)
    assert len(ports) == 2
    assert all(port.startswith('"127.0.0.1:') for port in ports)


def test_the_yaml_is_yaml() -> None:
    yaml = pytest.importorskip("yaml")
    loaded = yaml.safe_load(COMPOSE)
    assert set(loaded["services"]) == set(_services())
    used = {
        volume.split(":")[0]
        for service in loaded["services"].values()
        for volume in service.get("volumes", [])
    }
    assert used == set(loaded["volumes"])
    for name, content in _contents().items():
        text = Template(loaded["configs"][name]["content"]).substitute(EXAMPLE)
        assert json.loads(text) == content

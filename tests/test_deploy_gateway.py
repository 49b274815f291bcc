"""What is deployed near the meters: hardened, small, and started as the tests start it."""

from __future__ import annotations

import configparser
from pathlib import Path

import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"


def test_the_unit_is_watched_and_has_no_rights() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string((DEPLOY / "wattloom-gateway.service").read_text("utf-8"))
    service = unit["Service"]
    assert service["ExecStart"].endswith("-m metering.box /etc/wattloom/gateway.toml")
    assert (service["Type"], service["Restart"]) == ("notify", "always")
    assert int(service["WatchdogSec"]) > 0
    for name, value in {
        "CapabilityBoundingSet": "", "NoNewPrivileges": "true", "ProtectSystem": "strict",
        "ReadOnlyPaths": "/etc/wattloom", "UMask": "0077",
    }.items():  # fmt: skip
        assert service[name] == value, name


def test_the_container_is_read_only_and_carries_the_gateway_alone() -> None:
    (service,) = yaml.safe_load((DEPLOY / "gateway.yaml").read_text("utf-8"))["services"].values()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["build"]["target"] == "gateway"
    stages = (DEPLOY / "Dockerfile").read_text("utf-8").split("\nFROM ")
    (program,) = (one for one in stages if "AS gateway-program" in one)
    assert "--require-hashes -r requirements-gateway.lock" in program
    assert [line for line in program.splitlines() if line.startswith("COPY")] == [
        "COPY requirements-gateway.lock ./",
        "COPY metering /opt/wattloom/program/metering",
    ]

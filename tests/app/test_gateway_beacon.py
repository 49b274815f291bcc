"""From the district's beacon into a border reading, and out again as a window of signing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx
from fastapi import FastAPI

from app.api import problems
from app.api.evidence import build_router
from app.services import evidence
from app.services.founding import GATEWAY_NAME
from ledger_client.verify import render, verify_bytes
from metering.batch import Batch
from metering.box.beacon import Beacon
from metering.dispatch import GatewayIdentity, Sent
from metering.gateway import Gateway, Options
from metering.poller import Meter
from metering.profiles import load_profile
from metering.reading import Clock, Reading
from metering.sender import ItemResult
from metering.spool import Signer, Spool
from tests.app.district_kit import Kit
from tests.metering.test_gateway import FakeMeter


class Road:
    """Brings batches to the kit's door."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit

    async def post(self, batch: Batch) -> Sequence[ItemResult]:
        return [
            ItemResult(one.index, one.status, one.receipt, one.error)
            for one in self.kit.door.receive(batch)
        ]


async def read_border(kit: Kit, spool: Spool) -> Reading:
    """Let a gateway fetch the beacon, read a border and send it."""
    app = FastAPI()
    problems.install(app)
    app.include_router(build_router(kit.house))
    home = kit.homes["flat"]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        beacon = Beacon("http://district.example", client)
        await beacon.ask()
        signer = Signer(kit.enrolment(home), kit.keyring.meter(home.key_name))
        who = GatewayIdentity(kit.settings.origin, GATEWAY_NAME, kit.keyring.gateway)
        profile = replace(load_profile("eastron_sdm630"), name="simulated")
        gateway = Gateway(
            [Meter(signer, FakeMeter(kit.clock, home.import_wh or 0), profile)],
            spool, Road(kit), who,
            kit.clock.now_ms, lambda: Clock.SYNCHRONISED, Options(beacon=beacon.newest),
        )  # fmt: skip
        await gateway.poll_round(border=True)
        (item,) = spool.unacknowledged()
        assert await gateway.send() == Sent(acknowledged=1)
    return Reading.from_payload(item.reading.payload)


def test_a_proof_of_a_border_reading_tells_its_window(tmp_path: Path) -> None:
    kit = Kit(tmp_path, f"sqlite:///{tmp_path / 'district.db'}", names=("solar", "flat"))
    spool = Spool.open(tmp_path / "spool.db")
    kit.read("solar")
    first = asyncio.run(read_border(kit, spool))
    assert first.beacon is None  # nothing is anchored yet
    kit.live(solar=(0, 500), silent=["flat"])
    kit.quarter(solar=(0, 500), silent=["flat"])
    border = asyncio.run(read_border(kit, spool))
    kit.settle()
    kit.live(solar=(0, 500), silent=["flat"])
    assert border.beacon is not None
    proof = evidence.reading_proof(kit.house, border.key, border.epoch, border.seq)
    verdict = verify_bytes(proof, kit.keys())
    assert verdict.code == 0, render(verdict)
    assert "signed not before" in render(verdict)
    spool.close()
    kit.close()

"""P1, a mapped MQTT meter and a batch signed elsewhere, through a gateway to a real door."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import suppress
from pathlib import Path

import aiomqtt

from app.clock import wall_ms
from metering.batch import Batch
from metering.box.config import load_config
from metering.box.service import run_box
from metering.inputs.mqtt import ANSWERS, BATCHES
from metering.reading import Clock, Measurement, Quality, Reading
from metering.receipt import Receipt
from metering.signing import public_key
from metering.spool import Signer, Spool
from tests.app.box_kit import Box, DoorServer
from tests.app.served import ORIGIN, Served
from tests.metering.inputs.broker_kit import broker
from tests.metering.inputs.inputs_kit import free_port, p1_adapter, until


async def asked_meter(port: int) -> None:
    """A meter behind the broker that answers when it is asked."""
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("plug/ask")
        async for _ in client.messages:
            await client.publish("plug/told", '{"total_act":7000.5}')


def written(box: Box, url: str, p1: int, mqtt: int) -> None:
    box.write(url, 1, 0.5)
    text = box.file.read_text()
    serials = [one.enrolment.serial for one in box.signers]
    text, _, _ = text.partition("[[line]]")
    tables = [
        f'[[meter]]\npoint = "{one.enrolment.point}"\nserial = "{serial}"\nprofile = "{profile}"\n'
        f'line = "{line}"\nkey_file = "keys/{serial}.key"\n'
        f'valid_from = "{one.enrolment.valid_from.key}"\n'
        for one, serial, profile, line in zip(
            box.signers, serials, ("dsmr_p1", "mqtt_json"), ("port", "broker"), strict=False
        )
    ]
    lines = f"""
[[line]]
name = "port"
kind = "p1"
host = "127.0.0.1"
port = {p1}
[[line]]
name = "broker"
kind = "mqtt"
host = "127.0.0.1"
port = {mqtt}
relay = true
[[line.device]]
topic = "plug/told"
import = {{ path = "total_act", unit = "Wh" }}
ask = {{ topic = "plug/ask" }}
"""
    box.file.write_text(text + lines + "".join(tables))


def own_batch(signer: Signer, served: Served, folder: Path) -> bytes:
    """What a device that signs by itself publishes."""
    now_ms = wall_ms()
    shown = Measurement(
        now_ms - 20, now_ms, Clock.SYNCHRONISED, 5_000, 0, 1, 10, Quality.MEASURED, "ab" * 32
    )
    spool = Spool.open(folder / "device.db")
    (spooled,) = spool.append([(signer, shown)])
    spool.close()
    key = served.keyring.gateway
    return Batch.pack([spooled.reading], key, ORIGIN, "gateway-1", now_ms).to_body()


async def story(box: Box, served: Served, url: str) -> None:
    mqtt, stop = free_port(), asyncio.Event()
    async with broker(mqtt), p1_adapter(box.signers[0].enrolment.serial, wall_ms) as p1:
        meter = asyncio.create_task(asked_meter(mqtt))
        written(box, url, p1, mqtt)
        running = asyncio.create_task(run_box(load_config(box.file), stop))
        try:
            async with aiomqtt.Client("127.0.0.1", mqtt) as device:
                await relayed(device, own_batch(box.signers[2], served, box.folder), served)
            keys = {one.enrolment.key.hex for one in box.signers[:2]}
            await until(
                lambda: (
                    {key for (key,) in box.rows("key", "state = 'acknowledged'")} == keys
                    or running.done()
                )
            )
        finally:
            stop.set()
            meter.cancel()
            await asyncio.wait_for(running, 20)


async def relayed(device: aiomqtt.Client, body: bytes, served: Served) -> None:
    """Publish a batch until its receipt is there; the same bytes get the same receipt again."""
    await device.subscribe(f"{ANSWERS}plug", qos=1)
    messages, receipts = aiter(device.messages), []
    while len(receipts) < 2:
        await device.publish(f"{BATCHES}plug", body, qos=1)
        with suppress(TimeoutError):  # the gateway is not there yet
            async with asyncio.timeout(1):
                told = json.loads((await anext(messages)).payload)
                assert told["batch"] == hashlib.sha256(body).hexdigest()
                if told["status"] == 200:
                    receipts.append(told["answer"]["results"][0]["receipt"])
    assert receipts[0] == receipts[1]
    reading = Batch.from_body(body).readings[0]
    Receipt.parse(receipts[0]).check(reading, ORIGIN, public_key(served.keyring.receipt))


def test_each_way_ends_at_the_same_door(tmp_path: Path) -> None:
    served = Served.found(tmp_path / "hof", f"sqlite:///{tmp_path / 'district.db'}", 3)
    box = Box.laid(tmp_path / "box", served)
    with DoorServer(served).running() as port:
        asyncio.run(story(box, served, f"http://127.0.0.1:{port}"))
    readings = [Reading.from_payload(payload) for (payload,) in box.rows("payload")]
    p1, mqtt = box.signers[0].enrolment.point, box.signers[1].enrolment.point
    assert {one.quality for one in readings} == {Quality.MEASURED}
    totals = [one.import_wh or 0 for one in readings if one.point == p1]
    assert totals == sorted(totals)
    assert totals[0] >= 4_000
    assert {one.import_wh for one in readings if one.point == mqtt} == {7_000}

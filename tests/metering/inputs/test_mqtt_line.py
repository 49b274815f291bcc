"""A real MQTT broker: mapped meters, batches signed elsewhere, and a broker that is away."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiomqtt
import pytest

from metering.inputs.config import MqttLine, parse_input
from metering.inputs.mqtt import ANSWERS, BATCHES, DoorAnswer, MqttListener
from metering.inputs.types import MQTT
from metering.interval import Interval
from metering.lines.errors import MeterTimeoutError, MeterUnreachableError
from metering.quantities import RegisterTotal
from tests.metering.inputs.broker_kit import broker
from tests.metering.inputs.inputs_kit import Now, free_port, until

START = Interval.parse("2026-06-23T09:00:00Z").start_ms
DEVICES = [
    {"unit": 1, "topic": "tele/oven/SENSOR", "import": {"path": "ENERGY.Total", "unit": "kWh"}},
    {
        "unit": 2, "topic": "wattloom/cellar/rpc", "max_age_s": 5,
        "import": {"path": "result.total_act", "unit": "Wh"},
        "ask": {"topic": "shelly/rpc", "payload": '{"method":"EMData.GetStatus"}'},
    },
]  # fmt: skip

Act = Callable[[MqttListener, aiomqtt.Client], Awaitable[None]]


def listener_at(port: int, post: Callable[[bytes], Awaitable[DoorAnswer]]) -> MqttListener:
    table = {"kind": "mqtt", "name": "broker", "host": "127.0.0.1", "port": port}
    config = parse_input(table | {"relay": True, "device": DEVICES}, "x")
    assert isinstance(config, MqttLine)
    return MqttListener(config, Now(START + 60_000), post)


async def nobody(_: bytes) -> DoorAnswer:
    raise AssertionError("no batch was expected")


def heard(act: Act, post: Callable[[bytes], Awaitable[DoorAnswer]] = nobody) -> None:
    """Run a broker, a listener and somebody who publishes."""

    async def run() -> None:
        port, stop = free_port(), asyncio.Event()
        async with broker(port), aiomqtt.Client("127.0.0.1", port) as other:
            listener = listener_at(port, post)
            task = asyncio.create_task(listener.run(stop))
            await until(lambda: not listener.state.error)
            await act(listener, other)
            stop.set()
            await asyncio.wait_for(task, 5)

    asyncio.run(run())


def test_a_mapped_meter_is_read_as_it_tells() -> None:
    async def act(listener: MqttListener, other: aiomqtt.Client) -> None:
        reading = asyncio.create_task(listener.feeds[1].read(MQTT))
        await other.publish("tele/oven/SENSOR", '{"ENERGY":{"Total":1.234,"Today":0.2}}')
        poll = await reading
        assert poll.values.import_total == RegisterTotal(1_234)
        assert (poll.asked_ms, poll.answered_ms) == (START + 60_000, START + 60_000)
        assert await listener.feeds[1].serial(MQTT) is None
        await other.publish("tele/oven/SENSOR", '{"ENERGY":{"Total":"n/a"}}')
        await until(lambda: listener.state.refusals)
        assert "ENERGY.Total: 'n/a' is no number" in listener.state.refused

    heard(act)


def test_a_meter_that_can_be_asked_is_asked_for_each_reading() -> None:
    async def act(listener: MqttListener, other: aiomqtt.Client) -> None:
        await other.subscribe("shelly/rpc")
        for wh in (5_000, 5_001):
            reading = asyncio.create_task(listener.feeds[2].read(MQTT))
            question = await anext(aiter(other.messages))
            assert question.payload == b'{"method":"EMData.GetStatus"}'
            await other.publish("wattloom/cellar/rpc", f'{{"result":{{"total_act":{wh}.5}}}}')
            assert (await reading).values.import_total == RegisterTotal(wh)
        listener.feeds[2].patience_s = 0.05
        with pytest.raises(MeterTimeoutError, match="nothing was told"):
            await listener.feeds[2].read(MQTT)

    heard(act)


def test_a_retained_value_is_told_apart_and_never_read() -> None:
    async def run() -> None:
        port, stop = free_port(), asyncio.Event()
        async with broker(port), aiomqtt.Client("127.0.0.1", port) as other:
            kept = '{"ENERGY":{"Total":9.9}}'
            await other.publish("tele/oven/SENSOR", kept, qos=1, retain=True)
            await other.publish(f"{BATCHES}cellar", b"{}", qos=1, retain=True)
            listener = listener_at(port, nobody)
            feed = listener.feeds[1]
            feed.patience_s = 0.05
            task = asyncio.create_task(listener.run(stop))
            await until(lambda: listener.state.refusals == 2)
            with pytest.raises(MeterTimeoutError, match="nobody knows how old it is"):
                await feed.read(MQTT)
            stop.set()
            await asyncio.wait_for(task, 5)

    asyncio.run(run())


def test_a_batch_goes_to_the_door_as_it_is_and_its_answer_back() -> None:
    body, posted = b'{"header":"not judged here"}', list[bytes]()

    async def post(given: bytes) -> DoorAnswer:
        posted.append(given)
        return DoorAnswer(200, '{"results":[{"index":0,"status":200}]}')

    async def act(_: MqttListener, other: aiomqtt.Client) -> None:
        await other.subscribe(f"{ANSWERS}cellar")
        for _again in range(2):  # sent twice, answered twice: the door knows duplicates
            await other.publish(f"{BATCHES}cellar", body, qos=1)
            message = await anext(aiter(other.messages))
            assert not message.retain
            assert json.loads(message.payload) == {
                "batch": hashlib.sha256(body).hexdigest(),
                "status": 200,
                "answer": {"results": [{"index": 0, "status": 200}]},
            }
        assert posted == [body, body]

    heard(act, post)


def test_more_batches_than_can_wait_are_to_be_sent_again() -> None:
    free = asyncio.Event()

    async def post(_: bytes) -> DoorAnswer:
        await free.wait()
        return DoorAnswer(200, "no JSON")

    async def act(_: MqttListener, other: aiomqtt.Client) -> None:
        await other.subscribe(f"{ANSWERS}cellar")
        for number in range(12):
            await other.publish(f"{BATCHES}cellar", b"%d" % number, qos=1)
        messages, answers = aiter(other.messages), list[dict[str, object]]()
        while len(answers) < 12:
            answers.append(json.loads((await anext(messages)).payload))
            free.set()
        told = sorted(answer["status"] for answer in answers)
        assert told[0] == 200
        assert told[-1] == 503

    heard(act, post)


def test_a_broker_that_is_away_is_told_and_tried_again() -> None:
    async def run() -> None:
        port, stop = free_port(), asyncio.Event()
        listener = listener_at(port, nobody)
        task = asyncio.create_task(listener.run(stop))
        await until(lambda: f"the broker at 127.0.0.1:{port}" in listener.state.error)
        with pytest.raises(MeterUnreachableError, match="the broker at"):
            await listener.feeds[1].read(MQTT)
        async with broker(port):
            await until(lambda: not listener.state.error)
        await until(lambda: listener.state.error)
        stop.set()
        await asyncio.wait_for(task, 5)

    asyncio.run(run())


def test_a_password_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    async def run() -> None:
        file, port, stop = tmp_path / "password", free_port(), asyncio.Event()
        file.write_text("secret")
        file.chmod(0o644)
        table = {"kind": "mqtt", "name": "b", "host": "127.0.0.1", "port": port, "device": DEVICES}
        config = parse_input(table | {"user": "u", "password_file": "password"}, "x", tmp_path)
        assert isinstance(config, MqttLine)
        listener = MqttListener(config, Now(START), nobody)
        task = asyncio.create_task(listener.run(stop))
        await until(lambda: "others may read this password" in listener.state.error)
        file.chmod(0o400)
        async with broker(port):
            await until(lambda: not listener.state.error)
            stop.set()
            await asyncio.wait_for(task, 5)

    asyncio.run(run())

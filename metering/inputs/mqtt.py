"""An MQTT broker: meters whose messages are mapped, and batches that meters sign by themselves.

A mapped message becomes the values of a meter that this gateway signs for. A signed batch is
carried to the district's door as it is, and the door's answer back: nothing here judges it.
Retained messages are of no known age and never taken. Source: MQTT 3.1.1, sections 3.3.1.3 and 4.3.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import aiomqtt

from metering.batch import MAX_BODY_BYTES
from metering.inputs.config import Device, MqttLine
from metering.inputs.feed import Feed, InputLostError, State, keep_listening
from metering.inputs.mapping import MessageError, read_message
from metering.lines.errors import MeterUnreachableError
from metering.lines.meter import Poll

BATCHES: Final = "wattloom/v1/readings/"
"""A batch as ``POST /api/v1/readings`` takes it, published to this and its gateway's name."""
ANSWERS: Final = "wattloom/v1/answers/"
"""The door's answer, to this and the same name: ``batch`` (SHA-256), ``status``, ``answer``."""

_TIMEOUT_S: Final = 10.0
_KEEPALIVE_S: Final = 20
_MOST_WAITING: Final = 8
_MOST_MESSAGES: Final = 1_000
_MOST_BATCHES: Final = 16  # a batch may have 1 MiB, and the box is small
_BUSY: Final = 503

Post = Callable[[bytes], Awaitable["DoorAnswer"]]


@dataclass(frozen=True, slots=True)
class DoorAnswer:
    """What the door said of a batch: the HTTP status, and the body as text."""

    status: int
    text: str


class MqttListener:
    """Listens to one broker. ``post`` brings a batch's bytes to the door; it raises nothing."""

    def __init__(self, config: MqttLine, now_ms: Callable[[], int], post: Post) -> None:
        self._config = config
        self._now_ms = now_ms
        self._post = post
        self._client: aiomqtt.Client | None = None
        self._batches: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_MOST_WAITING)
        self._by_topic: dict[str, list[Device]] = defaultdict(list)
        for device in config.device:
            self._by_topic[device.topic].append(device)
        self.state = State(config.name, config.where)
        self._feeds = {device.unit: self._feed(device) for device in config.device}

    @property
    def feeds(self) -> Mapping[int, Feed]:
        """The meters that are mapped, by unit."""
        return self._feeds

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until ``stop``, and connect again whenever the broker is lost."""
        await keep_listening(stop, self.state, self._listen)

    def _feed(self, device: Device) -> Feed:
        ask = None if device.ask is None else partial(self._ask, device)
        return Feed(self.state, self._now_ms, round(device.max_age_s * 1_000), ask)

    async def _listen(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(self._connection())
                for topic in self._by_topic:
                    await client.subscribe(topic, qos=1)
                if self._config.relay:
                    await client.subscribe(f"{BATCHES}+", qos=1)
                    relaying = asyncio.create_task(self._relay(client))
                    stack.callback(relaying.cancel)
                self._client = client
                self.state.connected()
                async for message in client.messages:
                    await self._take(client, message)
        except (aiomqtt.MqttError, OSError, UnicodeDecodeError) as error:
            reason = str(error) or "no answer"
            raise InputLostError(f"the broker at {self._config.where}: {reason}") from error
        finally:
            self._client = None

    def _connection(self) -> aiomqtt.Client:
        config, (host, port) = self._config, self._config.place
        return aiomqtt.Client(
            host,
            port,
            username=config.user or None,
            password=_password(Path(config.password_file)) if config.password_file else None,
            tls_context=ssl.create_default_context(cafile=config.ca_file or None)
            if config.tls
            else None,
            timeout=_TIMEOUT_S,
            keepalive=_KEEPALIVE_S,
            max_queued_incoming_messages=_MOST_BATCHES if config.relay else _MOST_MESSAGES,
        )

    async def _ask(self, device: Device) -> None:
        if self._client is None or device.ask is None:
            raise MeterUnreachableError(f"line {self.state.name}: {self.state.error}")
        try:
            await self._client.publish(device.ask.topic, device.ask.payload)
        except aiomqtt.MqttError as error:
            raise MeterUnreachableError(f"line {self.state.name}: {error}") from error

    # --- What comes -----------------------------------------------------------------------------

    async def _take(self, client: aiomqtt.Client, message: aiomqtt.Message) -> None:
        topic, payload = message.topic.value, message.payload
        if topic.startswith(BATCHES) and self._config.relay:
            await self._take_batch(client, message, payload)
        for device in self._by_topic.get(topic, ()):
            self._take_values(device, message, payload)

    def _take_values(self, device: Device, message: aiomqtt.Message, payload: bytes) -> None:
        feed, now_ms = self._feeds[device.unit], self._now_ms()
        if message.retain:
            feed.refuse(f"{device.topic}: a retained message, and nobody knows how old it is")
            return
        try:
            found = read_message(device, payload, now_ms)
        except MessageError as error:
            feed.refuse(f"{device.topic}: {error}")
            return
        if found is not None:
            feed.put(Poll(now_ms, now_ms, found))

    async def _take_batch(
        self, client: aiomqtt.Client, message: aiomqtt.Message, payload: bytes
    ) -> None:
        """Put a batch into the queue; a full one answers that it is to be sent again later."""
        topic = ANSWERS + message.topic.value.removeprefix(BATCHES)
        if message.retain:
            self.state.refuse(f"{message.topic}: a retained batch; publish batches unretained")
        elif len(payload) > MAX_BODY_BYTES:
            too_large = DoorAnswer(413, "a batch has at most 1 MiB: split it")
            await client.publish(topic, _spelt(payload, too_large), qos=1)
        elif self._batches.full():
            busy = DoorAnswer(_BUSY, "too many batches wait: send it again later")
            await client.publish(topic, _spelt(payload, busy), qos=1)
        else:
            self._batches.put_nowait((topic, payload))

    async def _relay(self, client: aiomqtt.Client) -> None:
        """Carry batch after batch to the door; one whose answer is lost is sent again by its meter,
        and the door gives the same receipts for it."""
        while True:
            topic, payload = await self._batches.get()
            answer = await self._post(payload)
            self.state.heard_ms = self._now_ms()
            try:
                await client.publish(topic, _spelt(payload, answer), qos=1)
            except aiomqtt.MqttError as error:
                self.state.refuse(f"{topic}: the answer was not published: {error}")


def _password(path: Path) -> str:
    """Return the broker's password from a file that nobody else may read.

    Raises:
        InputLostError: others may read it.
        OSError, UnicodeDecodeError: it cannot be read as text.
    """
    if path.stat().st_mode & 0o077:
        raise InputLostError(f"{path}: others may read this password: chmod 400")
    return path.read_text("utf-8").strip()


def _spelt(payload: bytes, answer: DoorAnswer) -> bytes:
    """Return the message that answers a batch; the door's JSON stands in it as it is."""
    try:
        said: object = json.loads(answer.text)
    except (ValueError, RecursionError):
        said = answer.text[:500]
    batch = hashlib.sha256(payload).hexdigest()
    return json.dumps({"batch": batch, "status": answer.status, "answer": said}).encode()

"""A real MQTT broker on loopback, in the test's own loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from amqtt.broker import Broker

_PLUGINS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}


@asynccontextmanager
async def broker(port: int) -> AsyncIterator[Broker]:
    """Run one at ``port`` while the context lasts."""
    listener = {"type": "tcp", "bind": f"127.0.0.1:{port}"}
    made = Broker({"listeners": {"default": listener}, "plugins": _PLUGINS})
    await made.start()
    try:
        yield made
    finally:
        await made.shutdown()

"""Publishes to an MQTT broker: one message, kept by the broker for whoever comes later."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final
from urllib.parse import urlsplit

import aiomqtt

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_AT_LEAST_ONCE: Final = 1


class BrokerError(Exception):
    """The broker did not take the message: try again later, and tell people."""


def publish(url: str, password: str, topic: str, payload: bytes, timeout_s: float) -> None:
    """Publish ``payload``, retained, and wait until the broker has taken it (QoS 1).

    Args:
        url: as the setting ``mqtt_url`` has it.
        password: for the name in the URL; '' for none.
        topic: what devices subscribe to.
        payload: the message.
        timeout_s: for all of it: connecting, TLS, publishing.

    Raises:
        BrokerError: it did not, or not within ``timeout_s``; it may have the message none the less,
            and then takes it again as the same one.
    """
    try:
        asyncio.run(_publish(url, password, topic, payload, timeout_s))
    except (aiomqtt.MqttError, OSError, ValueError) as error:  # TimeoutError is an OSError
        said = str(error) or f"no answer within {timeout_s:g} s"
        raise BrokerError(f"the MQTT broker {url} did not take {topic}: {said}") from error


async def _publish(url: str, password: str, topic: str, payload: bytes, timeout_s: float) -> None:
    parts = urlsplit(url)
    async with (
        asyncio.timeout(timeout_s),
        aiomqtt.Client(
            parts.hostname or "",
            parts.port or _PORTS[parts.scheme],
            username=parts.username,
            password=password or None,
            tls_context=ssl.create_default_context() if parts.scheme == "mqtts" else None,
            timeout=timeout_s,
        ) as client,
    ):
        await client.publish(topic, payload, qos=_AT_LEAST_ONCE, retain=True, timeout=timeout_s)

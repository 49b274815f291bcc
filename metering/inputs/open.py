"""Opens the lines that tell by themselves."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from metering.inputs.config import InputConfig, P1Line
from metering.inputs.feed import Listener
from metering.inputs.mqtt import DoorAnswer, MqttListener
from metering.inputs.p1 import P1Listener
from metering.sender import PATH


def open_input(
    config: InputConfig, now_ms: Callable[[], int], url: str, client: httpx.AsyncClient
) -> Listener:
    """Return who listens to the line of ``config``; it connects once it runs.

    ``url`` and ``client`` lead to the district's door, for batches that a broker carries.
    """
    if isinstance(config, P1Line):
        return P1Listener(config, now_ms)

    async def post(body: bytes) -> DoorAnswer:
        try:
            answer = await client.post(
                url + PATH, content=body, headers={"Content-Type": "application/json"}
            )
        except httpx.HTTPError as error:
            return DoorAnswer(503, f"the district is away ({type(error).__name__}): send it again")
        return DoorAnswer(answer.status_code, answer.text)

    return MqttListener(config, now_ms, post)

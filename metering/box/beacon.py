"""Fetches the district's beacon now and then, for border readings to copy (docs/protocol.md).

A beacon is copied and never believed: nothing here depends on what it is, and a server that has
none, lies or is away changes no reading otherwise. ADR 36 says what it proves to others.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import httpx

PATH: Final = "/api/v1/beacon"
_EVERY_S: Final = (180.0, 300.0)  # somewhere in between, so that gateways spread out
_TIMEOUT_S: Final = 10.0
_MAX_BYTES: Final = 4_096
_is_digest: Final = re.compile(r"[0-9a-f]{64}").fullmatch


@dataclass(slots=True)
class Beacon:
    """The newest beacon that the server at ``url`` told; ``digest`` is hex, None without one."""

    url: str
    client: httpx.AsyncClient
    digest: str | None = None
    _random: random.SystemRandom = field(default_factory=random.SystemRandom)

    def newest(self) -> str | None:
        """Return the digest that a border reading carries."""
        return self.digest

    async def watch(self, stop: asyncio.Event) -> None:
        """Ask every few minutes until ``stop``."""
        while not stop.is_set():
            await self.ask()
            try:
                async with asyncio.timeout(self._random.uniform(*_EVERY_S)):
                    await stop.wait()
            except TimeoutError:
                continue

    async def ask(self) -> None:
        """Ask once. A server that is away, or answers nonsense, leaves the beacon as it was."""
        try:
            async with (
                asyncio.timeout(_TIMEOUT_S),
                self.client.stream("GET", self.url.rstrip("/") + PATH) as answer,
            ):
                if answer.status_code == HTTPStatus.NOT_FOUND:
                    self.digest = None  # an older server, which may not know such readings
                elif answer.status_code == HTTPStatus.OK:
                    self.digest = _digest(await _body(answer)) or self.digest
        except (httpx.HTTPError, TimeoutError):
            return


async def _body(answer: httpx.Response) -> bytes:
    """Return the body, or nothing where it is longer than any beacon."""
    body = b""
    async for piece in answer.aiter_bytes(_MAX_BYTES):
        body += piece
        if len(body) > _MAX_BYTES:
            return b""
    return body


def _digest(body: bytes) -> str | None:
    """Return the digest in an answer, ``None`` where there is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    digest = found.get("digest") if type(found) is dict else None
    return digest if type(digest) is str and _is_digest(digest) else None

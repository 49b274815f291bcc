"""The beacon is fetched, copied into border readings, and believed by nobody."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from metering.box.beacon import Beacon
from metering.gateway import Options
from tests.metering.test_gateway import House, run

DIGEST, OLD = "ab" * 32, "cd" * 32


class Endless(httpx.AsyncByteStream):
    """A body without an end; counts what was taken of it."""

    taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.taken += 1_024
            yield b" " * 1_024


def told(answer: httpx.Response | Exception) -> str | None:
    """The beacon after ``answer``, by a gateway that had another one."""

    def district(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("GET", "/api/v1/beacon")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def ask() -> str | None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(district)) as client:
            beacon = Beacon("https://district.example/", client, OLD)
            await beacon.ask()
            return beacon.newest()

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("answer", "then"),
    [
        (httpx.Response(200, json={"digest": DIGEST, "index": 1, "timestamp_s": 2}), DIGEST),
        (httpx.Response(404), None),
        (httpx.Response(503), OLD),
        (httpx.Response(302, headers={"Location": "https://elsewhere.example"}), OLD),
        (httpx.ConnectError("away"), OLD),
        (httpx.ReadTimeout("slow"), OLD),
        (httpx.Response(200, content=b"[" * 4_000), OLD),
        (httpx.Response(200, content=b"\xff"), OLD),
        (httpx.Response(200, json=[DIGEST]), OLD),
        (httpx.Response(200, json={"digest": DIGEST.upper()}), OLD),
        (httpx.Response(200, json={"digest": DIGEST + "\n"}), OLD),
        (httpx.Response(200, json={"digest": 7}), OLD),
    ],
)
def test_a_digest_is_taken_and_nothing_else_is(
    answer: httpx.Response | Exception, then: str | None
) -> None:
    assert told(answer) == then


def test_of_an_endless_answer_little_is_read() -> None:
    body = Endless()
    assert told(httpx.Response(200, stream=body)) == OLD
    assert body.taken <= 16_384


def test_border_readings_carry_it_and_others_do_not(tmp_path: Path) -> None:
    beacons = [None, DIGEST]

    async def story(house: House) -> None:
        for border in (False, True):
            await house.gateway.poll_round(border=border)
        beacons.pop()
        await house.gateway.poll_round(border=True)
        found = [one.beacon for one in house.spooled()]
        assert found == [None] * 3 + [DIGEST] * 3 + [None] * 3

    run(story, House(tmp_path, Options(beacon=lambda: beacons[-1])))

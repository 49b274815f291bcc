"""The HTTP sender: what it posts, and what each answer of the server means."""

import asyncio
import json
from collections.abc import Callable, Sequence

import httpx
import pytest
from nacl.signing import SigningKey

from metering.batch import Batch
from metering.reading import SignedReading
from metering.sender import (
    BadAnswerError,
    BatchRefusedError,
    HttpSender,
    ItemResult,
    SenderUnavailableError,
)

BATCH = Batch.pack(
    [SignedReading(b'{"n":1}', b"\1" * 64), SignedReading(b'{"n":2}', b"\2" * 64)],
    SigningKey(b"\x09" * 32), "lindenhof.example", "gw-1", 1_782_205_200_000,
)  # fmt: skip
Handler = Callable[[httpx.Request], httpx.Response]


def post(handler: Handler) -> Sequence[ItemResult]:
    async def once() -> Sequence[ItemResult]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            return await HttpSender("https://district.example/", client).post(BATCH)

    return asyncio.run(once())


def answer(status: int, **more: object) -> Handler:
    return lambda request: httpx.Response(status, **more)  # type: ignore[arg-type]


def test_a_batch_goes_out_verbatim_and_its_results_come_back() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        results = [
            {"index": 0, "status": 200, "receipt": {"size": 1}},
            {"index": 1, "status": 409, "error": "other bytes", "flags": ["gap"]},
        ]
        return httpx.Response(200, json={"results": results})

    assert post(handler) == [
        ItemResult(0, 200, receipt={"size": 1}),
        ItemResult(1, 409, error="other bytes"),
    ]
    assert (seen[0].method, str(seen[0].url)) == (
        "POST", "https://district.example/api/v1/readings"
    )  # fmt: skip
    assert seen[0].headers["Content-Type"] == "application/json"
    assert Batch.from_body(seen[0].content) == BATCH


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("999999", 3_600.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("²", None),
    ],
)
def test_a_busy_server_is_asked_again(status: int, header: str, seconds: float | None) -> None:
    headers = [(b"Retry-After", header.encode("latin-1"))]
    with pytest.raises(SenderUnavailableError, match=f"HTTP {status}") as caught:
        post(answer(status, headers=headers))
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422])
def test_a_refused_batch_needs_a_person(status: int) -> None:
    with pytest.raises(BatchRefusedError, match="check the gateway's key"):
        post(answer(status, text="no"))


@pytest.mark.parametrize(
    "error", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError]
)
def test_a_broken_road_is_tried_again(error: type[httpx.TransportError]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error("broken", request=request)

    with pytest.raises(SenderUnavailableError, match=error.__name__):
        post(handler)


GOOD = {"index": 0, "status": 200}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"\xff", b"[" * 100_000, b"[]", b"{}", b'{"results":{}}',
        *(
            json.dumps({"results": results}).encode()
            for results in (
                [], [GOOD], [GOOD] * 2, [GOOD] * 3, [GOOD, 5], [GOOD, {"index": 1}],
                [GOOD, {"index": 1, "status": "200"}], [GOOD, {"index": 1, "status": True}],
                [GOOD, {"index": 1, "status": 200, "receipt": "yes"}],
            )
        ),
    ],
)  # fmt: skip
def test_an_answer_that_breaks_the_protocol_counts_for_nothing(body: bytes) -> None:
    with pytest.raises(BadAnswerError):
        post(answer(200, content=body))

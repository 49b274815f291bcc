"""The way to the server: one narrow port, and its form over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol, cast

import httpx

from metering.batch import Batch

PATH: Final = "/api/v1/readings"
MAX_RETRY_AFTER_S: Final = 3_600.0
_PASSING: Final = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class SenderError(Exception):
    """Root of this module's errors: nothing was answered, keep every reading."""


class SenderUnavailableError(SenderError):
    """The server is away or busy: send again after ``retry_after_s``, or after a backoff."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BatchRefusedError(SenderError):
    """The server refuses the whole batch: ask a person (key, district, version), keep trying."""


class BadAnswerError(SenderError):
    """The answer breaks the protocol: keep trying, and look at what stands in between."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The server's word on item ``index`` of a batch."""

    index: int
    status: int
    receipt: dict[str, object] | None = None
    error: str | None = None


class Sender(Protocol):
    """Whatever brings a batch to the server."""

    async def post(self, batch: Batch) -> Sequence[ItemResult]:
        """Return one result per item, in order.

        Raises:
            SenderError: no answer, or none that counts; the batch may have been stored or not.
        """


class HttpSender:
    """Posts batches as JSON to ``URL/api/v1/readings``."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url.rstrip("/") + PATH
        self._client = client

    async def post(self, batch: Batch) -> Sequence[ItemResult]:
        """Post one batch; see :meth:`Sender.post`."""
        return await post_items(self._client, self._url, batch.to_body(), len(batch.readings))


async def post_items(
    client: httpx.AsyncClient, url: str, body: bytes, count: int
) -> list[ItemResult]:
    """Post a body of ``count`` items and return what the server says of each, in order.

    Raises:
        SenderError: no answer, or none that counts; the items may have been stored or not.
    """
    try:
        response = await client.post(
            url, content=body, headers={"Content-Type": "application/json"}
        )
    except httpx.HTTPError as error:
        raise SenderUnavailableError(
            f"{url}: {type(error).__name__} {error}; check address and network"
        ) from error
    _check_status(response)
    return _results(response, count)


def _check_status(response: httpx.Response) -> None:
    status = response.status_code
    if response.is_success:
        return
    message = f"{response.url}: HTTP {status}, {response.text[:200]!r}"
    if response.is_server_error or status in _PASSING:
        raise SenderUnavailableError(message, _retry_after_s(response))
    raise BatchRefusedError(f"{message}; check the gateway's key, district and version")


def _retry_after_s(response: httpx.Response) -> float | None:
    """Return the header's delay in seconds; its date form is not used by our server."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), MAX_RETRY_AFTER_S) if text.isascii() and text.isdigit() else None


def _results(response: httpx.Response, count: int) -> list[ItemResult]:
    try:
        body = response.json()
    except (ValueError, RecursionError) as error:
        raise BadAnswerError(f"{response.url}: the answer is not JSON") from error
    items = body.get("results") if type(body) is dict else None
    if type(items) is not list or len(items) != count:
        raise BadAnswerError(f"{response.url}: {count} results were expected")
    return [_result(index, item) for index, item in enumerate(items)]


def _result(index: int, item: object) -> ItemResult:
    if type(item) is not dict or item.get("index") != index or type(item.get("status")) is not int:
        raise BadAnswerError(f"results[{index}]: index and status are expected, in order")
    receipt, error = item.get("receipt"), item.get("error")
    if receipt is not None and type(receipt) is not dict:
        raise BadAnswerError(f"results[{index}]: the receipt must be an object")
    return ItemResult(
        index, item["status"], cast("dict[str, object] | None", receipt),
        None if error is None else str(error)[:500],
    )  # fmt: skip

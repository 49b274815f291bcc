"""``/api/v1/readings``: gateways upload signed readings and fetch receipts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import StreamingResponse

from app.api.problems import ProblemError
from app.services.ingest import (
    Door,
    ItemResult,
    RemovedReadingError,
    UnknownGatewayError,
    UnknownReadingError,
)
from app.services.waiting import WaitingReadings
from metering.batch import (
    Batch,
    BatchError,
    BatchTooLargeError,
    ForgedBatchError,
)

Key = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="the meter's public key, hex")]
Epoch = Annotated[int, Path(ge=1, lt=2**31)]
Seq = Annotated[int, Path(ge=1, lt=2**53)]

# Threads of their own: batches that wait for the disk keep no page waiting, and as many at a time
# are parsed, which bounds memory; small ones that wait together share a commit.
_THREADS: Final = 16
_CHUNK: Final = 64 * 1024
_JSON: Final = "application/json"
_PER_READING: Final = b'"signature"'  # stands in a body once for each
_STATUS: dict[type[BatchError], int] = {
    BatchTooLargeError: 413,
    ForgedBatchError: 401,
    UnknownGatewayError: 403,
}


def build_router(door: Door, queue: WaitingReadings) -> APIRouter:
    """Return the routes that hand readings to ``door`` and receipts out.

    ``queue`` is told how many readings wait for the door.
    """
    router = APIRouter(prefix="/api/v1", tags=["readings"])
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="ingest")

    @router.post("/readings")
    async def upload(request: Request) -> Response:
        """Verify and store a signed batch; answer each item in order."""
        body = await request.body()
        with queue.counted(body.count(_PER_READING)):
            loop = asyncio.get_running_loop()
            return _in_chunks(await loop.run_in_executor(threads, _receive, door, body))

    @router.get("/readings/{key}/{epoch}/{seq}/receipt")
    def receipt(key: Key, epoch: Epoch, seq: Seq) -> Response:
        """Return the receipt of a stored reading."""
        try:
            return Response(_json(door.receipt(key, epoch, seq)), media_type=_JSON)
        except UnknownReadingError as error:
            raise ProblemError(404, str(error)) from error
        except RemovedReadingError as error:
            raise ProblemError(410, str(error)) from error

    return router


def _receive(door: Door, body: bytes) -> bytes:
    try:
        results = door.receive(Batch.from_body(body))
    except BatchError as error:
        raise ProblemError(_STATUS.get(type(error), 400), str(error)) from error
    return _json({"results": [_spell(result) for result in results]})


def _spell(result: ItemResult) -> dict[str, object]:
    fields = {"receipt": result.receipt, "error": result.error}
    given = {name: value for name, value in fields.items() if value is not None}
    return {"index": result.index, "status": result.status, **given}


def _in_chunks(answer: bytes) -> Response:
    """Answer so that what a slow reader leaves waits in the queue's sight, not in the socket."""

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(answer), _CHUNK):
            yield answer[at : at + _CHUNK]

    headers = {"Content-Length": str(len(answer))}
    return StreamingResponse(chunks(), media_type=_JSON, headers=headers)


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()

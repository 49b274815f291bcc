"""``/api/v1/readings``: gateways upload signed readings and fetch receipts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from app.api.problems import ProblemError
from app.services.ingest import Door, ItemResult, UnknownGatewayError, UnknownReadingError
from metering.batch import (
    Batch,
    BatchError,
    BatchTooLargeError,
    ForgedBatchError,
)

Key = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="the meter's public key, hex")]
Epoch = Annotated[int, Path(ge=1, lt=2**31)]
Seq = Annotated[int, Path(ge=1, lt=2**53)]

_STATUS: dict[type[BatchError], int] = {
    BatchTooLargeError: 413,
    ForgedBatchError: 401,
    UnknownGatewayError: 403,
}


def build_router(door: Door) -> APIRouter:
    """Return the routes that hand readings to ``door`` and receipts out."""
    router = APIRouter(prefix="/api/v1", tags=["readings"])

    @router.post("/readings")
    async def upload(request: Request) -> Response:
        """Verify and store a signed batch; answer each item in order."""
        body = await request.body()
        return _json({"results": await run_in_threadpool(_receive, door, body)})

    @router.get("/readings/{key}/{epoch}/{seq}/receipt")
    def receipt(key: Key, epoch: Epoch, seq: Seq) -> Response:
        """Return the receipt of a stored reading."""
        try:
            return _json(door.receipt(key, epoch, seq))
        except UnknownReadingError as error:
            raise ProblemError(404, str(error)) from error

    return router


def _receive(door: Door, body: bytes) -> Sequence[dict[str, object]]:
    try:
        return [_spell(result) for result in door.receive(Batch.from_body(body))]
    except BatchError as error:
        raise ProblemError(_STATUS.get(type(error), 400), str(error)) from error


def _spell(result: ItemResult) -> dict[str, object]:
    fields = {"receipt": result.receipt, "error": result.error}
    given = {name: value for name, value in fields.items() if value is not None}
    return {"index": result.index, "status": result.status, **given}


def _json(document: object) -> Response:
    return Response(json.dumps(document, separators=(",", ":")), media_type="application/json")

"""The witness's service: ``POST /add-checkpoint`` and the checkpoints it cosigned.

C2SP tlog-witness; the errors' bodies, which it leaves open, have the form of the ledger's node.
"""

from __future__ import annotations

import logging
from hashlib import sha256
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ledger_client.serving.limits import BoundedBodies, error_handlers, error_response
from ledger_client.witness.errors import OtherSizeError, WitnessError
from ledger_client.witness.keeper import WitnessKeeper
from ledger_client.witness.messages import read_request

MOST_BYTES: Final = 256 * 1024
SIZE_TYPE: Final = "text/x.tlog.size"

_log = logging.getLogger(__name__)


def create_witness_app(keeper: WitnessKeeper) -> Starlette:
    """Return the ASGI app of a witness. It needs no token: the logs' signatures are the right."""
    service = _Service(keeper)
    return Starlette(
        routes=[
            Route("/", service.status, methods=["GET"]),
            Route("/add-checkpoint", service.add_checkpoint, methods=["POST"]),
            Route("/{origin_hash}/checkpoint", service.checkpoint, methods=["GET"]),
        ],
        middleware=[Middleware(BoundedBodies, most_bytes=MOST_BYTES)],
        exception_handlers=error_handlers(),
    )


class _Service:
    def __init__(self, keeper: WitnessKeeper) -> None:
        self._keeper = keeper
        self._origins = {sha256(log.origin.encode()).hexdigest(): log.origin for log in keeper.logs}

    async def add_checkpoint(self, request: Request) -> Response:
        try:
            asked = read_request(await request.body())
            line = await run_in_threadpool(self._keeper.add_checkpoint, asked)
        except OtherSizeError as error:
            return Response(f"{error.size}\n", error.status, media_type=SIZE_TYPE)
        except WitnessError as error:
            _log.warning("not cosigned: %s", error)
            return error_response(error.status, str(error))
        checkpoint = asked.checkpoint
        _log.info("cosigned %s at size %d", checkpoint.origin, checkpoint.size)
        return PlainTextResponse(line)

    async def checkpoint(self, request: Request) -> Response:
        origin = self._origins.get(request.path_params["origin_hash"], "")
        try:
            row = await run_in_threadpool(self._keeper.latest, origin)
        except WitnessError as error:
            return error_response(error.status, str(error))
        if row is None:
            raise HTTPException(404, "no checkpoint of such a log was cosigned here")
        return PlainTextResponse(row.note + row.cosignature)

    async def status(self, _request: Request) -> Response:
        try:
            return PlainTextResponse(await run_in_threadpool(self._status))
        except WitnessError as error:
            return error_response(error.status, str(error))

    def _status(self) -> str:
        keeper = self._keeper
        said = [f"witness {keeper.name}", f"key {keeper.public_key.hex()}", f"vkey {keeper.vkey}"]
        for origin in sorted(self._origins.values()):
            row = keeper.latest(origin)
            said.append(f"log {origin}: " + (f"size {row.size}" if row else "nothing cosigned yet"))
        return "\n".join(said) + "\n"

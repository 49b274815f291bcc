"""The milestone signer's service: ``POST /sign``, ``GET /key``, ``GET /health``.

A request carries the essence of a milestone (TIP-29) as bytes, or JSON
``{"essence": "0x...", "previous": "0x...", "network": "..."}``, where ``previous`` (the payload
of the milestone before) and ``network`` may be missing. The answer is
``{"publicKey", "signature"}``; errors have the form of a Stardust node's.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Final

from nacl.signing import SigningKey
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ledger_client.serving.limits import (
    BoundedBodies,
    error_handlers,
    error_response,
    require_token,
)
from ledger_client.signer.rules import (
    AHEAD_S,
    AlreadySignedError,
    EssenceCheck,
    Head,
    Identity,
    SignerError,
    SignRefusedError,
    require_next,
)
from ledger_client.signer.state import Clock, SignerState
from ledger_client.stardust.codec import StardustSyntaxError
from ledger_client.stardust.milestone import MilestoneEssence, MilestoneSignature

MOST_BYTES: Final = 128 * 1024
_FIELDS: Final = frozenset({"essence", "previous", "network"})

_log = logging.getLogger(__name__)


class MilestoneKeeper:
    """Holds one milestone key and signs each index once. Call it from any thread."""

    def __init__(
        self,
        key: SigningKey,
        state: SignerState,
        me: Identity,
        check: EssenceCheck | None = None,
        *,
        now: Clock = time.time,
        ahead_s: int = AHEAD_S,
    ) -> None:
        """Take over the state; raises SignerSettingsError when it is another network's or key's."""
        self.me = me
        self._key = key
        self._state = state
        self._check = check
        self._now = now
        self._ahead_s = ahead_s
        self._lock = threading.Lock()
        state.claim({"network": me.network, "key": me.public_key.hex()})

    def last(self) -> Head:
        """Return what was signed last."""
        return self._state.last()

    def sign(self, essence: MilestoneEssence, previous: bytes | None = None) -> MilestoneSignature:
        """Return the signature over ``essence.id()``, after the essence is on disk.

        The same essence again gives the same signature. ``previous`` is the payload of the
        milestone before, for a signer that was away.

        Raises:
            SignRefusedError: this essence is not signed; the branch says why.
            SignerUnavailableError: the state cannot be written now; ask again.
        """
        if not self._is_signed(essence, previous):
            if self._check is not None:
                self._check.check(essence)  # may take a while: others are answered meanwhile
            with self._lock:
                if not self._is_signed(essence, previous):
                    self._state.record(essence)
        return MilestoneSignature(self.me.public_key, self._key.sign(essence.id()).signature)

    def _is_signed(self, essence: MilestoneEssence, previous: bytes | None) -> bool:
        """Return whether this very essence was signed; refuse what may not be signed at all."""
        signed = self._state.essence(essence.index)
        if signed == essence.encode():
            return True
        if signed is not None:
            self._state.keep_evidence(signed, essence, int(self._now()))
            raise AlreadySignedError(
                f"another milestone {essence.index} is signed already; both are kept as evidence"
            )
        latest_s = int(self._now()) + self._ahead_s
        require_next(self.me, self._state.last(), essence, previous, latest_s)
        return False


def create_signer_app(keeper: MilestoneKeeper, token: str | None = None) -> Starlette:
    """Return the ASGI app of a signer; with ``token`` only its bearer may ask for signatures."""
    service = _Service(keeper, token)
    return Starlette(
        routes=[
            Route("/sign", service.sign, methods=["POST"]),
            Route("/key", service.key, methods=["GET"]),
            Route("/health", service.health, methods=["GET"]),
        ],
        middleware=[Middleware(BoundedBodies, most_bytes=MOST_BYTES)],
        exception_handlers=error_handlers(),
    )


class _Service:
    def __init__(self, keeper: MilestoneKeeper, token: str | None) -> None:
        self._keeper = keeper
        self._token = token

    async def sign(self, request: Request) -> Response:
        require_token(request, self._token)
        essence, previous, network = _request(request, await request.body())
        me = self._keeper.me
        if network not in (None, me.network):
            raise HTTPException(
                409, f"this signer is of the network {me.network}, not {network!a:.80}"
            )
        try:
            made = await run_in_threadpool(self._keeper.sign, essence, previous)
        except SignerError as error:
            loud = isinstance(error, SignRefusedError)
            _log.log(
                logging.CRITICAL if loud else logging.ERROR,
                "milestone %d (%s) is not signed: %s",
                essence.index,
                essence.id().hex(),
                error,
            )
            return error_response(error.status, str(error))
        _log.info("signed milestone %d (%s)", essence.index, essence.id().hex())
        return JSONResponse({"publicKey": _hex(made.public_key), "signature": _hex(made.signature)})

    async def key(self, request: Request) -> Response:
        require_token(request, self._token)
        me = self._keeper.me
        return JSONResponse({"publicKey": _hex(me.public_key), "network": me.network})

    async def health(self, _request: Request) -> Response:
        try:
            last = await run_in_threadpool(self._keeper.last)
        except SignerError as error:
            return error_response(error.status, str(error))
        head = {"index": last.index, "milestoneId": _hex(last.milestone_id)}
        return JSONResponse({"isHealthy": True, "lastSigned": head})


def _request(request: Request, body: bytes) -> tuple[MilestoneEssence, bytes | None, str | None]:
    """Return essence, proof and network of a request, or raise 400."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/json":
        return _essence(body), None, None
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict) or not {"essence"} <= fields.keys() <= _FIELDS:
        raise HTTPException(400, "send an object with essence, and perhaps previous and network")
    previous, network = fields.get("previous"), fields.get("network")
    if network is not None and not isinstance(network, str):
        raise HTTPException(400, "network has to be text")
    essence = _essence(_bytes(fields["essence"], "essence"))
    return essence, None if previous is None else _bytes(previous, "previous"), network


def _bytes(value: object, name: str) -> bytes:
    if isinstance(value, str) and value.startswith("0x"):
        try:
            return bytes.fromhex(value[2:])
        except ValueError:
            pass
    raise HTTPException(400, f"{name} has to be hexadecimal text that begins with 0x")


def _essence(data: bytes) -> MilestoneEssence:
    try:
        return MilestoneEssence.decode(data)
    except StardustSyntaxError as error:
        raise HTTPException(400, str(error)) from error


def _hex(data: bytes) -> str:
    return "0x" + data.hex()

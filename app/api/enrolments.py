"""``/api/v1/enrolments``: gateways bring enrolments with a one-time token and ask how they stand.

The token comes as ``Authorization: Bearer TOKEN``; bodies are canonical JSON
(:mod:`metering.commissioning.wire`), refused as a whole where a byte of them is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, TypeVar

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from app.api.problems import ProblemError
from app.clock import wall_ms
from app.services.commissioning import requests, rotations, tokens
from app.services.commissioning.errors import (
    CommissioningError,
    NotDecidableError,
    RequestConflictError,
    TokenRefusedError,
    TooManyGuessesError,
    UnfitRequestError,
    UnknownRequestError,
)
from app.services.enrolment import (
    EnrolmentConflictError,
    EnrolmentError,
    EnrolmentSignatureError,
    UnknownEnrolmentError,
)
from app.services.house import House
from metering.commissioning.wire import EnrolmentRequest, RotationRequest, WireError
from metering.reading import MalformedEnrolmentError

Key = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="the meter's public key, hex")]
_T = TypeVar("_T")

_STATUS: Final[dict[type[Exception], int]] = {
    TokenRefusedError: 401,
    EnrolmentSignatureError: 401,
    UnfitRequestError: 403,
    UnknownRequestError: 404,
    UnknownEnrolmentError: 404,
    RequestConflictError: 409,
    EnrolmentConflictError: 409,
    NotDecidableError: 409,
}


def build_router(house: House, now_ms: Callable[[], int] = wall_ms) -> APIRouter:
    """Return the routes; ``now_ms`` is the wall clock by which tokens live."""
    router = APIRouter(prefix="/api/v1", tags=["enrolments"])

    @router.get("/enrolments/offer")
    def offer(request: Request) -> Response:
        """Say what the token allows; it stays unused."""

        def answer(token: str) -> Response:
            return _json(requests.offer(house, token, now_ms()).to_json())

        return _with_token(house, request, now_ms(), answer)

    @router.post("/enrolments", status_code=202)
    async def bring(request: Request) -> Response:
        """Store an enrolment for a person to confirm; the same one again is answered 200."""
        body = await request.body()

        def answer(token: str) -> Response:
            wanted = EnrolmentRequest.parse(body)
            found = requests.bring(house, token, wanted, now_ms())
            return _json(found.standing.to_json(), 200 if found.repeated else 202)

        return await run_in_threadpool(_with_token, house, request, now_ms(), answer)

    @router.post("/rotations")
    async def rotate(request: Request) -> Response:
        """Let a meter's new key take over, signed by the old one; the same again is answered so."""
        body = await request.body()

        def act() -> Response:
            return _json(rotations.rotate(house, RotationRequest.parse(body)).to_json())

        return await run_in_threadpool(_judged, act)

    @router.get("/enrolments/{key}")
    def standing(key: Key) -> Response:
        """Say how far the enrolment of a key has come."""
        return _judged(lambda: _json(requests.standing(house, key).to_json()))

    return router


def _with_token(
    house: House, request: Request, now_ms: int, answer: Callable[[str], Response]
) -> Response:
    """Answer with the request's token; a wrong one is counted, and too many are refused unread."""
    address = request.client.host if request.client is not None else "unknown"

    def counted() -> Response:
        tokens.check_guesses(house, address, now_ms)
        try:
            return answer(_token(request))
        except TokenRefusedError:
            tokens.report_guess(house, address)
            raise

    return _judged(counted)


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise ProblemError(
            401,
            "an enrolment needs its token: send `Authorization: Bearer TOKEN`",
            {"WWW-Authenticate": "Bearer"},
        )
    return token


def _judged(act: Callable[[], _T]) -> _T:
    try:
        return act()
    except TooManyGuessesError as error:
        raise ProblemError(429, str(error), {"Retry-After": str(error.retry_after_s)}) from error
    except (CommissioningError, EnrolmentError, MalformedEnrolmentError, WireError) as error:
        status = _STATUS.get(type(error), 400)
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        raise ProblemError(status, str(error), headers) from error


def _json(text: str, status: int = 200) -> Response:
    return Response(text, status, media_type="application/json")

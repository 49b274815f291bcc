"""``/api/v1/events``: gateways tell, signed, what went wrong with meters, lines and clocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from app.api.problems import ProblemError
from app.services.events import EventBodyError, EventDoor, parse_body


def build_router(door: EventDoor) -> APIRouter:
    """Return the route that hands events to ``door``."""
    router = APIRouter(prefix="/api/v1", tags=["readings"])

    @router.post("/events")
    async def upload(request: Request) -> Mapping[str, object]:
        """Verify and store signed events; answer each in order."""
        body = await request.body()
        return {"results": await run_in_threadpool(_receive, door, body)}

    return router


def _receive(door: EventDoor, body: bytes) -> Sequence[Mapping[str, object]]:
    try:
        results = door.receive(parse_body(body))
    except EventBodyError as error:
        raise ProblemError(400, str(error)) from error
    return [
        {"index": each.index, "status": each.status}
        | ({} if each.error is None else {"error": each.error})
        for each in results
    ]

"""The district as it is now, and the stream that tells live pages to look again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Final

from fastapi import APIRouter, Depends
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from web.pages.desk import Desk
from web.ports import Views
from web.security import read_cookie

POLL_SECONDS: Final = 1.0


async def revisions(views: Views, living: Callable[[], bool]) -> AsyncIterator[int]:
    """Yield the revision now and whenever it has changed, looking once a second.

    It ends after the first event for which nobody is logged in any more: the page that looks
    again is then led to the entrance.
    """
    last: int | None = None
    while True:
        revision = await run_in_threadpool(views.revision)
        if revision != last:
            lives = await run_in_threadpool(living)
            yield revision
            if not lives:
                return
            last = revision
        await asyncio.sleep(POLL_SECONDS)


def add_routes(router: APIRouter, desk: Desk) -> None:
    """Add the live page and the stream."""

    @router.get("/district")
    def district(request: Request) -> Response:
        viewer = desk.viewer(request)
        return desk.page(request, viewer, "district.html", district=desk.views.district(viewer))

    @router.get("/stream", response_class=EventSourceResponse, dependencies=[Depends(desk.viewer)])
    async def stream(request: Request) -> AsyncIterable[ServerSentEvent]:
        """Tell a live page that something may have changed; the event carries no data of ours."""
        cookie = read_cookie(request)

        def living() -> bool:
            return desk.sessions.viewer(cookie) is not None

        async for revision in revisions(desk.views, living):
            yield ServerSentEvent(event="revision", raw_data=str(revision))

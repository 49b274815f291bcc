"""The quarter-hours: a list with paging, and each one's page."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from metering.interval import Interval, IntervalError
from web.pages.desk import Desk

PAGE_SIZE: Final = 24


def known_key(key: str) -> str:
    """Return the key when it is one.

    Raises:
        HTTPException: 404, since it names no quarter-hour.
    """
    try:
        return Interval.parse(key).key
    except IntervalError as error:
        raise HTTPException(404, str(error)) from error


def add_routes(router: APIRouter, desk: Desk) -> None:
    """Add the list and the page of one interval."""

    @router.get("/intervals")
    def intervals(request: Request, before: str | None = None) -> Response:
        viewer = desk.viewer(request)
        start = known_key(before) if before else None
        found = list(desk.views.intervals(viewer, start, PAGE_SIZE + 1))
        return desk.page(
            request,
            viewer,
            "intervals.html",
            intervals=found[:PAGE_SIZE],
            before=start,
            more=len(found) > PAGE_SIZE,
        )

    @router.get("/intervals/{key}")
    def interval(request: Request, key: str) -> Response:
        viewer = desk.viewer(request)
        shown = desk.views.interval(viewer, known_key(key))
        names = dict(desk.views.participants(viewer)) if shown.proof_participants else {}
        return desk.page(request, viewer, "interval.html", shown=shown, names=names)

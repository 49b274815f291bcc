"""The participants' own pages."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from web.pages.desk import Desk


def add_routes(router: APIRouter, desk: Desk) -> None:
    """Add the list of participants that the viewer may open, and each one's page."""

    @router.get("/participants")
    def participants(request: Request) -> Response:
        viewer = desk.customer(request)
        listed = desk.views.participants(viewer)
        return desk.page(request, viewer, "participants.html", participants=listed)

    @router.get("/participants/{participant}")
    def participant(request: Request, participant: str) -> Response:
        viewer = desk.customer(request)
        own = desk.views.participant(viewer, participant)
        return desk.page(request, viewer, "participant.html", own=own)

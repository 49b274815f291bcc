"""Tariffs: components in ct/kWh, the day as a picture; each viewer sees what is theirs to see."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from web import tariff_day
from web.pages.desk import Desk
from web.ports.tariffs import Tariffs


def add_routes(router: APIRouter, desk: Desk, tariffs: Tariffs) -> None:
    """Add the page."""

    @router.get("/tariffs")
    def page(request: Request) -> Response:
        viewer = desk.viewer(request)
        found = tariffs.tariffs(viewer)
        return desk.page(request, viewer, "tariffs.html", page=found, drawing=tariff_day)

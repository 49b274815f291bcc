"""What is expected of the next two days, and how good such expectations have been."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from web import outlook
from web.pages.desk import Desk
from web.ports import Role
from web.ports.forecasts import Forecasts


def add_routes(router: APIRouter, desk: Desk, forecasts: Forecasts) -> None:
    """Add the page: the district's forecast, or that of a point of one's own."""

    @router.get("/forecasts")
    def forecast(request: Request, point: str = "") -> Response:
        viewer = desk.viewer(request)
        own = {each for each, _ in desk.views.participants(viewer)}
        page = forecasts.page(own, point, prices=viewer.role is not Role.OPERATOR)
        drawn = outlook.draw(page.quarters, page.zone)
        return desk.page(request, viewer, "forecasts.html", page=page, drawn=drawn, outlook=outlook)

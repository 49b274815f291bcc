"""The feeders' losses by day: energy alone, for the manager and the grid operator."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from web import loss_bars
from web.pages.desk import Desk
from web.ports import NotFoundError, RefusedError, Role
from web.ports.losses import Losses

_SEEN_BY: Final = (Role.MANAGER, Role.OPERATOR)


def add_routes(router: APIRouter, desk: Desk, losses: Losses) -> None:
    """Add the page of a day's losses."""

    @router.get("/losses")
    def page(request: Request, day: Annotated[str, Query(max_length=10)] = "") -> Response:
        viewer = desk.viewer(request)
        if viewer.role not in _SEEN_BY:
            raise NotFoundError("the feeders are the manager's and the grid operator's to see")
        try:
            found = losses.losses(viewer, day)
        except RefusedError as refused:
            raise NotFoundError(str(refused)) from refused
        return desk.page(
            request,
            viewer,
            "losses.html",
            losses=found,
            drawn={each.feeder: loss_bars.draw(each.quarters) for each in found.feeders},
            size=(loss_bars.WIDTH, loss_bars.HEIGHT),
        )

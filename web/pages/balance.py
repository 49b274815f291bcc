"""The balance: how much of what the district uses it makes itself, by month and by year."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from web import balance_picture
from web.pages.desk import Desk, csv_file
from web.ports import Role
from web.ports.balance import Balance


def add_routes(router: APIRouter, desk: Desk, balance: Balance) -> None:
    """Add the page and its figures as a file."""

    @router.get("/balance")
    def page(request: Request, span: str = "month", at: str = "", whose: str = "") -> Response:
        viewer = desk.viewer(request)
        own, operator = desk.views.participants(viewer), viewer.role is Role.OPERATOR
        shown = balance.page(own, span, at, whose, operator=operator)
        return desk.page(
            request,
            viewer,
            "balance.html",
            page=shown,
            drawn=balance_picture.draw(shown),
            words=balance_picture,
        )

    @router.get("/balance.csv")
    def as_csv(request: Request, span: str = "month", at: str = "", whose: str = "") -> Response:
        viewer = desk.viewer(request)
        own, operator = desk.views.participants(viewer), viewer.role is Role.OPERATOR
        content = balance.csv(own, span, at, whose, operator=operator)
        return csv_file(content, f"wattloom-balance-{at or span}.csv")

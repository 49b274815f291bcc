"""Meters whose counters began anew, to be decided on, and what gateways told of meters."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web.pages.desk import Desk
from web.ports import RefusedError, Viewer
from web.ports.changes import MeterChanges, TypedValues
from web.security import check_csrf

DONE: Final = {
    "approved": "Approved. What both counters measured counts, and the estimates are corrected.",
    "rejected": "Rejected. Its readings do not settle; you can still approve it below.",
}
_LAST: Final = 2**31 - 1
_MOST: Final = 24


def add_routes(router: APIRouter, desk: Desk, changes: MeterChanges) -> None:
    """Add the page and its steps."""

    @router.get("/meters/changes")
    def page(request: Request) -> Response:
        return _show(desk, changes, request, desk.manager(request))

    @router.post("/meters/changes/approve")
    def approve(
        request: Request,
        change: Annotated[int, Form(ge=0, le=_LAST)] = 0,
        closing_import: Annotated[str, Form()] = "",
        closing_export: Annotated[str, Form()] = "",
        opening_import: Annotated[str, Form()] = "",
        opening_export: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = desk.manager(request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        given = (closing_import, closing_export, opening_import, opening_export)
        typed = TypedValues(*(text[:_MOST] for text in given))
        try:
            changes.approve(change, typed, viewer.role.value)
        except RefusedError as error:
            return _show(desk, changes, request, viewer, (error, change, typed))
        return _back("approved")

    @router.post("/meters/changes/reject")
    def reject(
        request: Request,
        change: Annotated[int, Form(ge=0, le=_LAST)] = 0,
        reason: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = desk.manager(request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            changes.reject(change, reason[:201], viewer.role.value)
        except RefusedError as error:
            return _show(desk, changes, request, viewer, (error, change, TypedValues()))
        return _back("rejected")


def _show(
    desk: Desk,
    changes: MeterChanges,
    request: Request,
    viewer: Viewer,
    refused: tuple[RefusedError, int, TypedValues] | None = None,
) -> Response:
    error, about, typed = refused or (None, 0, TypedValues())
    return desk.form(
        request,
        viewer,
        "changes.html",
        DONE,
        error,
        page=changes.page(),
        about=about,
        typed=typed,
    )


def _back(step: str) -> Response:
    return RedirectResponse(f"/meters/changes?done={step}", 303)

"""The meters at the points that the building manager manages: tokens, confirming, revoking."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web import qr
from web.pages.desk import Desk
from web.ports import RefusedError, Viewer
from web.ports.meters import Meters, MetersPage, NewToken
from web.security import check_csrf

DONE: Final = {
    "confirmed": "Confirmed. The registry signed the key: its readings count from now on.",
    "withdrawn": "Withdrawn. That key will never count; a new token begins anew.",
    "revoked": "Revoked. What the key signs for that time and later is refused.",
    "kept": "Taken back: the key stays in service.",
}
_MOST: Final = 64
_LAST: Final = 2**31 - 1


def add_routes(router: APIRouter, desk: Desk, meters: Meters) -> None:
    """Add the page and its steps."""

    @router.get("/meters")
    def page(request: Request) -> Response:
        return _show(desk, meters, request, desk.manager(request))

    @router.post("/meters/token")
    def token(
        request: Request,
        point: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        """Show a new token, once and nowhere else: it is no page to be led back to."""
        viewer = desk.manager(request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            made = meters.token(point[:_MOST], viewer.role.value)
        except RefusedError as error:
            return _show(desk, meters, request, viewer, error=error, about=point)
        return _show(desk, meters, request, viewer, made=made)

    _add_deciding(router, desk, meters)
    _add_revoking(router, desk, meters)


def _add_deciding(router: APIRouter, desk: Desk, meters: Meters) -> None:
    @router.post("/meters/decide")
    def decide(
        request: Request,
        enrolment: Annotated[int, Form(ge=0, le=_LAST)] = 0,
        decision: Annotated[str, Form()] = "",
        typed: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = desk.manager(request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            if decision == "withdraw":
                meters.withdraw(enrolment, viewer.role.value)
                return _back("withdrawn")
            meters.confirm(enrolment, typed[:_MOST], viewer.role.value)
        except RefusedError as error:
            about = str(enrolment)
            return _show(desk, meters, request, viewer, error=error, about=about, typed=typed)
        return _back("confirmed")


def _add_revoking(router: APIRouter, desk: Desk, meters: Meters) -> None:
    @router.post("/meters/revoke")
    def revoke(
        request: Request,
        key: Annotated[str, Form()] = "",
        begin: Annotated[str, Form()] = "",
        decision: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = desk.manager(request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            if decision == "keep":
                meters.keep(key[:_MOST], viewer.role.value)
                return _back("kept")
            meters.revoke(key[:_MOST], begin[:_MOST], viewer.role.value)
        except RefusedError as error:
            return _show(desk, meters, request, viewer, error=error, about=key, typed=begin)
        return _back("revoked")


def _show(
    desk: Desk,
    meters: Meters,
    request: Request,
    viewer: Viewer,
    *,
    made: NewToken | None = None,
    error: RefusedError | None = None,
    about: str = "",
    typed: str = "",
) -> Response:
    """Return the page; ``about`` names the point, enrolment or key that an error is about."""
    page = meters.page()
    return desk.form(
        request,
        viewer,
        "meters.html",
        DONE,
        error,
        page=page,
        made=made,
        code=qr.picture(made.command) if made else None,
        about=about if about in _forms(page) else "",
        typed=typed,
    )


def _forms(page: MetersPage) -> frozenset[str]:
    """Return what the page has a form for, so that an error about anything else stands on top."""
    waiting = {str(each.waiting.request) for each in page.points if each.waiting is not None}
    keys = {each.meters[0].key for each in page.points if each.meters}
    points = {each.point for each in page.points if each.waiting is None}
    return frozenset(waiting | keys | points)


def _back(done: str) -> Response:
    return RedirectResponse(f"/meters?done={done}", status_code=303)

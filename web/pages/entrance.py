"""The entrance: what this is, and in which role to look at it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web.pages.desk import Desk, render
from web.ports import NotFoundError, Role
from web.security import check_csrf, drop_cookie, read_cookie, set_cookie


def add_routes(router: APIRouter, desk: Desk) -> None:
    """Add the entrance, the demo's three doors and the way out."""

    @router.get("/")
    def entrance(request: Request) -> Response:
        viewer = desk.sessions.viewer(read_cookie(request))
        return render("entrance.html", viewer=viewer, demo=desk.sessions.demo())

    # Nobody is logged in yet, so there is no token to ask for; the middleware's same-origin check
    # guards this one.
    @router.post("/enter")
    def enter(request: Request, role: Annotated[Role, Form()]) -> Response:
        if not desk.sessions.demo():
            raise NotFoundError("demo logins exist in the demo only")
        desk.sessions.leave(read_cookie(request) or "")
        cookie = desk.sessions.demo_enter(role)
        viewer = desk.sessions.viewer(cookie)
        own = viewer.participant if viewer else None
        target = f"/participants/{own}" if own and role is Role.PROSUMER else "/district"
        response = RedirectResponse(target, status_code=303)
        set_cookie(request, response, cookie)
        return response

    @router.post("/leave")
    def leave(request: Request, csrf_token: Annotated[str, Form()] = "") -> Response:
        viewer = desk.viewer(request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        desk.sessions.leave(read_cookie(request) or "")
        response = RedirectResponse("/", status_code=303)
        drop_cookie(request, response)
        return response

"""The participants' own pages; who and what is behind the metering points, for the manager."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web.pages.desk import Desk
from web.ports import RefusedError, Viewer
from web.ports.people import AskedChange, People
from web.security import check_csrf

DONE: Final = {
    "move": "Entered. Until it begins you can take it back in the list of what is to come.",
    "switch": "Entered. Until it begins you can take it back in the list of what is to come.",
    "undone": "Taken back: what was before goes on.",
}


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


def add_point_routes(router: APIRouter, desk: Desk, people: People) -> None:
    """Add the building manager's page of people and points, its two forms and taking back."""

    @router.get("/people")
    def page(request: Request) -> Response:
        return _show(desk, people, request, desk.manager(request))

    @router.post("/people")
    def change(
        request: Request,
        asked: Annotated[AskedChange, Depends(_asked)],
        step: Annotated[str, Form()] = "preview",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = desk.manager(request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            if step == "save":
                people.enter(asked, viewer.role.value)
                return _back(asked.kind)
            told = people.preview(asked)
        except RefusedError as error:
            return _show(desk, people, request, viewer, asked, error=error)
        return _show(desk, people, request, viewer, asked, told)

    @router.post("/people/undo")
    def undo(
        request: Request,
        point: Annotated[str, Form()] = "",
        kind: Annotated[str, Form()] = "",
        begin: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = desk.manager(request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            people.undo(point, kind, begin, viewer.role.value)
        except RefusedError as error:
            return _show(desk, people, request, viewer, error=RefusedError(str(error)))
        return _back("undone")


def _show(
    desk: Desk,
    people: People,
    request: Request,
    viewer: Viewer,
    asked: AskedChange | None = None,
    told: Sequence[str] = (),
    error: RefusedError | None = None,
) -> Response:
    """Return the page; with an error or a preview it keeps what was typed."""
    page = people.page()
    return desk.form(
        request,
        viewer,
        "people.html",
        DONE,
        error,
        page=page,
        typed=asked or AskedChange(kind="", day=page.first_day),
        told=told,
    )


def _back(done: str) -> Response:
    return RedirectResponse(f"/people?done={done}", status_code=303)


async def _asked(request: Request) -> AskedChange:
    """Return what the form says; a field that is missing has its default."""
    form = await request.form()
    given = {item.name: form.get(item.name) for item in fields(AskedChange)}
    typed = {name: value[:500] for name, value in given.items() if isinstance(value, str)}
    return replace(AskedChange(), **typed)

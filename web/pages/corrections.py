"""The manager's corrections: every version on record, and a form for an authorised value."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web.pages.desk import Desk
from web.ports import RefusedError, Viewer
from web.ports.corrections import AskedValue, Corrections, ValueChange
from web.security import check_csrf

DONE: Final = {"entered": "Corrected. What it changes stands on the statement named below."}
_LONGEST: Final = 600


def add_routes(router: APIRouter, desk: Desk, corrections: Corrections) -> None:
    """Add the page and its form, shown first and written when confirmed."""

    @router.get("/corrections")
    def page(request: Request) -> Response:
        return show(desk, corrections, request, desk.manager(request))

    @router.post("/corrections")
    def enter(
        request: Request,
        asked: Annotated[AskedValue, Depends(_asked)],
        step: Annotated[str, Form()] = "preview",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = desk.manager(request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            if step == "save":
                corrections.enter(asked, viewer.role.value)
                return RedirectResponse("/corrections?done=entered", status_code=303)
            preview: ValueChange | None = corrections.preview(asked)
            error = None
        except RefusedError as refused:
            preview, error = None, refused
        return show(desk, corrections, request, viewer, error, typed=asked, preview=preview)


def show(
    desk: Desk,
    corrections: Corrections,
    request: Request,
    viewer: Viewer,
    error: RefusedError | None = None,
    **typed: object,
) -> Response:
    """Return the page; with an error or a preview it keeps what was typed."""
    return desk.form(
        request,
        viewer,
        "corrections.html",
        DONE,
        error,
        page=corrections.page(),
        **{"typed": AskedValue(), "preview": None, **typed},
    )


async def _asked(request: Request) -> AskedValue:
    """Return what the form says; a field that is missing is empty."""
    form = await request.form()
    given = {item.name: form.get(item.name) for item in fields(AskedValue)}
    return AskedValue(**{k: v[:_LONGEST] for k, v in given.items() if isinstance(v, str)})

"""A participant's standing limits: what holds, a form with a preview, and every version."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web import limits_words
from web.pages.desk import Desk
from web.ports import RefusedError, Viewer
from web.ports.limits import AskedLimits, Limits, LimitsView
from web.security import check_csrf

DONE: Final = {
    "entered": "Saved. It holds from the next quarter-hour on.",
    "repeated": "That version holds again from the next quarter-hour on.",
    "same": "Nothing changed: that is what holds already.",
}


def add_routes(router: APIRouter, desk: Desk, limits: Limits) -> None:
    """Add the page, its form and taking a version up again."""

    @router.get("/participants/{participant}/limits")
    def page(request: Request, participant: str) -> Response:
        viewer = desk.owner(request, participant)
        return show(desk, limits, request, viewer, participant)

    _add_entering(router, desk, limits)
    _add_repeating(router, desk, limits)


def show(
    desk: Desk,
    limits: Limits,
    request: Request,
    viewer: Viewer,
    participant: str,
    error: RefusedError | None = None,
    **typed: object,
) -> Response:
    """Return the page; with an error or a preview it keeps what was typed at ``form``."""
    return desk.form(
        request,
        viewer,
        "limits.html",
        DONE,
        error,
        page=limits.limits(participant),
        words=limits_words,
        **{"form": "", "typed": AskedLimits(), "preview": None, **typed},
    )


def _back(participant: str, done: str) -> Response:
    return RedirectResponse(f"/participants/{participant}/limits?done={done}", status_code=303)


def _add_entering(router: APIRouter, desk: Desk, limits: Limits) -> None:
    @router.post("/participants/{participant}/limits")
    def enter(
        request: Request,
        participant: str,
        asked: Annotated[AskedLimits, Depends(_asked)],
        point: Annotated[str, Form()] = "",
        step: Annotated[str, Form()] = "preview",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = desk.owner(request, participant)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            if step == "save":
                changed = limits.enter(participant, point, asked, viewer.role.value)
                return _back(participant, "entered" if changed else "same")
            preview: LimitsView | None = limits.preview(participant, point, asked)
            error = None
        except RefusedError as refused:
            preview, error = None, refused
        return show(
            desk,
            limits,
            request,
            viewer,
            participant,
            form=point,
            typed=asked,
            preview=preview,
            error=error,
        )


async def _asked(request: Request) -> AskedLimits:
    """Return the form's limits; a field that is missing has its default."""
    form = await request.form()
    given = {item.name: form.get(item.name) for item in fields(AskedLimits)}
    typed = {name: value[:64] for name, value in given.items() if isinstance(value, str)}
    return replace(AskedLimits(), **typed)


def _add_repeating(router: APIRouter, desk: Desk, limits: Limits) -> None:
    @router.post("/participants/{participant}/limits/repeat")
    def repeat(
        request: Request,
        participant: str,
        point: Annotated[str, Form()] = "",
        version: Annotated[int, Form()] = -1,
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = desk.owner(request, participant)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            changed = limits.repeat(participant, point, version, viewer.role.value)
        except RefusedError as refused:
            error = RefusedError(str(refused))
            return show(desk, limits, request, viewer, participant, form=point, error=error)
        return _back(participant, "repeated" if changed else "same")

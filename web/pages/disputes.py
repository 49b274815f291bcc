"""Disputes of statement lines: opened and withdrawn by whose they are, answered by the manager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web import statement_words
from web.pages.desk import Desk
from web.ports import NotFoundError, RefusedError, Role, Viewer
from web.ports.disputes import Disputes
from web.security import check_csrf

DONE: Final = {
    "opened": "Your dispute is on record. The building manager answers; until then its amount is "
    "not collected.",
    "withdrawn": "Withdrawn. The amount is due again.",
    "answered": "Answered. The participant reads it on their statement.",
}
MOST: Final = 2**31 - 1


def add_routes(router: APIRouter, desk: Desk, disputes: Disputes) -> None:
    """Add the list, a statement's disputes, and the steps."""
    _add_pages(router, desk, disputes)
    _add_opening(router, desk, disputes)
    _add_closing(router, desk, disputes)


def own_of(desk: Desk, viewer: Viewer) -> list[str]:
    """Return the participants whose statements the viewer may see."""
    return [participant for participant, _ in desk.views.participants(viewer)]


def show_list(
    desk: Desk,
    disputes: Disputes,
    request: Request,
    viewer: Viewer,
    error: RefusedError | None = None,
    **typed: object,
) -> Response:
    """Return the list; with an error it keeps what was typed as the answer of one dispute."""
    return desk.form(
        request,
        viewer,
        "disputes.html",
        DONE,
        error,
        page=disputes.listed(own_of(desk, viewer)),
        words=statement_words,
        **{"wrong": 0, "typed": {}, **typed},
    )


def show_statement(
    desk: Desk,
    disputes: Disputes,
    request: Request,
    viewer: Viewer,
    number: str,
    error: RefusedError | None = None,
    **typed: object,
) -> Response:
    """Return a statement's disputes, with the form for whose statement it is."""
    return desk.form(
        request,
        viewer,
        "statement_disputes.html",
        DONE,
        error,
        disputed=disputes.statement(number, own_of(desk, viewer)),
        words=statement_words,
        **{"line": request.query_params.get("line", "")[:16], "text": "", **typed},
    )


def _add_pages(router: APIRouter, desk: Desk, disputes: Disputes) -> None:
    @router.get("/disputes")
    def listed(request: Request) -> Response:
        return show_list(desk, disputes, request, desk.customer(request))

    @router.get("/statements/{number}/disputes")
    def of_statement(request: Request, number: str) -> Response:
        return show_statement(desk, disputes, request, desk.customer(request), number)


def _add_opening(router: APIRouter, desk: Desk, disputes: Disputes) -> None:
    @router.post("/statements/{number}/disputes")
    def opened(
        request: Request,
        number: str,
        line: Annotated[str, Form()] = "",
        text: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = desk.customer(request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        if viewer.participant is None:
            raise NotFoundError("only whose statement it is disputes a line of it")
        try:
            disputes.open(viewer.participant, number, line, text)
        except RefusedError as error:
            return show_statement(
                desk, disputes, request, viewer, number, error, line=line, text=text
            )
        return RedirectResponse(f"/statements/{number}/disputes?done=opened", status_code=303)


def _add_closing(router: APIRouter, desk: Desk, disputes: Disputes) -> None:
    def step(
        request: Request, viewer: Viewer, done: str, act: Callable[[], None], **typed: object
    ) -> Response:
        try:
            act()
        except RefusedError as error:
            return show_list(desk, disputes, request, viewer, error, **typed)
        return RedirectResponse(f"/disputes?done={done}", status_code=303)

    @router.post("/disputes/{dispute}/withdraw")
    def withdraw(
        request: Request, dispute: int, csrf_token: Annotated[str, Form()] = ""
    ) -> Response:
        viewer = desk.customer(request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        participant = viewer.participant
        if participant is None or not 0 < dispute <= MOST:
            raise NotFoundError("only who opened a dispute withdraws it")
        return step(request, viewer, "withdrawn", lambda: disputes.withdraw(participant, dispute))

    @router.post("/disputes/{dispute}/answer")
    def answer(
        request: Request,
        dispute: int,
        decision: Annotated[str, Form()] = "",
        answer: Annotated[str, Form()] = "",
        remedy: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = desk.manager(request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        if not 0 < dispute <= MOST:
            raise NotFoundError("there is no such dispute")
        own, role = own_of(desk, viewer), Role.MANAGER.value
        typed = {"decision": decision, "answer": answer, "remedy": remedy}

        def act() -> None:
            disputes.answer(dispute, decision, answer, remedy, own, role)

        return step(request, viewer, "answered", act, wrong=dispute, typed=typed)

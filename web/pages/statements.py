"""Monthly statements: a participant's list, one statement with its files, the manager's month."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web import qr, statement_words
from web.pages.desk import Desk
from web.ports import RefusedError, Viewer
from web.ports.statements import Statements
from web.security import check_csrf

DONE: Final = {
    "issued": "Issued. They are final now, and on their way to the ledger.",
    "payout": "Asked for. The building manager looks at it next.",
}


def add_routes(router: APIRouter, desk: Desk, statements: Statements) -> None:
    """Add the pages, the downloads and the issue."""
    _add_own(router, desk, statements)
    _add_month(router, desk, statements)


def _add_own(router: APIRouter, desk: Desk, statements: Statements) -> None:
    @router.get("/participants/{participant}/statements")
    def own(request: Request, participant: str) -> Response:
        viewer = desk.owner(request, participant)
        found = statements.own(participant)
        return desk.page(request, viewer, "statements_own.html", own=found, words=statement_words)

    @router.get("/participants/{participant}/statements/{number}")
    def one(request: Request, participant: str, number: str) -> Response:
        viewer = desk.owner(request, participant)
        return _show_one(desk, statements, request, viewer, (participant, number))

    @router.post("/participants/{participant}/statements/{number}/payout")
    def payout(
        request: Request,
        participant: str,
        number: str,
        iban: Annotated[str, Form()] = "",
        holder: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = desk.owner(request, participant)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            statements.ask_payout(participant, number, iban, holder)
        except RefusedError as error:
            typed = {"iban": iban, "holder": holder}
            which = (participant, number)
            return _show_one(desk, statements, request, viewer, which, error, typed=typed)
        where = f"/participants/{participant}/statements/{number}?done=payout"
        return RedirectResponse(where, status_code=303)

    @router.get("/participants/{participant}/statements/{number}/{form}")
    def file(request: Request, participant: str, number: str, form: str) -> Response:
        desk.owner(request, participant)
        content, media = statements.file(participant, number, form)
        name = f"statement-{number}.{form}"
        return Response(
            content,
            media_type=media,
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


def _show_one(
    desk: Desk,
    statements: Statements,
    request: Request,
    viewer: Viewer,
    which: tuple[str, str],
    error: RefusedError | None = None,
    **typed: object,
) -> Response:
    """Return the page of a participant's statement; with an error it keeps what was typed."""
    found = statements.one(*which)
    code = found.settling.code if found.settling else ""
    return desk.form(
        request,
        viewer,
        "statement.html",
        DONE,
        error,
        page=found,
        document=found.document,
        words=statement_words,
        code=qr.picture(code) if code else None,
        **{"typed": {}, **typed},
    )


def _add_month(router: APIRouter, desk: Desk, statements: Statements) -> None:
    @router.get("/statements")
    def month(request: Request, month: str = "") -> Response:
        return _show(desk, statements, request, desk.manager(request), month)

    @router.post("/statements/issue")
    def issue(
        request: Request,
        month: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = desk.manager(request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            statements.issue(month, viewer.role.value)
        except RefusedError as error:
            return _show(desk, statements, request, viewer, month, error)
        return RedirectResponse(f"/statements?month={month}&done=issued", status_code=303)


def _show(
    desk: Desk,
    statements: Statements,
    request: Request,
    viewer: Viewer,
    month: str,
    error: RefusedError | None = None,
) -> Response:
    return desk.form(
        request,
        viewer,
        "statements.html",
        DONE,
        error,
        page=statements.month(month),
        words=statement_words,
    )

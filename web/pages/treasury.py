"""The manager's page of the district's money: statements in, payments out, what agrees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import APIRouter, File, Form, UploadFile
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web.pages.desk import MAX_STATEMENT_BYTES, Desk, csv_file
from web.ports import RefusedError, Viewer
from web.ports.bank import Bank
from web.security import check_csrf

DONE: Final = {
    "import": "The statement is booked.",
    "assign": "Assigned: it is a top-up now.",
    "charge": "Booked as the district’s own.",
    "return": "It goes back with the next file for the bank.",
    "approve": "Approved.",
    "reject": "Rejected. The money is back where it came from.",
    "refused": "Taken back. The money is where it came from.",
    "export": "The file for the bank is ready below.",
    "nothing": "Nothing is ready for the bank: what is approved still waits for the ledger.",
}


def add_routes(router: APIRouter, desk: Desk, bank: Bank) -> None:
    """Add the page, the import, the decisions and the downloads."""
    add_page(router, desk, bank)
    add_import(router, desk, bank)
    add_unassigned(router, desk, bank)
    add_payouts(router, desk, bank)


def show(
    desk: Desk,
    bank: Bank,
    request: Request,
    viewer: Viewer,
    ref: str = "",
    error: RefusedError | None = None,
) -> Response:
    """Return the treasury page; an error stands beside what ``ref`` names."""
    return desk.form(
        request,
        viewer,
        "treasury.html",
        DONE,
        error,
        treasury=bank.treasury(),
        wrong=ref,
    )


def back(done: str) -> Response:
    """Lead back to the page, so that loading it again repeats nothing."""
    return RedirectResponse(f"/treasury?done={done}", status_code=303)


def step(
    desk: Desk, bank: Bank, request: Request, token: str, ref: str, action: Callable[[], str]
) -> Response:
    """Take one of the manager's steps; what is refused is said beside its row."""
    viewer = desk.manager(request)
    check_csrf(request, token, viewer.csrf_token)
    try:
        return back(action())
    except RefusedError as error:
        return show(desk, bank, request, viewer, ref, error)


def add_page(router: APIRouter, desk: Desk, bank: Bank) -> None:
    """Add the page and its downloads."""

    @router.get("/treasury")
    def treasury(request: Request) -> Response:
        return show(desk, bank, request, desk.manager(request))

    @router.get("/treasury/movements.csv")
    def movements(request: Request) -> Response:
        desk.manager(request)
        return csv_file(bank.entries_csv(), "wattloom-bank-movements.csv")

    @router.get("/treasury/exports/{message_id}")
    def exported(request: Request, message_id: str) -> Response:
        desk.manager(request)
        content = bank.export_file(message_id)  # only an id of ours gets past this line
        return Response(
            content,
            media_type="application/xml",
            headers={"Content-Disposition": f'attachment; filename="{message_id}.xml"'},
        )


def add_import(router: APIRouter, desk: Desk, bank: Bank) -> None:
    """Add the upload of a statement, shown first and booked when confirmed."""

    @router.post("/treasury/import")
    async def upload(
        request: Request,
        statement: Annotated[UploadFile | None, File()] = None,
        decimal: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = await run_in_threadpool(desk.manager, request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        name = (statement.filename or "") if statement else ""
        content = await statement.read(MAX_STATEMENT_BYTES + 1) if statement else b""

        def answer() -> Response:
            try:
                shown = bank.preview(name, content, decimal)
            except RefusedError as error:
                return show(desk, bank, request, viewer, "import", error)
            return desk.page(request, viewer, "treasury_preview.html", preview=shown)

        return await run_in_threadpool(answer)

    @router.post("/treasury/confirm")
    def confirm(
        request: Request,
        digest: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        def book() -> str:
            bank.confirm(digest)
            return "import"

        return step(desk, bank, request, csrf_token, "import", book)


def add_unassigned(router: APIRouter, desk: Desk, bank: Bank) -> None:
    """Add what a person says about a movement that nobody's reference claims."""

    @router.post("/treasury/assign")
    def assign(
        request: Request,
        ref: Annotated[str, Form()] = "",
        participant: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        def give() -> str:
            bank.assign(ref, participant)
            return "assign"

        return step(desk, bank, request, csrf_token, ref, give)

    @router.post("/treasury/charge")
    def charge(
        request: Request,
        ref: Annotated[str, Form()] = "",
        note: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        def book() -> str:
            bank.charge(ref, note)
            return "charge"

        return step(desk, bank, request, csrf_token, ref, book)

    @router.post("/treasury/return")
    def send_back(
        request: Request,
        ref: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        def send() -> str:
            bank.send_back(ref)
            return "return"

        return step(desk, bank, request, csrf_token, ref, send)


def add_payouts(router: APIRouter, desk: Desk, bank: Bank) -> None:
    """Add the decisions about withdrawals and the file for the bank."""

    @router.post("/treasury/decide")
    def decide(
        request: Request,
        ref: Annotated[str, Form()] = "",
        decision: Annotated[str, Form()] = "",
        reason: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        def settle() -> str:
            bank.decide(ref, decision, reason)
            return decision

        return step(desk, bank, request, csrf_token, ref, settle)

    @router.post("/treasury/export")
    def export(request: Request, csrf_token: Annotated[str, Form()] = "") -> Response:
        return step(
            desk,
            bank,
            request,
            csrf_token,
            "export",
            lambda: "export" if bank.export() else "nothing",
        )

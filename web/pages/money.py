"""A participant's money at the bank: paying in, taking out, and what came of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Final

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web import qr
from web.pages.desk import Desk
from web.ports import NotFoundError, Viewer
from web.ports.bank import Bank, RefusedError, Withdrawal
from web.security import check_csrf

DONE: Final = {
    "withdrawal": "Asked for and set aside. The building manager looks at it next.",
    "cancelled": "Undone. The money is back in your balance.",
    "address": "Your own ledger address is registered.",
    "no-address": "Your own ledger address is not registered any more.",
}


def own(desk: Desk, request: Request, participant: str) -> Viewer:
    """Return who asks for a participant's money.

    Raises:
        NotFoundError: it is not theirs to see.
    """
    viewer = desk.customer(request)
    if participant not in {each for each, _ in desk.views.participants(viewer)}:
        raise NotFoundError("there is no such participant among yours")
    return viewer


def add_routes(router: APIRouter, desk: Desk, bank: Bank) -> None:
    """Add the money page, its forms and its table to take away."""
    add_page(router, desk, bank)
    add_withdrawals(router, desk, bank)
    add_address(router, desk, bank)


def show(
    desk: Desk, bank: Bank, request: Request, viewer: Viewer, participant: str, **context: object
) -> Response:
    """Return the money page; with an error it keeps what was typed."""
    money = bank.money(participant)
    page = desk.page(
        request,
        viewer,
        "money.html",
        money=money,
        code=qr.picture(money.code) if money.code else None,
        done=DONE.get(request.query_params.get("done", "")),
        **{"form": "", "error": None, "typed": {}, **context},
    )
    page.status_code = 422 if context.get("error") else 200
    return page


def back(participant: str, done: str) -> Response:
    """Lead back to the money page, so that loading it again repeats nothing."""
    return RedirectResponse(f"/participants/{participant}/money?done={done}", status_code=303)


def add_page(router: APIRouter, desk: Desk, bank: Bank) -> None:
    """Add the page and the CSV."""

    @router.get("/participants/{participant}/money")
    def money(request: Request, participant: str) -> Response:
        viewer = own(desk, request, participant)
        return show(desk, bank, request, viewer, participant)

    @router.get("/participants/{participant}/money.csv")
    def money_csv(request: Request, participant: str) -> Response:
        own(desk, request, participant)
        return csv_file(bank.lines_csv(participant), "wattloom-money.csv")


def csv_file(content: bytes, filename: str) -> Response:
    """Return a CSV to be saved."""
    return Response(
        content,
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


def add_withdrawals(router: APIRouter, desk: Desk, bank: Bank) -> None:
    """Add asking for a withdrawal, and undoing it."""

    @router.post("/participants/{participant}/money/withdraw")
    def withdraw(
        request: Request,
        participant: str,
        kind: Annotated[str, Form()] = "bank",
        amount: Annotated[str, Form()] = "",
        iban: Annotated[str, Form()] = "",
        holder: Annotated[str, Form()] = "",
        nonce: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = own(desk, request, participant)
        check_csrf(request, csrf_token, viewer.csrf_token)
        asked = Withdrawal(kind, amount, iban, holder, nonce)
        try:
            bank.withdraw(participant, asked)
        except RefusedError as error:
            return show(
                desk,
                bank,
                request,
                viewer,
                participant,
                form=asked.kind,
                error=error,
                typed=asdict(asked),
            )
        return back(participant, "withdrawal")

    @router.post("/participants/{participant}/money/cancel")
    def cancel(
        request: Request,
        participant: str,
        ref: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = own(desk, request, participant)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            bank.cancel(participant, ref)
        except RefusedError as error:
            return show(desk, bank, request, viewer, participant, form="cancel", error=error)
        return back(participant, "cancelled")


def add_address(router: APIRouter, desk: Desk, bank: Bank) -> None:
    """Add registering a ledger address of one's own."""

    @router.post("/participants/{participant}/money/address")
    def address(
        request: Request,
        participant: str,
        address: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = own(desk, request, participant)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            bank.set_address(participant, address)
        except RefusedError as error:
            typed = {"address": address}
            return show(
                desk, bank, request, viewer, participant, form="address", error=error, typed=typed
            )
        return back(participant, "address" if address.strip() else "no-address")

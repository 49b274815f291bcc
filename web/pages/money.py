"""A participant's money at the bank: paying in, taking out, and what came of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Final

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web import qr
from web.pages.desk import Desk, csv_file
from web.ports import RefusedError, Viewer
from web.ports.bank import Bank, Withdrawal
from web.security import check_csrf

DONE: Final = {
    "withdrawal": "Asked for and set aside. The building manager looks at it next.",
    "cancelled": "Undone. The money is back in your balance.",
    "address": "Your own ledger address is registered.",
    "no-address": "Your own ledger address is not registered any more.",
}


def add_routes(router: APIRouter, desk: Desk, bank: Bank) -> None:
    """Add the money page, its forms and its table to take away."""
    add_page(router, desk, bank)
    add_withdrawals(router, desk, bank)
    add_address(router, desk, bank)


def show(
    desk: Desk,
    bank: Bank,
    request: Request,
    viewer: Viewer,
    participant: str,
    error: RefusedError | None = None,
    **typed: object,
) -> Response:
    """Return the money page; with an error it keeps what was typed."""
    money = bank.money(participant)
    return desk.form(
        request,
        viewer,
        "money.html",
        DONE,
        error,
        money=money,
        code=qr.picture(money.code) if money.code else None,
        **{"form": "", "typed": {}, **typed},
    )


def back(participant: str, done: str) -> Response:
    """Lead back to the money page, so that loading it again repeats nothing."""
    return RedirectResponse(f"/participants/{participant}/money?done={done}", status_code=303)


def add_page(router: APIRouter, desk: Desk, bank: Bank) -> None:
    """Add the page and the CSV."""

    @router.get("/participants/{participant}/money")
    def money(request: Request, participant: str) -> Response:
        viewer = desk.owner(request, participant)
        return show(desk, bank, request, viewer, participant)

    @router.get("/participants/{participant}/money.csv")
    def money_csv(request: Request, participant: str) -> Response:
        desk.owner(request, participant)
        return csv_file(bank.lines_csv(participant), "wattloom-money.csv")


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
        viewer = desk.owner(request, participant)
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
        viewer = desk.owner(request, participant)
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
        viewer = desk.owner(request, participant)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            bank.set_address(participant, address)
        except RefusedError as error:
            typed = {"address": address}
            return show(
                desk, bank, request, viewer, participant, form="address", error=error, typed=typed
            )
        return back(participant, "address" if address.strip() else "no-address")

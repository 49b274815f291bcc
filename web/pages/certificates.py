"""Certificates of green energy: where one's power came from, and what to do with the rest."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web.pages.desk import Desk
from web.ports import RefusedError, Viewer
from web.ports.certificates import AskedAction, CertificateMonth, Certificates
from web.security import check_csrf

ACTIONS: Final = {
    "claim": "Claim for my own use",
    "transfer": "Pass on to another account",
    "cancel": "Cancel for a purpose",
    "withdraw": "Take off this register",
}
MEANING: Final = {
    "claim": "They count as your own consumption of green energy from then on. A claimed "
    "certificate stays claimed: nobody can use it again, and nothing undoes it.",
    "transfer": "They are the other account’s from then on. Only its holder can give them back.",
    "cancel": "They are used up for the purpose that you name, such as an event or a guest who "
    "charged a car, and nothing undoes it.",
    "withdraw": "They leave this register, so that another one can hold them, and nothing brings "
    "them back here.",
}
DONE: Final = {
    "claim": "Claimed: they count as your own consumption.",
    "transfer": "Passed on.",
    "cancel": "Cancelled for the purpose that you named.",
    "withdraw": "Withdrawn from this register.",
}


def add_routes(router: APIRouter, desk: Desk, certificates: Certificates) -> None:
    """Add the list of accounts, an account's page, and its form."""

    @router.get("/certificates")
    def held(request: Request) -> Response:
        viewer = desk.customer(request)
        if viewer.participant:
            return _back(viewer.participant)
        lines = certificates.held(desk.views.participants(viewer))
        return desk.page(request, viewer, "certificates_held.html", lines=lines, shares=shares)

    @router.get("/participants/{participant}/certificates")
    def page(request: Request, participant: str, before: str = "") -> Response:
        viewer = desk.owner(request, participant)
        try:
            return show(desk, certificates, request, viewer, participant, before=before[:10])
        except RefusedError:
            return _back(participant)

    _add_acting(router, desk, certificates)


def _add_acting(router: APIRouter, desk: Desk, certificates: Certificates) -> None:
    @router.post("/participants/{participant}/certificates")
    def act(
        request: Request,
        participant: str,
        asked: Annotated[AskedAction, Depends(_asked)],
        step: Annotated[str, Form()] = "ask",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = desk.owner(request, participant)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            if step == "do":
                certificates.act(participant, asked, viewer.role.value)
                return _back(participant, f"?done={asked.action}")
            told, error = certificates.preview(participant, asked), None
        except RefusedError as refused:
            told, error = None, refused
        return show(
            desk, certificates, request, viewer, participant, typed=asked, told=told, error=error
        )


def show(
    desk: Desk,
    certificates: Certificates,
    request: Request,
    viewer: Viewer,
    participant: str,
    error: RefusedError | None = None,
    before: str = "",
    **asked: object,
) -> Response:
    """Return an account's page, with what was asked for at its top."""
    page = certificates.certificates(participant, before)
    return desk.form(
        request,
        viewer,
        "certificates.html",
        DONE,
        error,
        page=page,
        month=f"{date.fromisoformat(page.month.month + '-01'):%B %Y}",
        shares=shares(page.month),
        actions=ACTIONS,
        meaning=MEANING,
        **{"typed": AskedAction(), "told": None, **asked},
    )


def shares(month: CertificateMonth) -> list[tuple[str, str, int, int | None]]:
    """Return (class, words, Wh, ppm of the consumption): own roof, neighbours, the rest."""
    own = min(month.self_used_wh, month.consumption_wh)
    matched = min(max(month.matched_wh, own), month.consumption_wh)
    parts = (
        ("solar", "From your own roof or storage", own),
        ("shared", "From neighbours’ roofs", matched - own),
        ("grid", "Without a certificate", month.consumption_wh - matched),
    )
    whole_wh = month.consumption_wh
    return [(*part, part[-1] * 1_000_000 // whole_wh if whole_wh else None) for part in parts]


def _back(participant: str, query: str = "") -> Response:
    return RedirectResponse(f"/participants/{participant}/certificates{query}", status_code=303)


async def _asked(request: Request) -> AskedAction:
    form = await request.form()
    given = {item.name: form.get(item.name) for item in fields(AskedAction)}
    typed = {name: value[:80] for name, value in given.items() if isinstance(value, str)}
    return replace(AskedAction(), **typed)

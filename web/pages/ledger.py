"""The ledger: milestones, blocks, addresses, and a search that leads to all of them."""

from __future__ import annotations

import re
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web.pages.desk import Desk
from web.ports import NotFoundError
from web.ports.ledger import LedgerSilentError, LedgerViews

PAGE_SIZE: Final = 12
LONGEST_SEARCH: Final = 128
_INDEX = re.compile(r"[1-9][0-9]{0,9}")
_BLOCK_ID = re.compile(r"[0-9a-f]{64}")


def add_routes(router: APIRouter, desk: Desk, ledger: LedgerViews) -> None:
    """Add the ledger's pages over their own port."""
    add_overview(router, desk, ledger)
    add_details(router, desk, ledger)


def add_overview(router: APIRouter, desk: Desk, ledger: LedgerViews) -> None:
    """Add the whole ledger, and the search."""

    @router.get("/ledger")
    def overview(request: Request, before: str | None = None) -> Response:
        viewer = desk.viewer(request)
        below = None if before is None else known_index(before)
        try:
            shown = ledger.overview(viewer, below, PAGE_SIZE)
        except LedgerSilentError as error:
            return silent(desk, request, error)
        return desk.page(request, viewer, "ledger.html", shown=shown, before=below)

    @router.get("/ledger/search")
    def search(request: Request, q: str = "") -> Response:
        viewer = desk.viewer(request)
        try:
            found = ledger.find(viewer, q) if 0 < len(q) <= LONGEST_SEARCH else None
        except LedgerSilentError as error:
            return silent(desk, request, error)
        if found:
            return RedirectResponse(f"/ledger/{found}", status_code=303)
        return desk.page(request, viewer, "ledger_search.html", asked=q[:LONGEST_SEARCH])


def add_details(router: APIRouter, desk: Desk, ledger: LedgerViews) -> None:
    """Add the pages of one milestone, block or address."""

    @router.get("/ledger/milestones/{index}")
    def milestone(request: Request, index: str) -> Response:
        viewer = desk.viewer(request)
        try:
            shown = ledger.milestone(viewer, known_index(index))
        except LedgerSilentError as error:
            return silent(desk, request, error)
        return desk.page(request, viewer, "ledger_milestone.html", shown=shown)

    @router.get("/ledger/blocks/{block_id}")
    def block(request: Request, block_id: str) -> Response:
        viewer = desk.viewer(request)
        if not _BLOCK_ID.fullmatch(block_id):
            raise NotFoundError("this is no block id: 64 digits of lowercase hex")
        try:
            shown = ledger.block(viewer, block_id)
        except LedgerSilentError as error:
            return silent(desk, request, error)
        return desk.page(request, viewer, "ledger_block.html", shown=shown)

    @router.get("/ledger/addresses/{address}")
    def address(request: Request, address: str) -> Response:
        viewer = desk.customer(request)
        try:
            shown = ledger.address(viewer, address)
        except LedgerSilentError as error:
            return silent(desk, request, error)
        return desk.page(request, viewer, "ledger_address.html", shown=shown)


def known_index(text: str) -> int:
    """Return a milestone's index.

    Raises:
        NotFoundError: it is none in its one spelling.
    """
    if not _INDEX.fullmatch(text):
        raise NotFoundError("this is no milestone: they are counted from 1")
    return int(text)


def silent(desk: Desk, request: Request, error: LedgerSilentError) -> Response:
    """Return the page that stands in while the ledger does not answer; a live one asks again."""
    viewer = desk.viewer(request)
    response = desk.page(request, viewer, "ledger_silent.html", since_ms=error.since_ms)
    response.status_code = 503
    response.headers["Retry-After"] = "5"
    return response

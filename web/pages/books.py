"""The manager's books: a trial balance, the accounts of a group, the entries of an account."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from web.pages.desk import Desk, csv_file
from web.ports import NotFoundError, RefusedError
from web.ports.books import Books

_Text = Annotated[str, Query(max_length=80)]
_Number = Annotated[int, Query(ge=1, lt=2**31)]


def add_routes(router: APIRouter, desk: Desk, books: Books) -> None:
    """Add the trial balance, its file, and the way down to an entry."""

    @router.get("/books")
    def trial(request: Request, month: _Text = "", at: _Text = "") -> Response:
        viewer = desk.manager(request)
        error: RefusedError | None = None
        try:
            found = books.trial(month, at)
        except RefusedError as refused:
            error, found = refused, books.trial("", "")
        return desk.form(request, viewer, "books.html", {}, error, books=found, typed_at=at)

    @router.get("/books/trial-balance.csv")
    def csv(request: Request, month: _Text = "", at: _Text = "") -> Response:
        desk.manager(request)
        try:
            content = books.csv(month, at)
        except RefusedError as refused:
            raise NotFoundError(str(refused)) from refused
        name = (at or month or "now").replace(":", "")
        safe = "".join(c for c in name if c.isalnum() or c == "-")
        return csv_file(content, f"trial-balance-{safe}.csv")

    @router.get("/books/groups/{key}")
    def group(request: Request, key: str, month: _Text = "", page: _Number = 1) -> Response:
        viewer = desk.manager(request)
        try:
            found = books.group(key, month, page)
        except RefusedError as refused:
            raise NotFoundError(str(refused)) from refused
        return desk.page(request, viewer, "books_group.html", books=found)

    @router.get("/books/account")
    def account(
        request: Request, name: _Text = "", month: _Text = "", before: _Number | None = None
    ) -> Response:
        viewer = desk.manager(request)
        try:
            found = books.account(name, month, before)
        except RefusedError as refused:
            raise NotFoundError(str(refused)) from refused
        return desk.page(request, viewer, "books_account.html", books=found)

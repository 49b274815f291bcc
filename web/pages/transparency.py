"""The transparency page: checkpoints, their consistency, and the public keys. No login."""

from __future__ import annotations

import re
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from web import qr
from web.pages.desk import Desk, render
from web.pages.proofs import attachment
from web.ports import NotFoundError
from web.security import read_cookie

PAGE_SIZE: Final = 6
_SIZE = re.compile(r"[1-9][0-9]{0,15}")


def add_routes(router: APIRouter, desk: Desk) -> None:
    """Add the page and the proofs that it offers."""

    @router.get("/transparency")
    def transparency(request: Request, before: str | None = None) -> Response:
        below = None if before is None else known_size(before)
        shown = desk.views.transparency(below, PAGE_SIZE)
        viewer = desk.sessions.viewer(read_cookie(request))
        found = {"shown": shown, "before": below, "qr": qr, "layout": "open.html"}
        if viewer is None:
            return render("transparency.html", request=request, viewer=None, **found)
        return desk.page(request, viewer, "transparency.html", **(found | {"layout": "frame.html"}))

    @router.get("/transparency/consistency/{old}/{new}")
    def consistency(old: str, new: str) -> Response:
        content = desk.views.consistency_file(known_size(old), known_size(new))
        return attachment(content, f"wattloom-consistency-{old}-{new}.json")


def known_size(text: str) -> int:
    """Return a checkpoint's size.

    Raises:
        NotFoundError: it is none in its one spelling.
    """
    if not _SIZE.fullmatch(text):
        raise NotFoundError("this is no size of a log: 1 or more entries")
    return int(text)

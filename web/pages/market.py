"""How an interval was cleared, and what would have been otherwise."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from web import curves, limits_words
from web.pages.desk import Desk
from web.pages.intervals import known_key
from web.ports.market import Asked, Market, QuestionError, TooManyQuestionsError

_FIELDS: Final = tuple(each.name for each in fields(Asked))
_LONGEST: Final = 80  # characters of a field; whoever sends more typed none of it


def add_routes(router: APIRouter, desk: Desk, market: Market) -> None:
    """Add the market page of an interval, and "what if"."""

    @router.get("/intervals/{key}/market")
    def cleared(request: Request, key: str) -> Response:
        viewer = desk.viewer(request)
        page = market.market(viewer, known_key(key))
        return desk.page(
            request,
            viewer,
            "market.html",
            page=page,
            drawn=curves.draw(page) if page.cleared else None,
            size=(curves.WIDTH, curves.HEIGHT),
            left=curves.LEFT,
            right=curves.RIGHT,
            top=curves.TOP,
            bottom=curves.BOTTOM,
            wish=limits_words.order_wish,
        )

    @router.get("/intervals/{key}/market/what-if")
    def what_if(request: Request, key: str) -> Response:
        viewer = desk.customer(request)
        key = known_key(key)
        typed = {name: request.query_params.get(name, "")[:_LONGEST] for name in _FIELDS}
        # Choosing another participant asks nothing yet: the form for them comes first.
        answer = "ask" in request.query_params
        error, status = None, 200
        try:
            page = market.what_if(viewer, key, Asked(**typed), answer=answer)
        except QuestionError as wrong:
            error, status = wrong, 429 if isinstance(wrong, TooManyQuestionsError) else 422
            page = market.what_if(viewer, key, Asked(typed["participant"]), answer=False)
        shown = desk.page(request, viewer, "what_if.html", page=page, typed=typed, error=error)
        shown.status_code = status
        return shown

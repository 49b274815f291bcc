"""``/api/v1/certificates``: granular certificates, with the field names of EnergyTag's API.

People see their own by their page session, the manager those they manage; the grid operator sees
energy and never accounts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from app.api.problems import ProblemError
from app.files.certificates import Item, as_csv, as_json, read
from app.files.rows import TableFileError
from app.services.certificates import query
from app.services.certificates.accounts import Choice, take_in
from app.services.certificates.query import Sight
from app.services.house import House
from market.certificate import CertificateError
from metering.interval import IntervalError
from web.ports import Role, Sessions, Viewer
from web.security import CsrfError, check_csrf, read_cookie

_MOST_EXPORTED: Final = 100_000
_Key = Annotated[str, Query(max_length=40)]
_TYPES: Final = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


class CertificateList(BaseModel):
    """Bundles, the oldest production first; ``next`` is the cursor of the page after, or null."""

    items: Sequence[Item]
    next: str | None


class ImportResult(BaseModel):
    """What a file brought, or (``written`` false) would bring."""

    bundles: int
    wh: int
    written: bool


def build_router(house: House, sessions: Sessions, managed: Collection[str]) -> APIRouter:
    """Return the routes; ``managed`` are the participants of the building manager."""
    router = APIRouter(prefix="/api/v1/certificates", tags=["certificates"])
    _add_reading(router, house, sessions, managed)
    _add_importing(router, house, sessions, managed)
    return router


def _add_reading(
    router: APIRouter, house: House, sessions: Sessions, managed: Collection[str]
) -> None:
    @router.get("", response_model=CertificateList)
    def certificates(
        request: Request,
        device: _Key = "",
        start: Annotated[str, Query(alias="from", max_length=40)] = "",
        to: _Key = "",
        status: _Key = "",
        cursor: Annotated[str, Query(max_length=80)] = "",
        limit: Annotated[int, Query(ge=1, le=query.MOST)] = 100,
    ) -> CertificateList:
        """Return bundles of certificates, page by page."""
        sight = _sight(_viewer(request, sessions), managed)
        with _refused():
            choice = Choice(device=device, first=start, before=to, status=status)
            found = query.page(house, sight, choice, cursor, limit)
        return CertificateList(items=found.items, next=found.after)

    @router.get("/export")
    def export(
        request: Request,
        form: Annotated[Literal["csv", "json"], Query(alias="format")] = "csv",
        device: _Key = "",
        start: Annotated[str, Query(alias="from", max_length=40)] = "",
        to: _Key = "",
        status: _Key = "",
    ) -> Response:
        """Return all bundles that the filters leave, as a file."""
        sight = _sight(_viewer(request, sessions), managed)
        with _refused():
            choice = Choice(device=device, first=start, before=to, status=status)
            items = list(islice(query.every(house, sight, choice), _MOST_EXPORTED + 1))
        if len(items) > _MOST_EXPORTED:
            raise ProblemError(422, f"more than {_MOST_EXPORTED} bundles: narrow from and to")
        content = as_csv(items) if form == "csv" else as_json(items)
        name = f'attachment; filename="certificates.{form}"'
        return Response(content, media_type=_TYPES[form], headers={"Content-Disposition": name})


def _add_importing(
    router: APIRouter, house: House, sessions: Sessions, managed: Collection[str]
) -> None:
    @router.post("/import", response_model=ImportResult)
    def import_(
        request: Request,
        account: _Key,
        content: Annotated[bytes, Depends(_content)],
        *,
        form: Annotated[Literal["csv", "json"], Query(alias="format")] = "csv",
        preview: Annotated[bool, Query()] = False,
    ) -> ImportResult:
        """Take bundles issued elsewhere into a managed account: a whole file or none of it."""
        viewer = _viewer(request, sessions)
        if viewer.role is not Role.MANAGER or account not in managed:
            raise ProblemError(404, "there is no such account among those that you manage")
        try:
            check_csrf(request, "", viewer.csrf_token)
        except CsrfError as error:
            raise ProblemError(403, str(error)) from error
        with _refused():
            items = read(content, form)
            wh = take_in(house, account, items, viewer.role.value, preview=preview)
        return ImportResult(bundles=len(items), wh=wh, written=not preview)


async def _content(request: Request) -> bytes:
    return await request.body()


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except (CertificateError, IntervalError, TableFileError) as error:
        raise ProblemError(422, str(error)) from error


def _viewer(request: Request, sessions: Sessions) -> Viewer:
    viewer = sessions.viewer(read_cookie(request))
    if viewer is None:
        raise ProblemError(401, "certificates are somebody's: log in to the pages first")
    return viewer


def _sight(viewer: Viewer, managed: Collection[str]) -> Sight:
    if viewer.role is Role.OPERATOR:
        return Sight(None)
    if viewer.role is Role.MANAGER:
        return Sight(frozenset(managed))
    return Sight(frozenset({viewer.participant}) if viewer.participant else frozenset())

"""The sharing keys: who gets which part of a roof's surplus, and what it came to today."""

from __future__ import annotations

import binascii
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import APIRouter, File, Form, UploadFile
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web.pages.desk import MAX_KEYS_BYTES, Desk, csv_file
from web.ports import NotFoundError, Role, Viewer
from web.ports.sharing import KeysRefusedError, Sharing
from web.security import check_csrf

DONE: Final = {
    "import": "The keys are kept. They hold from their midnight on.",
    "undo": "Undone. What held before holds on.",
}


def add_routes(router: APIRouter, desk: Desk, sharing: Sharing) -> None:
    """Add the page, the file to take away, the import and its undoing."""
    add_page(router, desk, sharing)
    add_import(router, desk, sharing)


def show(
    desk: Desk,
    sharing: Sharing,
    request: Request,
    viewer: Viewer,
    error: KeysRefusedError | None = None,
) -> Response:
    """Return the manager's page, with the reasons where something was refused."""
    return desk.form(
        request,
        viewer,
        "sharing.html",
        DONE,
        error,
        sharing=sharing.page(),
    )


def step(
    desk: Desk,
    sharing: Sharing,
    request: Request,
    token: str,
    done: str,
    action: Callable[[], object],
) -> Response:
    """Take one of the manager's steps, and lead back so that loading again repeats nothing."""
    viewer = desk.manager(request)
    check_csrf(request, token, viewer.csrf_token)
    try:
        action()
    except KeysRefusedError as error:
        return show(desk, sharing, request, viewer, error)
    return RedirectResponse(f"/sharing?done={done}", status_code=303)


def add_page(router: APIRouter, desk: Desk, sharing: Sharing) -> None:
    """Add the page as each role sees it, and the keys as a file."""

    @router.get("/sharing")
    def page(request: Request) -> Response:
        viewer = desk.viewer(request)
        if viewer.role is Role.MANAGER:
            return show(desk, sharing, request, viewer)
        if viewer.role is Role.OPERATOR:
            return desk.page(request, viewer, "sharing_energy.html", today=sharing.today())
        if viewer.participant is None:
            raise NotFoundError("whose share it is has to be known")
        own = sharing.own(viewer.participant)
        return desk.page(request, viewer, "sharing_own.html", own=own)

    @router.get("/sharing/keys.csv")
    def keys_csv(request: Request) -> Response:
        desk.manager(request)
        return csv_file(sharing.keys_csv(), "wattloom-sharing-keys.csv")


def add_import(router: APIRouter, desk: Desk, sharing: Sharing) -> None:
    """Add the upload of keys, shown first and written when confirmed, and its undoing."""

    @router.post("/sharing/import")
    async def upload(
        request: Request,
        keys: Annotated[UploadFile | None, File()] = None,
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = await run_in_threadpool(desk.manager, request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        name = (keys.filename or "") if keys else ""
        content = await keys.read(MAX_KEYS_BYTES + 1) if keys else b""

        def answer() -> Response:
            try:
                shown = sharing.preview(name, content)
            except KeysRefusedError as error:
                return show(desk, sharing, request, viewer, error)
            file = urlsafe_b64encode(shown.content).decode()
            return desk.page(request, viewer, "sharing_preview.html", preview=shown, file=file)

        return await run_in_threadpool(answer)

    @router.post("/sharing/confirm")
    def confirm(
        request: Request,
        name: Annotated[str, Form()] = "",
        file: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        def write() -> None:
            sharing.confirm(name, decoded(file))

        return step(desk, sharing, request, csrf_token, "import", write)

    @router.post("/sharing/undo")
    def undo(
        request: Request,
        number: Annotated[int, Form(ge=0, le=2**31 - 1)] = 0,  # none has it
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        return step(desk, sharing, request, csrf_token, "undo", lambda: sharing.undo(number))


def decoded(file: str) -> bytes:
    """Return the file that a preview sent along.

    Raises:
        KeysRefusedError: it is not what the preview sent.
    """
    try:
        return b64decode(file.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise KeysRefusedError(
            ["the preview was changed on its way: choose the file again"]
        ) from error

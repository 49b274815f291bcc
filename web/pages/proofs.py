"""Proofs: download one, verify one, and the district's public keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, UploadFile
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from web import present
from web.pages.desk import MAX_UPLOAD_BYTES, Desk, render
from web.pages.intervals import known_key
from web.security import check_csrf


def attachment(content: bytes, filename: str) -> Response:
    """Return a JSON file to be saved. The name is built from checked parts only."""
    return Response(
        content,
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


def proof_filename(key: str) -> str:
    """Return a file name without colons, which some systems refuse; it names no person."""
    return f"wattloom-proof-{key.replace(':', '')}.json"


async def read_upload(proof: UploadFile | None) -> bytes:
    """Return the uploaded file's bytes.

    Raises:
        HTTPException: 422 without a file, 413 for one that is too big.
    """
    if proof is None or not proof.filename:
        raise HTTPException(422, "no file was chosen: choose a proof file first")
    content = await proof.read(MAX_UPLOAD_BYTES + 1)
    if len(content) > MAX_UPLOAD_BYTES:
        raise HTTPException(
            413, f"the file has more than {MAX_UPLOAD_BYTES // 1024}{present.NBSP}KiB"
        )
    if not content:
        raise HTTPException(422, "the file is empty: download the proof again")
    return content


def add_routes(router: APIRouter, desk: Desk) -> None:
    """Add the downloads and both ways to verify."""
    add_downloads(router, desk)
    add_own_verification(router, desk)
    add_upload(router, desk)


def add_downloads(router: APIRouter, desk: Desk) -> None:
    """Add the public keys, open to everybody, and the proofs, each open to its participant."""

    @router.get("/keys")
    def keys() -> Response:
        return attachment(desk.views.keys_file(), "wattloom-keys.json")

    @router.get("/proofs/{key}/{participant}")
    def proof(request: Request, key: str, participant: str) -> Response:
        viewer = desk.customer(request)
        content = desk.views.proof_file(viewer, known_key(key), participant)
        return attachment(content, proof_filename(key))


def add_own_verification(router: APIRouter, desk: Desk) -> None:
    """Add the button beside a receipt: a fragment for htmx, a page without it."""

    @router.post("/proofs/{key}/{participant}/verify")
    def verify_own(
        request: Request, key: str, participant: str, csrf_token: Annotated[str, Form()] = ""
    ) -> Response:
        viewer = desk.customer(request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        content = desk.views.proof_file(viewer, known_key(key), participant)
        verdict = desk.views.verify(content)
        if request.headers.get("hx-request") == "true":
            return render("_verdict.html", verdict=verdict)
        return desk.page(
            request, viewer, "verdict.html", verdict=verdict, key=key, participant=participant
        )


def add_upload(router: APIRouter, desk: Desk) -> None:
    """Add the page that judges a file from anywhere."""

    @router.get("/verify")
    def verify_form(request: Request) -> Response:
        return desk.page(request, desk.viewer(request), "verify.html", verdict=None, filename="")

    @router.post("/verify")
    async def verify_upload(
        request: Request,
        proof: Annotated[UploadFile | None, File()] = None,
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = await run_in_threadpool(desk.viewer, request)
        check_csrf(request, csrf_token, viewer.csrf_token)
        content = await read_upload(proof)
        verdict = await run_in_threadpool(desk.views.verify, content)
        return await run_in_threadpool(
            desk.page,
            request,
            viewer,
            "verify.html",
            verdict=verdict,
            filename=(proof.filename or "") if proof else "",
        )

"""``/api/v1/log``: the transparency log's checkpoints, and that it only grew. For everybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from app.api.problems import ProblemError
from app.services import transparency
from app.services.checkpoints import CheckpointError, consistency_proof, latest_note
from app.services.house import House
from web.ports.transparency import TransparencyPage

Size = Annotated[int, Query(ge=1, lt=2**53, description="entries of the log")]


class CheckpointItem(BaseModel):
    """One checkpoint; root and block in hex, the block null until it was sent to the ledger."""

    size: int
    root: str
    intervals: Sequence[str]
    state: str
    anchor_block: str | None
    cosigned_by: Sequence[str]
    mldsa: bool
    previous_size: int


class CheckpointList(BaseModel):
    """Checkpoints, newest first; ``next`` is the ``before`` of the next page, null at the end."""

    origin: str
    entries: int
    checkpoints: Sequence[CheckpointItem]
    next: int | None


def build_router(house: House) -> APIRouter:
    """Return the routes of the log; they need no login."""
    router = APIRouter(prefix="/api/v1/log", tags=["log"])

    @router.get("/checkpoint")
    def checkpoint() -> Response:
        """Return the newest checkpoint: a signed note (C2SP), cosignatures below."""
        try:
            return Response(latest_note(house), media_type="text/plain; charset=utf-8")
        except CheckpointError as error:
            raise ProblemError(404, str(error)) from error

    @router.get("/checkpoints")
    def checkpoints(
        before: Size | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
    ) -> CheckpointList:
        """Return the checkpoints below a size, newest first."""
        return _listed(transparency.page(house, before, limit))

    @router.get("/consistency")
    def consistency(
        old: Annotated[int, Query(alias="from", ge=1, lt=2**53)],
        new: Annotated[int, Query(alias="to", ge=1, lt=2**53)],
    ) -> Response:
        """Return the proof that the log only grew between two checkpoints' sizes."""
        try:
            content = consistency_proof(house, old, new)
        except CheckpointError as error:
            raise ProblemError(404, str(error)) from error
        return Response(content, media_type="application/json")

    return router


def _listed(page: TransparencyPage) -> CheckpointList:
    items = [
        CheckpointItem(
            size=line.size,
            root=line.root,
            intervals=line.intervals,
            state=line.state,
            anchor_block=line.anchor_block,
            cosigned_by=line.cosigned_by,
            mldsa=line.second_signature,
            previous_size=line.previous_size,
        )
        for line in page.checkpoints
    ]
    below = items[-1].size if page.more else None
    return CheckpointList(origin=page.origin, entries=page.entries, checkpoints=items, next=below)

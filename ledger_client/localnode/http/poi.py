"""Proofs of inclusion (/api/poi/v1), in the form of inx-poi."""

from __future__ import annotations

import json

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ledger_client.ledger import InclusionProof
from ledger_client.localnode.http.errors import BadRequestError, NotFoundError
from ledger_client.localnode.http.messages import answer, path_id, read_body
from ledger_client.localnode.node import LocalNode
from ledger_client.stardust.codec import StardustSyntaxError
from ledger_client.stardust.json_form import hex_text, inclusion_proof_json
from ledger_client.stardust.json_read import parse_json, read_block, read_milestone
from ledger_client.stardust.merkle import inclusion_path
from ledger_client.verify import LedgerKeys, canonical, verify_bytes

PREFIX = "/api/poi/v1"


class PoiApi:
    """Makes proofs of inclusion, and judges them with the keys that this node pins."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node

    def routes(self) -> list[BaseRoute]:
        """Return both routes."""
        return [
            Route(f"{PREFIX}/create/{{id}}", self.create),
            Route(f"{PREFIX}/validate", self.validate, methods=["POST"]),
        ]

    def create(self, request: Request) -> Response:
        """GET /create/{block id}: milestone, block and the path between; 400 before there is one.

        The original takes block ids alone, so does this one.
        """
        store, block_id = self._node.store, path_id(request, "id")
        row = store.block(block_id)
        if row is None:
            raise NotFoundError(f"block not found: {hex_text(block_id)}")
        milestone = store.milestone_at(row.milestone_index) if row.milestone_index else None
        if milestone is None:
            raise BadRequestError(f"no milestone references block {hex_text(block_id)} yet")
        ids = store.referenced_ids(milestone.index, applied_only=False)
        path = inclusion_path(ids, ids.index(block_id))
        proof = InclusionProof(milestone.payload, milestone.index, row.data, path, "inclusion")
        return answer(inclusion_proof_json(proof))

    async def validate(self, request: Request) -> Response:
        """POST /validate: does the proof hold, under the milestone keys of this network?"""
        body = await read_body(request)
        return answer({"valid": await run_in_threadpool(self._holds, body)})

    def _holds(self, body: bytes) -> bool:
        value = parse_json(body)
        if not isinstance(value, dict) or value.keys() != {"milestone", "block", "proof"}:
            raise StardustSyntaxError("proof: an object of milestone, block and proof is needed")
        read_milestone(value["milestone"])
        read_block(value["block"])
        keys = canonical(LedgerKeys(self._node.settings.pinned, 1)) + b"\n"
        # What the reader let pass is written anew: the verifier knows one spelling alone.
        return verify_bytes(json.dumps(value).encode(), keys).code == 0

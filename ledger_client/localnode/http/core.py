"""The core API of a Stardust node (/api/core/v2) over the embedded node.

Reading routes are plain functions, which Starlette runs in threads: a read may wait for a write.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ledger_client.localnode.http.cone import cone_roots
from ledger_client.localnode.http.errors import NotFoundError, UnsupportedMediaTypeError
from ledger_client.localnode.http.inbox import Inbox
from ledger_client.localnode.http.messages import (
    BINARY,
    JSON,
    answer,
    binary_answer,
    content_type,
    path_id,
    path_index,
    read_body,
    wants_binary,
)
from ledger_client.localnode.http.views import (
    block_metadata_json,
    hex_list,
    milestone_info_json,
    output_metadata_json,
    output_with_metadata_json,
    tip_json,
    utxo_changes_json,
)
from ledger_client.localnode.node import BELOW_MAX_DEPTH, LocalNode
from ledger_client.localnode.semantics import ConflictReason
from ledger_client.localnode.store import BlockRow, MilestoneRow, OutputRow
from ledger_client.stardust.block import Block
from ledger_client.stardust.json_form import JsonObject, block_json, hex_text, milestone_json
from ledger_client.stardust.json_read import parse_json, read_block
from ledger_client.stardust.milestone import PROTOCOL_VERSION, Milestone
from ledger_client.stardust.transaction import OUTPUT_ID_LENGTH, Transaction

PREFIX = "/api/core/v2"
HEALTHY_MILESTONE_AGE_S = 300
"""Beyond it (or three intervals, if longer) a node counts as out of touch, as the original's."""


class CoreApi:
    """The routes of the core API."""

    def __init__(self, node: LocalNode, inbox: Inbox, now: Callable[[], float] = time.time) -> None:
        self._node = node
        self._store = node.store
        self._inbox = inbox
        self._now = now

    def routes(self) -> list[BaseRoute]:
        """Return all routes, the busiest first."""
        milestones, transactions = f"{PREFIX}/milestones", f"{PREFIX}/transactions"
        return [
            Route(f"{PREFIX}/blocks", self.post_block, methods=["POST"]),
            Route(f"{PREFIX}/blocks/{{id}}", self.block),
            Route(f"{PREFIX}/blocks/{{id}}/metadata", self.block_metadata),
            Route(f"{PREFIX}/tips", self.tips),
            Route(f"{PREFIX}/info", self.info),
            Route(f"{PREFIX}/outputs/{{id}}", self.output),
            Route(f"{PREFIX}/outputs/{{id}}/metadata", self.output_metadata),
            Route(f"{transactions}/{{id}}/included-block", self.included_block),
            Route(f"{transactions}/{{id}}/included-block/metadata", self.included_metadata),
            Route(f"{milestones}/by-index/{{index}}", self.milestone),
            Route(f"{milestones}/by-index/{{index}}/utxo-changes", self.utxo_changes),
            Route(f"{milestones}/{{id}}", self.milestone),
            Route(f"{milestones}/{{id}}/utxo-changes", self.utxo_changes),
        ]

    # Node ---------------------------------------------------------------------------------------

    def is_healthy(self) -> bool:
        """Return whether milestones come when they should; always, where they come on demand.

        Where one is known to wait for signers, three intervals are patience enough.
        """
        interval_s = self._node.settings.milestone_interval_s
        if interval_s is None:
            return True
        age_s = self._now() - self._node.latest_milestone().timestamp
        patience_s = 0 if self._node.waiting_for_signatures else HEALTHY_MILESTONE_AGE_S
        return age_s <= max(patience_s, 3 * interval_s)

    def info(self, _request: Request) -> Response:
        """GET /info: what clients must know before they build a block."""
        latest = milestone_info_json(self._node.latest_milestone())
        return answer(
            {
                "name": "Wattloom",
                "version": version("wattloom"),
                "status": {
                    "isHealthy": self.is_healthy(),
                    "latestMilestone": latest,
                    "confirmedMilestone": latest,
                    "pruningIndex": 0,
                },
                "supportedProtocolVersions": [PROTOCOL_VERSION],
                "protocol": self._protocol(),
                "pendingProtocolParameters": [],
                "baseToken": {
                    "name": "Wattloom unit",
                    "tickerSymbol": "WLU",
                    "unit": "unit",
                    "decimals": 0,
                    "useMetricPrefix": False,
                },
                "metrics": self._metrics(),
                # A client asks for "pow" where it leaves the nonce to the node.
                "features": [] if self._node.settings.min_pow_score else ["pow"],
            }
        )

    def _protocol(self) -> JsonObject:
        settings = self._node.settings
        return {
            "version": PROTOCOL_VERSION,
            "networkName": settings.network,
            "bech32Hrp": settings.hrp,
            "minPowScore": settings.min_pow_score,
            "belowMaxDepth": BELOW_MAX_DEPTH,
            "rentStructure": {
                "vByteCost": settings.rent.v_byte_cost,
                "vByteFactorData": settings.rent.v_byte_factor_data,
                "vByteFactorKey": settings.rent.v_byte_factor_key,
            },
            "tokenSupply": str(settings.supply_units),
        }

    def _metrics(self) -> JsonObject:
        """Return the rates of the latest milestone; it references every block that came before."""
        latest = self._node.latest_milestone()
        before = self._store.milestone_at(latest.index - 1)
        seconds = latest.timestamp - before.timestamp if before else 0
        per_second = self._store.count_referenced(latest.index) // seconds if seconds else 0
        return {
            "blocksPerSecond": per_second,
            "referencedBlocksPerSecond": per_second,
            "referencedRate": 100,
        }

    def tips(self, _request: Request) -> Response:
        """GET /tips: parents for the next block."""
        return answer({"tips": hex_list(self._node.tips())})

    # Blocks -------------------------------------------------------------------------------------

    async def post_block(self, request: Request) -> Response:
        """POST /blocks: attach a block; 201 with its id once it is on disk."""
        kind = content_type(request)
        if kind not in {BINARY, JSON}:
            raise UnsupportedMediaTypeError(f"content type {kind!a:.60}: send {BINARY} or {JSON}")
        body = await read_body(request)
        if kind == JSON:
            body = await run_in_threadpool(self._block_of_json, body)
        shown = hex_text(await self._inbox.attach(body))
        return answer({"blockId": shown}, 201, {"Location": shown})

    def _block_of_json(self, body: bytes) -> bytes:
        return read_block(parse_json(body), self._node.tips).encode()

    def block(self, request: Request) -> Response:
        """GET /blocks/{id}: the block, as JSON or as its bytes."""
        return _block_answer(request, self._block(path_id(request, "id")))

    def block_metadata(self, request: Request) -> Response:
        """GET /blocks/{id}/metadata: what became of the block."""
        return self._metadata_answer(self._block(path_id(request, "id")))

    def included_block(self, request: Request) -> Response:
        """GET /transactions/{id}/included-block: the block whose transaction was applied."""
        return _block_answer(request, self._including(request))

    def included_metadata(self, request: Request) -> Response:
        """GET /transactions/{id}/included-block/metadata: that block's metadata."""
        return self._metadata_answer(self._including(request))

    def _block(self, block_id: bytes) -> BlockRow:
        row = self._store.block(block_id)
        if row is None:
            raise NotFoundError(f"block not found: {hex_text(block_id)}")
        return row

    def _including(self, request: Request) -> BlockRow:
        transaction_id = path_id(request, "id")
        for row in self._store.blocks_with_payload(transaction_id):
            if row.conflict == ConflictReason.NONE:
                return row
        raise NotFoundError(f"no block with this transaction applied: {hex_text(transaction_id)}")

    def _metadata_answer(self, row: BlockRow) -> Response:
        block = Block.decode(row.data)
        tip: JsonObject = {}
        if row.milestone_index is None:
            youngest, oldest = cone_roots(self._store, row)
            confirmed = self._node.latest_milestone().index
            tip = tip_json(confirmed, youngest, oldest, BELOW_MAX_DEPTH)
        return answer(block_metadata_json(row, block, tip))

    # Outputs ------------------------------------------------------------------------------------

    def output(self, request: Request) -> Response:
        """GET /outputs/{id}: an output with its metadata, or its bytes."""
        row, ledger_index = self._output(request)
        if wants_binary(request):
            return binary_answer(row.data)
        return answer(output_with_metadata_json(row, ledger_index))

    def output_metadata(self, request: Request) -> Response:
        """GET /outputs/{id}/metadata."""
        return answer(output_metadata_json(*self._output(request)))

    def _output(self, request: Request) -> tuple[OutputRow, int]:
        """Return an output and the ledger's index, both of the same moment."""
        output_id = path_id(request, "id", OUTPUT_ID_LENGTH)
        with self._store.lock:
            row = self._store.output(output_id)
            if row is None:
                raise NotFoundError(f"output not found: {hex_text(output_id)}")
            return row, self._node.latest_milestone().index

    # Milestones ---------------------------------------------------------------------------------

    def milestone(self, request: Request) -> Response:
        """GET /milestones/{id} and /milestones/by-index/{index}: the payload."""
        row = self._milestone(request)
        if wants_binary(request):
            return binary_answer(row.payload)
        return answer(milestone_json(Milestone.decode(row.payload)))

    def utxo_changes(self, request: Request) -> Response:
        """GET .../utxo-changes: the outputs that the milestone created and consumed."""
        index = self._milestone(request).index
        blocks = map(self._store.block, self._store.referenced_ids(index, applied_only=True))
        payloads = (Block.decode(row.data).payload for row in blocks if row)
        applied = (payload for payload in payloads if isinstance(payload, Transaction))
        return answer(utxo_changes_json(index, applied))

    def _milestone(self, request: Request) -> MilestoneRow:
        if "index" in request.path_params:
            index = path_index(request)
            row, shown = self._store.milestone_at(index), str(index)
        else:
            milestone_id = path_id(request, "id")
            row, shown = self._store.milestone(milestone_id), hex_text(milestone_id)
        if row is None:
            raise NotFoundError(f"milestone not found: {shown}")
        return row


def _block_answer(request: Request, row: BlockRow) -> Response:
    if wants_binary(request):
        return binary_answer(row.data)
    return answer(block_json(Block.decode(row.data)))

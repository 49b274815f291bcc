"""A Stardust node as a transport: it tells the truth of a small network, unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx

from ledger_client.ledger import LedgerRefusedError
from ledger_client.remotenode import NodeClient
from ledger_client.stardust.bech32 import decode_address_text
from ledger_client.stardust.json_form import inclusion_proof_json
from tests.ledger_client.tangle_kit import NETWORK, SUPPLY, Net

BINARY = "application/vnd.iota.serializer-v1"
TOKEN = "very-secret-token"
Answer = httpx.Response


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def answer(value: object, status: int = 200) -> Answer:
    return Answer(status, json=value)


def binary(data: bytes) -> Answer:
    return Answer(200, content=data, headers={"Content-Type": BINARY})


def refusal(status: int, message: str = "no") -> Answer:
    return answer({"error": {"code": str(status), "message": message}}, status)


def identifier(parts: list[str]) -> bytes:
    return bytes.fromhex(parts[0].removeprefix("0x"))


class FakeStardust:
    """Serves a :class:`Net`; ``mischief`` changes what it says, by the end of the path."""

    def __init__(self, net: Net, name: str = NETWORK, page: int = 2) -> None:
        self.net = net
        self.network = name
        self.page = page
        self.asked: list[str] = []
        self.headers: list[httpx.Headers] = []
        self.mischief: Callable[[httpx.Request, Answer], Answer] = lambda _request, told: told
        self.forgotten: set[bytes] = set()
        self.advice: dict[bytes, dict[str, bool]] = {}
        self.has_white_flag_index = True
        self.lists_spent_at_once = True

    def __call__(self, request: httpx.Request) -> Answer:
        self.asked.append(f"{request.method} {request.url.path}")
        self.headers.append(request.headers)
        try:
            told = self._answer(request)
        except LedgerRefusedError as error:
            told = refusal(400, str(error))
        return self.mischief(request, told)

    def _answer(self, request: httpx.Request) -> Answer:
        service, _version, what, *rest = request.url.path.removeprefix("/api/").split("/")
        routes: dict[tuple[str, str], Callable[[], Answer]] = {
            ("core", "info"): lambda: answer(self.info()),
            ("core", "tips"): lambda: answer({"tips": list(map(hexed, self.net.node.tips()))}),
            ("core", "blocks"): lambda: self._block(rest) if rest else self._take(request.content),
            ("core", "transactions"): lambda: self._included(rest),
            ("core", "milestones"): lambda: self._milestone(rest),
            ("core", "outputs"): lambda: self._output(rest),
            ("indexer", "outputs"): lambda: self._indexer(request.url.params),
            ("poi", "create"): lambda: self._proof(rest),
        }
        return routes.get((service, what), lambda: refusal(404))()

    def _take(self, block: bytes) -> Answer:
        return answer({"blockId": hexed(self.net.node.attach(block))}, 201)

    def _proof(self, rest: list[str]) -> Answer:
        row = self.net.node.store.block(identifier(rest))
        confirmed = row is not None and row.milestone_index is not None
        proof = self.net.ledger.inclusion_proof(identifier(rest)) if confirmed else None
        return answer(inclusion_proof_json(proof)) if proof else refusal(400, "not referenced")

    def info(self) -> dict[str, Any]:
        index = self.net.node.latest_milestone().index
        return {
            "name": "FAKE",
            "version": "2.0.0",
            "status": {
                "isHealthy": True,
                "latestMilestone": {"index": index, "timestamp": self.net.now},
                "confirmedMilestone": {"index": index},
                "pruningIndex": 0,
            },
            "protocol": {
                "version": 2,
                "networkName": self.network,
                "bech32Hrp": "wl",
                "minPowScore": 0,
                "belowMaxDepth": 15,
                "rentStructure": {"vByteCost": 1, "vByteFactorData": 0, "vByteFactorKey": 1},
                "tokenSupply": str(SUPPLY),
            },
            "features": [],
        }

    def _block(self, rest: list[str]) -> Answer:
        row = self.net.node.store.block(identifier(rest))
        if row is None or row.block_id in self.forgotten:
            return refusal(404)
        if len(rest) == 1:
            return binary(row.data)
        told: dict[str, Any] = {"blockId": hexed(row.block_id), "parents": [], "isSolid": True}
        if row.milestone_index is None:
            advice = self.advice.get(row.block_id, {})
            return answer(told | {"shouldPromote": False, "shouldReattach": False} | advice)
        state = {None: "noTransaction", 0: "included"}.get(row.conflict, "conflicting")
        told |= {"referencedByMilestoneIndex": row.milestone_index, "ledgerInclusionState": state}
        if self.has_white_flag_index:
            told["whiteFlagIndex"] = row.white_flag_index
        if row.conflict:
            told["conflictReason"] = row.conflict
        return answer(told)

    def _included(self, rest: list[str]) -> Answer:
        rows = self.net.node.store.blocks_with_payload(identifier(rest))
        row = next((row for row in rows if row.conflict == 0), None)
        return binary(row.data) if row else refusal(404)

    def _milestone(self, rest: list[str]) -> Answer:
        store = self.net.node.store
        if rest[0] != "by-index":
            row = store.milestone(identifier(rest))
        else:
            row = store.milestone_at(int(rest[1]))
        if row is None:
            return refusal(404)
        if rest[-1] != "utxo-changes":
            return binary(row.payload)
        booked, spent = self._changes(row.index)
        created = booked if self.lists_spent_at_once else booked - spent
        return answer(
            {
                "index": row.index,
                "createdOutputs": sorted(map(hexed, created)),
                "consumedOutputs": sorted(map(hexed, spent)),
            }
        )

    def _changes(self, index: int) -> tuple[set[bytes], set[bytes]]:
        outputs = self.net.node.store._outputs("")
        booked = {row.output_id for row in outputs if row.booked_index == index}
        return booked, {row.output_id for row in outputs if row.spent_index == index}

    def _output(self, rest: list[str]) -> Answer:
        row = self.net.node.store.output(identifier(rest))
        if row is None:
            return refusal(404)
        if len(rest) == 1:
            return binary(row.data)
        told: dict[str, Any] = {
            "blockId": hexed(row.block_id),
            "transactionId": hexed(row.output_id[:32]),
            "outputIndex": int.from_bytes(row.output_id[32:], "little"),
            "isSpent": row.spent_index is not None,
            "milestoneIndexBooked": row.booked_index,
            "milestoneTimestampBooked": row.booked_timestamp,
            "ledgerIndex": self.net.node.latest_milestone().index,
        }
        if row.spent_index is not None and row.spent_transaction is not None:
            told |= {
                "milestoneIndexSpent": row.spent_index,
                "milestoneTimestampSpent": row.spent_timestamp,
                "transactionIdSpent": hexed(row.spent_transaction),
            }
        return answer(told)

    def _indexer(self, asked: httpx.QueryParams) -> Answer:
        address = decode_address_text("wl", asked["address"])
        ids = [hexed(row.output_id) for row in self.net.node.store.unspent_of(address)]
        start = int(asked.get("cursor", "0"))
        told = {"ledgerIndex": 1, "items": ids[start : start + self.page]}
        if start + self.page < len(ids):
            told["cursor"] = str(start + self.page)
        return answer(told)


class Pieces(httpx.SyncByteStream):
    """A body that arrives in two pieces, as over a network."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        middle = len(self._content) // 2
        yield self._content[:middle]
        yield self._content[middle:]


class FakeWeb(httpx.BaseTransport):
    """Several nodes by host name; a name without a node does not answer."""

    def __init__(self, nodes: dict[str, FakeStardust]) -> None:
        self.nodes = nodes
        self.hanging: set[str] = set()
        self.tried: list[str] = []

    def handle_request(self, request: httpx.Request) -> Answer:
        host = request.url.host
        self.tried.append(host)
        if host in self.hanging:
            raise httpx.ReadTimeout("hangs", request=request)
        if host not in self.nodes:
            raise httpx.ConnectError("refused", request=request)
        request.read()
        told = self.nodes[host](request)
        if not told.is_stream_consumed:
            return told
        return Answer(told.status_code, headers=told.headers, stream=Pieces(told.content))

    def client(self, *hosts: str, network: str | None = None) -> NodeClient:
        names = hosts or tuple(self.nodes)
        return NodeClient(
            [f"http://{name}:14265" for name in names],
            token=TOKEN,
            transport=self,
            network=network,
            pause=lambda _seconds: None,
        )

"""The REST server over a network in memory, asked without a socket."""

from __future__ import annotations

from typing import Any

import httpx
from starlette.testclient import TestClient

from ledger_client.localnode.http import create_node_app
from ledger_client.stardust.block import Block
from ledger_client.stardust.json_form import block_json, hex_text
from tests.ledger_client.tangle_kit import Net

BINARY = "application/vnd.iota.serializer-v1"
CORE = "/api/core/v2"
INDEXER = "/api/indexer/v1"


class Rest:
    """A network and a client of its node."""

    def __init__(self, net: Net | None = None, token: str | None = None) -> None:
        self.net = net or Net()
        app = create_node_app(self.net.node, token=token, now=lambda: self.net.now)
        # A fault of ours is to be answered as the node answers it, not raised here.
        self.client = TestClient(app, raise_server_exceptions=False)

    def get(self, path: str, status: int = 200, **query: Any) -> Any:
        """The JSON of a route."""
        answer = self.client.get(path, params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    def raw(self, path: str) -> bytes:
        """The binary form of a route."""
        answer = self.client.get(path, headers={"Accept": BINARY})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == BINARY
        return answer.content

    def post(self, body: bytes, kind: str = BINARY) -> httpx.Response:
        """Send a block in its binary form, or whatever ``kind`` says it is."""
        return self.client.post(f"{CORE}/blocks", content=body, headers={"Content-Type": kind})

    def post_json(self, block: Block | dict[str, Any]) -> httpx.Response:
        """Send a block as JSON."""
        body = block_json(block) if isinstance(block, Block) else block
        return self.client.post(f"{CORE}/blocks", json=body)

    def state(self) -> tuple[object, ...]:
        """All that the node stores, to see that nothing changed."""
        return (self.net.node.stats(), *self.net.node.store.ledger_rows())


def assert_error(answer: httpx.Response, status: int) -> str:
    """Check the node's error form; return the message."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert answer.json() == {"error": {"code": str(status), "message": error["message"]}}
    assert error["message"]
    return str(error["message"])


def block_path(block_id: bytes, rest: str = "") -> str:
    """The route of a block."""
    return f"{CORE}/blocks/{hex_text(block_id)}{rest}"

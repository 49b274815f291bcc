"""A client of Stardust nodes over REST (core v2, indexer v1, proof of inclusion v1).

Nothing that a node says is taken on trust where it can be checked: bytes must hash to the id that
was asked for, a milestone must have its index, a path must lead to the milestone's root. Whose
signatures a milestone has to carry is for the caller to judge.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar, cast
from urllib.parse import quote

import httpx

from ledger_client.ledger import InclusionProof, LedgerUnavailableError, PathNode
from ledger_client.remotenode.answers import (
    MAX_BINARY_LENGTH,
    AnswerSyntaxError,
    BlockMetadata,
    Fields,
    NodeInfo,
    OutputMetadata,
    UtxoChanges,
    read_block_metadata,
    read_info,
    read_output_ids,
    read_output_metadata,
    read_tips,
    read_utxo_changes,
)
from ledger_client.remotenode.endpoint import BINARY, JSON, Endpoint, Request
from ledger_client.remotenode.errors import NodeAnswerError, NodeUnfitError
from ledger_client.stardust.bech32 import encode_address_text
from ledger_client.stardust.block import block_id as id_of_block
from ledger_client.stardust.codec import StardustError, blake2b_256, require, require_length
from ledger_client.stardust.merkle import fold_path
from ledger_client.stardust.milestone import PROTOCOL_VERSION, Milestone
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import OUTPUT_ID_LENGTH
from ledger_client.verify import BlockError, block_payload

CORE = "/api/core/v2"
INDEXER = "/api/indexer/v1"
POI = "/api/poi/v1"
ROUNDS = 3
GREETING_HOLDS_S = 60.0
MAX_JSON_LENGTH = 1 << 20
MAX_CHANGES_LENGTH = 1 << 25
MAX_PAGES = 1_000
_PAUSE_S = 0.1
_OUTPUT_TYPES = {bytes([kind]) for kind in (3, 4, 5, 6)}
"""Basic, alias, foundry, NFT (TIP-18)."""

_Answer = TypeVar("_Answer")


class NodeClient:
    """Asks the nodes at ``urls``, beginning with the one that answered last.

    Every method may be called from any thread. It raises :class:`LedgerUnavailableError`, which
    names the address, when no node gave an answer that holds: ask again after a while. None means
    that the node which answered does not know what was asked for.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        token: str | None = None,
        timeout_s: float = 10,
        transport: httpx.BaseTransport | None = None,
        network: str | None = None,
        pause: Callable[[float], None] = time.sleep,
        on_change: Callable[[LedgerUnavailableError | None], None] = lambda _: None,
    ) -> None:
        """Take the nodes of one network: the one named ``network``, or else the first one seen.

        ``timeout_s`` bounds one try; a whole call ends within (nodes + 1) times that.
        ``transport`` stands in for the network in tests. ``on_change`` is told when no node answers
        any more, and with None when one does again.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Neither proxies nor .netrc: whoever runs the node is meant, and nobody else.
        self._http = httpx.Client(
            headers=headers, timeout=timeout_s, transport=transport, trust_env=False
        )
        self._endpoints = [Endpoint(url, self._http, timeout_s) for url in urls]
        if not self._endpoints:
            raise NodeUnfitError("no node to ask: give at least one address")
        self._timeout_s = timeout_s
        self._wanted = network
        self._known: NodeInfo | None = None
        self._first = 0
        self._lock = threading.Lock()
        self._pause = pause
        self._on_change = on_change
        self._silent = False
        self._jitter = secrets.SystemRandom()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # The node and its Tangle --------------------------------------------------------------------

    def info(self) -> NodeInfo:
        """Return what the node says about itself now."""
        return self._ask(self._greet)

    def tips(self) -> tuple[bytes, ...]:
        """Return 1 to 8 block ids to use as parents, sorted."""
        path = f"{CORE}/tips"
        return self._ask(lambda node: self._read(node, path, read_tips))

    def submit(self, block: bytes) -> bytes:
        """Attach a serialised block; return its id (32 bytes). The same bytes again do no harm.

        Raises LedgerRefusedError when the node refuses the block as it is.
        """
        return self._ask(lambda node: self._submit(node, block))

    # Blocks and milestones ----------------------------------------------------------------------

    def block(self, block_id: bytes) -> bytes | None:
        """Return a block's bytes, which hash to ``block_id`` (TIP-24)."""
        require_length(block_id, 32, "block id")

        def check(data: bytes) -> None:
            require(id_of_block(data) == block_id, "the bytes are not those of the block asked for")

        return self._bytes(f"{CORE}/blocks/{_hex(block_id)}", check)

    def block_metadata(self, block_id: bytes) -> BlockMetadata | None:
        """Return what became of a block, as the node sees it."""
        path = f"{CORE}/blocks/{_hex(block_id)}/metadata"
        return self._maybe(path, lambda value: read_block_metadata(value, block_id))

    def included_block(self, transaction_id: bytes) -> bytes | None:
        """Return the bytes of the block that was applied for a transaction."""
        require_length(transaction_id, 32, "transaction id")

        def check(data: bytes) -> None:
            carried = blake2b_256(block_payload(data))
            require(carried == transaction_id, "the block carries another transaction")

        return self._bytes(f"{CORE}/transactions/{_hex(transaction_id)}/included-block", check)

    def milestone(self, index_or_id: int | bytes) -> bytes | None:
        """Return a milestone's payload with its signatures (TIP-29), by index or by its id."""
        by_index = isinstance(index_or_id, int)
        name = f"by-index/{index_or_id}" if isinstance(index_or_id, int) else _hex(index_or_id)

        def check(data: bytes) -> None:
            essence = Milestone.decode(data).essence
            found = essence.index if by_index else essence.id()
            require(found == index_or_id, "the milestone is another than the one asked for")

        return self._bytes(f"{CORE}/milestones/{name}", check)

    def utxo_changes(self, index: int) -> UtxoChanges | None:
        """Return which outputs a milestone created and consumed, as the node says."""
        path = f"{CORE}/milestones/by-index/{index}/utxo-changes"
        limit = MAX_CHANGES_LENGTH
        return self._maybe(path, lambda value: read_utxo_changes(value, index), limit)

    def inclusion_proof(self, block_id: bytes) -> InclusionProof | None:
        """Return a proof that a milestone references a block; its path and root are checked."""
        return self._ask(lambda node: self._prove(node, block_id))

    # Outputs ------------------------------------------------------------------------------------

    def output(self, output_id: bytes) -> bytes | None:
        """Return the bytes of a basic output that this network knows, spent or not (TIP-18)."""
        data = self.raw_output(output_id)
        try:
            return None if data is None else BasicOutput.decode(data).encode()
        except StardustError as error:
            node = self._endpoints[self._first]
            raise node.untrue(_output_path(output_id), f"unknown here: {error}") from error

    def raw_output(self, output_id: bytes) -> bytes | None:
        """Return the bytes of an output of any type and with any tokens, spent or not."""
        require_length(output_id, OUTPUT_ID_LENGTH, "output id")

        def check(data: bytes) -> None:
            require(data[:1] in _OUTPUT_TYPES, "the bytes are those of no output")

        return self._bytes(_output_path(output_id), check)

    def output_metadata(self, output_id: bytes) -> OutputMetadata | None:
        """Return where an output was booked and whether it is spent."""
        path = f"{_output_path(output_id)}/metadata"
        return self._maybe(path, lambda value: read_output_metadata(value, output_id))

    def basic_outputs(self, address: bytes) -> tuple[bytes, ...]:
        """Return the ids of the unspent basic outputs that name an address as owner, sorted.

        ``address`` is the 32-byte hash. They come from the indexer, page by page.
        """
        return self._ask(lambda node: self._find_outputs(node, address))

    # Inside -------------------------------------------------------------------------------------

    def _ask(self, request: Callable[[Endpoint], _Answer]) -> _Answer:
        """Ask the nodes, and tell when they fall silent or answer again."""
        try:
            answer = self._try_all(request)
        except LedgerUnavailableError as error:
            self._note(error)
            raise
        self._note(None)
        return answer

    def _note(self, silence: LedgerUnavailableError | None) -> None:
        with self._lock:
            changed = self._silent is (silence is None)
            self._silent = silence is not None
        if changed:
            self._on_change(silence)

    def _try_all(self, request: Callable[[Endpoint], _Answer]) -> _Answer:
        """Try the nodes in order, and once more while there is time; no answer is an error."""
        deadline = time.monotonic() + self._timeout_s
        failures: dict[str, LedgerUnavailableError] = {}
        for attempt in range(ROUNDS):
            if attempt:
                self._pause(self._jitter.uniform(_PAUSE_S, 2 * _PAUSE_S) * attempt)
            first = self._first
            for step in range(len(self._endpoints)):
                position = (first + step) % len(self._endpoints)
                node = self._endpoints[position]
                try:
                    answer = self._greeted(node, request)
                except LedgerUnavailableError as error:
                    failures[node.url] = error
                    node.greeted_at_s = None
                else:
                    self._first = position
                    return answer
            if time.monotonic() > deadline or not _may_pass(failures.values()):
                break
        if len(failures) == 1:
            raise next(iter(failures.values()))
        raise LedgerUnavailableError("no node answers: " + "; ".join(map(str, failures.values())))

    def _greeted(self, node: Endpoint, request: Callable[[Endpoint], _Answer]) -> _Answer:
        known = node.greeted_at_s
        if known is None or time.monotonic() - known > GREETING_HOLDS_S:
            self._greet(node)
        return request(node)

    def _greet(self, node: Endpoint) -> NodeInfo:
        """Ask a node who it is, and refuse it when it is of another network."""
        info = self._read(node, f"{CORE}/info", read_info)
        if info.protocol_version != PROTOCOL_VERSION:
            raise NodeUnfitError(
                f"{node.url}: protocol version {info.protocol_version}, must be {PROTOCOL_VERSION}"
            )
        with self._lock:
            wanted = self._known.network_name if self._known else self._wanted
            if wanted is not None and info.network_name != wanted:
                raise NodeUnfitError(
                    f"{node.url}: a node of the network {info.network_name!r}, not of {wanted!r}; "
                    "it is not used, correct the addresses"
                )
            if self._known is not None and info.network != self._known.network:
                raise NodeUnfitError(
                    f"{node.url}: calls itself {wanted!r}, but with another address prefix or "
                    "supply; it is not used, correct the addresses"
                )
            self._known = self._known or info
        node.greeted_at_s = time.monotonic()
        return info

    def _read(self, node: Endpoint, path: str, read: Callable[[object], _Answer]) -> _Answer:
        answer = self._look(node, path, read)
        if answer is None:
            raise node.untrue(path, "not found; is this a Stardust node with this service?")
        return answer

    def _look(
        self,
        node: Endpoint,
        path: str,
        read: Callable[[object], _Answer],
        limit: int = MAX_JSON_LENGTH,
    ) -> _Answer | None:
        value = node.ask_json(path, limit)
        if value is None:
            return None
        try:
            return read(value)
        except (AnswerSyntaxError, StardustError) as error:
            raise node.untrue(path, str(error)) from error

    def _maybe(
        self, path: str, read: Callable[[object], _Answer], limit: int = MAX_JSON_LENGTH
    ) -> _Answer | None:
        return self._ask(lambda node: self._look(node, path, read, limit))

    def _bytes(self, path: str, check: Callable[[bytes], None]) -> bytes | None:
        return self._ask(lambda node: self._fetch(node, path, check))

    def _fetch(self, node: Endpoint, path: str, check: Callable[[bytes], None]) -> bytes | None:
        data = node.ask(Request(path, BINARY, MAX_BINARY_LENGTH))
        if data is not None:
            try:
                check(data)
            except (StardustError, BlockError) as error:
                raise node.untrue(path, str(error)) from error
        return data

    def _submit(self, node: Endpoint, block: bytes) -> bytes:
        path, wanted = f"{CORE}/blocks", id_of_block(block)
        body = node.ask(Request(path, JSON, MAX_JSON_LENGTH, block)) or b""
        try:
            found = Fields(node.parse(path, body), "answer").binary("blockId")
        except AnswerSyntaxError as error:
            raise node.untrue(path, str(error)) from error
        if found != wanted:
            raise node.untrue(path, "took the block for another one")
        return found

    def _prove(self, node: Endpoint, block_id: bytes) -> InclusionProof | None:
        about = f"{CORE}/blocks/{_hex(block_id)}/metadata"
        metadata = self._look(node, about, lambda value: read_block_metadata(value, block_id))
        if metadata is None or metadata.referenced_by_milestone_index is None:
            return None  # inx-poi would answer 400, or worse
        path = f"{POI}/create/{_hex(block_id)}"
        found = self._look(node, path, lambda value: _read_proof(value, block_id))
        if found is None:
            raise node.untrue(
                path, "no proof of a confirmed block; does it run the proof-of-inclusion service?"
            )
        index, tree, root = found

        def check(payload: bytes) -> None:
            essence = Milestone.decode(payload).essence
            require(essence.index == index, "the milestone is another than the one asked for")
            require(essence.inclusion_root == root, "the path leads to another root")

        def check_block(data: bytes) -> None:
            require(id_of_block(data) == block_id, "the bytes are not those of the block asked for")

        payload = self._fetch(node, f"{CORE}/milestones/by-index/{index}", check)
        block = self._fetch(node, f"{CORE}/blocks/{_hex(block_id)}", check_block)
        if payload is None or block is None:
            raise NodeAnswerError(f"{node.url}{path}: proves a block that the node has not")
        return InclusionProof(payload, index, block, tree, "inclusion")

    def _find_outputs(self, node: Endpoint, address: bytes) -> tuple[bytes, ...]:
        hrp = self._known.bech32_hrp if self._known else ""
        asked = f"{INDEXER}/outputs/basic?address={encode_address_text(hrp, address)}"
        found: set[bytes] = set()
        path = asked
        for _ in range(MAX_PAGES):
            items, cursor = self._read(node, path, read_output_ids)
            found.update(items)
            if cursor is None:
                return tuple(sorted(found))
            path = f"{asked}&cursor={quote(cursor)}"
        raise node.untrue(asked, f"over {MAX_PAGES} pages; are there so many outputs?")


def _may_pass(failures: Iterable[LedgerUnavailableError]) -> bool:
    """Tell whether trying again at once could help: a node of another network stays one."""
    return any(not isinstance(error, NodeUnfitError) for error in failures)


def _read_proof(value: object, block_id: bytes) -> tuple[int, PathNode, bytes]:
    """Read inx-poi's answer; return milestone index, path and the root that the path leads to."""
    found = Fields(value, "proof")
    tree = found.anything("proof")
    root, proved = fold_path(tree)
    if proved != block_id:
        raise AnswerSyntaxError("the path is of another block than the one asked for")
    return found.inner("milestone").number("index"), cast("PathNode", tree), root


def _output_path(output_id: bytes) -> str:
    return f"{CORE}/outputs/{_hex(output_id)}"


def _hex(data: bytes) -> str:
    return "0x" + data.hex()

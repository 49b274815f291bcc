"""One node's address: bounded requests, and what its status codes mean."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from ledger_client.ledger import LedgerRefusedError, LedgerUnavailableError
from ledger_client.remotenode.answers import AnswerSyntaxError, parse_json, read_error_message
from ledger_client.remotenode.errors import NodeAnswerError, NodeUrlError

BINARY = "application/vnd.iota.serializer-v1"
JSON = "application/json"
_URL = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?")
_SUBMITTED = {HTTPStatus.OK, HTTPStatus.CREATED}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: a path, at most ``limit`` bytes of answer, and a body to be sent, if any."""

    path: str
    accept: str
    limit: int
    body: bytes | None = None


class Endpoint:
    """Asks one node. Errors name its address, never the token."""

    def __init__(self, url: str, client: httpx.Client, timeout_s: float) -> None:
        self.url = url.rstrip("/")
        if not _URL.fullmatch(self.url):
            raise NodeUrlError(
                f"{re.sub('//.*@', '//', url)[:80]!r} is no address of a node: write it as "
                "http://127.0.0.1:14265, without a path, name or password"
            )
        self._client = client
        self._timeout_s = timeout_s
        self.greeted_at_s: float | None = None
        """When the node last proved to be of our network, on the monotonic clock."""

    def ask(self, request: Request) -> bytes | None:
        """Return the answer's body; None when the node says that it does not know (404).

        Raises LedgerUnavailableError, and LedgerRefusedError for a body that the node refuses.
        """
        try:
            status, kind, body = self._exchange(request)
        except httpx.HTTPError as error:
            what = type(error).__name__
            raise LedgerUnavailableError(
                f"{self.url}: {what}; check that the node runs and can be reached"
            ) from error
        where = f"{self.url}{request.path}"
        if status == HTTPStatus.CREATED if request.body is not None else status == HTTPStatus.OK:
            if kind != request.accept:
                raise NodeAnswerError(f"{where}: answered with {kind[:60]!r}, not {request.accept}")
            return body
        message = read_error_message(body)
        if status == HTTPStatus.NOT_FOUND and message is not None and request.body is None:
            return None
        if status == HTTPStatus.BAD_REQUEST and message is not None and request.body is not None:
            raise LedgerRefusedError(f"{self.url} refuses the block: {message}")
        raise LedgerUnavailableError(f"{where}: HTTP {status} {message or ''}{_hint(status)}")

    def ask_json(self, path: str, limit: int) -> object | None:
        """Return the JSON value at ``path``; None when the node does not know it."""
        body = self.ask(Request(path, JSON, limit))
        return None if body is None else self.parse(path, body)

    def parse(self, path: str, body: bytes) -> object:
        """Return the JSON value of a body."""
        try:
            return parse_json(body)
        except AnswerSyntaxError as error:
            raise self.untrue(path, str(error)) from error

    def untrue(self, path: str, why: str) -> NodeAnswerError:
        """Return the error for an answer that cannot be used."""
        return NodeAnswerError(f"{self.url}{path}: {why}")

    def _exchange(self, request: Request) -> tuple[int, str, bytes]:
        deadline = time.monotonic() + self._timeout_s
        headers = {"Accept": request.accept, "Accept-Encoding": "identity"}
        if request.body is not None:
            headers |= {"Accept": JSON, "Content-Type": BINARY}
        method = "GET" if request.body is None else "POST"
        address = self.url + request.path
        with self._client.stream(
            method, address, headers=headers, content=request.body
        ) as response:
            body = bytearray()
            # The raw bytes: a packed answer would be measured before it swells.
            for piece in response.iter_raw():
                body += piece
                if len(body) > request.limit:
                    raise self.untrue(request.path, f"the answer is over {request.limit} bytes")
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer takes too long")
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            return response.status_code, kind, bytes(body)


def _hint(status: int) -> str:
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return "; check the token"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return "; redirects are not followed, give the node's own address"
    return ""

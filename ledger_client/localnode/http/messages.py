"""Bodies, ids and answers of the REST API: what every route reads and writes alike."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from ledger_client.localnode.http.errors import (
    BadRequestError,
    BodyTooLargeError,
    SlowSenderError,
)
from ledger_client.stardust.codec import StardustSyntaxError
from ledger_client.stardust.json_form import Json
from ledger_client.stardust.json_read import bytes_of_hex

BINARY = "application/vnd.iota.serializer-v1"
JSON = "application/json"
MAX_BODY_BYTES = 256 * 1024
"""Of a request: a block of 32 KiB fits in any form, JSON included."""
MAX_DRAINED_BYTES = 16 * 1024 * 1024
"""Of a body that is too large: read and dropped, so that its sender gets to see the answer."""
BODY_TIMEOUT_S = 10.0

_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


def answer(value: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response; ASCII only, so that no echoed text can break it."""
    return Response(json.dumps(value, separators=(",", ":")), status, headers, JSON)


def error_answer(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error in the node's form; the code is text there."""
    return answer({"error": {"code": str(status), "message": message}}, status, headers)


def binary_answer(data: bytes) -> Response:
    """Return bytes of the ledger as they are."""
    return Response(data, media_type=BINARY)


def wants_binary(request: Request) -> bool:
    """Return whether ``Accept`` names the binary form before any that JSON fits."""
    for item in request.headers.get("accept", "").split(","):
        kind = item.partition(";")[0].strip().lower()
        if kind == BINARY:
            return True
        if kind in {JSON, "application/*", "*/*"}:
            return False
    return False


def content_type(request: Request) -> str:
    """Return the media type of the request's body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def path_id(request: Request, name: str, length: int = 32) -> bytes:
    """Return an id of the path, which is 0x hex of ``length`` bytes."""
    try:
        return bytes_of_hex(request.path_params[name], name, length)
    except StardustSyntaxError as error:
        raise BadRequestError(str(error)) from error


def path_index(request: Request) -> int:
    """Return the milestone index of the path."""
    text = str(request.path_params["index"])
    if not _INDEX.fullmatch(text) or int(text) >= 2**32:
        raise BadRequestError(f"milestone index: {text!a:.40} is not a number below 2^32")
    return int(text)


async def read_body(request: Request) -> bytes:
    """Return the whole body.

    Raises BodyTooLargeError beyond 256 KiB and SlowSenderError when it takes over 10 s.
    """
    _check_declared(request)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > MAX_DRAINED_BYTES:
                    break
                if size <= MAX_BODY_BYTES:
                    chunks.append(chunk)
    except TimeoutError:
        raise SlowSenderError(f"body: did not arrive within {BODY_TIMEOUT_S:g} s") from None
    if size > MAX_BODY_BYTES:
        raise _too_large()
    return b"".join(chunks)


def _check_declared(request: Request) -> None:
    """Refuse before a byte is read what announces itself as far too large."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared[:20]) > MAX_DRAINED_BYTES:
        raise _too_large()


def _too_large() -> BodyTooLargeError:
    return BodyTooLargeError(f"body: more than {MAX_BODY_BYTES} bytes; a block has at most 32768")

"""The indexer of basic outputs (/api/indexer/v1), with the filters of inx-indexer.

Answers list unspent outputs from the oldest on, a page at a time. The ledger holds no other kind of
output; their lists are empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ledger_client.localnode.http.errors import BadRequestError, NotFoundError
from ledger_client.localnode.http.messages import answer
from ledger_client.localnode.http.views import hex_list
from ledger_client.localnode.node import LocalNode
from ledger_client.localnode.store import OutputRow
from ledger_client.stardust.bech32 import decode_address_text
from ledger_client.stardust.codec import MAX_U32, StardustError, u32
from ledger_client.stardust.json_form import JsonObject
from ledger_client.stardust.json_read import bytes_of_hex
from ledger_client.stardust.output import MAX_TAG_LENGTH, BasicOutput, SenderFeature, TagFeature
from ledger_client.stardust.transaction import OUTPUT_ID_LENGTH

PREFIX = "/api/indexer/v1"
MAX_PAGE = 1000
_SCAN = 1000
"""Rows read at a time while a filter looks for its matches."""
_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")
_CURSOR = re.compile(r"([0-9a-f]{76})\.([1-9][0-9]{0,9})")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}

Matches: TypeAlias = Callable[[BasicOutput, int], bool]
"""Judges an output and the second at which it was booked."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a query asks for: a page of the outputs that match everything in ``matches``.

    ``address`` narrows the search to an owner; with ``or_conditional`` outputs with further
    conditions count too, whoever owns them.
    """

    matches: tuple[Matches, ...]
    address: bytes | None
    or_conditional: bool
    start: tuple[int, bytes]
    page_size: int


class IndexerApi:
    """The routes of the indexer."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node
        self._hrp = node.settings.hrp

    def routes(self) -> list[BaseRoute]:
        """Return all routes."""
        outputs = f"{PREFIX}/outputs"
        kinds = ("alias", "nft", "foundry")
        return [
            Route(f"{outputs}/basic", self.basic),
            Route(outputs, self.unlockable),
            *(Route(f"{outputs}/{kind}", self.none) for kind in kinds),
            *(Route(f"{outputs}/{kind}/{{id}}", self.unknown) for kind in kinds),
        ]

    def basic(self, request: Request) -> Response:
        """GET /outputs/basic: ids of basic outputs that pass every filter given."""
        return self._page(_wanted(request.query_params, BASIC_FILTERS, self._hrp))

    def unlockable(self, request: Request) -> Response:
        """GET /outputs: ids of outputs of any kind that an address may have to do with."""
        return self._page(_wanted(request.query_params, ANY_FILTERS, self._hrp))

    def none(self, _request: Request) -> Response:
        """GET /outputs/{alias, nft, foundry}: there are none."""
        index = self._node.latest_milestone().index
        return answer({"ledgerIndex": index, "pageSize": MAX_PAGE, "items": []})

    def unknown(self, _request: Request) -> Response:
        """GET /outputs/{alias, nft, foundry}/{id}: there is no such output."""
        raise NotFoundError("record not found: this ledger holds basic outputs alone")

    def _page(self, wanted: Wanted) -> Response:
        index, found = self._find(wanted)
        page, rest = found[: wanted.page_size], found[wanted.page_size :]
        shown: JsonObject = {
            "ledgerIndex": index,
            "pageSize": wanted.page_size,
            "items": hex_list(row.output_id for row in page),
        }
        if not rest:
            return answer(shown)
        cursor = u32(rest[0].booked_index)[::-1] + rest[0].output_id
        return answer({**shown, "cursor": f"{cursor.hex()}.{wanted.page_size}"})

    def _find(self, wanted: Wanted) -> tuple[int, list[OutputRow]]:
        """Return the ledger's index and one row more than the page holds, if there is one."""
        store, start, found = self._node.store, wanted.start, list[OutputRow]()
        index = self._node.latest_milestone().index
        while len(found) <= wanted.page_size:
            rows = store.unspent_page(
                start, _SCAN, wanted.address, conditional=wanted.or_conditional
            )
            found += [row for row in rows if _passes(row, wanted.matches)]
            if len(rows) < _SCAN:
                break
            start = rows[-1].booked_index, rows[-1].output_id + b"\0"
        return index, found[: wanted.page_size + 1]


def _passes(row: OutputRow, matches: tuple[Matches, ...]) -> bool:
    if not matches:
        return True
    output = BasicOutput.decode(row.data)
    return all(match(output, row.booked_timestamp) for match in matches)


# Filters: each turns the text of a query parameter into a judgement ------------------------------


def _bad(name: str, text: str, must: str) -> BadRequestError:
    return BadRequestError(f"query parameter {name}: {text!a:.60} {must}")


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    text: str
    hrp: str

    def flag(self) -> bool:
        if self.text.lower() not in _FLAGS:
            raise _bad(self.name, self.text, "must be true or false")
        return _FLAGS[self.text.lower()]

    def number(self) -> int:
        if not _NUMBER.fullmatch(self.text) or int(self.text) > MAX_U32:
            raise _bad(self.name, self.text, "must be a number below 2^32")
        return int(self.text)

    def address(self) -> bytes:
        try:
            return decode_address_text(self.hrp, self.text)
        except StardustError as error:
            raise _bad(self.name, self.text, f"is no address here: {error}") from error

    def tag(self) -> bytes:
        try:
            tag = bytes_of_hex(self.text, self.name)
        except StardustError as error:
            raise BadRequestError(f"query parameter {error}") from error
        if len(tag) > MAX_TAG_LENGTH:
            raise _bad(self.name, self.text, "must be at most 64 bytes")
        return tag


_Filter: TypeAlias = Callable[[_Parameter], Matches]


def _has(part: Callable[[BasicOutput], object]) -> _Filter:
    def judge(parameter: _Parameter) -> Matches:
        wanted = parameter.flag()
        return lambda output, _booked: (part(output) is not None) == wanted

    return judge


def _time(seconds: Callable[[BasicOutput, int], int | None], *, before: bool) -> _Filter:
    def judge(parameter: _Parameter) -> Matches:
        limit = parameter.number()

        def matches(output: BasicOutput, booked: int) -> bool:
            found = seconds(output, booked)
            return found is not None and (found < limit if before else found > limit)

        return matches

    return judge


def _names(address: Callable[[BasicOutput], bytes | None]) -> _Filter:
    def judge(parameter: _Parameter) -> Matches:
        wanted = parameter.address()
        return lambda output, _booked: address(output) == wanted

    return judge


def _tagged(parameter: _Parameter) -> Matches:
    wanted = parameter.tag()
    if not wanted:  # as the original: an empty tag filters nothing
        return lambda _output, _booked: True
    return lambda output, _booked: any(
        isinstance(part, TagFeature) and part.tag == wanted for part in output.features
    )


def _unlockable(parameter: _Parameter) -> Matches:
    wanted = parameter.address()
    return lambda output, _booked: (
        wanted
        in {
            output.address,
            _expiration_address(output),
            _return_address(output),
        }
    )


def _native(counts: Callable[[int], bool]) -> _Filter:
    """Filter by the number of native tokens, which is 0 here for every output."""

    def judge(parameter: _Parameter) -> Matches:
        passes = counts(parameter.number())
        return lambda _output, _booked: passes

    return judge


def _return_address(output: BasicOutput) -> bytes | None:
    return output.deposit_return.return_address if output.deposit_return else None


def _expiration_address(output: BasicOutput) -> bytes | None:
    return output.expiration.return_address if output.expiration else None


def _expires(output: BasicOutput, _booked: int) -> int | None:
    return output.expiration.unix_time if output.expiration else None


def _locked(output: BasicOutput, _booked: int) -> int | None:
    return output.timelock.unix_time if output.timelock else None


def _booked_at(_output: BasicOutput, booked: int) -> int | None:
    return booked


def _sender(output: BasicOutput) -> bytes | None:
    sender = output.sender
    return sender.address if isinstance(sender, SenderFeature) else None


ANY_FILTERS: Mapping[str, _Filter] = {
    "hasNativeTokens": _has(lambda _output: None),
    "minNativeTokenCount": _native(lambda least: least == 0),
    "maxNativeTokenCount": _native(lambda most: most >= 0),
    "unlockableByAddress": _unlockable,
    "createdBefore": _time(_booked_at, before=True),
    "createdAfter": _time(_booked_at, before=False),
}
BASIC_FILTERS: Mapping[str, _Filter] = {
    **ANY_FILTERS,
    "address": _names(lambda output: output.address),
    "hasStorageDepositReturn": _has(_return_address),
    "storageDepositReturnAddress": _names(_return_address),
    "hasExpiration": _has(_expiration_address),
    "expiresBefore": _time(_expires, before=True),
    "expiresAfter": _time(_expires, before=False),
    "expirationReturnAddress": _names(_expiration_address),
    "hasTimelock": _has(lambda output: output.timelock),
    "timelockedBefore": _time(_locked, before=True),
    "timelockedAfter": _time(_locked, before=False),
    "sender": _names(_sender),
    "tag": _tagged,
}


def _wanted(query: Mapping[str, str], filters: Mapping[str, _Filter], hrp: str) -> Wanted:
    given = {name: _Parameter(name, text, hrp) for name, text in query.items() if text}
    unknown = given.keys() - filters.keys() - {"cursor", "pageSize"}
    if unknown:
        raise BadRequestError(f"query parameter {min(unknown)!a:.60} is unknown here")
    start, page_size = (0, b""), MAX_PAGE
    if "pageSize" in given:
        page_size = given["pageSize"].number() or MAX_PAGE
    if "cursor" in given:
        start, page_size = _cursor(given["cursor"])
    owner, unlocker = given.get("address"), given.get("unlockableByAddress")
    narrowed = owner or unlocker
    return Wanted(
        tuple(filters[name](item) for name, item in given.items() if name in filters),
        narrowed.address() if narrowed else None,
        or_conditional=owner is None and unlocker is not None,
        start=start,
        page_size=min(page_size, MAX_PAGE),
    )


def _cursor(parameter: _Parameter) -> tuple[tuple[int, bytes], int]:
    """Return where a page begins and how long it is, from the cursor of the page before."""
    found = _CURSOR.fullmatch(parameter.text.lower())
    if not found or int(found[2]) > MAX_U32:
        raise _bad(parameter.name, parameter.text, "is no cursor of this node")
    data = bytes.fromhex(found[1])
    return (int.from_bytes(data[:-OUTPUT_ID_LENGTH]), data[-OUTPUT_ID_LENGTH:]), int(found[2])

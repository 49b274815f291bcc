"""Bad input at the REST server: an answer of 4xx in the node's form, and an unchanged ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from nacl.signing import SigningKey

from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import u32
from ledger_client.stardust.json_form import block_json
from ledger_client.stardust.merkle import merkle_root
from ledger_client.stardust.milestone import Milestone, MilestoneEssence
from ledger_client.stardust.output import (
    AddressUnlockCondition,
    BasicOutput,
    TimelockUnlockCondition,
)
from ledger_client.stardust.pow import mine
from ledger_client.stardust.transaction import (
    Essence,
    TaggedData,
    Transaction,
    inputs_commitment,
)
from tests.ledger_client.node_rest import (
    BINARY,
    CORE,
    INDEXER,
    Rest,
    assert_error,
)
from tests.ledger_client.tangle_kit import (
    ALICE,
    BOB,
    START,
    SUPPLY,
    TREASURY,
    Net,
    sign,
    transaction,
)

JSON = "application/json"
MARK = 0xA1B2C3D4
"""A number that is easily found again in bytes."""


@pytest.fixture
def rest() -> Rest:
    return Rest()


def _tagged(rest: Rest) -> Block:
    return Block(rest.net.node.tips(), TaggedData(b"tag", b"data"))


def _shown(rest: Rest) -> dict[str, Any]:
    return json.loads(json.dumps(block_json(_tagged(rest))))


def _transfer(rest: Rest, *outputs: BasicOutput) -> bytes:
    made = transaction([rest.net.output(TREASURY)], outputs, [TREASURY])
    return Block(rest.net.node.tips(), made).encode()


def _of_network(rest: Rest, network: int) -> bytes:
    spent = rest.net.output(TREASURY)
    essence = Essence(
        network,
        (spent.output_id,),
        inputs_commitment([spent.output_bytes]),
        (BasicOutput.to(ALICE.address, SUPPLY),),
    )
    return Block(rest.net.node.tips(), Transaction(essence, sign(essence, TREASURY))).encode()


def _forged(rest: Rest) -> bytes:
    made = transaction([rest.net.output(TREASURY)], [BasicOutput.to(ALICE.address, SUPPLY)], [BOB])
    other = replace(made.essence, outputs=(BasicOutput.to(BOB.address, SUPPLY),))
    return Block(rest.net.node.tips(), Transaction(other, made.unlocks)).encode()


def _zero_amount(rest: Rest) -> bytes:
    whole = _transfer(rest, BasicOutput.to(ALICE.address, SUPPLY))
    amount = SUPPLY.to_bytes(8, "little")
    assert whole.count(amount) == 1
    return whole.replace(amount, bytes(8))


def _two_parents(rest: Rest, first: bytes, second: bytes) -> bytes:
    payload = TaggedData(b"", b"").encode()
    return b"\x02\x02" + first + second + u32(len(payload)) + payload + bytes(8)


def _with_length(rest: Rest, length: int) -> bytes:
    data = bytearray(_tagged(rest).encode())
    data[34:38] = u32(length)
    return bytes(data)


def _strange_milestone(rest: Rest) -> bytes:
    essence = MilestoneEssence(
        2, START + 9, bytes(32), rest.net.node.tips(), merkle_root([]), merkle_root([])
    )
    return Block(essence.parents, Milestone.sign(essence, [SigningKey.generate()])).encode()


def _locked(rest: Rest) -> bytes:
    lock = TimelockUnlockCondition(MARK)
    return _transfer(rest, BasicOutput(SUPPLY, (AddressUnlockCondition(ALICE.address), lock)))


BINARY_CASES: dict[str, Callable[[Rest], bytes]] = {
    "nothing": lambda _: b"",
    "one byte": lambda _: b"\x02",
    "another protocol version": lambda rest: b"\x03" + _tagged(rest).encode()[1:],
    "no parents": lambda _: b"\x02\x00" + bytes(4) + bytes(8),
    "nine parents": lambda _: b"\x02\x09" + b"".join(bytes([n]) * 32 for n in range(9)) + bytes(12),
    "parents out of order": lambda rest: _two_parents(rest, b"\x01" * 32, bytes(32)),
    "a parent twice": lambda rest: _two_parents(rest, bytes(32), bytes(32)),
    "an unknown parent": lambda _: Block((b"\xab" * 32,), TaggedData(b"", b"")).encode(),
    "truncated": lambda rest: _tagged(rest).encode()[:-1],
    "a trailing byte": lambda rest: _tagged(rest).encode() + b"\0",
    "twice in a row": lambda rest: _tagged(rest).encode() * 2,
    "a payload shorter than said": lambda rest: _with_length(rest, 2**32 - 1),
    "a payload longer than said": lambda rest: _with_length(rest, 1),
    "oversized": lambda rest: _tagged(rest).encode().ljust(32_769, b"\0"),
    "an unknown payload type": lambda rest: b"\x02\x01" + bytes(32) + u32(4) + u32(99) + bytes(8),
    "a long tag": lambda rest: (
        b"\x02\x01" + bytes(32) + u32(74) + u32(5) + b"\x41" + bytes(65) + u32(0) + bytes(8)
    ),
    "another node's milestone": _strange_milestone,
    "a milestone with a nonce": lambda rest: _strange_milestone(rest)[:-1] + b"\1",
    "a timelock of zero": lambda rest: _locked(rest).replace(u32(MARK), u32(0)),
    "another network": lambda rest: _of_network(rest, 1),
    "a signature of something else": _forged,
    "an amount of zero": _zero_amount,
    "below the deposit": lambda rest: _transfer(rest, BasicOutput.to(ALICE.address, 33)),
    "more than the supply": lambda rest: _transfer(rest, BasicOutput.to(ALICE.address, SUPPLY + 1)),
    "a sum beyond 64 bits": lambda rest: _transfer(
        rest, *[BasicOutput.to(ALICE.address, 2**64 - 1)] * 2
    ),
    "not a block at all": lambda _: b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("case", BINARY_CASES)
def test_a_bad_binary_block_is_refused(rest: Rest, case: str) -> None:
    body, before = BINARY_CASES[case](rest), rest.state()
    assert_error(rest.post(body), 400)
    assert rest.state() == before


def _changed(path: str, value: Any) -> Callable[[Rest], bytes]:
    """A sound JSON block with one field set to something else; ``...`` deletes it."""

    def build(rest: Rest) -> bytes:
        shown = _shown(rest)
        place, *names = [shown, *path.split(".")]
        for name in names[:-1]:
            place = place[name]
        if value is ...:
            del place[names[-1]]
        else:
            place[names[-1]] = value
        return json.dumps(shown).encode()

    return build


def _text(text: str) -> Callable[[Rest], bytes]:
    return lambda _: text.encode()


JSON_CASES: dict[str, Callable[[Rest], bytes]] = {
    "nothing": _text(""),
    "no JSON": _text("{"),
    "not UTF-8": lambda _: b'{"payload":"\xff"}',
    "an array": _text("[]"),
    "a number": _text("7"),
    "null": _text("null"),
    "NaN": _text('{"nonce":NaN}'),
    "infinity": _text('{"nonce":-Infinity}'),
    "a fraction": _text('{"protocolVersion":2.0}'),
    "a huge exponent": _text('{"protocolVersion":1e400}'),
    "a huge integer": _text('{"protocolVersion":' + "9" * 100_000 + "}"),
    "a long integer": _text('{"protocolVersion":' + "9" * 20 + "}"),
    "a key twice": _text('{"nonce":"0","nonce":"1"}'),
    "a key twice inside": _text('{"payload":{"type":5,"type":5,"tag":"0x","data":"0x"}}'),
    "nested deeply": _text("[" * 100_000),
    "nested objects": _text('{"payload":' * 20_000),
    "a lone surrogate": _text('{"payload":{"type":5,"tag":"\\ud800","data":"0x"}}'),
    "an unknown field": _changed("hello", "0x00"),
    "an unknown field inside": _changed("payload.hello", 1),
    "another version": _changed("protocolVersion", 3),
    "a nonce that is a number": _changed("nonce", 7),
    "a negative nonce": _changed("nonce", "-1"),
    "a nonce with a sign": _changed("nonce", "+1"),
    "a nonce beyond 64 bits": _changed("nonce", str(2**64)),
    "a nonce in other digits": _changed("nonce", "١"),
    "an endless nonce": _changed("nonce", "1" * 10_000),
    "parents that are text": _changed("parents", "0x" + "00" * 32),
    "a parent that is a number": _changed("parents", [7]),
    "a short parent": _changed("parents", ["0x00"]),
    "a parent with blanks": _changed("parents", ["0x" + " 0" * 32]),
    "an unknown parent": _changed("parents", ["0x" + "ab" * 32]),
    "a payload that is a list": _changed("payload", []),
    "no payload type": _changed("payload.type", ...),
    "a payload type that is text": _changed("payload.type", "5"),
    "a payload type that is true": _changed("payload.type", True),
    "an unknown payload type": _changed("payload.type", 8),
    "a tag without 0x": _changed("payload.tag", "ab"),
    "a tag of half a byte": _changed("payload.tag", "0xabc"),
    "a long tag": _changed("payload.tag", "0x" + "ab" * 65),
    "data that is null inside a list": _changed("payload.data", [None]),
    "data beyond a block": _changed("payload.data", "0x" + "00" * 33_000),
}


@pytest.mark.parametrize("case", JSON_CASES)
def test_a_bad_json_block_is_refused(rest: Rest, case: str) -> None:
    body, before = JSON_CASES[case](rest), rest.state()
    assert_error(rest.post(body, JSON), 400)
    assert rest.state() == before


def test_what_was_changed_above_was_sound_before(rest: Rest) -> None:
    assert rest.post(json.dumps(_shown(rest)).encode(), JSON).status_code == 201


@pytest.mark.parametrize("kind", ["", "text/plain", "application/octet-stream", "application/cbor"])
def test_other_content_types_are_refused(rest: Rest, kind: str) -> None:
    body, before = _tagged(rest).encode(), rest.state()
    assert_error(rest.post(body, kind), 415)
    assert rest.state() == before


@pytest.mark.parametrize("kind", [BINARY, JSON, f"{JSON}; charset=utf-8"])
def test_ten_megabytes_are_too_much(rest: Rest, kind: str) -> None:
    before = rest.state()
    body = b'{"payload":"' + b"a" * 10_000_000 + b'"}'
    answer = rest.post(body, kind)
    assert_error(answer, 413)
    assert answer.headers["connection"] == "close"
    assert rest.state() == before
    assert_error(rest.client.post("/api/poi/v1/validate", content=body), 413)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"milestone":1,"block":2,"proof":3}', b'{"proof":{},"proof":{}}', b"["],
)
def test_a_malformed_proof_is_refused(rest: Rest, body: bytes) -> None:
    assert_error(rest.client.post("/api/poi/v1/validate", content=body), 400)


def test_a_block_without_its_work_gets_503(rest: Rest) -> None:
    class Strict(Net):
        def settings(self) -> Any:
            return replace(super().settings(), min_pow_score=3)

    strict = Rest(Strict())
    block, before = _tagged(strict), strict.state()
    assert_error(strict.post(block.encode()), 503)
    assert strict.state() == before
    assert strict.get(f"{CORE}/info")["features"] == []
    assert strict.post(mine(block, 3).encode()).status_code == 201


def test_a_block_on_parents_too_old_is_refused(rest: Rest) -> None:
    old = rest.net.node.latest_milestone().block_id
    for _ in range(17):
        rest.net.node.issue_milestone()
    before = rest.state()
    assert "tips" in assert_error(rest.post(Block((old,), TaggedData(b"", b"")).encode()), 400)
    assert rest.state() == before


# Paths and queries -------------------------------------------------------------------------------

JUNK = [
    "0x",
    "0x00",
    "0x" + "0g" * 32,
    "00" * 32,
    "0x" + "00" * 33,
    "0X" + "00" * 32,
    "0x" + "00" * 5_000,
    "%00",
    "%ff%fe",
    "..%2f..",
    "-1",
    "1e3",
    "' OR 1=1",
    "١",
    "💡",
]


@pytest.mark.parametrize("junk", JUNK)
def test_junk_in_a_path_is_refused(rest: Rest, junk: str) -> None:
    before = rest.state()
    for path in (
        f"{CORE}/blocks/{junk}",
        f"{CORE}/blocks/{junk}/metadata",
        f"{CORE}/outputs/{junk}",
        f"{CORE}/outputs/{junk}/metadata",
        f"{CORE}/milestones/{junk}",
        f"{CORE}/milestones/{junk}/utxo-changes",
        f"{CORE}/milestones/by-index/{junk}",
        f"{CORE}/transactions/{junk}/included-block",
        f"/api/poi/v1/create/{junk}",
    ):
        answer = rest.client.get(path)
        assert_error(answer, answer.status_code)
        assert answer.status_code in {400, 404}, path
    assert rest.state() == before


@pytest.mark.parametrize(
    "path",
    [
        f"{CORE}/blocks/0x{'ab' * 32}",
        f"{CORE}/blocks/0x{'ab' * 32}/metadata",
        f"{CORE}/outputs/0x{'ab' * 34}",
        f"{CORE}/milestones/0x{'ab' * 32}",
        f"{CORE}/milestones/by-index/0",
        f"{CORE}/milestones/by-index/2",
        f"{CORE}/milestones/by-index/4294967295",
        f"{CORE}/milestones/by-index/2/utxo-changes",
        f"{CORE}/transactions/0x{'ab' * 32}/included-block",
        f"{CORE}/info/",
        f"{CORE}/",
        "/",
        "/api/core/v1/info",
        "//api/core/v2/info",
    ],
)
def test_what_is_not_there_is_404(rest: Rest, path: str) -> None:
    assert_error(rest.client.get(f"http://testserver{path}"), 404)


def test_another_method_is_405(rest: Rest) -> None:
    for method, path in (("DELETE", f"{CORE}/info"), ("GET", f"{CORE}/blocks"), ("PUT", "/health")):
        assert_error(rest.client.request(method, path), 405)


@pytest.mark.parametrize(
    "query",
    [
        "address=nonsense",
        "address=iota1qpllaj0pyveqfkwxmnngz2c488hfdtmfrj3wfkgxtk4gtyrax0jaxzt70zy",
        "hasExpiration=maybe",
        "expiresBefore=-1",
        "expiresBefore=4294967296",
        "createdAfter=1.5",
        "createdAfter=" + "9" * 1_000,
        "tag=ab",
        "tag=0x" + "ab" * 65,
        "pageSize=-1",
        "pageSize=ten",
        "pageSize=99999999999999999999",
        "cursor=1",
        "cursor=" + "0" * 76,
        "cursor=" + "0" * 76 + ".0",
        "cursor=" + "0" * 76 + ".99999999999",
        "cursor=" + "g" * 76 + ".1",
        "unlockable=by%20me",
        "sender=%ff",
        "tag=%F0%9F%92%A1",
    ],
)
def test_a_bad_query_is_refused(rest: Rest, query: str) -> None:
    assert_error(rest.client.get(f"{INDEXER}/outputs/basic?{query}"), 400)


@pytest.mark.parametrize("size", ["0", "1001", "4294967295"])
def test_absurd_page_sizes_are_capped(rest: Rest, size: str) -> None:
    assert rest.get(f"{INDEXER}/outputs/basic", pageSize=size)["pageSize"] == 1000


def test_filters_of_another_list_are_refused(rest: Rest) -> None:
    assert_error(rest.client.get(f"{INDEXER}/outputs?tag=0xab"), 400)


def test_a_fault_of_ours_keeps_the_form_and_tells_nothing(rest: Rest) -> None:
    rest.net.node.close()
    before = assert_error(rest.client.get(f"{CORE}/info"), 503)
    assert "database" in before
    assert_error(rest.post(_tagged(Rest()).encode()), 503)

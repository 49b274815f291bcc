"""The client of nodes over REST: what it believes, whom it asks next, and what it never tells."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_client.ledger import LedgerRefusedError, LedgerUnavailableError
from ledger_client.remotenode import NodeClient
from ledger_client.remotenode import answers as reading
from ledger_client.remotenode.errors import NodeAnswerError, NodeUnfitError, NodeUrlError
from ledger_client.stardust.block import Block
from ledger_client.stardust.milestone import Milestone
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import TaggedData
from tests.conftest import LONG
from tests.ledger_client.fake_stardust import (
    BINARY,
    TOKEN,
    Answer,
    FakeStardust,
    FakeWeb,
    answer,
    binary,
    hexed,
    refusal,
)
from tests.ledger_client.tangle_kit import ALICE, NETWORK, SUPPLY, TREASURY, Net
from tests.ledger_client.test_ledger_port import holds


class Story:
    """A network with a confirmed payment, an anchor, a double spend and a pending block."""

    def __init__(self) -> None:
        self.net = Net()
        self.node = FakeStardust(self.net)
        self.web = FakeWeb({"one": self.node})
        self.client = self.web.client()
        self.paid, self.double = (self.net.pay(TREASURY, (ALICE, n)) for n in (1000, 2000))
        for signed in (self.paid, self.double):
            self.net.ledger.transfer(signed.payload)
        self.anchor = self.net.ledger.anchor(b"tag", b"data")
        self.net.node.issue_milestone()
        self.pending = self.net.ledger.anchor(b"tag", b"later")
        self.block = self.net.node.store.blocks_with_payload(self.paid.transaction_id)[0].block_id
        self.index = self.net.node.latest_milestone().index


@pytest.fixture
def story() -> Story:
    return Story()


# What a node tells ------------------------------------------------------------------------------


def test_what_a_truthful_node_tells(story: Story) -> None:
    client, store = story.client, story.net.node.store
    info = client.info()
    assert (info.network_name, info.bech32_hrp, info.token_supply) == (NETWORK, "wl", SUPPLY)
    assert info.confirmed_milestone_index == story.index
    assert client.tips() == story.net.node.tips()
    block = client.block(story.anchor)
    assert block == store.block(story.anchor).data
    assert client.submit(block) == story.anchor
    assert client.included_block(story.paid.transaction_id) == store.block(story.block).data
    payload = client.milestone(story.index)
    assert payload is not None
    assert client.milestone(Milestone.decode(payload).essence.id()) == payload
    assert client.utxo_changes(story.index).consumed_outputs == (bytes(34),)
    assert len(client.utxo_changes(story.index).created_outputs) == 2


def test_the_metadata_of_blocks(story: Story) -> None:
    found = story.client.block_metadata(story.block)
    assert (found.ledger_inclusion_state, found.conflict_reason) == ("included", 0)
    assert found.referenced_by_milestone_index == story.index
    assert (found.should_promote, found.should_reattach) == (None, None)
    found = story.client.block_metadata(story.pending)
    assert (found.ledger_inclusion_state, found.white_flag_index) == (None, None)
    assert (found.should_promote, found.should_reattach) == (False, False)
    [row] = story.net.node.store.blocks_with_payload(story.double.transaction_id)
    found = story.client.block_metadata(row.block_id)
    assert (found.ledger_inclusion_state, found.conflict_reason) == ("conflicting", 2)


def test_the_outputs_of_an_address_over_pages(story: Story) -> None:
    story.net.fund(*[(ALICE, 100 + n) for n in range(5)])
    ids = story.client.basic_outputs(ALICE.address)
    assert len(ids) == 6
    outputs = [BasicOutput.decode(story.client.output(item)) for item in ids]
    assert sum(output.units for output in outputs) == 1000 + sum(range(100, 105))
    metadata = story.client.output_metadata(ids[0])
    assert (metadata.is_spent, metadata.transaction_id) == (False, ids[0][:32])
    genesis = story.client.output_metadata(bytes(34))
    assert genesis.transaction_id_spent == story.paid.transaction_id


def test_a_proof_of_inclusion_is_checked(story: Story) -> None:
    proof = story.client.inclusion_proof(story.anchor)
    assert holds(proof) == story.anchor
    assert story.client.inclusion_proof(bytes(32)) is None


ASKING: dict[str, Callable[[Story], object]] = {
    "block": lambda s: s.client.block(s.anchor),
    "block_metadata": lambda s: s.client.block_metadata(s.anchor),
    "included_block": lambda s: s.client.included_block(s.paid.transaction_id),
    "milestone": lambda s: s.client.milestone(s.index),
    "milestone by id": lambda s: s.client.milestone(s.net.node.latest_milestone().milestone_id),
    "utxo_changes": lambda s: s.client.utxo_changes(s.index),
    "output": lambda s: s.client.output(bytes(34)),
    "output_metadata": lambda s: s.client.output_metadata(bytes(34)),
    "inclusion_proof": lambda s: s.client.inclusion_proof(s.anchor),
}
NAMES = list(ASKING)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_node_does_not_know_is_none(story: Story, name: str) -> None:
    assert ASKING[name](story) is not None
    story.node.mischief = lambda request, told: told if "info" in request.url.path else refusal(404)
    assert ASKING[name](story) is None


# Lies -------------------------------------------------------------------------------------------


def _other(story: Story, name: str) -> Answer:
    """The truth about something else than what was asked for."""
    other_block = story.net.node.store.block(story.pending)
    first = story.net.node.store.milestone_at(1)
    return {
        "block": binary(other_block.data),
        "block_metadata": story.node._block([hexed(story.pending), "metadata"]),
        "included_block": binary(other_block.data),
        "milestone": binary(first.payload),
        "milestone by id": binary(first.payload),
        "utxo_changes": story.node._milestone(["by-index", "1", "utxo-changes"]),
        "output": binary(b"\2" + bytes(20)),
        "output_metadata": story.node._output([hexed(_created(story)), "metadata"]),
        "inclusion_proof": story.node._proof([hexed(story.block)]),
    }[name]


def _created(story: Story) -> bytes:
    return story.client.utxo_changes(story.index).created_outputs[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_truth_about_something_else_is_no_answer(story: Story, name: str) -> None:
    lie = _other(story, name)
    story.node.mischief = lambda request, told: told if "info" in request.url.path else lie
    with pytest.raises(NodeAnswerError, match="http://one:14265/api/"):
        ASKING[name](story)


def test_an_output_of_another_kind_is_raw_and_no_basic_one(story: Story) -> None:
    alias = binary(b"\4" + bytes(50))
    story.node.mischief = lambda request, told: alias if "/outputs/" in str(request.url) else told
    assert story.client.raw_output(bytes(34)) == alias.content
    with pytest.raises(NodeAnswerError, match="unknown here"):
        story.client.output(bytes(34))


@pytest.mark.parametrize("part", ["block", "root", "milestone", "shape"])
def test_a_path_that_leads_elsewhere_is_no_proof(story: Story, part: str) -> None:
    truth = json.loads(story.node._proof([hexed(story.anchor)]).content)
    other = json.loads(story.node._proof([hexed(story.block)]).content)
    lie = {
        "block": truth | {"proof": other["proof"]},
        "root": truth | {"proof": {"value": hexed(story.anchor)}},
        "milestone": truth | {"milestone": truth["milestone"] | {"index": 1}},
        "shape": truth | {"proof": [hexed(story.anchor)]},
    }[part]
    story.node.mischief = lambda request, told: answer(lie) if "poi" in str(request.url) else told
    with pytest.raises(NodeAnswerError, match="http://one:14265/api/"):
        story.client.inclusion_proof(story.anchor)


def _redirect(_told: Answer) -> Answer:
    return Answer(302, headers={"Location": "http://elsewhere/"})


BAD: dict[str, Callable[[Answer], Answer]] = {
    "no JSON": lambda told: Answer(200, content=b"<html>", headers={"Content-Type": "text/html"}),
    "half": lambda told: Answer(200, content=told.content[:-1], headers=told.headers),
    "empty": lambda told: Answer(200, content=b"", headers=told.headers),
    "a list": lambda told: answer([]),
    "deep": lambda told: Answer(
        200, content=b"[" * 100_000, headers={"Content-Type": "application/json"}
    ),
    "packed": lambda told: Answer(200, content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}),
    "redirect": _redirect,
    "empty 404 of a proxy": lambda told: Answer(404, text="404 page not found"),
    "503": lambda told: refusal(503),
    "429": lambda told: refusal(429),
    "401": lambda told: refusal(401),
    "204": lambda told: Answer(204),
}


@pytest.mark.parametrize("how", list(BAD))
@pytest.mark.parametrize("name", NAMES)
def test_a_bad_answer_is_unavailable_and_names_the_address(
    story: Story, name: str, how: str
) -> None:
    def mischief(request: httpx.Request, told: Answer) -> Answer:
        return told if request.url.path.endswith("info") else BAD[how](told)

    story.node.mischief = mischief
    with pytest.raises(LedgerUnavailableError, match=r"http://one:14265") as caught:
        ASKING[name](story)
    assert TOKEN not in str(caught.value)


class Endless(httpx.SyncByteStream):
    """An answer without an end."""

    def __init__(self) -> None:
        self.sent = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.sent += 1 << 16
            yield b" " * (1 << 16)


@pytest.mark.parametrize("name", NAMES)
def test_an_endless_answer_is_cut_off(story: Story, name: str) -> None:
    streams: list[Endless] = []

    def mischief(request: httpx.Request, told: Answer) -> Answer:
        if request.url.path.endswith("info"):
            return told
        streams.append(Endless())
        return Answer(200, stream=streams[-1], headers={"Content-Type": "application/json"})

    story.node.mischief = mischief
    with pytest.raises(NodeAnswerError, match=r"over [0-9]+ bytes"):
        ASKING[name](story)
    assert max(stream.sent for stream in streams) <= (1 << 25) + (1 << 16)


@given(st.data())
@settings(max_examples=2_000 if LONG else 40)
def test_any_json_is_an_answer_or_a_syntax_error(data: st.DataObject) -> None:
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
    truth = FakeStardust(_QUIET).info()
    value = json.loads(json.dumps(truth))
    place = data.draw(st.sampled_from(["status", "protocol", "name", "features", ""]))
    odd = data.draw(values)
    if place:
        value[place] = odd
    for read in (
        reading.read_info,
        reading.read_tips,
        lambda it: reading.read_block_metadata(it, bytes(32)),
        lambda it: reading.read_output_metadata(it, bytes(34)),
        lambda it: reading.read_utxo_changes(it, 1),
        reading.read_output_ids,
    ):
        for candidate in (value, odd):
            with suppress(reading.AnswerSyntaxError):
                read(candidate)


_QUIET = Net()


# Several nodes ----------------------------------------------------------------------------------


def test_another_node_answers_when_the_first_is_away(story: Story) -> None:
    web = FakeWeb({"two": story.node})
    client = web.client("one", "two")
    assert client.block(story.anchor) is not None
    assert web.tried == ["one", "two", "two"]
    web.tried.clear()
    assert client.tips()
    assert web.tried == ["two"]  # the last good one first


def test_the_first_is_asked_again_when_the_second_goes(story: Story) -> None:
    web = FakeWeb({"two": story.node})
    client = web.client("one", "two")
    client.tips()
    web.nodes = {"one": FakeStardust(story.net)}
    assert client.tips()
    web.tried.clear()
    client.tips()
    assert web.tried == ["one"]


def test_nodes_that_hang_or_refuse_are_all_named(story: Story) -> None:
    web = FakeWeb({"three": story.node})
    web.hanging = {"two"}
    story.node.mischief = lambda _request, _told: refusal(503, "syncing")
    with pytest.raises(LedgerUnavailableError) as caught:
        web.client("one", "two", "three").tips()
    for part in ("http://one:14265", "http://two:14265", "ReadTimeout", "HTTP 503 syncing"):
        assert part in str(caught.value)
    assert len(web.tried) == 9  # a few quick tries, and then it is the caller's turn


def test_silence_is_told_once_and_so_is_its_end(story: Story) -> None:
    told: list[LedgerUnavailableError | None] = []
    client = NodeClient(
        ["http://one"], transport=story.web, pause=lambda _: None, on_change=told.append
    )
    client.tips()
    assert told == []
    story.node.mischief = lambda _request, _told: refusal(503, "syncing")
    for _ in range(3):
        with pytest.raises(LedgerUnavailableError):
            client.tips()
    assert [str(error) for error in told] == ["http://one/api/core/v2/info: HTTP 503 syncing"]
    story.node.mischief = lambda _request, told: told
    for _ in range(3):
        client.tips()
    assert told[1:] == [None]


def test_a_hiccup_is_slept_over(story: Story) -> None:
    pauses: list[float] = []
    client = NodeClient(["http://one"], transport=story.web, pause=pauses.append)
    troubles = [refusal(503), refusal(503)]
    story.node.mischief = lambda _request, told: troubles.pop() if troubles else told
    assert client.tips()
    assert len(pauses) == 2
    assert 0.1 <= pauses[0] <= 0.2


def test_a_node_of_another_network_is_never_used(story: Story) -> None:
    stranger = FakeStardust(Net(), name="elsewhere")
    web = FakeWeb({"one": stranger, "two": story.node})
    client = web.client("one", "two", network=NETWORK)
    data = Block(story.net.node.tips(), TaggedData(b"t", b"d")).encode()
    client.submit(data)
    assert all(asked.endswith("/info") for asked in stranger.asked)
    web.nodes.pop("two")
    with pytest.raises(LedgerUnavailableError, match="network 'elsewhere', not of"):
        client.tips()


def test_a_node_that_changes_its_network_is_found_out(story: Story) -> None:
    web = FakeWeb({"one": story.node})
    client = web.client()
    client.tips()
    web.nodes["one"] = FakeStardust(Net(), name="elsewhere")
    with pytest.raises(NodeUnfitError, match="elsewhere"):
        client.info()
    with pytest.raises(NodeUnfitError, match="elsewhere"):
        client.tips()
    web.nodes["one"] = story.node
    assert client.tips()


def test_the_same_name_over_another_supply_is_another_network(story: Story) -> None:
    def richer(request: httpx.Request, told: Answer) -> Answer:
        if not request.url.path.endswith("info"):
            return told
        info: dict[str, Any] = json.loads(told.content)
        info["protocol"]["tokenSupply"] = "17"
        return answer(info)

    other = FakeStardust(story.net)
    other.mischief = richer
    client = FakeWeb({"one": story.node, "two": other}).client()
    client.tips()
    story.node.mischief = lambda _request, _told: refusal(503)
    with pytest.raises(LedgerUnavailableError, match="another address prefix or supply"):
        client.tips()


def test_another_protocol_version_is_refused(story: Story) -> None:
    def newer(_request: httpx.Request, told: Answer) -> Answer:
        return Answer(200, content=told.content.replace(b'"version":2', b'"version":3'),
                      headers=told.headers)  # fmt: skip

    story.node.mischief = newer
    with pytest.raises(NodeUnfitError, match="protocol version 3"):
        story.client.tips()


# Submitting -------------------------------------------------------------------------------------


def test_a_lost_reply_is_made_up_for_by_sending_again(story: Story) -> None:
    lost: list[Answer] = []

    def lose_one(request: httpx.Request, told: Answer) -> Answer:
        if request.method == "POST" and not lost:
            lost.append(told)
            raise httpx.ReadError("cut", request=request)
        return told

    story.node.mischief = lose_one
    blocks = story.net.node.stats().blocks
    data = Block(story.net.node.tips(), TaggedData(b"t", b"d")).encode()
    assert story.client.submit(data) == Block.decode(data).id()
    assert story.net.node.stats().blocks == blocks + 1


def test_a_refused_block_is_refused(story: Story) -> None:
    with pytest.raises(LedgerRefusedError, match=r"one:14265 refuses the block: .*parent"):
        story.client.submit(Block((b"\1" * 32,), TaggedData(b"t", b"d")).encode())
    with pytest.raises(LedgerRefusedError):
        story.client.submit(b"nonsense")


@pytest.mark.parametrize(
    "told",
    [
        answer({"blockId": "0x" + "00" * 32}, 201),
        answer({"blockId": "0x"}, 201),
        answer({}, 201),
        answer({"blockId": "0x" + "00" * 32}, 200),
        Answer(400, text="<h1>proxy</h1>"),
        refusal(404),
        refusal(503, "no proof of work"),
    ],
)
def test_a_submission_without_the_right_id_is_not_done(story: Story, told: Answer) -> None:
    story.node.mischief = lambda request, truth: told if request.method == "POST" else truth
    with pytest.raises(LedgerUnavailableError, match="http://one:14265/api/core/v2/blocks"):
        story.client.submit(Block(story.net.node.tips()).encode())


# Addresses and secrets --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "one", "ftp://one", "http://", "http://name:secret@one", "http://one/path", "http://a b"],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(NodeUrlError, match="no address of a node") as caught:
        NodeClient([url])
    assert "secret" not in str(caught.value)


def test_without_addresses_there_is_no_client() -> None:
    with pytest.raises(NodeUnfitError, match="at least one address"):
        NodeClient([])


def test_the_token_is_sent_and_never_shown(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    story.client.tips()
    assert {headers["Authorization"] for headers in story.node.headers} == {f"Bearer {TOKEN}"}
    assert story.node.headers[-1]["Accept-Encoding"] == "identity"
    story.node.mischief = lambda _request, _told: refusal(401)
    with pytest.raises(LedgerUnavailableError, match="check the token") as caught:
        story.client.block(story.anchor)
    assert TOKEN not in caplog.text + str(caught.value) + repr(story.client)


def test_binary_is_asked_for_by_its_name(story: Story) -> None:
    story.client.block(story.anchor)
    assert story.node.headers[-1]["Accept"] == BINARY

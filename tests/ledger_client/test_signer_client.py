"""A node that asks signers elsewhere: down, slow, lying, behind, and two nodes at once."""

from __future__ import annotations

import gzip
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ledger_client.ledger import LedgerUnavailableError
from ledger_client.localnode import LocalNode
from ledger_client.signer import RemoteSigner, SignerEndpoint, SignerError
from ledger_client.signer.rules import SignerSettingsError
from ledger_client.stardust.codec import MAX_U32
from ledger_client.stardust.milestone import Milestone
from ledger_client.stardust.transaction import TaggedData
from ledger_client.verify import check_milestone
from tests.ledger_client.signer_kit import (
    KEYS,
    NETWORK,
    PUBLIC,
    Desk,
    chain,
    essence,
    pinned,
    serving,
    signed,
)

CHAIN = chain(8)


class Town:
    """Three signers behind HTTP, each of which can be closed and opened."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.desks = [Desk(folder, number, now=MAX_U32) for number in range(3)]
        self.urls = [stack.enter_context(serving(desk.http.app)) for desk in self.desks]
        self._stack = stack

    def endpoint(self, number: int) -> SignerEndpoint:
        return SignerEndpoint(self.urls[number], PUBLIC[number])

    def ask(self, *endpoints: SignerEndpoint, threshold: int = 2, local: int = 0) -> RemoteSigner:
        signer = RemoteSigner(
            endpoints,
            threshold=threshold,
            timeout_s=20,
            local_keys=KEYS[:local],
            grace_s=20,
            network=NETWORK,
        )
        self._stack.callback(signer.close)
        return signer

    def all(self) -> RemoteSigner:
        return self.ask(*map(self.endpoint, range(3)))

    def away(self, number: int) -> SignerEndpoint:
        """The endpoint of a signer that is not running."""
        with serving(self.desks[number].http.app) as url:
            return SignerEndpoint(url, PUBLIC[number])


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with ExitStack() as stack:
        yield Town(tmp_path, stack)


@contextmanager
def answering(
    status: int, content: bytes, headers: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Serve one answer to everything."""

    async def answer(_request: Request) -> Response:
        return Response(content, status, headers)

    with serving(Starlette(routes=[Route("/sign", answer, methods=["POST"])])) as url:
        yield url


def test_all_sign_sorted_by_key(town: Town) -> None:
    signer = town.all()
    for item in CHAIN:
        made = signer.sign(item)
        assert [each.public_key for each in made] == sorted(PUBLIC)
        check_milestone(Milestone(item, made).encode(), pinned(3))
    assert signer.problems() == {}


def test_one_away_is_made_up_for(town: Town) -> None:
    away = town.away(2)
    signer = town.ask(town.endpoint(0), town.endpoint(1), away)
    made = signer.sign(CHAIN[0])
    check_milestone(Milestone(CHAIN[0], made).encode(), pinned())
    assert list(signer.problems()) == [away.url]


def test_two_away_leave_one_signature(town: Town) -> None:
    signer = town.ask(town.endpoint(0), town.away(1), town.away(2))
    assert [each.public_key for each in signer.sign(CHAIN[0])] == [PUBLIC[0]]


def test_nobody_there_is_an_outage(town: Town) -> None:
    away = town.away(0)
    with pytest.raises(LedgerUnavailableError, match=away.url):
        town.ask(away).sign(CHAIN[0])


def test_an_own_key_counts(town: Town) -> None:
    signer = town.ask(town.endpoint(1), town.away(2), local=1)
    made = signer.sign(CHAIN[0])
    assert {each.public_key for each in made} == set(PUBLIC[:2])


def test_another_key_than_pinned_is_not_taken(town: Town) -> None:
    swapped = replace(town.endpoint(0), public_key=PUBLIC[2])
    signer = town.ask(swapped, town.endpoint(1), threshold=1)
    assert [each.public_key for each in signer.sign(CHAIN[0])] == [PUBLIC[1]]
    assert "is pinned" in signer.problems()[swapped.url]


def test_a_signer_that_returns_is_taken_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path, now=MAX_U32)
    with serving(desk.http.app) as url:
        port = int(url.rpartition(":")[2])
    signer = RemoteSigner([SignerEndpoint(url, PUBLIC[0])], threshold=1)
    with pytest.raises(LedgerUnavailableError):
        signer.sign(CHAIN[0])
    with serving(desk.http.app, port):
        assert len(signer.sign(CHAIN[0])) == 1
    assert signer.problems() == {}
    signer.close()


KEY = "0x" + PUBLIC[2].hex()
LIES = {
    "noise": (200, b"\xff\x00"),
    "a list": (200, b"[]"),
    "nothing": (200, b"{}"),
    "numbers": (200, b'{"publicKey": 1, "signature": 2}'),
    "a wrong signature": (
        200,
        f'{{"publicKey": "{KEY}", "signature": "0x{"00" * 64}"}}'.encode(),
    ),
    "half a signature": (200, f'{{"publicKey": "{KEY}", "signature": "0x00"}}'.encode()),
    "no end": (200, b" " * 100_000),
    "an error without form": (500, b"Internal Server Error"),
    "a refusal": (409, b'{"error": {"code": "409", "message": "signed already"}}'),
    "a redirect": (307, b""),
}


@pytest.mark.parametrize("case", LIES)
def test_who_lies_is_not_believed(case: str) -> None:
    with answering(*LIES[case]) as url:
        liar = SignerEndpoint(url, PUBLIC[2])
        signer = RemoteSigner([liar], threshold=2, local_keys=KEYS[:2], grace_s=20)
        assert {each.public_key for each in signer.sign(CHAIN[0])} == set(PUBLIC[:2])
        assert list(signer.problems()) == [url]
        signer.close()


def test_a_packed_answer_does_not_swell() -> None:
    """Ten kilobytes that would become ten megabytes are measured as they come."""
    packed = gzip.compress(bytes(10_000_000))
    with answering(200, packed, {"Content-Encoding": "gzip"}) as url:
        signer = RemoteSigner([SignerEndpoint(url, PUBLIC[2])], threshold=1)
        with pytest.raises(LedgerUnavailableError):
            signer.sign(CHAIN[0])
        assert "answered 200 with b'\\x1f" in signer.problems()[url]
        signer.close()


def test_one_that_hangs_holds_up_nobody(town: Town) -> None:
    release = threading.Event()

    async def hang(_request: Request) -> Response:
        await run_in_threadpool(release.wait, 60)
        return Response(status_code=503)

    with serving(Starlette(routes=[Route("/sign", hang, methods=["POST"])])) as url:
        endpoints = [town.endpoint(0), town.endpoint(1), SignerEndpoint(url, PUBLIC[2])]
        signer = RemoteSigner(endpoints, threshold=2, timeout_s=60, grace_s=0.01)
        for item in CHAIN:
            assert len(signer.sign(item)) == 2
        assert not release.is_set()
        assert signer.problems() == {}  # slow is no problem while the others are enough
        release.set()
        signer.close()


def test_one_that_was_away_catches_up_by_proof(town: Town) -> None:
    two = town.ask(town.endpoint(0), town.endpoint(1))
    for item in CHAIN[:5]:
        two.sign(item)
    signer = town.all()
    assert len(signer.sign(CHAIN[5])) == 2
    assert "send milestone 5" in signer.problems()[town.urls[2]]
    history = {item.index: signed(item, KEYS[:2]) for item in CHAIN}
    signer.remember(history.get)
    assert len(signer.sign(CHAIN[5])) == 3
    assert len(signer.sign(CHAIN[6])) == 3


def test_the_token_is_sent(tmp_path: Path) -> None:
    desk = Desk(tmp_path, token="t0ken-of-sixteen-signs", now=MAX_U32)
    with serving(desk.http.app) as url:
        without = RemoteSigner([SignerEndpoint(url, PUBLIC[0])], threshold=1)
        with pytest.raises(LedgerUnavailableError, match=r"401.*--signer-token-file"):
            without.sign(CHAIN[0])
        without.close()
        endpoint = SignerEndpoint(url, PUBLIC[0], "t0ken-of-sixteen-signs")
        signer = RemoteSigner([endpoint], threshold=1)
        assert len(signer.sign(CHAIN[0])) == 1
        signer.close()


def test_another_networks_milestones_are_refused(town: Town) -> None:
    signer = RemoteSigner([town.endpoint(0)], threshold=1, network="elsewhere")
    with pytest.raises(LedgerUnavailableError, match="of the network lindenhof"):
        signer.sign(CHAIN[0])
    signer.close()


def test_asked_from_many_threads(town: Town) -> None:
    signer = town.all()
    made: list[int] = []
    threads = [
        threading.Thread(target=lambda: made.append(len(signer.sign(CHAIN[0])))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [3] * 8


@pytest.mark.parametrize(
    "said",
    [
        "",
        "http://127.0.0.1:14266",
        f"127.0.0.1:14266={PUBLIC[0].hex()}",
        f"ftp://host={PUBLIC[0].hex()}",
        f"http://={PUBLIC[0].hex()}",
        "http://host=00",
        "http://host=" + "00" * 32,
        "http://host=" + "zz" * 32,
        f"http://[::1={PUBLIC[0].hex()}",
    ],
)
def test_what_is_no_signer_is_refused(said: str) -> None:
    with pytest.raises(SignerSettingsError):
        SignerEndpoint.parse(said)


def test_a_signer_is_named_by_address_and_key() -> None:
    said = f"http://[::1]:14266/path?a=b={PUBLIC[0].hex()}"
    found = SignerEndpoint.parse(said, "token")
    assert found == SignerEndpoint("http://[::1]:14266/path?a=b", PUBLIC[0], "token")
    assert "token" not in repr(found)


def test_each_signer_has_a_key_of_its_own(town: Town) -> None:
    with pytest.raises(SignerError, match="one key"):
        town.ask(town.endpoint(0), town.endpoint(0))
    with pytest.raises(SignerError, match="one key"):
        town.ask(town.endpoint(0), local=1)


# Two nodes with the same signers -----------------------------------------------------------------


def test_of_two_nodes_the_second_stands_still(town: Town, tmp_path: Path) -> None:
    genesis = {bytes(range(32)): 1_000_000}
    options = {"genesis": genesis, "network": NETWORK, "pinned": pinned()}
    first = LocalNode.open(tmp_path / "first.db", signer=town.all(), **options)
    with pytest.raises(LedgerUnavailableError):  # a network founded twice
        LocalNode.open(tmp_path / "other.db", signer=town.all(), now=lambda: 1, **options)
    first.issue_milestone()
    first.close()
    shutil.copy(tmp_path / "first.db", tmp_path / "second.db")
    first = LocalNode.open(tmp_path / "first.db", signer=town.all(), **options)
    second = LocalNode.open(tmp_path / "second.db", signer=town.all(), **options)
    second.submit(TaggedData(b"x", b"another history"))
    for _ in range(3):
        first.issue_milestone()
        with pytest.raises(LedgerUnavailableError):
            second.issue_milestone()
    assert (first.latest_milestone().index, second.latest_milestone().index) == (5, 2)
    for desk in town.desks:
        assert desk.keeper.last().milestone_id == first.latest_milestone().milestone_id
        assert {index for index, *_ in desk.state.evidence()} == {1, 3}
    first.close()
    second.close()


def test_a_lost_race_is_made_up_for(town: Town) -> None:
    """One signer took another node's third milestone, the others this one's: it comes back."""
    town.all().sign(CHAIN[0])
    town.all().sign(CHAIN[1])
    town.desks[0].keeper.sign(essence(3, CHAIN[1], salt=7))
    signer = town.all()
    assert len(signer.sign(CHAIN[2])) == 2
    signer.remember({3: signed(CHAIN[2], KEYS[1:])}.get)
    assert len(signer.sign(CHAIN[3])) == 3

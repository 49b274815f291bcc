"""A milestone signer by itself: what it signs, what it refuses, what it remembers."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_client.signer import EssenceCheckError, SignerUnavailableError, SignRefusedError
from ledger_client.signer.rules import (
    AlreadySignedError,
    ForkError,
    GapError,
    Identity,
    KeyCopiedError,
    OldIndexError,
    SignerError,
    SignerSettingsError,
    TimestampError,
)
from ledger_client.signer.service import MilestoneKeeper
from ledger_client.signer.state import SignerState
from ledger_client.stardust.milestone import MilestoneEssence
from ledger_client.stardust.signature import is_valid_signature
from tests.ledger_client.crash_story import fused
from tests.ledger_client.power_cut import Breaker, PowerCutError
from tests.ledger_client.signer_kit import (
    KEYS,
    NETWORK,
    PUBLIC,
    START,
    Desk,
    chain,
    essence,
    pinned,
    signed,
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# What it signs -----------------------------------------------------------------------------------


def test_a_chain_is_signed_over_restarts(desk: Desk) -> None:
    for item in chain(5):
        made = desk.keeper.sign(item)
        assert made.public_key == PUBLIC[0]
        assert is_valid_signature(PUBLIC[0], item.id(), made.signature)
        desk.restart()
    assert desk.keeper.last().index == 5


def test_the_same_essence_gives_the_same_signature(desk: Desk) -> None:
    items = chain(4)
    made = [desk.keeper.sign(item) for item in items]
    desk.restart()
    assert [desk.keeper.sign(item) for item in items] == made


# What it refuses ---------------------------------------------------------------------------------

CHAIN = chain(8)
OTHER = chain(8, salt=1)
REFUSED = {
    "another of the last index": (essence(3, CHAIN[1], salt=9), None, AlreadySignedError),
    "another of an older index": (essence(2, CHAIN[0], salt=9), None, AlreadySignedError),
    "another with a proof": (essence(3, OTHER[1]), signed(OTHER[1]), AlreadySignedError),
    "the next on another past": (essence(4, OTHER[2]), None, ForkError),
    "a gap": (CHAIN[5], None, GapError),
    "a gap with a milestone too old": (CHAIN[5], signed(CHAIN[3]), GapError),
    "a gap with the milestone itself": (CHAIN[5], signed(CHAIN[5]), GapError),
    "a gap with another past": (CHAIN[5], signed(OTHER[4]), GapError),
    "a gap with too few signatures": (CHAIN[5], signed(CHAIN[4], KEYS[1:2]), GapError),
    "a gap with a stranger's": (
        CHAIN[5],
        signed(CHAIN[4], [KEYS[1], type(KEYS[1])(bytes(32))]),
        GapError,
    ),
    "a gap with noise": (CHAIN[5], b"\7\0\0\0noise", GapError),
    "a time that stands still": (essence(4, CHAIN[2], time_s=START + 3), None, TimestampError),
    "a time too far ahead": (essence(4, CHAIN[2], time_s=START + 401), None, TimestampError),
    "a proved gap in no time": (
        essence(6, CHAIN[4], time_s=START + 5),
        signed(CHAIN[4]),
        TimestampError,
    ),
    "its own key where it was not": (CHAIN[5], signed(CHAIN[4], KEYS), KeyCopiedError),
    "its own key on another past": (
        essence(4, OTHER[2]),
        signed(OTHER[2], KEYS[:2]),
        KeyCopiedError,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_breaks_a_rule_is_not_signed(desk: Desk, case: str) -> None:
    desk.sign_all(CHAIN[:3])
    item, previous, error = REFUSED[case]
    with pytest.raises(error):
        desk.keeper.sign(item, previous)
    assert desk.keeper.last().index == 3
    desk.keeper.sign(CHAIN[3])  # and goes on as if nothing had been


def test_the_first_milestone_has_no_past(desk: Desk) -> None:
    strange = replace(essence(1), previous_id=b"\1" * 32)
    with pytest.raises(ForkError):
        desk.keeper.sign(strange)
    desk.keeper.sign(essence(1))


def test_a_time_just_within_is_signed(desk: Desk) -> None:
    desk.keeper.sign(essence(1, time_s=START + 400))


# After it was away -------------------------------------------------------------------------------


def test_a_gap_closes_by_proof(desk: Desk) -> None:
    desk.sign_all(CHAIN[:2])
    desk.keeper.sign(CHAIN[6], signed(CHAIN[5]))
    desk.keeper.sign(CHAIN[7])
    with pytest.raises(OldIndexError):
        desk.keeper.sign(CHAIN[4], signed(CHAIN[3]))


def test_a_new_signer_joins_by_proof(desk: Desk) -> None:
    desk.keeper.sign(CHAIN[6], signed(CHAIN[5]))


def test_a_gap_stays_closed_without_pinned_keys(tmp_path: Path) -> None:
    desk = Desk(tmp_path, pinned=None)
    desk.sign_all(CHAIN[:2])
    with pytest.raises(GapError, match="--keys"):
        desk.keeper.sign(CHAIN[6], signed(CHAIN[5]))


def test_what_others_agreed_on_is_followed(desk: Desk) -> None:
    """A lost race: this one signed CHAIN's third, the others OTHER's; only one has its quorum."""
    desk.sign_all(CHAIN[:3])
    desk.keeper.sign(OTHER[3], signed(OTHER[2]))
    assert desk.keeper.last().milestone_id == OTHER[3].id()
    with pytest.raises(AlreadySignedError):
        desk.keeper.sign(OTHER[2], signed(OTHER[1]))


def test_a_key_may_be_moved_here_on_purpose(tmp_path: Path) -> None:
    desk = Desk(tmp_path, from_index=6)
    with pytest.raises(OldIndexError):
        desk.keeper.sign(CHAIN[0])
    desk.keeper.sign(CHAIN[5], signed(CHAIN[4], KEYS))
    desk.keeper.sign(CHAIN[6])
    with pytest.raises(KeyCopiedError):
        desk.keeper.sign(essence(9, CHAIN[7]), signed(CHAIN[7], KEYS))


def test_an_old_copy_of_the_folder_gives_itself_away(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.sign_all(CHAIN[:4])
    desk.state.close()
    (tmp_path / "copy").mkdir()
    restored = Desk(tmp_path / "copy")
    restored.sign_all(CHAIN[:2])  # what an old copy remembers
    with pytest.raises(KeyCopiedError, match="old copy"):
        restored.keeper.sign(CHAIN[4], signed(CHAIN[3], KEYS))


# A second opinion --------------------------------------------------------------------------------


class Opinion:
    def __init__(self) -> None:
        self.asked: list[int] = []
        self.error: SignerError | None = None

    def check(self, item: MilestoneEssence) -> None:
        self.asked.append(item.index)
        if self.error:
            raise self.error


def test_a_second_opinion_is_heard_before_each_signature(tmp_path: Path) -> None:
    opinion = Opinion()
    desk = Desk(tmp_path, check=opinion)
    desk.sign_all([*CHAIN[:2], CHAIN[1]])
    assert opinion.asked == [1, 2]  # not again for what is signed
    for error in (EssenceCheckError("the applied root is wrong"), SignerUnavailableError("behind")):
        opinion.error = error
        with pytest.raises(type(error)):
            desk.keeper.sign(CHAIN[2])
    with pytest.raises(GapError):
        desk.keeper.sign(CHAIN[6])
    assert opinion.asked == [1, 2, 3, 3]  # nor for what no opinion could mend
    opinion.error = None
    desk.keeper.sign(CHAIN[2])


# Evidence ----------------------------------------------------------------------------------------


def test_both_essences_are_kept_as_evidence(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.sign_all(CHAIN[:2])
    double = essence(2, CHAIN[0], salt=9)
    for _ in range(3):
        assert desk.post(double.encode()).status_code == 409
    assert desk.state.evidence() == [(2, CHAIN[1].encode(), double.encode())]
    assert "CRITICAL" in caplog.text


# Crashes -----------------------------------------------------------------------------------------


def _life(state: SignerState, said: list[tuple[int, bytes]]) -> None:
    me = Identity(PUBLIC[0], NETWORK, pinned())
    keeper = MilestoneKeeper(KEYS[0], state, me, now=lambda: START)
    for item in CHAIN[:3]:
        said += [(item.index, keeper.sign(item).signature)]
    with pytest.raises(AlreadySignedError):
        keeper.sign(essence(2, CHAIN[0], salt=9))


def test_a_power_cut_at_any_write_loses_no_signature(tmp_path: Path) -> None:
    whole = Breaker(None)
    _life(SignerState(tmp_path / "calm.db", fused(whole)), [])
    assert whole.steps > 12
    for step in range(whole.steps):
        fuse, said = Breaker(step), list[tuple[int, bytes]]()
        path = tmp_path / f"{step}.db"
        with pytest.raises(PowerCutError):
            _life(SignerState(path, fused(fuse)), said)
        fuse.power_off()
        state = SignerState(path)
        me = Identity(PUBLIC[0], NETWORK, pinned())
        keeper = MilestoneKeeper(KEYS[0], state, me, now=lambda: START)
        assert keeper.last().index >= len(said)
        for index, signature in said:
            assert keeper.sign(CHAIN[index - 1]).signature == signature
            with pytest.raises(SignRefusedError):
                keeper.sign(essence(index, salt=9))
        for item in CHAIN[:4]:
            keeper.sign(item)
        state.close()


def test_a_full_disk_is_an_outage(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.keeper.sign(CHAIN[0])
    desk.state._connection.execute("PRAGMA max_page_count = 1")
    big = replace(essence(2, CHAIN[0]), metadata=bytes(8192))
    answer = desk.post(big.encode())
    assert answer.status_code == 503
    assert "disk" in answer.json()["error"]["message"]
    desk.state._connection.execute("PRAGMA max_page_count = 100000")
    assert desk.post(big.encode()).status_code == 200


# The folder --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "me", [Identity(PUBLIC[0], "elsewhere"), Identity(PUBLIC[1], NETWORK)], ids=["network", "key"]
)
def test_a_folder_belongs_to_one_network_and_key(desk: Desk, me: Identity) -> None:
    with pytest.raises(SignerSettingsError, match="another folder"):
        MilestoneKeeper(KEYS[0], desk.state, me)


def test_a_second_process_cannot_share_the_state(desk: Desk) -> None:
    with pytest.raises(SignerUnavailableError):
        SignerState(desk.folder / "signer-0.db")


def test_a_broken_state_is_an_outage(tmp_path: Path) -> None:
    path = tmp_path / "signer.db"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(SignerUnavailableError):
        SignerState(path)
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(path).execute("SELECT 1 FROM signed")


# Any order ---------------------------------------------------------------------------------------

ASKED = st.tuples(st.integers(1, 6), st.integers(0, 1), st.integers(0, 1), st.integers(0, 2))


@given(st.lists(ASKED, max_size=25))
def test_no_index_is_signed_twice(asked: list[tuple[int, int, int, int]]) -> None:
    """Essences of two histories, on either past, with either proof or none, in any order."""
    histories = [chain(6), chain(6, salt=1)]
    state = SignerState(":memory:")
    me = Identity(PUBLIC[0], NETWORK, pinned())
    keeper = MilestoneKeeper(KEYS[0], state, me, now=lambda: START)
    made: dict[int, bytes] = {}
    newest = 0
    for index, content, past, proof in asked:
        before = histories[past][index - 2] if index > 1 else None
        item = essence(index, before, salt=content)
        previous = signed(histories[proof][index - 2]) if proof < 2 and index > 1 else None
        try:
            keeper.sign(item, previous)
        except SignRefusedError:
            continue
        assert made.setdefault(index, item.encode()) == item.encode()
        newest = max(newest, index)
        assert keeper.last().index == newest
    state.close()


# Over HTTP ---------------------------------------------------------------------------------------


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def test_bytes_and_json_are_signed_alike(desk: Desk) -> None:
    first, second = chain(2)
    made = desk.post(first.encode()).json()
    assert made["publicKey"] == hexed(PUBLIC[0])
    assert is_valid_signature(PUBLIC[0], first.id(), bytes.fromhex(made["signature"][2:]))
    fields = {"essence": hexed(first.encode()), "network": NETWORK}
    assert desk.post(body(**fields), "application/json").json() == made
    fields = {"essence": hexed(second.encode()), "previous": None}
    assert desk.post(body(**fields), "application/json; charset=utf-8").status_code == 200
    health = desk.http.get("/health").json()
    assert health["lastSigned"] == {"index": 2, "milestoneId": hexed(second.id())}
    assert desk.http.get("/key").json() == {"publicKey": hexed(PUBLIC[0]), "network": NETWORK}


def test_a_gap_closes_by_proof_over_http(desk: Desk) -> None:
    fields = {"essence": hexed(CHAIN[5].encode())}
    assert desk.post(body(**fields), "application/json").status_code == 409
    fields["previous"] = hexed(signed(CHAIN[4]))
    assert desk.post(body(**fields), "application/json").status_code == 200


FIRST = essence(1).encode()
MALFORMED = {
    "nothing": (b"", "application/octet-stream"),
    "truncated": (FIRST[:-1], "application/octet-stream"),
    "trailing": (FIRST + b"\0", "application/octet-stream"),
    "an option": (FIRST[:-1] + b"\1", "application/octet-stream"),
    "no JSON": (b"{", "application/json"),
    "deep JSON": (b"[" * 100_000, "application/json"),
    "a list": (b"[]", "application/json"),
    "no essence": (body(previous="0x00"), "application/json"),
    "a stranger": (body(essence=hexed(FIRST), more=1), "application/json"),
    "no hex": (body(essence="0xzz"), "application/json"),
    "no 0x": (body(essence=FIRST.hex()), "application/json"),
    "a number": (body(essence=1), "application/json"),
    "NaN": (b'{"essence": NaN}', "application/json"),
    "a huge number": (b'{"essence": ' + b"9" * 5_000 + b"}", "application/json"),
    "a surrogate": (b'{"essence": "\\ud800"}', "application/json"),
    "not UTF-8": (b'{"essence": "\xff"}', "application/json"),
    "a network of numbers": (body(essence=hexed(FIRST), network=1), "application/json"),
    "a proof of numbers": (body(essence=hexed(FIRST), previous=1), "application/json"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_request_is_400(desk: Desk, case: str) -> None:
    answer = desk.post(*MALFORMED[case])
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "400"
    assert desk.keeper.last().index == 0


@given(st.integers(0, len(FIRST) - 1), st.binary(max_size=3))
def test_mutated_essences_get_an_answer_of_ours(at: int, put: bytes) -> None:
    state = SignerState(":memory:")
    me = Identity(PUBLIC[0], NETWORK)
    keeper = MilestoneKeeper(KEYS[0], state, me, now=lambda: START)
    mutated = FIRST[:at] + put + FIRST[at + 1 :]
    try:
        item = MilestoneEssence.decode(mutated)
    except ValueError:
        item = None
    else:
        assert item.encode() == mutated  # one reading, one writing
    if item is not None:
        try:
            keeper.sign(item)
        except SignRefusedError:
            assert keeper.last().index == 0
        else:
            assert keeper.last().milestone_id == item.id()
    state.close()


STATUSES = {
    "another network": (body(essence=hexed(FIRST), network="elsewhere"), 409),
    "a network that UTF-8 cannot spell": (body(essence=hexed(FIRST), network="\ud800"), 409),
    "a gap": (body(essence=hexed(CHAIN[5].encode())), 409),
    "far ahead": (body(essence=hexed(essence(1, time_s=START + 4_000).encode())), 422),
}


@pytest.mark.parametrize("case", STATUSES)
def test_refusals_have_a_status_and_the_nodes_form(desk: Desk, case: str) -> None:
    content, status = STATUSES[case]
    answer = desk.post(content, "application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, str(status))


def test_a_fault_of_ours_is_503(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(desk.keeper, "sign", fail)
    answer = desk.post(FIRST)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "503")


def test_a_long_body_is_413(desk: Desk) -> None:
    answer = desk.post(bytes(10 * 1024 * 1024))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "413"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (None, 401),
        ("Bearer wrong", 401),
        ("Basic t0ken-of-sixteen-signs", 401),
        ("Bearer tökän", 401),
        ("Bearer t0ken-of-sixteen-signs", 200),
    ],
)
def test_the_token_is_asked_for(tmp_path: Path, said: str | None, status: int) -> None:
    desk = Desk(tmp_path, token="t0ken-of-sixteen-signs")
    headers = {"Authorization": said.encode()} if said else {}
    assert desk.http.post("/sign", content=FIRST, headers=headers).status_code == status
    assert desk.http.get("/key", headers=headers).status_code == status
    assert desk.http.get("/health").status_code == 200
    assert desk.keeper.last().index == (1 if status == 200 else 0)


@pytest.mark.parametrize(("method", "path"), [("GET", "/sign"), ("POST", "/key"), ("GET", "/x")])
def test_other_errors_have_the_nodes_form(desk: Desk, method: str, path: str) -> None:
    answer = desk.http.request(method, path)
    assert answer.json()["error"]["code"] == str(answer.status_code)
    assert answer.status_code in {404, 405}

"""The witness by itself: what it cosigns, what it never does, what it keeps as evidence."""

from __future__ import annotations

import threading
from base64 import b64decode, b64encode
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from ledger_client import verify
from ledger_client.checkpoint import sign_note
from ledger_client.merkle import EMPTY_ROOT, consistency_path, root
from ledger_client.verify import COSIGNATURE, Checkpoint, NoteLine, key_id, signature_holds
from ledger_client.witness import LogKey, WitnessKeeper, create_witness_app, witness_vkey
from ledger_client.witness.errors import (
    InconsistentError,
    LogSignatureError,
    MalformedRequestError,
    OtherSizeError,
    UnknownLogError,
    WitnessError,
    WitnessSettingsError,
)
from ledger_client.witness.messages import (
    cosign,
    read_checkpoint,
    read_request,
    write_request,
)
from ledger_client.witness.state import WitnessState
from tests.ledger_client.crash_story import fused
from tests.ledger_client.ledger_bytes import key, public, text
from tests.ledger_client.power_cut import Breaker, PowerCutError
from tests.ledger_client.witness_kit import LEAVES, NAME, ORIGIN, OTHERS, Bench, note, request


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# What it cosigns, and what it does not -----------------------------------------------------------


def test_a_growing_log_is_cosigned(bench: Bench) -> None:
    for old, size in pairwise((0, 1, 2, 7, 7, 8, 20)):
        line = bench.add(request(old, size))
        checkpoint = Checkpoint(ORIGIN, size, root(LEAVES[:size]))
        witness = verify.Witness(public("witness"), NAME)
        found = verify.open_cosignature(line.rstrip("\n"), checkpoint, [witness])
        assert found == (witness, int(bench.now))
        bench.now += 60
        bench.state.close()
        bench.restart()


def test_the_time_never_goes_back(bench: Bench) -> None:
    bench.add(request(0, 3))
    first = int(bench.now)
    bench.now -= 3_600
    found = NoteLine.read(bench.add(request(3, 4)).rstrip("\n"))
    assert int.from_bytes(found.signature[:8], "big") == first


def test_an_empty_log_is_cosigned(bench: Bench) -> None:
    empty = sign_note(Checkpoint(ORIGIN, 0, EMPTY_ROOT), key("log"))
    bench.add(write_request(0, [], empty))
    with pytest.raises(InconsistentError):
        bench.add(write_request(0, [], sign_note(Checkpoint(ORIGIN, 0, bytes(32)), key("log"))))
    assert bench.evidence() == []
    bench.add(request(0, 2))
    wrong = sign_note(Checkpoint(ORIGIN, 0, bytes(32)), key("log"))
    with pytest.raises(OtherSizeError):
        bench.add(write_request(0, [], wrong))


REFUSED = {
    "a fork": (request(4, 8, OTHERS), InconsistentError),
    "a fork of the same size": (request(4, 4, OTHERS), InconsistentError),
    "an older size": (request(2, 3), OtherSizeError),
    "an older size that claims to follow": (request(4, 3), MalformedRequestError),
    "a step that was missed": (request(3, 8), OtherSizeError),
    "a proof too many": (
        write_request(4, consistency_path(LEAVES[:8], 4) * 2, note(8)),
        InconsistentError,
    ),
    "no proof": (write_request(4, [], note(8)), InconsistentError),
    "a proof from itself": (write_request(4, [bytes(32)], note(4)), InconsistentError),
    "another key": (request(4, 8, signer="stranger"), LogSignatureError),
    "another log": (
        write_request(
            0, [], sign_note(Checkpoint("other.example", 1, root(LEAVES[:1])), key("log"))
        ),
        UnknownLogError,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_continue_the_log_is_refused(bench: Bench, case: str) -> None:
    bench.add(request(0, 4))
    before = bench.keeper.latest(ORIGIN)
    data, error = REFUSED[case]
    with pytest.raises(error):
        bench.add(data)
    assert bench.keeper.latest(ORIGIN) == before
    bench.add(request(4, 8))


def test_a_proof_from_nothing_is_refused(bench: Bench) -> None:
    with pytest.raises(InconsistentError):
        bench.add(write_request(0, [bytes(32)], note(2)))
    wrong = sign_note(Checkpoint(ORIGIN, 0, bytes(32)), key("log"))
    with pytest.raises(InconsistentError):
        bench.add(write_request(0, [], wrong))


def test_a_wrong_signature_beside_a_right_one_is_refused(bench: Bench) -> None:
    own = f"\u2014 {ORIGIN} " + b64encode(key_id(ORIGIN, public("log")) + bytes(64)).decode() + "\n"
    with pytest.raises(LogSignatureError):
        bench.add(write_request(0, [], note(2) + own))


def test_lines_of_strangers_are_ignored(bench: Bench) -> None:
    stranger = cosign("x\n", "someone.example", key("stranger"), 1)
    bench.add(write_request(0, [], note(2) + stranger))
    kept = bench.keeper.latest(ORIGIN)
    assert kept is not None
    assert kept.note == note(2)


def test_a_log_may_have_several_keys(tmp_path: Path) -> None:
    logs = [LogKey(ORIGIN, ORIGIN, public(name)) for name in ("old", "log")]
    bench = Bench(tmp_path, logs)
    bench.add(request(0, 2))
    bench.add(request(2, 3, signer="old"))


def test_extension_lines_are_covered(bench: Bench) -> None:
    body = f"{ORIGIN}\n1\n{b64encode(LEAVES[0]).decode()}\nextension\n"
    blob = key_id(ORIGIN, public("log")) + key("log").sign(body.encode()).signature
    signed = f"{body}\n\u2014 {ORIGIN} {b64encode(blob).decode()}\n"
    line = NoteLine.read(bench.add(write_request(0, [], signed)).rstrip("\n"))
    message = f"cosignature/v1\ntime {int(bench.now)}\n{body}".encode()
    assert signature_holds(public("witness"), message, line.signature[8:])


# Evidence ----------------------------------------------------------------------------------------


def keys_file() -> bytes:
    milestone = {"from_index": 0, "key": public("milestone").hex(), "to_index": None}
    return text(
        {
            "log": [public("log").hex()],
            "milestones": {"keys": [milestone], "threshold": 1},
            "mldsa": [],
            "origin": ORIGIN,
            "receipts": [public("receipt").hex()],
            "registry": [public("registry").hex()],
            "version": 1,
            "witnesses": {"keys": [], "threshold": 0},
        }
    ).encode()


@pytest.mark.parametrize("size", [2, 5])
def test_two_roots_of_one_size_are_kept_as_evidence_that_verifies(bench: Bench, size: int) -> None:
    bench.add(request(0, 2))
    bench.add(request(2, 5))
    for _ in range(2):  # the same attempt again is not another piece of evidence
        with pytest.raises(WitnessError):
            bench.add(request(5, size, OTHERS))
    (evidence,) = bench.evidence()
    assert verify.verify_bytes(evidence, keys_file()).code == 0
    assert note(size).encode() in evidence.replace(b"\\n", b"\n")
    assert note(size, OTHERS).encode() in evidence.replace(b"\\n", b"\n")


def test_a_strangers_note_is_no_evidence(bench: Bench) -> None:
    bench.add(request(0, 5))
    with pytest.raises(LogSignatureError):
        bench.add(request(5, 5, OTHERS, signer="stranger"))
    assert bench.evidence() == []


# Many at once, and any order ---------------------------------------------------------------------


def test_requests_at_once_never_roll_back(bench: Bench) -> None:
    bench.add(request(0, 1))
    seen: list[int] = []

    def climb() -> None:
        for size in range(2, 25):
            while True:
                have = bench.keeper.latest(ORIGIN)
                assert have is not None
                if have.size >= size:
                    break
                try:
                    bench.add(request(have.size, size))
                    seen.append(size)
                except OtherSizeError:
                    continue

    threads = [threading.Thread(target=climb) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == list(range(2, 25))


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 12), st.booleans()), min_size=1, max_size=12
    )
)
def test_whatever_is_asked_what_was_cosigned_is_one_history(
    asked: list[tuple[int, int, bool]],
) -> None:
    state = WitnessState(":memory:")
    logs = [LogKey(ORIGIN, ORIGIN, public("log"))]
    keeper = WitnessKeeper(
        NAME, key("witness"), logs, state, Path("/nonexistent/evidence"), lambda: 1.0
    )
    cosigned: list[tuple[int, list[bytes]]] = []
    for old, size, fork in asked:
        leaves = OTHERS if fork else LEAVES
        try:
            keeper.add_checkpoint(read_request(request(old, size, leaves)))
        except WitnessError:
            continue
        cosigned.append((size, leaves[:size]))
    state.close()
    for (small, before), (large, after) in pairwise(cosigned):
        assert small <= large
        assert after[:small] == before


# Power cuts --------------------------------------------------------------------------------------


def _life(bench: Bench, said: list[int]) -> None:
    for old, size in ((0, 2), (2, 5), (5, 5), (5, 9)):
        bench.add(request(old, size))
        said.append(size)


def test_a_power_cut_at_any_write_loses_no_cosignature(tmp_path: Path) -> None:
    whole = Breaker(None)
    _life(Bench(tmp_path / "calm", connect=fused(whole)), [])
    assert whole.steps > 20
    for step in range(whole.steps):
        fuse, said = Breaker(step), list[int]()
        with pytest.raises(PowerCutError):
            _life(Bench(tmp_path / str(step), connect=fused(fuse)), said)
        fuse.power_off()
        bench = Bench(tmp_path / str(step))
        latest = bench.keeper.latest(ORIGIN)
        size = latest.size if latest else 0
        assert size >= (said[-1] if said else 0)
        if size:
            with pytest.raises(InconsistentError):
                bench.add(request(size, size, OTHERS))
        bench.add(request(size, 12))
        bench.state.close()


# Requests that are none --------------------------------------------------------------------------

GOOD = request(0, 2).decode()
MALFORMED = {
    "empty": "",
    "no old": GOOD.replace("old 0", "new 0"),
    "no number": GOOD.replace("old 0", "old x"),
    "leading zero": GOOD.replace("old 0", "old 00"),
    "negative": GOOD.replace("old 0", "old -1"),
    "huge": GOOD.replace("old 0", f"old {2**63}"),
    "endless": GOOD.replace("old 0", "old " + "9" * 5000),
    "no empty line": GOOD.replace("\n\n", "\n"),
    "short hash": GOOD.replace("old 0\n", "old 0\nAAAA\n"),
    "no base64": GOOD.replace("old 0\n", "old 0\n????\n"),
    "64 proof lines": GOOD.replace("old 0\n", "old 0\n" + f"{'A' * 43}=\n" * 64),
    "no signature": GOOD.partition("\u2014")[0],
    "no final newline": GOOD[:-1],
    "two lines": GOOD.replace(f"\n2\n{GOOD.splitlines()[4]}", "\n2"),
    "size of words": GOOD.replace("\n2\n", "\ntwo\n"),
    "control character": GOOD.replace("lindenhof", "linden\x07hof"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_request_is_400(bench: Bench, case: str) -> None:
    answer = bench.http().post("/add-checkpoint", content=MALFORMED[case].encode())
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "400"
    assert bench.keeper.latest(ORIGIN) is None


@given(st.integers(0, len(GOOD.encode()) - 1), st.binary(min_size=0, max_size=3))
def test_mutated_requests_are_refused_and_leave_no_trace(at: int, put: bytes) -> None:
    data = GOOD.encode()
    mutated = data[:at] + put + data[at + 1 :]
    state = WitnessState(":memory:")
    logs = [LogKey(ORIGIN, ORIGIN, public("log"))]
    keeper = WitnessKeeper(NAME, key("witness"), logs, state, Path("/nonexistent"), lambda: 1.0)
    with TestClient(create_witness_app(keeper), raise_server_exceptions=False) as http:
        answer = http.post("/add-checkpoint", content=mutated)
    assert answer.status_code in {200, 400, 403, 404, 409, 422}
    kept = keeper.latest(ORIGIN)
    assert (kept is not None) == (answer.status_code == 200)
    assert kept is None or kept.note == note(2)
    state.close()


def test_not_utf_8_is_400(bench: Bench) -> None:
    assert bench.http().post("/add-checkpoint", content=b"old 0\n\n\xff").status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/add-checkpoint", 405), ("POST", "/", 405)],
)
def test_other_errors_have_the_nodes_form(
    bench: Bench, method: str, path: str, status: int
) -> None:
    answer = bench.http().request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == str(status)


# What it shows -----------------------------------------------------------------------------------


def test_monitors_get_the_cosigned_checkpoint(bench: Bench) -> None:
    http = bench.http()
    path = f"/{sha256(ORIGIN.encode()).hexdigest()}/checkpoint"
    assert http.get(path).status_code == 404
    assert http.get(f"/{'0' * 64}/checkpoint").status_code == 404
    line = bench.add(request(0, 5))
    assert http.get(path).text == note(5) + line
    found = read_checkpoint(http.get(path).text)
    assert [item.name for item in found.lines] == [ORIGIN, NAME]


def test_the_status_page_is_plain_text(bench: Bench) -> None:
    page = bench.http().get("/")
    assert page.headers["content-type"].startswith("text/plain")
    assert f"log {ORIGIN}: nothing cosigned yet" in page.text
    bench.add(request(0, 5))
    said = bench.http().get("/").text.splitlines()
    assert said[:2] == [f"witness {NAME}", f"key {public('witness').hex()}"]
    assert said[3] == f"log {ORIGIN}: size 5"
    name, named, blob = said[2].removeprefix("vkey ").split("+", 2)
    assert name == NAME
    assert bytes.fromhex(named) == key_id(NAME, public("witness"), COSIGNATURE)
    assert b64decode(blob) == b"\4" + public("witness")


# Settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        "",
        "lindenhof.example",
        f"={public('log').hex()}",
        "lindenhof.example=abc",
        "lindenhof.example=" + "0" * 64,
        "lindenhof.example=" + "g" * 64,
        f"two words={public('log').hex()}",
        "x=" + witness_vkey(NAME, public("log")),
        "x=example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    ],
)
def test_what_is_no_log_is_refused(said: str) -> None:
    with pytest.raises(WitnessSettingsError):
        LogKey.parse(said)


def test_a_folder_belongs_to_one_witness(bench: Bench) -> None:
    with pytest.raises(WitnessSettingsError, match="another folder"):
        WitnessKeeper("witness.example/w2", key("witness"), bench.logs, bench.state, bench.folder)
    with pytest.raises(WitnessSettingsError, match="cannot name"):
        WitnessKeeper("two words", key("witness"), bench.logs, bench.state, bench.folder)

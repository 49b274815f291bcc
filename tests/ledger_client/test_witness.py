"""The witness by itself: published requests and cosignatures, and what it never cosigns."""

from __future__ import annotations

import threading
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from ledger_client import verify
from ledger_client.checkpoint import sign_note
from ledger_client.merkle import EMPTY_ROOT, consistency_path, leaf_hash, root
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
from tests.ledger_client.ledger_bytes import key, public, text

ORIGIN = "lindenhof.example"
NAME = "witness.example/w1"
LEAVES = [leaf_hash(bytes([number])) for number in range(24)]
OTHERS = [leaf_hash(bytes([number, number])) for number in range(24)]


def note(size: int, leaves: list[bytes] = LEAVES, signer: str = "log") -> str:
    return sign_note(Checkpoint(ORIGIN, size, root(leaves[:size])), key(signer))


def request(old: int, size: int, leaves: list[bytes] = LEAVES, signer: str = "log") -> bytes:
    proof = consistency_path(leaves[:size], old) if 0 < old <= size else []
    return write_request(old, proof, note(size, leaves, signer))


@dataclass
class Bench:
    """A witness with a clock in hand, over a folder that outlives it."""

    folder: Path
    logs: list[LogKey] = field(default_factory=lambda: [LogKey(ORIGIN, ORIGIN, public("log"))])
    now: float = 1_790_000_000.0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        state = WitnessState(self.folder / "witness.db")
        evidence = self.folder / "evidence"
        self.state = state
        self.keeper = WitnessKeeper(
            NAME, key("witness"), self.logs, state, evidence, lambda: self.now
        )

    def add(self, data: bytes) -> str:
        return self.keeper.add_checkpoint(read_request(data))

    def http(self) -> TestClient:
        return TestClient(create_witness_app(self.keeper), raise_server_exceptions=False)

    def evidence(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted((self.folder / "evidence").glob("*"))]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# Published: what others made ---------------------------------------------------------------------

# A proof of the Sigsum test log at size 17157 with cosignatures of four witnesses of other makes.
SIGSUM_LOG = "4644af2abd40f4895a003bca350f9d5912ab301a49c77f13e5b6d905c20a5fe6"
SIGSUM_BODY = (
    "sigsum.org/v1/tree/4e89cc51651f0d95f3c6127c15e1a42e3ddf7046c5b17b752689c402e773bb4d\n17157\n"
    + b64encode(
        bytes.fromhex("86c07a3959a75a8640dd01c33a62cf4222ef88ace47f706a06905d915e705a3d")
    ).decode()
    + "\n"
)
SIGSUM_SIGNATURE = (
    "fb48647e55d12145b6e3169d33cd167f0c24ce6c002ce794d82edd9e055ad535"
    "d94f4f0e142792194e713561d9040e94a744a73b4afa34b6697fdd8a32a0d509"
)
SIGSUM_TIME_S = 1_765_558_886
SIGSUM_WITNESSES = {
    "636582aec12f32c18a21733db9e3f718058ee7aaec6dbe4eb81781e0f4300c6e": (
        "a1e2f429ecc987ce17a5d471f2165f6166d7c6863293c6dfa4868b7c524be355"
        "9cbb5597279e68a4cd61e56acdb6fb91e4212179693698e4519b82d1cc3e3b01"
    ),
    "dcbf728e02d479f5a7e20dc09adf525833ed6e797526517aeb07fc6854849fc6": (
        "0bd36c6f510e36939758d6b4df06bb90ad332ef2a590ef82a831d50876748387"
        "540891d0e4f77253b396ec57c20f07a33a2dfa644b7b44383000a62924c7e20d"
    ),
    "1c25f8a44c635457e2e391d1efbca7d4c2951a0aef06225a881e46b98962ac6c": (
        "b67271161de5010cae38a210c55e10b89ea07cb233ebba4802b34133d38de149"
        "33d81b40793a4a041bf428a632e48bd7f532f556485bc31580367df4fdae6a08"
    ),
    "ebcdeb78e7fdb2ef9227b2c1ef11e94600b55b4d6d9a57877e31ee89e59adc36": (
        "0870780996726ef5376e739f595c3e5ac1e482648f13a6c2ac215051b1c70730"
        "13470bfd5ba870338776fe9b2bd8bb41ae92fec9fae6b4715cb3c7e21b8fad03"
    ),
}


@pytest.mark.parametrize("witness", SIGSUM_WITNESSES)
def test_others_cosignatures_cover_what_ours_cover(witness: str) -> None:
    """Ed25519 signs a message in one way: what verifies theirs is the message that we sign."""
    message = f"cosignature/v1\ntime {SIGSUM_TIME_S}\n{SIGSUM_BODY}".encode()
    theirs = bytes.fromhex(SIGSUM_WITNESSES[witness])
    assert signature_holds(bytes.fromhex(witness), message, theirs)
    ours = NoteLine.read(cosign(SIGSUM_BODY, NAME, key("witness"), SIGSUM_TIME_S).rstrip("\n"))
    assert ours.signature[:8] == SIGSUM_TIME_S.to_bytes(8, "big")
    assert ours.signature[8:] == key("witness").sign(message).signature


def test_a_checkpoint_of_another_log_is_cosigned(tmp_path: Path) -> None:
    origin = SIGSUM_BODY.partition("\n")[0]
    log = bytes.fromhex(SIGSUM_LOG)
    bench = Bench(tmp_path, [LogKey.parse(f"{origin}={SIGSUM_LOG}")])
    blob = b64encode(key_id(origin, log) + bytes.fromhex(SIGSUM_SIGNATURE)).decode()
    line = bench.add(write_request(0, [], f"{SIGSUM_BODY}\n\u2014 {origin} {blob}\n"))
    found = NoteLine.read(line.rstrip("\n"))
    assert found.is_of(NAME, public("witness"), COSIGNATURE)


def test_the_specifications_example_has_our_form() -> None:
    """c2sp.org/tlog-cosignature: the keys are not published, the form and the time are."""
    example = (
        "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZC"
        "B9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA=="
    )
    body = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    theirs = NoteLine.read(example)
    ours = NoteLine.read(
        cosign(body, "witness.example.com/w1", key("witness"), 1679315147).rstrip()
    )
    assert theirs.name == ours.name
    assert theirs.signature[:8] == ours.signature[:8]
    assert len(theirs.signature) == len(ours.signature) == 72


def test_the_published_signed_note_opens() -> None:
    """c2sp.org/signed-note: a vkey and the note that it verifies."""
    log = LogKey.parse("any=example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    signed = (
        "This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfX"
        "ppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    )
    body, (line,) = verify.split_note(signed)
    assert line.is_of(log.name, log.key, verify.ED25519)
    assert signature_holds(log.key, body.encode(), line.signature)


def test_a_log_may_be_called_otherwise_than_its_origin(tmp_path: Path) -> None:
    """The Go checksum database: key name and origin differ, and the origin has spaces."""
    origin = "go.sum database tree"
    vkey = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    bench = Bench(tmp_path, [LogKey.parse(f"{origin}={vkey}")])
    signed = (
        f"{origin}\n35225469\nvt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=\n\n"
        "\u2014 sum.golang.org Az3grpukl5AXaVfYkLiDGORx/DN2nlcS5kZHR5uYOBV2KA2HgXpD+gu9HHONebHLA"
        "yaKbbTM75QTtPydhKCExixSfwQ=\n"
    )
    bench.add(write_request(0, [], signed))
    latest = bench.keeper.latest(origin)
    assert latest is not None
    assert latest.size == 35225469


# The test log of litewitness, an independent implementation: the same requests, the same answers.
LITE = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
LITE_KEY = "ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f"
LITE_ROOTS = {
    1: "KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    3: "RcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=",
    5: "QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=",
}
LITE_SIGNATURES = {
    1: "UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUb"
    "IQY=",
    3: "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx"
    "6go=",
    5: "UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7s"
    "Dww=",
}
H1, H2, H3, H4 = (f"Kg{letter}AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" for letter in "EIMQ")
LITE_STEPS = [
    # old, proof, size, what is changed in the note, status, body
    (0, [], 1, None, 200, None),
    (1, [H1, H2], 3, ("6go=", "6gx="), 400, None),  # 403 there: the base64 is not canonical
    (1, [H1, H2], 3, ("6go=", "6gk="), 403, None),
    (1, [H1, H2], 3, ("309e562", "309e563"), 404, None),
    (1, [], 3, None, 422, None),
    (1, [H1, "KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABA="], 3, None, 422, None),
    (1, [H1, H2], 3, None, 200, None),
    (1, [H1, "+fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI=", H4], 5, None, 409, "3\n"),
    (3, [H2, H3, "wgiIFdZfYNv6WU1OllBKsWnLYIS/DBMqt8Uh/S4OukE=", H4], 5, None, 200, None),
    (0, [], 5, None, 409, "5\n"),
]


def test_the_requests_of_another_implementation_get_its_answers(tmp_path: Path) -> None:
    http = Bench(tmp_path, [LogKey.parse(f"{LITE}={LITE_KEY}")]).http()
    for old, proof, size, change, status, body in LITE_STEPS:
        signed = f"{LITE}\n{size}\n{LITE_ROOTS[size]}\n\n\u2014 {LITE} {LITE_SIGNATURES[size]}\n"
        said = "".join(f"{line}\n" for line in proof)
        answer = http.post(
            "/add-checkpoint",
            content=f"old {old}\n{said}\n{signed.replace(*change) if change else signed}".encode(),
        )
        assert answer.status_code == status, answer.text
        if status == 200:
            assert answer.text.startswith(f"\u2014 {NAME} ")
        if body is not None:
            assert answer.text == body
            assert answer.headers["content-type"].startswith("text/x.tlog.size")


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
    "64 proof lines": GOOD.replace("old 0\n", "old 0\n" + f"{LITE_ROOTS[1]}\n" * 64),
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

"""The witness as a process, and its client: kills, sizes, refusals, no answer."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest

from ledger_client import verify
from ledger_client.checkpoint import NoteError, full_note, open_cosignature
from ledger_client.merkle import consistency_path, root
from ledger_client.verify import Checkpoint, Witness
from ledger_client.witness import (
    LogKey,
    WitnessBehindError,
    WitnessClient,
    WitnessKeeper,
    WitnessRefusedError,
    WitnessUnavailableError,
    create_witness_app,
)
from ledger_client.witness.messages import cosign
from ledger_client.witness.state import WitnessState
from tests.ledger_client.ledger_bytes import key, public
from tests.ledger_client.service_process import Service, refused, witness
from tests.ledger_client.signer_kit import serving
from tests.ledger_client.witness_kit import LEAVES, NAME, ORIGIN, OTHERS, note

LOG = f"{ORIGIN}={public('log').hex()}"


def head(size: int, leaves: list[bytes] = LEAVES) -> Checkpoint:
    return Checkpoint(ORIGIN, size, root(leaves[:size]))


def asking(service: Service) -> WitnessClient:
    return WitnessClient(service.url, NAME, bytes.fromhex(service.said["key"]))


def test_a_killed_witness_remembers_what_it_cosigned(tmp_path: Path) -> None:
    port = "0"
    for old, size in ((0, 3), (3, 8)):
        with witness(tmp_path, NAME, LOG, port) as service:
            port, client = service.port, asking(service)
            if old:
                with pytest.raises(WitnessBehindError) as behind:
                    client.add_checkpoint(note(size), 0, [])
                assert behind.value.size == old
                with pytest.raises(WitnessRefusedError, match="another root"):
                    client.add_checkpoint(note(old, OTHERS), old, [])
            proof = consistency_path(LEAVES[:size], old) if old else []
            line = client.add_checkpoint(note(size), old, proof)
            found, time_s = open_cosignature(line, head(size), [client.witness])
            assert found == Witness(bytes.fromhex(service.said["key"]), NAME)
            assert time_s > 1_700_000_000
            assert service.stop(signal.SIGKILL) == -signal.SIGKILL
    assert len(list((tmp_path / "evidence").iterdir())) == 1


def test_a_log_that_lost_the_answer_asks_again(tmp_path: Path) -> None:
    with witness(tmp_path, NAME, LOG) as service:
        client = asking(service)
        for _ in range(2):
            line = client.add_checkpoint(note(3), 3 if _ else 0, [])
        whole = full_note(note(3), [line])
        assert len(verify.split_note(whole)[1]) == 2
        client.add_checkpoint(whole, 3, [])  # its own line beside the log's does no harm
        assert service.stop() == 0


def test_it_starts_once_per_folder_and_port(tmp_path: Path) -> None:
    with witness(tmp_path / "a", NAME, LOG) as service:
        fixed = ["node", "witness", "--name", NAME, "--log", LOG]
        said = refused(*fixed, "--data", str(tmp_path / "a"), "--port", "0")
        assert said.startswith("wattloom node witness: ")
        assert "in use by another process" in said
        said = refused(*fixed, "--data", str(tmp_path / "b"), "--port", service.port)
        assert "is not free" in said
        assert f"witness {NAME}" in httpx.get(service.url).text
    other = ["node", "witness", "--name", "other", "--log", LOG, "--data", str(tmp_path / "a")]
    assert "another folder" in refused(*other)
    assert "ORIGIN=KEY" in refused(*fixed[:-1], "nothing", "--data", str(tmp_path / "c"))


# The client alone --------------------------------------------------------------------------------


def answering(status: int, content: bytes) -> WitnessClient:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, stream=httpx.ByteStream(content))

    transport = httpx.MockTransport(answer)
    return WitnessClient("http://witness", NAME, public("witness"), transport=transport)


BODY = verify.note_body(head(3))
GOOD = cosign(BODY, NAME, key("witness"), 1_790_000_000)
ANSWERS = {
    "behind": (409, b"7\n", WitnessBehindError),
    "a conflict without size": (409, b"seven", WitnessUnavailableError),
    "a conflict without end": (409, b"7", WitnessUnavailableError),
    "unknown log": (404, b"{}", WitnessRefusedError),
    "bad signature": (403, b'{"error": {"code": "403", "message": "no"}}', WitnessRefusedError),
    "inconsistent": (422, b"\xff", WitnessRefusedError),
    "malformed": (400, b"[" * 100_000, WitnessRefusedError | WitnessUnavailableError),
    "slow": (408, b"", WitnessUnavailableError),
    "too many": (429, b"", WitnessUnavailableError),
    "a fault": (500, b"", WitnessUnavailableError),
    "a redirect": (302, b"", WitnessUnavailableError),
    "nothing": (200, b"", WitnessUnavailableError),
    "noise": (200, b"\xff\n\n\n", WitnessUnavailableError),
    "no end": (200, b" " * 100_000, WitnessUnavailableError),
    "another key": (200, cosign(BODY, NAME, key("x"), 9).encode(), WitnessUnavailableError),
    "another name": (200, cosign(BODY, "x", key("witness"), 9).encode(), WitnessUnavailableError),
    "another checkpoint": (
        200,
        cosign(verify.note_body(head(4)), NAME, key("witness"), 9).encode(),
        WitnessUnavailableError,
    ),
    "no time": (200, cosign(BODY, NAME, key("witness"), 0).encode(), WitnessUnavailableError),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_what_does_not_hold_is_an_error(case: str) -> None:
    status, content, error = ANSWERS[case]
    kinds = error if isinstance(error, type) else error.__args__
    with pytest.raises(kinds):
        answering(status, content).add_checkpoint(note(3), 0, [])


def test_lines_of_strangers_are_passed_over() -> None:
    said = cosign(BODY, "x", key("x"), 9) + GOOD
    assert answering(200, said.encode()).add_checkpoint(note(3), 0, []) == GOOD.rstrip("\n")


def test_nobody_there_is_an_outage(tmp_path: Path) -> None:
    state = WitnessState(":memory:")
    keeper = WitnessKeeper(NAME, key("witness"), [LogKey.parse(LOG)], state, tmp_path)
    with serving(create_witness_app(keeper)) as url:
        client = WitnessClient(url, NAME, public("witness"))
        client.add_checkpoint(note(3), 0, [])
    with pytest.raises(WitnessUnavailableError, match="does not answer"):
        client.add_checkpoint(note(3), 3, [])


def test_what_is_no_note_is_not_sent() -> None:
    with pytest.raises(NoteError):
        answering(200, GOOD.encode()).add_checkpoint("no note", 0, [])

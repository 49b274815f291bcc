"""Witnesses that mean harm to who asks them: endless, dripping and packed answers, false notes."""

from __future__ import annotations

import gzip
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from ledger_client.merkle import root
from ledger_client.verify import Checkpoint, note_body
from ledger_client.witness import WitnessClient, WitnessUnavailableError
from ledger_client.witness.errors import LogSignatureError
from ledger_client.witness.messages import cosign, write_request
from tests.ledger_client.ledger_bytes import key, public
from tests.ledger_client.witness_kit import LEAVES, NAME, ORIGIN, Bench, note, request

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@contextmanager
def answering(first: bytes, again: bytes) -> Iterator[str]:
    """Answer each request with ``first``, then ``again`` and again until the other side goes."""
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(first)
                while again and not ended.wait(0.01):
                    connection.sendall(again)
            except OSError:
                return  # the client has gone, as it should

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


GOOD = cosign(note_body(Checkpoint(ORIGIN, 3, root(LEAVES[:3]))), NAME, key("witness"), 9).encode()
PACKED = gzip.compress(bytes(100_000_000))
ANSWERS = {
    "a header that drips": (HEAD + b"X-Drip: ", b"x"),
    "headers without end": (HEAD, b"X-More: more\r\n" * 1_000),
    "a body that drips": (HEAD + b"\r\n", b"\n"),
    "a body without end": (HEAD + b"\r\n", b"\n" * 60_000),
    "a body that is never whole": (HEAD + b"Content-Length: 9999\r\n\r\n" + GOOD, b""),
    "a bomb": (HEAD + b"Content-Encoding: gzip\r\n\r\n" + PACKED, b""),
    "a packed answer": (HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(GOOD), b""),
    "no HTTP": (b"\x00" * 100, b"\x00"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_is_bounded_in_time_and_size(case: str) -> None:
    with answering(*ANSWERS[case]) as url:
        client = WitnessClient(url, NAME, public("witness"), timeout_s=0.5)
        with pytest.raises(WitnessUnavailableError):
            client.add_checkpoint(note(3), 0, [])


def test_who_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = WitnessClient(url, NAME, public("witness"), timeout_s=0.2)
        with pytest.raises(WitnessUnavailableError, match=NAME):
            client.add_checkpoint(note(3), 0, [])


def test_a_note_of_another_log_cut_to_ours_is_not_cosigned(tmp_path: Path) -> None:
    """The log's key signed a longer text; its head rides in the signature line instead."""
    bench, inner = Bench(tmp_path / "w"), note_body(Checkpoint(ORIGIN, 3, root(LEAVES[:3])))
    head = "other.example\n"
    named = sha256(ORIGIN.encode() + b"\n\1" + public("log")).digest()[:4]
    signature = key("log").sign((head + inner).encode()).signature
    line = b64encode(named + signature + head.encode()).decode()
    forged = f"{inner}\n\u2014 {ORIGIN} {line}\n"
    with pytest.raises(LogSignatureError):
        bench.add(write_request(0, [], forged))
    assert bench.keeper.latest(ORIGIN) is None
    bench.add(request(0, 3))

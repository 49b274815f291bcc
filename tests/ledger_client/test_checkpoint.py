from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_client.checkpoint import (
    Checkpoint,
    NoteError,
    anchor_data,
    anchor_tag,
    key_id,
    open_note,
    parse_note,
    sign_note,
)
from tests.ledger_client.ledger_bytes import key, public

ORIGIN = "lindenhof.example"
HEAD = Checkpoint(ORIGIN, 42, sha256(b"root").digest())
NOTE = sign_note(HEAD, key("log"))
PINNED = [public("old log"), public("log")]


def test_a_note_is_laid_out_as_c2sp_says() -> None:
    origin, size, root, empty, line, end = NOTE.split("\n")
    assert (origin, size, empty, end) == (ORIGIN, "42", "", "")
    assert b64decode(root) == HEAD.root
    dash, name, blob = line.split(" ")
    assert (dash, name) == ("—", ORIGIN)
    raw = b64decode(blob)
    assert raw[:4] == sha256(ORIGIN.encode() + b"\n\x01" + public("log")).digest()[:4]
    assert key("log").verify_key.verify(f"{ORIGIN}\n42\n{root}\n".encode(), raw[4:])


def test_a_published_key_id() -> None:
    # The verifier key in the documentation of Go's note package: name+id+base64(1 || key).
    name, known, blob = ["PeterNeumann", "c74f20a3", "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"]
    assert key_id(name, b64decode(blob)[1:]).hex() == known


def test_a_note_opens_with_a_pinned_key() -> None:
    assert open_note(NOTE, ORIGIN, PINNED) == HEAD
    assert parse_note(NOTE)[:2] == (HEAD, key_id(ORIGIN, public("log")))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(NOTE) - 1), st.characters(codec="utf-8"), st.sampled_from("rid"))
def test_any_changed_character_breaks_a_note(at: int, new: str, how: str) -> None:
    changed = {
        "r": NOTE[:at] + new + NOTE[at + 1 :],
        "i": NOTE[:at] + new + NOTE[at:],
        "d": NOTE[:at] + NOTE[at + 1 :],
    }[how]
    if changed != NOTE:
        with pytest.raises(NoteError):
            open_note(changed, ORIGIN, PINNED)


def test_base64_that_is_not_canonical_is_refused() -> None:
    """The last character of a 32-byte root carries two bits that say nothing."""
    root = b64encode(HEAD.root).decode()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = root[:-2] + alphabet[alphabet.index(root[-2]) ^ 1] + "="
    assert b64decode(twin) == HEAD.root
    with pytest.raises(NoteError, match="canonical"):
        parse_note(NOTE.replace(root, twin))


@pytest.mark.parametrize(
    ("origin", "pinned", "says"),
    [
        ("other.example", PINNED, "KEYS are of other.example"),
        (ORIGIN, [public("x")], "no pinned log key"),
        (ORIGIN, [], "no pinned log key"),
    ],
)
def test_a_note_of_others_is_refused(origin: str, pinned: list[bytes], says: str) -> None:
    with pytest.raises(NoteError, match=says):
        open_note(NOTE, origin, pinned)


@pytest.mark.parametrize(
    "text",
    ["", NOTE + "\n", NOTE[:-1], NOTE + NOTE.split("\n")[4] + "\n", NOTE.replace("42", "042")],
)
def test_notes_of_another_shape_are_refused(text: str) -> None:
    with pytest.raises(NoteError):
        open_note(text, ORIGIN, PINNED)


@pytest.mark.parametrize(
    "head",
    [
        Checkpoint("Not A Name", 1, bytes(32)),
        Checkpoint("a", -1, bytes(32)),
        Checkpoint("a", 1, b""),
    ],
)
def test_what_is_no_checkpoint_is_not_signed(head: Checkpoint) -> None:
    with pytest.raises(NoteError):
        sign_note(head, key("log"))


def test_the_anchor_carries_note_and_previous_head() -> None:
    previous = Checkpoint(ORIGIN, 41, bytes(32))
    assert anchor_tag(ORIGIN) == b"wattloom/" + sha256(ORIGIN.encode()).digest()
    assert len(anchor_tag(ORIGIN)) == 41
    data = anchor_data("note\n", previous)
    assert data == b'{"note":"note\\n","previous":{"root":"' + b"00" * 32 + b'","size":41}}'
    assert anchor_data("note\n", None) == b'{"note":"note\\n","previous":null}'

"""Signature lines beside an anchored note: witnesses and the log's ML-DSA-44 key."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_client import verify
from ledger_client.checkpoint import (
    Checkpoint,
    NoteError,
    NoteLine,
    Witness,
    full_note,
    mldsa_sign,
    open_cosignature,
    open_mldsa,
    parse_note,
    sign_note,
    split_note,
)
from ledger_client.proof import to_bytes
from ledger_client.verify import UnjudgedError, Verdict, key_id, render, verify_bytes
from tests.ledger_client.ledger_bytes import key, mldsa, public, text
from tests.ledger_client.proof_chain import (
    COSIGNED_S,
    Sealing,
    World,
    cosign,
    failing_step,
)
from tests.ledger_client.proof_records import ORIGIN, Json

HEAD = Checkpoint(ORIGIN, 42, bytes(range(32)))
NAMES = ["city.example/w", "grid.example/w", "coop.example/w"]
OWN = mldsa("own").public_key().public_bytes_raw()


def pins(*names: str, threshold: int = 0) -> Json:
    keys = [{"key": public(name).hex(), "name": name} for name in names]
    return {"keys": keys, "threshold": threshold}


def judged(
    cosigned_by: list[str], witnesses: Json, signed: bool = False, demanded: bool = False
) -> Verdict:
    world = World(witnesses=cosigned_by, mldsa_signers=["own"] if signed else [])
    keys = world.keys(witnesses=witnesses, mldsa=[OWN.hex()] if demanded else [])
    return verify_bytes(world.seal(), keys)


# --- What is signed ------------------------------------------------------------------------------


def test_a_published_note_is_split_and_its_signature_holds() -> None:
    """The example of c2sp.org/signed-note, with its verifier key."""
    note = (
        "This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6T"
        "fXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    )
    vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    name, known, blob = vkey.split("+")
    public_key = b64decode(blob)[1:]
    body, (line,) = split_note(note)
    assert body == "This is an example message.\n"
    assert line.is_of(name, public_key, b"\1")
    assert line.key_id.hex() == known
    assert verify.signature_holds(public_key, body.encode(), line.signature)
    assert not verify.signature_holds(public_key, body.encode() + b"\n", line.signature)


def test_a_text_may_hold_empty_lines_and_a_note_several_signatures() -> None:
    line = "\u2014 a.example/b " + b64encode(bytes(68)).decode()
    body, lines = split_note(f"one\n\ntwo\n\n{line}\n{line}\n")
    assert body == "one\n\ntwo\n"
    assert lines == (NoteLine("a.example/b", bytes(4), bytes(64)),) * 2


@pytest.mark.parametrize(
    "note",
    [
        "",
        "body\n",
        "body\n\n",
        "\n\n\u2014 a AAAAAAA=\n",
        "body\n\n\u2014 a AAAAAAA=",
        "body\n\n\u2014 a AAAAAAA=\n\n",
        "body\n\n- a AAAAAAA=\n",
        "body\n\n\u2014 a+b AAAAAAA=\n",
        "body\n\n\u2014 a\u00a0b AAAAAAA=\n",
        "body\n\n\u2014 a AAAA\n",
        "body\n\n\u2014 a AAAAAAB=\n",
        "bo\tdy\n\n\u2014 a AAAAAAA=\n",
        "body\n\n" + "\u2014 a AAAAAAA=\n" * 65,
    ],
)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(NoteError):
        split_note(note)


def test_a_cosignature_is_laid_out_as_c2sp_says() -> None:
    line = NoteLine.read(cosign(HEAD, "w.example/1", key("w"), 1_679_315_147))
    assert line.name == "w.example/1"
    assert line.key_id == key_id("w.example/1", public("w"), b"\4")
    assert line.signature[:8] == (1_679_315_147).to_bytes(8, "big")
    root = b64encode(HEAD.root).decode()
    message = f"cosignature/v1\ntime 1679315147\n{ORIGIN}\n42\n{root}\n".encode()
    assert key("w").verify_key.verify(message, line.signature[8:])


def test_the_second_signature_is_laid_out_as_c2sp_says() -> None:
    line = NoteLine.read(mldsa_sign(HEAD, mldsa("own")))
    assert line.is_of(ORIGIN, OWN, b"\6")
    assert len(line.signature) == 8 + 2420
    named = bytes([len(ORIGIN)]) + ORIGIN.encode()
    message = b"subtree/v1\n\0" + named + bytes(8) + named + bytes(15) + b"\x2a" + HEAD.root
    mldsa("own").public_key().verify(line.signature[8:], message)


def test_a_note_with_cosignatures_is_still_a_note() -> None:
    note = sign_note(HEAD, key("log"))
    whole = full_note(
        note, [cosign(HEAD, "w.example/1", key("w"), 1), mldsa_sign(HEAD, mldsa("a"))]
    )
    _, lines = split_note(whole)
    assert [line.name for line in lines] == [ORIGIN, "w.example/1", ORIGIN]
    with pytest.raises(NoteError, match="one signature line"):
        parse_note(whole)


LINE = cosign(HEAD, NAMES[0], key(NAMES[0]), COSIGNED_S)
OWN_LINE = mldsa_sign(HEAD, mldsa("own"))
PINNED = [Witness(public(name), name) for name in NAMES]


def test_who_cosigned_is_told() -> None:
    assert open_cosignature(LINE, HEAD, PINNED) == (PINNED[0], COSIGNED_S)
    assert open_mldsa(OWN_LINE, HEAD, [OWN]) == OWN


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from([LINE, OWN_LINE]), st.sampled_from("rid"))
def test_any_changed_character_breaks_a_line(data: st.DataObject, line: str, how: str) -> None:
    at, new = data.draw(st.integers(0, len(line) - 1)), data.draw(st.characters(codec="utf-8"))
    changed = {
        "r": line[:at] + new + line[at + 1 :],
        "i": line[:at] + new + line[at:],
        "d": line[:at] + line[at + 1 :],
    }[how]
    if changed != line:
        for opens in (
            lambda: open_cosignature(changed, HEAD, PINNED),
            lambda: open_mldsa(changed, HEAD, [OWN]),
        ):
            with pytest.raises(NoteError):
                opens()


@pytest.mark.parametrize("time_s", [0, 2**63, 2**64 - 1])
def test_a_cosignature_without_a_time_says_nothing(time_s: int) -> None:
    with pytest.raises(NoteError):
        open_cosignature(cosign(HEAD, NAMES[0], key(NAMES[0]), time_s), HEAD, PINNED)


@pytest.mark.parametrize("head", [replace(HEAD, size=43), replace(HEAD, root=bytes(32))])
def test_a_cosignature_of_another_checkpoint_is_refused(head: Checkpoint) -> None:
    with pytest.raises(NoteError):
        open_cosignature(LINE, head, PINNED)
    with pytest.raises(NoteError):
        open_mldsa(OWN_LINE, head, [OWN])


# --- Whole proofs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "cosigned_by", "witnesses"),
    [
        (0, [], pins()),
        (0, [], pins(*NAMES)),
        (0, NAMES[:1], pins(*NAMES)),
        (0, NAMES[:2], pins(*NAMES, threshold=2)),
        (0, NAMES, pins(*NAMES, threshold=2)),
        (1, NAMES[:1], pins(*NAMES, threshold=2)),
        (1, [], pins(*NAMES, threshold=1)),
        (1, NAMES[:1], pins()),  # a part that no pinned key can check
        (1, NAMES, pins(*NAMES[:2], threshold=1)),
        (1, [NAMES[0], NAMES[0]], pins(*NAMES, threshold=2)),
    ],
)
def test_keys_say_how_many_witnesses_it_takes(
    code: int, cosigned_by: list[str], witnesses: Json
) -> None:
    verdict = judged(cosigned_by, witnesses)
    assert verdict.code == code, render(verdict)
    if code:
        assert failing_step(verdict) == "checkpoint"


def test_the_remark_about_a_split_view_goes_when_a_witness_cosigned() -> None:
    def split_view(verdict: Verdict) -> list[str]:
        return [remark for remark in verdict.remarks if "another log" in remark]

    assert "No witness is pinned" in split_view(judged([], pins()))[0]
    assert "No witness cosigned" in split_view(judged([], pins(*NAMES)))[0]
    verdict = judged(NAMES[:1], pins(*NAMES))
    assert split_view(verdict) == []
    assert f"witness {NAMES[0]} cosigned it at 2026-06-23T09:23:20Z" in render(verdict)


def test_a_key_that_cosigns_twice_counts_once_and_is_refused() -> None:
    sealing = Sealing(World(witnesses=NAMES[:1]))
    proof = sealing.settlement()
    twice = cosign(sealing.checkpoint(), NAMES[0], key(NAMES[0]), COSIGNED_S + 1)
    lines = tuple(sorted([*proof.anchor.cosignatures, twice]))
    changed = replace(proof, anchor=replace(proof.anchor, cosignatures=lines))
    verdict = verify_bytes(to_bytes(changed), World().keys(witnesses=pins(*NAMES, threshold=2)))
    assert verdict.code == 1
    assert "twice" in verdict.steps[-1].text


def test_a_witness_with_two_keys_is_one_witness() -> None:
    sealing = Sealing(World(witnesses=NAMES[:1]))
    proof = sealing.settlement()
    other = cosign(sealing.checkpoint(), NAMES[0], key("new key"), COSIGNED_S)
    lines = tuple(sorted([*proof.anchor.cosignatures, other]))
    changed = to_bytes(replace(proof, anchor=replace(proof.anchor, cosignatures=lines)))
    rotated = {"key": public("new key").hex(), "name": NAMES[0]}
    for threshold, code in ((1, 0), (2, 1)):
        keys = pins(*NAMES, threshold=threshold)
        keys["keys"].append(rotated)
        assert verify_bytes(changed, World().keys(witnesses=keys)).code == code


@pytest.mark.parametrize(
    ("code", "signed", "demanded"), [(0, True, True), (1, False, True), (1, True, False)]
)
def test_an_ml_dsa_signature_is_demanded_by_keys_alone(
    code: int, signed: bool, demanded: bool
) -> None:
    verdict = judged(NAMES[:1], pins(*NAMES, threshold=1), signed, demanded)
    assert verdict.code == code, render(verdict)
    assert ("ML-DSA-44 key signed it" in render(verdict)) == (code == 0)


def test_the_order_of_cosignatures_is_fixed() -> None:
    value = json.loads(World(witnesses=NAMES).seal())
    value["anchor"]["cosignatures"].reverse()
    keys = World().keys(witnesses=pins(*NAMES))
    verdict = verify_bytes(text(value).encode() + b"\n", keys)
    assert failing_step(verdict) == "checkpoint"
    assert "out of order" in verdict.steps[-1].text


def test_a_later_checkpoint_is_judged_like_the_first() -> None:
    sealing = Sealing(World(witnesses=NAMES[:1]))
    proof = replace(sealing.settlement(), corrections=sealing.corrections())
    keys = World().keys(witnesses=pins(*NAMES, threshold=1))
    assert verify_bytes(to_bytes(proof), keys).code == 0
    assert proof.corrections is not None
    bare = replace(proof.corrections.anchor, cosignatures=())
    changed = replace(proof, corrections=replace(proof.corrections, anchor=bare))
    assert failing_step(verify_bytes(to_bytes(changed), keys)) == "checkpoint"


WHOLE = World(witnesses=NAMES[:2], mldsa_signers=["own"])
PROOF, KEYS = WHOLE.seal(), WHOLE.keys(witnesses=pins(*NAMES, threshold=2), mldsa=[OWN.hex()])


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, len(PROOF) - 2), new=st.sampled_from(b"0123456789abcdefAZ+/= \n\"'{"))
def test_any_changed_character_of_a_cosigned_proof_makes_it_fail(at: int, new: int) -> None:
    for changed in (
        PROOF[:at] + bytes([new]) + PROOF[at + 1 :],
        PROOF[:at] + PROOF[at + 1 :],
        PROOF[:at] + bytes([new]) + PROOF[at:],
    ):
        assert changed == PROOF or verify_bytes(changed, KEYS).code == 1


# --- Without the package that knows ML-DSA -------------------------------------------------------


def alone(folder: Path, proof: bytes, keys: bytes) -> subprocess.CompletedProcess[str]:
    """Run the verifier where only PyNaCl is installed, and what that needs."""
    (folder / "verify.py").write_bytes(Path(verify.__file__).read_bytes())
    (folder / "proof.json").write_bytes(proof)
    (folder / "keys.json").write_bytes(keys)
    hide = (
        "import sys; sys.modules['cryptography'] = None; sys.path.insert(0, '.'); import verify; "
    )
    code = hide + "sys.exit(verify.main(['proof.json', '--keys', 'keys.json']))"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_only_a_pinned_ml_dsa_key_asks_for_more_than_pynacl(tmp_path: Path) -> None:
    done = alone(tmp_path, World().seal(), World().keys())
    assert done.returncode == 0, done.stderr
    done = alone(tmp_path, PROOF, KEYS)
    assert done.returncode == 2, done.stderr
    assert "pip install 'cryptography" in done.stdout
    done = alone(tmp_path, World().seal(), World().keys(mldsa=[OWN.hex()]))
    assert done.returncode == 1, done.stderr
    assert "there is none" in done.stdout


def test_means_that_know_no_ml_dsa_do_not_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(verify, "import_module", missing)
    with pytest.raises(UnjudgedError, match="ML-DSA"):
        open_mldsa(OWN_LINE, HEAD, [OWN])
    assert verify_bytes(PROOF, KEYS).code == 2


def test_keys_from_before_ml_dsa_stay_good() -> None:
    keys = json.loads(World().keys())
    del keys["mldsa"]
    assert verify_bytes(World().seal(), text(keys).encode()).code == 0


def test_a_proof_from_before_there_were_witnesses_holds_and_has_one_form() -> None:
    world = World()
    old = json.loads(world.seal())
    assert "cosignatures" not in old["anchor"]
    assert verify_bytes(verify.canonical(old) + b"\n", world.keys()).code == 0
    for needless in ([], None, "", 0):
        old["anchor"]["cosignatures"] = needless
        verdict = verify_bytes(verify.canonical(old) + b"\n", world.keys())
        assert (verdict.code, failing_step(verdict)) == (1, "file"), needless

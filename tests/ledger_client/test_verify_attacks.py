"""Forged, endless and deeply nested files: nothing false holds, nothing raises, nothing hangs."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from ledger_client import merkle, verify
from ledger_client.checkpoint import Checkpoint, full_note, mldsa_sign, sign_note
from ledger_client.proof import ConsistencyProof, Equivocation, to_bytes
from ledger_client.verify import (
    BlockError,
    ClaimError,
    MilestoneKey,
    Milestones,
    NoteLine,
    check_milestone,
    leaf_hash,
    main,
    note_body,
    signature_holds,
    verify_bytes,
)
from tests.ledger_client.ledger_bytes import key, milestone, mldsa, public, salt, text
from tests.ledger_client.proof_chain import COSIGNED_S, Sealing, World, cosign, failing_step
from tests.ledger_client.proof_records import ORIGIN, Json

WORLD = World()
PROOF, KEYS = WORLD.seal(), WORLD.keys()
CITY, GRID = "city.example/w", "grid.example/w"
LEAVES = [leaf_hash(bytes([n])) for n in range(20)]


# --- Signatures ----------------------------------------------------------------------------------


def test_the_border_between_signature_and_message_cannot_be_moved() -> None:
    signature = key("log").sign(b"one two").signature
    assert signature_holds(public("log"), b"one two", signature)
    assert not signature_holds(public("log"), b"two", signature + b"one ")
    assert not signature_holds(public("log"), signature[60:] + b"one two", signature[:60])


def pins(*witnesses: tuple[str, str], threshold: int) -> Json:
    keys = [{"key": public(signer).hex(), "name": name} for name, signer in witnesses]
    return {"keys": keys, "threshold": threshold}


def beside(lines: list[str], **keys: object) -> str:
    """Return the step that fails when these lines stand beside the anchored note."""
    proof = Sealing(World()).settlement()
    anchor = replace(proof.anchor, cosignatures=tuple(sorted(lines)))
    return failing_step(verify_bytes(to_bytes(replace(proof, anchor=anchor)), WORLD.keys(**keys)))


HEAD = Sealing(World()).checkpoint()
OWN = mldsa("own").public_key().public_bytes_raw().hex()
LINE = cosign(HEAD, CITY, key(CITY), COSIGNED_S)


def _renamed(line: str, name: str, signer: str) -> str:
    """A genuine signature, put down to another pinned witness."""
    read = NoteLine.read(line)
    named = verify.key_id(name, public(signer), verify.COSIGNATURE)
    return f"\u2014 {name} {b64encode(named + read.signature).decode()}"


TWO = pins((CITY, CITY), (GRID, GRID), threshold=2)


@pytest.mark.parametrize(
    ("lines", "keys"),
    [
        ([LINE, _renamed(LINE, GRID, GRID)], {"witnesses": TWO}),
        ([LINE, cosign(HEAD, GRID, key(CITY), COSIGNED_S)], {"witnesses": TWO}),
        ([LINE, cosign(HEAD, CITY, key(CITY), COSIGNED_S + 1)], {"witnesses": TWO}),
        ([LINE, cosign(HEAD, ORIGIN, key("log"), COSIGNED_S)], {"witnesses": TWO}),
        ([LINE, cosign(replace(HEAD, size=1), GRID, key(GRID), 9)], {"witnesses": TWO}),
        ([LINE, cosign(replace(HEAD, origin="a.b"), GRID, key(GRID), 9)], {"witnesses": TWO}),
        ([LINE + "\n", LINE], {"witnesses": TWO}),
        ([LINE.replace(" ", "\u00a0")], {"witnesses": pins((CITY, CITY), threshold=1)}),
        ([LINE.replace("city", "c\u0456ty")], {"witnesses": pins((CITY, CITY), threshold=1)}),
        ([mldsa_sign(replace(HEAD, size=1), mldsa("own"))], {"mldsa": [OWN]}),
        ([mldsa_sign(replace(HEAD, origin="a.b"), mldsa("own"))], {"mldsa": [OWN]}),
        ([mldsa_sign(HEAD, mldsa("other"))], {"mldsa": [OWN]}),
        ([cosign(HEAD, ORIGIN, key("log"), COSIGNED_S)], {"mldsa": [OWN]}),
    ],
)
def test_a_cosignature_counts_for_its_signer_and_checkpoint_alone(
    lines: list[str], keys: dict[str, object]
) -> None:
    assert beside(lines, **keys) == "checkpoint"


def test_a_threshold_of_nobody_lets_no_stranger_in() -> None:
    line = cosign(HEAD, CITY, key("x"), COSIGNED_S)
    assert beside([line], witnesses=pins((CITY, CITY), threshold=0)) == "checkpoint"


def test_two_keys_of_one_key_id_are_told_apart_by_the_signature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four bytes collide for whoever tries long enough; here all of them do."""
    monkeypatch.setattr(verify, "key_id", lambda *_: b"same")
    read = NoteLine.read(LINE)
    line = f"\u2014 {CITY} {b64encode(b'same' + read.signature).decode()}"
    pinned = [verify.Witness(public("x"), CITY), verify.Witness(public(CITY), CITY)]
    assert verify.open_cosignature(line, HEAD, pinned)[0] == pinned[1]
    with pytest.raises(verify.NoteError):
        verify.open_cosignature(line, HEAD, pinned[:1])


def test_a_milestone_key_pinned_twice_signs_once() -> None:
    once = milestone(7, 9, bytes(32), bytes(32), ["coo 1"])
    ranges = (MilestoneKey(0, public("coo 1"), 7), MilestoneKey(7, public("coo 1"), None))
    pinned = Milestones((*ranges, MilestoneKey(0, public("coo 2"), None)), 2)
    with pytest.raises(ClaimError, match="1 of 2"):
        check_milestone(once, pinned)
    twice = milestone(7, 9, bytes(32), bytes(32), ["coo 1", "coo 1"])
    with pytest.raises((ClaimError, BlockError), match="twice"):
        check_milestone(twice, pinned)


@pytest.mark.parametrize(
    ("first", "last", "code"), [(0, 6, 1), (8, None, 1), (0, None, 0), (9, 8, 2)]
)
def test_milestone_keys_hold_for_their_indexes(first: int, last: int | None, code: int) -> None:
    keys = [
        {"from_index": first, "key": public(name).hex(), "to_index": last}
        for name in ("coo 1", "coo 2", "coo 3")
    ]
    bent = WORLD.keys(milestones={"keys": keys, "threshold": 2})
    assert verify_bytes(PROOF, bent).code == code


# --- Histories -----------------------------------------------------------------------------------


def note(size: int, origin: str = ORIGIN, signer: str = "log", says: int | None = None) -> str:
    head = Checkpoint(origin, size if says is None else says, merkle.root(LEAVES[:size]))
    return sign_note(head, key(signer))


def _signed(body: str) -> str:
    """A note of any text, truly signed by the log's key."""
    named = sha256(ORIGIN.encode() + b"\n\1" + public("log")).digest()[:4]
    blob = b64encode(named + key("log").sign(body.encode()).signature).decode()
    return f"{body}\n\u2014 {ORIGIN} {blob}\n"


BODY = note_body(Checkpoint(ORIGIN, 8, merkle.root(LEAVES[:8])))
ODD_NOTES = {
    "another origin": note(8, origin="other.example"),
    "another signer": note(8, signer="x"),
    "extension line": _signed(BODY + "more\n"),
    "carriage returns": _signed(BODY.replace("\n", "\r\n")),
    "another digit eight": _signed(BODY.replace("\n8\n", "\n\uff18\n")),
    "leading zero": _signed(BODY.replace("\n8\n", "\n08\n")),
    "plus sign": _signed(BODY.replace("\n8\n", "\n+8\n")),
    "giant size": _signed(BODY.replace("\n8\n", "\n" + "8" * 400_000 + "\n")),
    "its line twice": full_note(note(8), note(8).splitlines()[-1:]),
    "a witness's line below": full_note(note(8), [LINE]),
    "a witness's line above": note(8).replace("\n\n", f"\n\n{LINE}\n"),
    "no final newline": note(8).rstrip("\n"),
    "in front": "\n" + note(8),
}


@pytest.mark.parametrize("case", ODD_NOTES)
def test_no_note_but_the_plain_one_is_part_of_a_proof(case: str) -> None:
    path = tuple(merkle.consistency_path(LEAVES[:13], 8))
    root, odd = merkle.root(LEAVES[:8]), ODD_NOTES[case]
    plain = ConsistencyProof(old=note(8), new=note(13), path=path)
    assert verify_bytes(to_bytes(plain), KEYS).code == 0
    for record in (
        ConsistencyProof(old=odd, new=note(13), path=path),
        ConsistencyProof(old=note(8), new=odd, path=()),
        Equivocation(old=odd, new=note(13), path=path, root=root),
        Equivocation(old=odd, new=note(8), path=(), root=root),
    ):
        assert failing_step(verify_bytes(to_bytes(record), KEYS)) in ("old", "new")


@pytest.mark.parametrize("size", [0, 2**52, 10**16 - 1])
def test_sizes_of_no_log_prove_nothing(size: int) -> None:
    odd = note(8, says=size)
    for old, new in ((odd, note(8)), (note(8), odd), (odd, odd)):
        for path in ((), (salt("a"),), tuple(map(leaf_hash, map(bytes, range(200))))):
            for root in (merkle.root(LEAVES[:8]), merkle.EMPTY_ROOT, salt("a")):
                claim = Equivocation(old=old, new=new, path=path, root=root)
                assert verify_bytes(to_bytes(claim), KEYS).code == 1
            if old != new or path or size == 0:
                proof = ConsistencyProof(old=old, new=new, path=path)
                assert verify_bytes(to_bytes(proof), KEYS).code == 1


@pytest.mark.parametrize("old", [3, 8, 13])
def test_two_honest_checkpoints_never_convict(old: int) -> None:
    """Whatever path and root are tried: those of neighbours, turned about, cut and lengthened."""
    paths: list[tuple[bytes, ...]] = [()]
    for size in range(1, 14):
        path = tuple(merkle.consistency_path(LEAVES[:13], size))
        paths += [path, path[::-1], path[1:], path[:-1], (*path, salt("a"))]
    roots = [*(merkle.root(LEAVES[:size]) for size in (old, 8, 13)), LEAVES[0], LEAVES[12]]
    notes = note(old), note(13)
    for path in paths:
        for root in roots:
            for first, second in (notes, notes[::-1]):
                claim = Equivocation(old=first, new=second, path=path, root=root)
                assert verify_bytes(to_bytes(claim), KEYS).code == 1


def test_one_kind_does_not_pass_for_another() -> None:
    path = tuple(merkle.consistency_path(LEAVES[:13], 8))
    proofs = [PROOF, to_bytes(ConsistencyProof(old=note(8), new=note(13), path=path))]
    for proof in proofs:
        kinds: list[object] = ["settlement", "reading", "consistency", "equivocation", "", None, []]
        for kind in [*kinds, "milestone-equivocation"]:
            value = json.loads(proof)
            if value["kind"] != kind:
                changed = text(value | {"kind": kind}).encode() + b"\n"
                assert verify_bytes(changed, KEYS).code == 1


# --- Files without end, and nested ones ----------------------------------------------------------


def test_no_depth_of_nesting_raises() -> None:
    """Reading, writing and printing give up at depths of their own: all are tried."""
    limit = sys.getrecursionlimit()
    for depth in range(limit - 150, limit):
        deep = b"[" * depth + b"]" * depth
        for junk in (deep + b"\n", b'{"block":1,"milestone":' + deep + b',"proof":1}'):
            assert verify_bytes(junk, KEYS).code == 1
            assert verify_bytes(PROOF, junk).code == 2


def test_a_check_that_runs_out_of_stack_is_a_refusal() -> None:
    def endless() -> None:
        endless()

    assert verify.Report().judge(endless).code == 1


def test_a_nested_file_is_refused_before_it_is_written_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Writing it passes each part through all levels: a file of 4 MiB would take minutes."""
    monkeypatch.delattr(verify, "_is_usual")
    deep = b"[" * 900 + b"[]," * 1_000 + b"[]" + b"]" * 900
    junk = b'{"block":1,"milestone":' + deep + b',"proof":1}'
    assert verify_bytes(junk, KEYS).code == 1


def test_a_file_without_end_is_given_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "keys.json").write_bytes(KEYS)
    (tmp_path / "proof.json").write_bytes(PROOF)
    assert main(["/dev/zero", "--keys", str(tmp_path / "keys.json")]) == 1
    assert "larger" in capsys.readouterr().out
    assert main([str(tmp_path / "proof.json"), "--keys", "/dev/zero"]) == 2
    assert "larger" in capsys.readouterr().out


# --- The one file, elsewhere ---------------------------------------------------------------------


def _alone(folder: Path, hidden: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of the verifier, isolated, in a Python that cannot import ``hidden``."""
    (folder / "verify.py").write_bytes(Path(verify.__file__).read_bytes())
    (folder / "proof.json").write_bytes(PROOF)
    (folder / "keys.json").write_bytes(KEYS)
    code = (
        f"import sys, runpy; sys.modules[{hidden!r}] = None; "
        "sys.argv = ['verify.py', 'proof.json', '--keys', 'keys.json']; "
        "runpy.run_path('verify.py', run_name='__main__')"
    )
    command = [sys.executable, "-I", "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("hidden", "code"), [("ledger_client", 0), ("nacl", 2)])
def test_the_copied_file_runs_isolated(tmp_path: Path, hidden: str, code: int) -> None:
    done = _alone(tmp_path, hidden)
    assert done.returncode == code, done.stderr
    assert ("pip install pynacl" in done.stderr) == (code == 2)


def test_a_package_that_knows_another_ml_dsa_alone_does_not_judge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify, "import_module", lambda name: object())
    world = World(mldsa_signers=["own"])
    assert verify_bytes(world.seal(), world.keys(mldsa=[OWN])).code == 2

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ledger_client import verify
from ledger_client.verify import Verdict, main, render, verify_bytes, verify_receipt
from tests.ledger_client.ledger_bytes import blake, key, public, salt, text
from tests.ledger_client.proof_chain import World, receipt
from tests.ledger_client.proof_records import Json

STRANGER = public("x").hex()
WORLD = World()
PROOF, KEYS = WORLD.seal(), WORLD.keys()
PINS = json.loads(KEYS)["milestones"]["keys"]
PIN = PINS[0]
VERIFIER = Path(verify.__file__)
VECTOR = Path(__file__).parents[2].parent / "shared/vectors/inx-poi-example.json"


# --- KEYS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        (1, {"origin": "other.example"}),
        (1, {"log": [STRANGER]}),
        (1, {"registry": [STRANGER]}),
        (1, {"milestones": {"keys": [PIN | {"key": STRANGER}], "threshold": 1}}),
        (1, {"milestones": {"keys": [PIN | {"from_index": 8}], "threshold": 1}}),
        (1, {"milestones": {"keys": PINS, "threshold": 3}}),
        (2, {"milestones": {"keys": PINS, "threshold": 4}}),
        (2, {"milestones": {"keys": [PIN, PIN], "threshold": 2}}),
        (2, {"milestones": {"keys": PINS, "threshold": 0}}),
        (2, {"log": []}),
        (2, {"registry": []}),
        (2, {"log": ["00" * 32]}),
        (2, {"log": ["01" + "00" * 31]}),
        (2, {"log": [public("registry").hex()]}),
        (2, {"log": [public("log").hex().upper()]}),
        (2, {"version": 2}),
        (2, {"surplus": 1}),
        (2, {"witnesses": {"keys": [], "threshold": 1}}),
        (2, {"witnesses": {"keys": [public("witness").hex()], "threshold": 0}}),
        (2, {"witnesses": {"keys": [{"key": public("log").hex(), "name": "w"}], "threshold": 0}}),
        (2, {"witnesses": {"keys": [{"key": "00" * 32, "name": "w"}], "threshold": 0}}),
        (2, {"witnesses": {"keys": [{"key": STRANGER, "name": "a b"}], "threshold": 0}}),
        (2, {"witnesses": {"keys": [{"key": STRANGER, "name": "w"}] * 2, "threshold": 0}}),
        (2, {"witnesses": {"keys": [{"key": STRANGER, "name": "w"}], "threshold": 2}}),
        (1, {"witnesses": {"keys": [{"key": STRANGER, "name": "w"}], "threshold": 1}}),
        (0, {"witnesses": {"keys": [{"key": STRANGER, "name": "w"}], "threshold": 0}}),
        (1, {"mldsa": ["00" * 1312]}),
        (2, {"mldsa": ["00" * 1312] * 2}),
        (2, {"mldsa": [STRANGER]}),
    ],
)  # fmt: skip
def test_keys_decide(code: int, changes: dict[str, object]) -> None:
    verdict = verify_bytes(PROOF, WORLD.keys(**changes))
    assert verdict.code == code, render(verdict)


def test_keys_of_milestones_alone_cannot_judge_a_settlement() -> None:
    short = {"milestones": json.loads(KEYS)["milestones"], "version": 1}
    assert verify_bytes(PROOF, text(short).encode()).code == 2
    assert verify_receipt(text(receipt()).encode(), text(short).encode()).code == 2


def test_keys_may_be_written_by_hand() -> None:
    assert verify_bytes(PROOF, json.dumps(json.loads(KEYS), indent=2).encode()).code == 0


# --- Receipts ------------------------------------------------------------------------------------


def test_a_receipt_holds_with_or_without_a_final_newline() -> None:
    whole = text(receipt()).encode()
    assert verify_receipt(whole, KEYS).code == 0
    assert verify_receipt(whole + b"\n", KEYS).code == 0


@pytest.mark.parametrize(
    "change",
    [
        {"signature": "00" * 64},
        {"key": STRANGER},
        {"index": 0},
        {"size": 9},  # 4 would fit the same path: a receipt does not bind its size
        {"item": receipt(salt("another"))["item"]},
        {"root": "00" * 32},
        {"extra": 1},
    ],
)
def test_a_changed_receipt_fails(change: dict[str, object]) -> None:
    assert verify_receipt(text(receipt() | change).encode(), KEYS).code == 1


def test_receipts_of_others_fail() -> None:
    for other in (receipt(signer="x"), receipt(district="other.example")):
        assert verify_receipt(text(other).encode(), KEYS).code == 1


# --- A raw proof of inclusion --------------------------------------------------------------------


def vector() -> tuple[Json, bytes]:
    if not VECTOR.exists():
        pytest.skip("the published vector is not at hand")
    value: Json = json.loads(VECTOR.read_bytes())
    pinned = [
        {"from_index": 1, "key": item["publicKey"][2:], "to_index": None}
        for item in value["milestone"]["signatures"]
    ]
    keys = {"milestones": {"keys": pinned, "threshold": 2}, "version": 1}
    return value, json.dumps(keys).encode()


def test_the_published_inclusion_proof_holds() -> None:
    value, keys = vector()
    verdict = verify_bytes(VECTOR.read_bytes(), keys)
    assert verdict.code == 0, render(verdict)
    assert "ledger inclusion only" in render(verdict)
    assert verify_bytes(json.dumps(value).encode(), KEYS).code == 1


@pytest.mark.parametrize(
    "path",
    [
        "block.nonce", "block.payload.data", "block.payload.tag", "block.parents.0",
        "milestone.index", "milestone.timestamp", "milestone.inclusionMerkleRoot",
        "milestone.appliedMerkleRoot", "milestone.parents.1", "milestone.previousMilestoneId",
        "milestone.signatures.0.signature", "milestone.signatures.1.publicKey",
        "proof.r.h", "proof.l.l.h", "proof.l.r.l.r.l.value", "milestone.signatures.0.type",
    ],
)  # fmt: skip
def test_each_field_of_an_inclusion_proof_counts(path: str) -> None:
    value, keys = vector()
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner = value
    for part in parents:
        inner = inner[part]
    found = inner[last]
    inner[last] = (
        found + 1 if isinstance(found, int) else found[:-1] + ("1" if found[-1] == "0" else "0")
    )
    assert verify_bytes(json.dumps(value).encode(), keys).code == 1


@pytest.mark.parametrize("bit", range(8))
def test_each_byte_of_the_published_inclusion_proof_counts(bit: int) -> None:
    _, keys = vector()
    whole = VECTOR.read_bytes()
    for at, byte in enumerate(whole):
        changed = whole[:at] + bytes([byte ^ 1 << bit]) + whole[at + 1 :]
        assert verify_bytes(changed, keys).code != 0, (at, chr(byte))


@pytest.mark.long
def test_no_byte_of_the_published_inclusion_proof_may_be_another() -> None:
    _, keys = vector()
    whole = VECTOR.read_bytes()
    for at, byte in enumerate(whole):
        assert verify_bytes(whole[:at] + whole[at + 1 :], keys).code != 0, (at, byte)
        for new in range(256):
            changed = whole[:at] + bytes([new]) + whole[at + 1 :]
            assert new == byte or verify_bytes(changed, keys).code != 0, (at, byte, new)
        for new in b' \n0a"':
            inserted = whole[:at] + bytes([new]) + whole[at:]
            assert verify_bytes(inserted, keys).code != 0, (at, new)


@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"indent": 4}, {"separators": (",", ":")}])
def test_an_inclusion_proof_may_be_written_in_usual_ways(style: Json) -> None:
    value, keys = vector()
    written = json.dumps(value, **style).encode()
    assert verify_bytes(written, keys).code == 0
    assert verify_bytes(written + b"\n", keys).code == 0
    assert verify_bytes(written + b"\n\n", keys).code == 1
    assert verify_bytes(written.replace(b'"index"', b' "index"', 1), keys).code == 1


def by_hand() -> Json:
    """The anchor of the settlement as the ledger's JSON, written here from its bytes."""
    anchor = json.loads(PROOF)["anchor"]
    block, milestone = bytes.fromhex(anchor["block"]), bytes.fromhex(anchor["milestone"])
    tag, data = block[75:116], block[120:-8]
    node: Json = {"value": "0x" + blake(block).hex()}
    for step in anchor["path"]:
        sibling = {"h": "0x" + step["hash"]}
        node = {"l": sibling, "r": node} if step["side"] == "l" else {"l": node, "r": sibling}
    signed = [milestone[147 + 97 * n :][:96] for n in range(2)]
    return {
        "block": {
            "protocolVersion": 2,
            "parents": ["0x" + block[2 + 32 * n :][:32].hex() for n in range(2)],
            "payload": {"type": 5, "tag": "0x" + tag.hex(), "data": "0x" + data.hex()},
            "nonce": "0",
        },
        "milestone": {
            "type": 7,
            "index": 7,
            "timestamp": WORLD.anchor_s,
            "protocolVersion": 2,
            "previousMilestoneId": "0x" + "00" * 32,
            "parents": ["0x" + "00" * 32],
            "inclusionMerkleRoot": "0x" + milestone[78:110].hex(),
            "appliedMerkleRoot": "0x" + milestone[110:142].hex(),
            "signatures": [
                {"type": 0, "publicKey": "0x" + s[:32].hex(), "signature": "0x" + s[32:].hex()}
                for s in signed
            ],
        },
        "proof": node,
    }


@pytest.mark.parametrize(
    ("code", "change"),
    [
        (0, lambda value: value),
        (0, lambda value: value["milestone"].update(metadata="0x", options=[])),
        (1, lambda value: value["block"].update(nonce="1")),
        (1, lambda value: value["block"].update(nonce=str(2**64))),
        (1, lambda value: value["block"].update(parents=[])),
        (1, lambda value: value["milestone"].update(timestamp=1)),
        (1, lambda value: value["milestone"].update(metadata="0x00")),
        (1, lambda value: value["milestone"].update(surplus=1)),
        (1, lambda value: value["milestone"]["signatures"].pop()),
        (1, lambda value: value["milestone"]["signatures"].reverse()),
        (1, lambda value: value.update(proof={"value": "0x" + "00" * 32})),
        (1, lambda value: value["proof"].update(r={"h": "0x" + "00" * 32})),
        (1, lambda value: value["proof"]["l"]["r"]["l"].update(value="0x" + "00" * 32)),
        (2, lambda value: value["milestone"].update(options=[{"type": 1}])),
        (2, lambda value: value["block"].update(payload={"type": 6})),
    ],
)
def test_an_inclusion_proof_by_hand(code: int, change: Callable[[Json], object]) -> None:
    value = by_hand()
    change(value)
    verdict = verify_bytes(json.dumps(value).encode(), KEYS)
    assert verdict.code == code, render(verdict)


def test_what_the_verifier_cannot_read_of_the_ledger_is_not_judged() -> None:
    value, keys = vector()
    value["block"]["payload"] = {"type": 6}
    assert verify_bytes(json.dumps(value).encode(), keys).code == 2


# --- The command line, as one file copied anywhere -----------------------------------------------


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "verify.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "verify.py").write_bytes(VERIFIER.read_bytes())
    (tmp_path / "proof.json").write_bytes(PROOF)
    (tmp_path / "keys.json").write_bytes(KEYS)
    return tmp_path


def test_the_file_runs_alone(folder: Path) -> None:
    done = run(folder, "proof.json", "--keys", "keys.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "The proof HOLDS."
    (folder / "proof.json").write_bytes(PROOF.replace(b"SN-0018", b"SN-0019", 1))
    done = run(folder, "proof.json", "--keys", "keys.json")
    assert done.returncode == 1
    assert "✗ reading" in done.stdout


def test_missing_means_are_not_a_judgement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof, keys = tmp_path / "proof.json", tmp_path / "keys.json"
    proof.write_bytes(PROOF)
    assert main([str(proof)]) == 2
    assert "--keys" in capsys.readouterr().out
    assert main([str(proof), "--keys", str(keys)]) == 2
    keys.write_bytes(KEYS)
    assert main([str(tmp_path / "none"), "--keys", str(keys)]) == 2
    assert main([str(proof), "--keys", str(keys), "--quiet"]) == 0
    capsys.readouterr()
    assert main([str(proof), "--keys", str(keys), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["code"] == 0
    assert said["steps"][0]["ok"] is True


def test_control_characters_never_reach_the_terminal() -> None:
    verdict = Verdict(1, (replace(verify_bytes(b"x", KEYS).steps[0], text="a\x1b[2Jb"),))
    assert "\x1b" not in render(verdict)


def test_the_verifier_imports_nothing_of_ours() -> None:
    source = VERIFIER.read_text("utf-8")
    for package in ("app", "ledger_client", "market", "metering", "optimizer", "web"):
        assert f"from {package}" not in source
        assert f"import {package}" not in source


def test_a_forged_signature_by_a_pinned_key_over_other_bytes_fails() -> None:
    other = key("log").sign(b"something else").signature
    assert not verify.signature_holds(public("log"), b"this", other)

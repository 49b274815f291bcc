"""Evidence out of a real district: receipts and seals, windows of signing, numbers signed twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlmodel import col, delete
from typer.testing import CliRunner, Result

from app.api import problems
from app.api.evidence import build_router
from app.cli import cli
from app.commands.evidence import EvidenceError, export_receipts
from app.services import evidence
from app.services.beacons import newest
from app.services.ocmf import Asked, export
from app.services.proofs import NoSuchProofError, ProofNotReadyError
from app.tables import MeteringPointRow, OcmfRecordRow, ReadingRow
from ledger_client.verify import parse_milestone, render, verify_bytes, verify_receipt
from metering.ocmf.document import parse
from metering.ocmf.session import Identified, OcmfSessionError
from metering.ocmf.signature import load_key
from metering.reading import (
    FIRST_PREV,
    Clock,
    Measurement,
    Quality,
    Reading,
    SignedReading,
    link,
)
from metering.receipt import Receipt
from metering.signing import public_key
from metering.spool import Answer, Signer, Spool
from tests.app.district_kit import START, Kit


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, f"sqlite:///{tmp_path / 'district.db'}", names=("solar", "flat"))
    yield kit
    kit.close()


def key_of(kit: Kit, name: str) -> str:
    return public_key(kit.keyring.meter(kit.homes[name].key_name)).hex


def held(kit: Kit, signed: SignedReading) -> bytes:
    """What the gateway keeps: the reading and its receipt."""
    one = Reading.from_payload(signed.payload)
    receipt = kit.door.receipt(one.key, one.epoch, one.seq)
    file = {
        "kind": "receipt",
        "reading": {"payload": signed.payload.decode(), "signature": signed.signature.hex()},
        "receipt": receipt,
        "version": 1,
    }
    text = json.dumps(file, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


def promised(kit: Kit, file: bytes) -> str:
    return str(json.loads(json.loads(file)["receipt"]["item"])["seal_interval"])


def sent(kit: Kit, name: str, after_ms: int = 0, **fields: Any) -> SignedReading:
    kit.clock.advance_to(kit.clock.now_ms() + after_ms)
    signed = kit.sign(name, kit.clock.now_ms(), **fields)
    assert kit.send([signed]) == [200]
    return signed


# --- Receipts -----------------------------------------------------------------------------------


def test_every_promise_of_an_honest_district_is_kept(kit: Kit) -> None:
    kit.read()
    taken = [sent(kit, "solar", 60_000) for _ in range(3)]
    slow = kit.sign("solar", kit.clock.now_ms() + 60_000)
    kit.live(solar=(0, 500), flat=(300, 0))
    assert kit.send([slow]) == [200]  # after its interval was metered: among the late ones
    kit.live(solar=(0, 500), flat=(300, 0))
    point = kit.homes["solar"].point
    for signed in (*taken, slow):
        file = held(kit, signed)
        leaves = evidence.sealed_leaves(kit.house, promised(kit, file), point)
        verdict = verify_receipt(file, kit.keys(), leaves)
        assert verdict.code == 0, render(verdict)
        assert verify_bytes(leaves, kit.keys()).code == 0
    assert "late readings" in render(verdict)


def test_a_district_that_drops_a_reading_is_convicted_by_its_own_files(kit: Kit) -> None:
    kit.read()
    dropped, kept = sent(kit, "solar", 60_000), sent(kit, "solar", 60_000)
    files = [held(kit, each) for each in (dropped, kept)]
    with kit.database.write() as session:
        session.exec(delete(ReadingRow).where(col(ReadingRow.payload) == dropped.payload))
    key = kit.live(solar=(0, 500), flat=(300, 0))
    leaves = evidence.sealed_leaves(kit.house, key, kit.homes["solar"].point)
    assert [verify_receipt(each, kit.keys(), leaves).code for each in files] == [3, 0]
    other = evidence.sealed_leaves(kit.house, key, kit.homes["flat"].point)
    assert verify_receipt(files[0], kit.keys(), other).code == 2  # of another point: says nothing


def test_what_cannot_be_shown_yet_or_at_all(kit: Kit) -> None:
    kit.read()
    extra = sent(kit, "solar", 60_000)
    key = kit.quarter(solar=(0, 500), flat=(300, 0))
    point = kit.homes["solar"].point
    with pytest.raises(NoSuchProofError):
        evidence.sealed_leaves(kit.house, "2030-01-01T00:00:00Z", point)
    kit.ledger.down = True
    kit.settle()
    with pytest.raises(ProofNotReadyError):
        evidence.sealed_leaves(kit.house, key, point)
    kit.ledger.down = False
    kit.worker.run_due()
    stranger = evidence.sealed_leaves(kit.house, key, "999999999999999994")
    assert verify_bytes(stranger, kit.keys()).code == 0
    with kit.database.write() as session:
        session.exec(delete(ReadingRow).where(col(ReadingRow.payload) == extra.payload))
    with pytest.raises(NoSuchProofError, match="removed"):
        evidence.sealed_leaves(kit.house, key, point)


def test_a_spool_s_receipts_are_written_beside_their_readings(kit: Kit, tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool.open(path)
    home = kit.homes["solar"]
    signer = Signer(kit.enrolment(home), kit.keyring.meter(home.key_name))
    (one,) = spool.append([(signer, measurement(START.start_ms))])
    with pytest.raises(EvidenceError, match="no receipt"):
        export_receipts(path, tmp_path / "out", force=False)
    assert kit.send([one.reading]) == [200]
    receipt = Receipt.parse(kit.door.receipt(key_of(kit, "solar"), 1, 1))
    spool.acknowledge([Answer(one.id, 200, receipt=receipt.to_json())], 0)
    assert export_receipts(path, tmp_path / "out", force=False) == 1
    (written,) = (tmp_path / "out").iterdir()
    assert verify_receipt(written.read_bytes(), kit.keys()).code == 0
    assert verify_bytes(written.read_bytes(), kit.keys()).code == 0
    with pytest.raises(EvidenceError, match="spool"):
        export_receipts(tmp_path / "keys", tmp_path / "out", force=True)
    spool.close()


# --- When a reading was signed ------------------------------------------------------------------


def test_a_beacon_and_an_anchor_bound_when_a_reading_was_signed(kit: Kit) -> None:
    kit.live(solar=(0, 500), flat=(300, 0))
    known = newest(kit.house)
    assert known is not None
    kit.clock.advance_to(kit.clock.now_ms() + 60_000)
    bounded, plain = (sent(kit, "solar", beacon=b) for b in (known.digest, None))
    kit.live(solar=(0, 500), flat=(300, 0))
    client = TestClient(_app(kit))
    for signed, says in ((bounded, "signed not before"), (plain, "how long before is not known")):
        one = Reading.from_payload(signed.payload)
        address = f"/api/v1/readings/{one.key}/{one.epoch}/{one.seq}"
        held_by = {"link": link(signed.payload, signed.signature)}
        answer = client.get(f"{address}/proof", params=held_by)
        verdict = verify_bytes(answer.content, kit.keys())
        assert verdict.code == 0, render(verdict)
        assert says in render(verdict)
        leaves = client.get(f"{address}/leaves", params=held_by).content
        assert verify_receipt(held(kit, signed), kit.keys(), leaves).code == 0
    assert client.get("/api/v1/beacon").json()["index"] >= known.index
    for file in ("proof", "leaves"):
        assert client.get(f"{address}/{file}").status_code == 422
        assert client.get(f"{address}/{file}", params={"link": "0" * 64}).status_code == 404
    proof = json.loads(evidence.reading_proof(kit.house, key_of(kit, "solar"), 1, 3))
    assert parse_milestone(bytes.fromhex(proof["beacon"])).index == known.index


def measurement(at_ms: int) -> Measurement:
    return Measurement(
        asked_ms=at_ms, answered_ms=at_ms, clock=Clock.SYNCHRONISED, import_wh=1, export_wh=1,
        resolution_wh=1, power_w=None, quality=Quality.MEASURED, raw="ab" * 32,
    )  # fmt: skip


def _app(kit: Kit) -> FastAPI:
    app = FastAPI()
    problems.install(app)
    app.include_router(build_router(kit.house))
    return app


# --- Numbers signed twice -----------------------------------------------------------------------


def test_a_number_signed_twice_is_exported_and_judged(kit: Kit, tmp_path: Path) -> None:
    kit.read()
    assert evidence.equivocations(kit.house) == []
    home = kit.homes["solar"]
    home.seq, home.prev = 0, "0" * 64  # the spool was set back to an earlier state
    again = kit.sign("solar", kit.clock.now_ms(), export_wh=501)
    assert kit.send([again]) == [409]
    ((name, file),) = evidence.equivocations(kit.house)
    assert name.startswith(key_of(kit, "solar")[:16])
    verdict = verify_bytes(file, kit.keys())
    assert verdict.code == 0, render(verdict)
    assert f"meter key {key_of(kit, 'solar')} signed number 1 of epoch 1 twice" in render(verdict)


# --- Charging sessions --------------------------------------------------------------------------


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments])


def test_sessions_of_a_charger_leave_as_records(kit: Kit, tmp_path: Path) -> None:
    home = kit.homes["flat"]
    with kit.database.write() as session:
        session.get_one(MeteringPointRow, home.point).purpose = "charger"
    for power_w, drawn_wh in ((0, 0), (7_000, 110), (7_000, 120), (0, 90)):
        home.use(import_wh=drawn_wh)
        sent(kit, "flat", 60_000, power_w=power_w)
    kit.clock.advance_to(kit.clock.now_ms() + 300_000)
    meter_key = kit.keyring.folder / f"meter-{home.key_name}.key"
    pem = tmp_path / "charger.pem"
    made = run(
        "ocmf", "key", home.point, "--serial", home.serial, "--district", kit.settings.origin,
        "--meter-key", meter_key, "--out", pem,
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    place = ("--data", tmp_path)
    times = ("--from", "2026-06-23T09:00Z", "--to", "2026-06-23T09:10Z")
    exporting = (
        "export",
        "ocmf",
        home.point,
        *times,
        "--key",
        pem,
        "--out",
        tmp_path / "out",
        *place,
    )
    assert run(*exporting).exit_code == 1  # not published yet
    assert run("ocmf", "publish", tmp_path / "charger.json", *place).exit_code == 0
    named = ("--ident", "ISO14443:1F2D3A4F", "--threshold-w", "1000")
    done = run(*exporting, *named)
    assert done.exit_code == 0, done.output
    (row,) = kit.rows(OcmfRecordRow)
    file = tmp_path / "out" / f"{home.point}-T1.ocmf"
    found = parse(file.read_bytes())
    assert [str(each.value) for each in found.readings] == ["1.000", "1.320"]
    assert row.record == file.read_bytes()
    again = Asked(home.point, START.start_ms, kit.clock.now_ms(), Identified())
    numbers = [export(kit.house, again, load_key(pem))[0].number for _ in range(2)]
    assert numbers == [2, 2]  # for nobody it is another page, and the same session stays the same
    told = run("ocmf", "verify", file, "--key", tmp_path / "charger.json")
    assert told.exit_code == 0, told.output
    assert "nothing was changed since; published by meter" in told.output
    file.write_bytes(file.read_bytes().replace(b"1.320", b"1.020"))
    assert run("ocmf", "verify", file, "--key", tmp_path / "charger.json", "--json").exit_code == 1
    assert run("ocmf", "verify", file, "--key", file).exit_code == 2
    with pytest.raises(OcmfSessionError):
        Identified("NOBODY", "1")


def test_a_neighbour_s_key_shows_none_of_its_readings(kit: Kit) -> None:
    kit.read("solar")
    kit.to(3)
    mine = sent(kit, "flat")
    kit.quarter()
    kit.settle()
    kit.live()
    one, key = Reading.from_payload(mine.payload), key_of(kit, "solar")
    client = TestClient(_app(kit))
    held_by = {"link": link(mine.payload, mine.signature)}
    # Flat is in no roster yet: its neighbour's leaf shows that, and names the neighbour's key.
    assert key in client.get(f"/api/v1/readings/{one.key}/1/1/leaves", params=held_by).text
    assert b"import_wh" in evidence.reading_proof(kit.house, key, 1, 1)
    for params in ({}, held_by, {"link": FIRST_PREV}):
        answer = client.get(f"/api/v1/readings/{key}/1/1/proof", params=params)
        assert answer.status_code == (404 if params else 422)
        assert "import_wh" not in answer.text

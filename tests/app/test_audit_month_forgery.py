"""Whoever holds a month's file signs readings anew, with a key of their own or with the meter's."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from app.audit.month import audit_month
from app.audit.monthfile import MonthFile
from app.commands.month_export import export_month
from app.jobs import statements as job
from ledger_client.verify import Report, SignedReading, canonical, leaf_hash, reading_leaf
from metering.interval import LENGTH_MS, Interval
from metering.signing import Purpose, sign
from tests.app.district_kit import Kit

JUNE = "2026-06"
START = Interval.parse("2026-06-30T21:00:00Z")
Parts = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    folder = tmp_path_factory.mktemp("forgery")
    url, changes = f"sqlite:///{folder / 'district.db'}", {"statement_days": 0, "issuer_name": "L"}
    kit = Kit(folder, url, ("solar", "flat"), start=START, changes=changes)
    kit.live(solar=(0, 701), flat=(505, 0))
    kit.exchange(
        "flat", "meter-flat", Interval.containing_ms(START.start_ms + 2 * LENGTH_MS), 1_606
    )
    kit.live(solar=(0, 303), flat=(0, 0))  # the closing border is the new key's
    kit.live(solar=(0, 303), flat=(404, 0))
    kit.live(solar=(0, 303), flat=(404, 0))
    job.issue(kit.house, JUNE, "command")
    kit.settle()
    yield kit
    kit.close()


@pytest.fixture(scope="module")
def parts(kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    out: Path = tmp_path_factory.mktemp("month") / "june.zip"
    export_month(kit.house, JUNE, out, force=False)
    with zipfile.ZipFile(out) as file:
        return {
            n: [json.loads(line) for line in file.read(n).splitlines()] for n in file.namelist()
        }


def judged(parts: Mapping[str, list[dict[str, Any]]], keys: bytes | None) -> tuple[int, str]:
    file, report = io.BytesIO(), Report()
    with zipfile.ZipFile(file, "w") as out:
        for name, rows in parts.items():
            out.writestr(name, b"".join(canonical(row) + b"\n" for row in rows))
    verdict = report.judge(lambda: assert_none(audit_month(JUNE, MonthFile(file), keys, report)))
    return verdict.code, verdict.steps[-1].text


def assert_none(differences: list[Any]) -> None:
    assert differences == []


def forged(parts: Parts, key: SigningKey, *, named: bool) -> Parts:
    """Sign the first interval's readings of one meter again: 100 Wh more at the end of it.

    All that follows in the file is made to agree; with ``named`` the reading names the new key.
    """
    copy: Parts = json.loads(json.dumps(parts))
    line = copy["intervals.jsonl"][0]
    slot = next(each for each in line["slots"] if each["export_wh"])
    for item in line["readings"]:
        reading = json.loads(item["payload"])
        if reading["point"] != slot["point"]:
            continue
        old = leaf(item)
        if named:
            reading["key"] = key.verify_key.encode().hex()
        if old == slot["borders"]["closing"]:
            reading["export_wh"] += 100
            slot["export_wh"] += 100
        item["payload"] = canonical(reading).decode()
        item["signature"] = sign(key, Purpose.READING, item["payload"].encode()).hex()
        for each in copy["intervals.jsonl"]:
            for other in each["slots"]:
                for end in ("opening", "closing"):
                    if other["borders"] and other["borders"][end] == old:
                        other["borders"][end] = leaf(item)
    return copy


def leaf(item: dict[str, Any]) -> str:
    return leaf_hash(reading_leaf(SignedReading.load(item))).hex()


def enrolled(parts: Parts, key: SigningKey) -> Parts:
    """Put an enrolment of a forger's key in place of a meter's, possession and registry signed."""
    entry = parts["enrolments.jsonl"][0]
    body = json.loads(entry["entry"])
    says = json.loads(body["enrolment"]) | {"key": key.verify_key.encode().hex()}
    body["enrolment"] = canonical(says).decode()
    message = body["enrolment"].encode()
    body["possession"] = body["registry"] = sign(key, Purpose.ENROL, message).hex()
    entry["entry"] = canonical(body).decode()
    return parts


def test_the_truth_holds_over_a_change_of_keys(kit: Kit, parts: Parts) -> None:
    assert judged(parts, kit.keys())[0] == 0
    assert len(parts["enrolments.jsonl"]) == 3


MINE = SigningKey(sha256(b"forger").digest())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p, _: forged(p, MINE, named=True), "a key that is not enrolled"),
        (lambda p, _: forged(p, MINE, named=False), "its signature does not hold"),
        (lambda p, _: enrolled(forged(p, MINE, named=True), MINE), "is not in the log of the note"),
        (lambda p, meter: forged(p, meter, named=False), "do not give the sealed tree_root"),
    ],
    ids=["own key", "own key unnamed", "own key enrolled", "the meter's own key"],
)
def test_readings_signed_anew_are_found_out(
    kit: Kit, parts: Parts, change: Callable[[Parts, SigningKey], Parts], says: str
) -> None:
    copy: Parts = json.loads(json.dumps(parts))
    code, told = judged(change(copy, kit.keyring.meter("meter-solar")), None)
    assert code == 1
    assert says in told


def test_a_slot_of_another_enrolment_is_found_out(kit: Kit, parts: Parts) -> None:
    copy: Parts = json.loads(json.dumps(parts))
    first, second = copy["intervals.jsonl"][0]["slots"]
    first["enrolment"], second["enrolment"] = second["enrolment"], first["enrolment"]
    code, told = judged(copy, kit.keys())
    assert (code, "is of another point" in told) == (1, True)
    code, told = judged(parts | {"enrolments.jsonl": []}, kit.keys())
    assert (code, "it lacks the enrolment of" in told) == (2, True)


def test_an_enrolment_that_no_pinned_registry_signed_is_found_out(kit: Kit, parts: Parts) -> None:
    keys = json.loads(kit.keys())
    keys["registry"] = [SigningKey(sha256(b"other").digest()).verify_key.encode().hex()]
    code, told = judged(parts, canonical(keys))
    assert (code, "not signed by a pinned registry key" in told) == (1, True)

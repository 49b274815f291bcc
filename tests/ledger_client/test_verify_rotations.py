"""Rotations that the old key signed, forged ones, and when a reading can have been signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ledger_client.log import encode_entry
from ledger_client.proof import to_bytes
from ledger_client.verify import Verdict, leaf_hash, parse_milestone, render, verify_bytes
from tests.ledger_client.ledger_bytes import key, milestone, public, salt, text
from tests.ledger_client.proof_chain import Sealing, World, rotate
from tests.ledger_client.proof_records import END_MS, SHOP, START_MS, Json, Meter

KEYS = World().keys()


# --- Rotations ----------------------------------------------------------------------------------


class Rotating(Sealing):
    """Enrols the shop's new key by a rotation; ``bent`` changes the entry in the log."""

    def __init__(self, world: World, handed_by: str = SHOP, bent: Json | None = None) -> None:
        self.handed_by, self.bent = handed_by, bent or {}
        super().__init__(world)

    def _enrol(self, meter: Meter) -> list[int]:
        if not meter.next_key:
            return super()._enrol(meter)
        name, meter.next_key = meter.next_key, ""
        found = super()._enrol(meter)
        meter.next_key = name
        changes = {"valid_from": "2026-06-23T09:15:00Z"} | meter.rotation
        payload = text(meter.enrolled(name, **changes))
        message = b"wattloom-enrol-v1\0" + payload.encode()
        handover = key(self.handed_by).sign(b"wattloom-rotate-v1\0" + payload.encode())
        entry = {
            "enrolment": payload,
            "handover": handover.signature.hex(),
            "old": public(self.handed_by).hex(),
            "possession": key(name).sign(message).signature.hex(),
            "registry": key(self.world.registry_signer).sign(message).signature.hex(),
        }
        self.entries.append(encode_entry("rotate", entry | self.bent))
        return [*found, len(self.entries) - 1]


def rotated(handed_by: str = SHOP, bent: Json | None = None, **rotation: object) -> Verdict:
    world = World()
    rotate(world)
    world.meters[2].rotation = dict(rotation)
    sealing = Rotating(world, handed_by, bent)
    return verify_bytes(to_bytes(sealing.settlement()), KEYS)


def test_borders_on_both_sides_of_a_rotation_are_proven() -> None:
    verdict = rotated()
    assert verdict.code == 0, render(verdict)
    said = f"a rotation that its old key {public(SHOP).hex()[:16]}... signed as well"
    assert said in render(verdict)


FORGED: dict[str, Callable[[], Verdict]] = {
    "the old key did not sign": lambda: rotated(bent={"handover": "00" * 64}),
    "another meter's key signed": lambda: rotated(handed_by="a thief"),
    "for another purpose": lambda: rotated(bent={"handover": _signed_as("enrol")}),
    "the old key is the new one": lambda: rotated(handed_by="new key"),
    "the old key is the district's": lambda: rotated(handed_by="receipt"),
    "the registry did not sign": lambda: rotated(bent={"registry": "00" * 64}),
    "of another point": lambda: rotated(point="707057500000000018"),
    "it begins later": lambda: rotated(valid_from="2026-06-23T09:30:00Z"),
}


def _signed_as(purpose: str) -> str:
    world = World()
    rotate(world)
    enrolled = world.meters[2].enrolled("new key", valid_from="2026-06-23T09:15:00Z")
    message = f"wattloom-{purpose}-v1\0{text(enrolled)}".encode()
    return key(SHOP).sign(message).signature.hex()


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forged_rotation_is_refused(forge: Callable[[], Verdict]) -> None:
    verdict = forge()
    assert verdict.code == 1
    assert verdict.steps[-1].name in ("enrolment", "border")


def test_a_rotation_is_no_enrolment_in_the_log() -> None:
    """The kind of an entry stands before its text: one cannot pass for the other."""
    world = World()
    rotate(world)
    sealing = Rotating(world)
    place = sealing.enrolments[2][1]
    sealing.log[place] = leaf_hash(encode_entry("enrol", sealing.entry(place).entry))
    verdict = verify_bytes(to_bytes(sealing.settlement()), KEYS)
    assert verdict.code == 1
    assert "rotate entry" in verdict.steps[-1].text


# --- Windows ------------------------------------------------------------------------------------

ANCHOR_S = END_MS // 1000 + 600
COORDINATORS = ["coo 1", "coo 3"]


def beacon_of(second: int, signers: list[str] | None = None) -> bytes:
    return milestone(6, second, salt("incl"), salt("appl"), signers or COORDINATORS)


def windowed(beacon: bytes, named: bytes | None = None, **changes: object) -> Verdict:
    """A proof of the roof's opening, answered 1.2 s after the interval's start."""
    world = World(clock="real", anchor_s=ANCHOR_S)
    opening = world.meters[0].opening
    assert opening is not None
    opening |= changes
    digest = parse_milestone(named or beacon).digest if (named or beacon) else b""
    if digest:
        opening["beacon"] = digest.hex()
    proof = replace(Sealing(world).single(), beacon=beacon)
    return verify_bytes(to_bytes(proof), KEYS)


def test_a_beacon_and_an_anchor_give_a_window() -> None:
    verdict = windowed(beacon_of(START_MS // 1000 - 30))
    assert verdict.code == 0, render(verdict)
    assert verdict.steps[-1].name == "window"
    assert verdict.steps[-1].text.endswith("not after 2026-06-23T09:25:00Z: within 1 530 s")


def test_what_is_dated_back_behind_its_beacon_is_found_out() -> None:
    """Who signs at 09:20 with a fresh milestone cannot say that it was 09:00."""
    verdict = windowed(beacon_of(START_MS // 1000 + 1_200))
    assert (verdict.code, verdict.steps[-1].name) == (1, "window")
    assert "back-dated" in verdict.steps[-1].text


def test_an_old_beacon_makes_the_window_wide_and_everybody_sees_it() -> None:
    verdict = windowed(beacon_of(START_MS // 1000 - 86_400))
    assert verdict.code == 0
    assert "within 87 900 s" in verdict.steps[-1].text


EDGES = [(11, 0), (12, 1)]  # answered 1.2 s after the start, and 10 s are allowed


@pytest.mark.parametrize(("after_s", "code"), EDGES)
def test_how_far_clocks_may_differ(after_s: int, code: int) -> None:
    assert windowed(beacon_of(START_MS // 1000 + after_s)).code == code


FALSE_BEACONS = {
    "another milestone": (beacon_of(START_MS // 1000 - 30), beacon_of(START_MS // 1000 - 31)),
    "signed by too few": (beacon_of(START_MS // 1000 - 30, ["coo 1"]), None),
    "signed by strangers": (beacon_of(START_MS // 1000 - 30, ["coo 1", "x"]), None),
    "younger than the anchor": (beacon_of(ANCHOR_S + 1), None),
}


@pytest.mark.parametrize(("beacon", "named"), FALSE_BEACONS.values(), ids=FALSE_BEACONS)
def test_a_beacon_that_is_none(beacon: bytes, named: bytes | None) -> None:
    assert windowed(beacon, named).code == 1


def test_readings_without_one_stay_good_and_that_is_said() -> None:
    assert any("no beacon" in remark for remark in windowed(b"").remarks)
    hidden = windowed(b"", beacon_of(START_MS // 1000 - 30))
    assert hidden.code == 0
    assert any("not shown" in remark for remark in hidden.remarks)

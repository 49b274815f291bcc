"""Chains of corrections in a proof: values and readings, version by version, and every fraud."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger_client.log import encode_entry
from ledger_client.proof import Correction, Corrections, statement_leaf, to_bytes, value_leaf
from ledger_client.verify import Verdict, leaf_hash, render, verify_bytes
from market.correction import Metered, Settled, correct
from market.money import Money
from market.settlement import Direction, SettledEnergy, line_object
from market.tariff import Tariff
from tests.ledger_client.ledger_bytes import salt, text
from tests.ledger_client.proof_chain import Sealing, World
from tests.ledger_client.proof_records import (
    INTERVAL,
    ORIGIN,
    ROOF,
    SILENT,
    Json,
    line,
    lines_of_the_district,
)

FILE, OTHER_FILE = salt("values.csv").hex(), salt("other.csv").hex()
SLOTS = {ROOF: 0, SILENT: 1}

# point, version, import, export, and the file behind it ('' for readings)
Version = tuple[str, int, int, int, str]
ROOF_1: Version = (ROOF, 1, 90, 250, FILE)  # short on both sides: local and own energy shrink
ROOF_2: Version = (ROOF, 2, 150, 410, OTHER_FILE)
SILENT_1: Version = (SILENT, 1, 200, 30, "")
SILENT_2: Version = (SILENT, 2, 180, 0, FILE)
SILENT_3: Version = (SILENT, 3, 250, 0, FILE)  # as it was estimated at first
CHAIN = [ROOF_1, ROOF_2, SILENT_1, SILENT_2, SILENT_3]


class Corrected(Sealing):
    """A district with further entries in its log: one per version, as the market makes them."""

    def __init__(self, chain: list[Version], bent: dict[Version, Json] | None = None) -> None:
        super().__init__(World())
        self._leaf = dict.fromkeys(SLOTS, b"")
        self._before: dict[str, Metered] = {}
        self.items = [self._version(version, (bent or {}).get(version, {})) for version in chain]
        self.log = [leaf_hash(entry) for entry in self.entries]

    def _version(self, version: Version, bent: Json) -> tuple[str, int]:
        point, number, import_wh, export_wh, file = version
        now = Metered(import_wh, export_wh)
        lines = correct("ref", first(point), now, self._before.get(point)).lines
        said = {
            "district": ORIGIN,
            "export_wh": export_wh,
            "import_wh": import_wh,
            "interval": INTERVAL,
            "point": point,
            "version": number,
        }
        in_file = {"file": file} if file else {}
        delta = text(said | in_file | {"lines": list(map(line_object, lines))} | bent)
        slot = SLOTS[point]
        leaf = leaf_hash(value_leaf(self.slots[slot].salt, text(said | in_file)))
        new_leaf = leaf if file else salt(f"borders of {point}")
        entry = {
            "delta_root": leaf_hash(statement_leaf(salt("delta"), delta)).hex(),
            "district": ORIGIN,
            "interval": INTERVAL,
            "new_leaf": new_leaf.hex(),
            "old_leaf": (self._leaf[point] or self.leaves[slot]).hex(),
            "reason": "known later",
            "slot": slot,
        }
        self._leaf[point], self._before[point] = new_leaf, now
        self.entries.append(encode_entry("correction", entry))
        return delta, len(self.entries) - 1

    def shown(self, *numbers: int) -> Corrections:
        """Some of the versions under a checkpoint over the whole log; all without numbers."""
        size = len(self.log)
        chosen = [self.items[number] for number in numbers or range(len(self.items))]
        items = (Correction(d, self.entry(at, size), salt("delta")) for d, at in chosen)
        return Corrections(self.anchor(size), tuple(items))


def first(point: str) -> Settled:
    """The point as the statement of the district says it, in the market's own words."""
    world, meter = World(), World().meters[SLOTS[point]]
    rows = {
        item["direction"]: SettledEnergy(
            point,
            Direction(item["direction"]),
            bool(item["estimated"]),
            item["wh"],
            item["local_wh"],
            item["own_wh"],
            item["residual_wh"],
        )
        for item in world.metered
        if item["point"] == point
    }
    bought = sum(
        each["micro"]
        for each in lines_of_the_district()
        if (each["kind"], each["point"]) == ("local-buy", point)
    )
    tariff = Tariff.of(meter.tariff)
    return Settled("p", tariff, rows["import"], rows["export"], Money(-bought))


def judged(sealing: Corrected, corrections: Corrections) -> Verdict:
    proof = replace(sealing.settlement(), corrections=corrections)
    return verify_bytes(to_bytes(proof), World().keys())


def test_a_chain_of_values_and_readings_holds() -> None:
    sealing = Corrected(CHAIN)
    verdict = judged(sealing, sealing.shown())
    assert verdict.code == 0, render(verdict)
    told = [step.text for step in verdict.steps if step.name == "correction"]
    assert len(told) == len(CHAIN)
    assert told[0].startswith(f"{ROOF} corrected later to 90 Wh drawn and 250 Wh fed in")
    assert told[-1].endswith(", version 3")
    assert "Who authorised a value, and why, its file has to show." in verdict.remarks


def test_what_is_left_out_at_the_end_is_not_seen_and_that_is_said() -> None:
    sealing = Corrected(CHAIN)
    verdict = judged(sealing, sealing.shown(0, 2, 3))
    assert verdict.code == 0, render(verdict)
    assert any("later" in remark for remark in verdict.remarks)


MOVED = {
    "the second alone": (1,),
    "a version left out": (2, 4),
    "a version twice": (0, 0),
    "versions the wrong way round": (1, 0),
    "points the wrong way round": (2, 0),
    "points mixed": (0, 2, 1),
}


@pytest.mark.parametrize("numbers", MOVED.values(), ids=MOVED)
def test_versions_are_moved_about_in_vain(numbers: tuple[int, ...]) -> None:
    sealing = Corrected(CHAIN)
    verdict = judged(sealing, sealing.shown(*numbers))
    assert (verdict.code, verdict.steps[-1].name) == (1, "correction"), render(verdict)


# What is bent in which version's delta; its leaf is that of the honest value.
BENT: dict[str, tuple[Version, Json]] = {
    "another file": (ROOF_1, {"file": OTHER_FILE}),
    "another energy than the leaf's": (SILENT_2, {"import_wh": 181}),
    "another energy": (ROOF_1, {"export_wh": 251}),
    "a version skipped": (ROOF_2, {"version": 3}),
    "a version repeated": (ROOF_2, {"version": 1}),
    "version 0": (ROOF_1, {"version": 0}),
    "lines against the first settlement": (
        SILENT_2,
        {"lines": [line("levy", SILENT, -70, 10_000, 700)]},
    ),
    "no lines": (SILENT_3, {"lines": []}),
    "local money given back": (
        ROOF_1,
        {"lines": [line("local-sell", ROOF, -30, 120_000, -3_600)]},
    ),
}


@pytest.mark.parametrize(("version", "changes"), BENT.values(), ids=BENT)
def test_a_bent_version_is_caught(version: Version, changes: Json) -> None:
    sealing = Corrected(CHAIN, {version: changes})
    verdict = judged(sealing, sealing.shown())
    assert (verdict.code, verdict.steps[-1].name) == (1, "correction"), render(verdict)


def test_a_metered_point_is_not_corrected_by_readings() -> None:
    sealing = Corrected([(ROOF, 1, 90, 250, "")])
    verdict = judged(sealing, sealing.shown())
    assert (verdict.code, verdict.steps[-1].name) == (1, "correction")
    assert "nothing to correct" in verdict.steps[-1].text


def test_an_empty_file_is_needless() -> None:
    sealing = Corrected([SILENT_1], {SILENT_1: {"file": ""}})
    verdict = judged(sealing, sealing.shown())
    assert (verdict.code, verdict.steps[-1].name) == (1, "correction")

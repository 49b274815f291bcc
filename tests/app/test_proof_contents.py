"""Proofs of what became known or was changed after the seal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.store import leaves
from ledger_client.verify import render
from tests.app.district_kit import Kit, key

TRADE = {"solar": (0, 900), "flat": (300, 0)}


@pytest.fixture
def kit(sqlite_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, sqlite_url)
    yield kit
    kit.close()


def test_a_correction_stands_in_the_proof_once_it_is_anchored(kit: Kit) -> None:
    kit.live(**TRADE)
    kit.live(silent=["flat"], **TRADE)
    before = kit.prove(key(1), "flat")
    assert before.code == 0, render(before)
    assert all(step.name != "correction" for step in before.steps)
    kit.live(**TRADE)
    kit.live(**TRADE)
    after = kit.prove(key(1), "flat")
    assert after.code == 0, render(after)
    import_wh, export_wh = kit.corrections("flat")[key(1)]
    assert (import_wh, export_wh) == (300, 0)
    assert after.steps[-1].name == "correction"
    assert "corrected later to 300 Wh drawn and 0 Wh fed in" in after.steps[-1].text
    for name, interval in (("solar", key(1)), ("flat", key(0))):
        untouched = kit.prove(interval, name)
        assert untouched.code == 0
        assert all(step.name != "correction" for step in untouched.steps)


def test_a_new_tariff_leaves_earlier_proofs_alone(kit: Kit) -> None:
    kit.live(**TRADE)
    kit.reprice(levy_micro_per_kwh=20_001)
    kit.live(**TRADE)
    for interval in (key(0), key(1)):
        verdict = kit.prove(interval, "flat")
        assert verdict.code == 0, render(verdict)


def test_an_operator_who_bills_another_tariff_is_found_out(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement is billed at one tariff, the seal commits to another."""
    kit.live(**TRADE)
    kit.quarter(**TRADE)
    sealed = leaves.tariff_of
    monkeypatch.setattr(leaves, "tariff_of", lambda slot: replace(sealed(slot), vat_ppm=210_000))
    kit.settle()
    verdict = kit.prove(key(1), "flat")
    assert (verdict.code, verdict.steps[-1].name) == (1, "lines"), render(verdict)
    assert "vat" in verdict.steps[-1].text

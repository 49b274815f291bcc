"""The power goes while several groups are paid at once: each is paid exactly once all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.store import payments
from ledger_client import verify
from tests.app.power_cuts import COMMITTED, Fuse, PowerCutError, Story
from tests.conftest import LONG


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two participants fill a group, so that three need two, and a treasury that is cut first."""
    monkeypatch.setattr(payments, "MAX_PARTIES", 2)
    monkeypatch.setattr(verify, "GROUP_PARTIES", 2)


def begin(folder: Path) -> Story:
    folder.mkdir(mode=0o700)
    return Story(folder, f"sqlite:///{folder / 'district.db'}")


def test_groups_are_paid_once_wherever_the_power_goes(tmp_path: Path, small_groups: None) -> None:
    calm, whole = begin(tmp_path / "calm"), Fuse()
    calm.tell(whole)
    outcome = calm.outcome()
    refs = [ref for ref, *_ in outcome["payments"]]
    assert [ref.split("/")[0] for ref in refs].count("coins") == 1
    assert [ref for ref in refs if ref.startswith("top-up/")] == ["top-up/0", "top-up/1"]
    first = whole.steps.index("call")  # the first question to the ledger
    around = [
        number
        for number, step in enumerate(whole.steps[:-1], 1)
        if number >= first and step in (COMMITTED, "call", "answer")
    ]
    for number in around[:: 1 if LONG else 45]:
        story = begin(tmp_path / str(number))
        with pytest.raises(PowerCutError):
            story.tell(Fuse(number))
        story.tell(Fuse())
        assert story.outcome() == outcome, f"cut after step {number}"

"""Changes of a meter: undecided they wait, rejected they count nothing, approved they do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.jobs.correct import correct_estimates
from app.services import changes
from app.services.border_pairs import Fault
from app.services.changes_desk import ChangesDesk
from app.services.enrolment import EnrolmentConflictError
from app.services.meter_change import (
    Change,
    ChangeDecidedError,
    ChangeError,
    ChangeKind,
    ChangeValuesError,
    Proposal,
    Side,
    UnknownChangeError,
    Values,
)
from app.store import log
from ledger_client.log import decode_entry
from ledger_client.verify import check_epoch, load_keys
from metering.interval import Interval
from metering.signing import public_key
from tests.app.district_kit import START, Kit, key
from tests.app.test_disputed import rotate
from web.ports import RefusedError
from web.ports.changes import TypedValues


@pytest.fixture
def kit(sqlite_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, sqlite_url)
    yield kit
    kit.close()


def minute(number: float) -> int:
    return START.start_ms + int(number * 60_000)


def exchanged(kit: Kit) -> Change:
    """Flat's meter shows 1,640 Wh at last, minute 22; the new one 5 Wh, minute 25, 8 Wh at 30."""
    old = kit.homes["flat"]
    kit.live(flat=(500, 0))
    kit.to(20.5)
    old.use(import_wh=100)
    kit.read("flat")
    kit.exchange("flat", "another", Interval.parse(key(2)), 8)
    new = kit.homes["flat"]
    new.export_wh = 0
    proposal = Proposal(
        old.point,
        ChangeKind.EXCHANGE,
        Side(public_key(kit.keyring.meter(old.key_name)).hex, 1, old.serial),
        Side(public_key(kit.keyring.meter(new.key_name)).hex, 1, new.serial),
        Values(minute(22), 1_640, 500),
        Values(minute(25), 5, 0),
    )
    with kit.database.write() as session:
        found = changes.propose(session, proposal, "an electrician", kit.clock.now_ms())
        assert changes.propose(session, proposal, "again", kit.clock.now_ms()) == found
    kit.live()
    kit.live(flat=(100, 0))
    return found


def test_an_exchange_waits_and_then_counts_on_both_sides(kit: Kit) -> None:
    change = exchanged(kit)
    assert [kit.energy(key(n), "flat") for n in (0, 1, 2)] == [
        (500, 0, False), (0, 0, True), (100, 0, False)
    ]  # fmt: skip
    assert kit.slot(key(1), "flat").fault is None  # nothing is given up while it is not decided
    with kit.database.write() as session:
        with pytest.raises(ChangeError, match="say why"):
            changes.reject(kit.house, session, change.id, "manager", " ")
        changes.reject(kit.house, session, change.id, "manager", "not seen yet")
    assert correct_estimates(kit.house)
    assert kit.slot(key(1), "flat").fault == Fault.EXCHANGED
    with kit.database.write() as session:
        found = changes.approve(kit.house, session, change.id, "manager")
        with pytest.raises(ChangeDecidedError):
            changes.reject(kit.house, session, change.id, "manager", "too late")
    assert (found.state, found.closing, found.opening) == (
        "approved", change.closing, change.opening
    )  # fmt: skip
    assert correct_estimates(kit.house)
    assert kit.corrections("flat") == {key(1): ((1_640 - 1_500) + (8 - 5), 0)}
    check_entry(kit, change)
    kit.check()


def check_entry(kit: Kit, change: Change) -> None:
    """The log says that, signed, and no counter value."""
    size = kit.ask(log.size)
    entries = [
        decode_entry(kit.ask(lambda session, n=n: log.entry(session, n))) for n in range(size)
    ]
    (text,) = [text for kind, text in entries if kind == "epoch"]
    keys = load_keys(kit.keys())
    found = check_epoch(text, keys)
    assert (found.point, found.from_ms) == (change.point, minute(25))
    assert "1640" not in text
    forged = json.loads(text)
    forged["change"] = forged["change"].replace(change.point, change.point[::-1])
    with pytest.raises(Exception, match="registry"):
        check_epoch(json.dumps(forged, separators=(",", ":"), sort_keys=True), keys)


# What is typed, and which side it contradicts: 1,600 Wh was read at 20.5, 8 Wh at 30.
WRONG = [
    ("below the last reading", {"closing_import": "1599"}, "closing"),
    ("more than the fuse allows", {"closing_import": "90000"}, "closing"),
    ("above the first reading", {"opening_import": "9"}, "opening"),
    ("a counter that the meter has not got", {"opening_import": "x"}, "opening"),
]


def test_values_that_contradict_the_readings_are_refused(kit: Kit) -> None:
    change = exchanged(kit)
    desk = ChangesDesk(kit.house, ["flat"])
    for name, typed, field in WRONG:
        with pytest.raises(RefusedError) as refused:
            desk.approve(change.id, TypedValues(**typed), "manager")
        assert refused.value.field == field, name
    begins = replace(change.opening or Values(0, 0, 0), at_ms=minute(21))
    with kit.database.write() as session, pytest.raises(ChangeValuesError):
        changes.approve(kit.house, session, change.id, "manager", change.closing, begins)
    assert [line.state for line in desk.page().waiting] == ["proposed"]
    others = ChangesDesk(kit.house, ["solar"])
    assert others.page().waiting == []
    with pytest.raises(RefusedError):
        others.approve(change.id, TypedValues(), "manager")
    with kit.database.read() as session, pytest.raises(UnknownChangeError):
        changes.get(session, 2**40)
    desk.approve(change.id, TypedValues(closing_import="1,650", opening_import="4"), "manager")
    assert correct_estimates(kit.house)
    assert kit.corrections("flat") == {key(1): ((1_650 - 1_500) + (8 - 4), 0)}


def test_a_spool_that_was_lost_loses_no_energy(kit: Kit) -> None:
    """The counters went on: the gateway alone began anew."""
    kit.live(flat=(500, 0))
    kit.to(20.5)
    kit.read("flat")
    home = kit.homes["flat"]
    home.epoch, home.seq, home.prev = 2, 0, "0" * 64
    kit.live(flat=(700, 0))
    kit.live(flat=(100, 0))
    assert kit.energy(key(1), "flat") == (0, 0, True)
    desk = ChangesDesk(kit.house, ["flat"])
    (line,) = desk.page().waiting
    assert (line.kind, line.old_epoch, line.new_epoch) == ("restart", 1, 2)
    home.epoch = 1  # which the key is enrolled with
    with pytest.raises(EnrolmentConflictError, match="waits for a decision"):
        rotate(kit, "flat", Interval.parse(key(9)))
    home.epoch = 2
    desk.approve(line.change, TypedValues(), "manager")
    assert correct_estimates(kit.house)
    assert sum(imported for imported, _ in kit.corrections("flat").values()) == 800
    kit.live(flat=(50, 0))
    assert kit.energy(key(3), "flat") == (50, 0, False)
    assert kit.prove(key(3), "flat").code == 0

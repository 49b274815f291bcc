"""A key found compromised since an earlier interval: its readings are disputed, money goes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.commands.audit_month import judge
from app.commands.month_export import export_month
from app.jobs.statements import issue
from app.services import enrolment
from app.services.enrolment import EnrolmentConflictError, SignedRotation
from app.store import disputed
from app.tables import CorrectionRow, EnrolmentRow, ReadingRow, ValueFileRow
from metering.interval import Interval
from metering.rotation import begin
from metering.signing import Purpose, public_key, sign
from metering.spool import Signer
from tests.app.district_kit import START, Home, Kit

FORGED_WH = 4_000


@pytest.fixture
def kit(sqlite_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, sqlite_url, names=("solar", "flat"))
    yield kit
    kit.close()


def revoke(kit: Kit, name: str, start: Interval) -> None:
    key = public_key(kit.keyring.meter(kit.homes[name].key_name))
    with kit.database.write() as session:
        enrolment.revoke(session, kit.settings.origin, key, start)


def rotate(kit: Kit, name: str, start: Interval) -> None:
    """The home's gateway begins with a new key; the registry grants it."""
    home = kit.homes[name]
    old = Signer(kit.enrolment(home), kit.keyring.meter(home.key_name))
    new_name = f"{home.key_name}-next"
    _, signed = begin(old, kit.keyring.meter(new_name), start)
    registry = kit.keyring.registry
    with kit.database.write() as session:
        enrolment.rotate(
            session,
            kit.settings.origin,
            public_key(registry),
            SignedRotation(
                signed.payload,
                possession=signed.possession,
                registry=sign(registry, Purpose.ENROL, signed.payload),
                old=public_key(old.key),
                handover=signed.handover,
            ),
        )
    kit.homes[name] = Home(
        name, home.number, home.serial, new_name, start, home.import_wh, home.export_wh
    )


def successor(kit: Kit, home: Home, start: Interval) -> None:
    """The same meter signs with a key that its owner made anew and the registry granted."""
    name = f"{home.key_name}-anew"
    new = Home(
        home.name, home.number, home.serial, name, start, home.import_wh, home.export_wh
    )  # fmt: skip
    registry = kit.keyring.registry
    signed = enrolment.endorse(kit.enrolment(new), kit.keyring.meter(name), registry)
    with kit.database.write() as session:
        enrolment.enrol(session, kit.settings.origin, public_key(registry), signed)
    kit.homes[home.name] = new


def micro_of(kit: Kit, name: str) -> int:
    rows = kit.rows(CorrectionRow, CorrectionRow.participant == name)
    return sum(row.micro or 0 for row in rows)


def test_who_was_paid_for_forged_export_pays_it_back(kit: Kit) -> None:
    honest = kit.live(solar=(0, 500), flat=(300, 0))
    forged = [kit.live(solar=(0, FORGED_WH), flat=(800, 0)) for _ in range(2)]
    sold = kit.statement(forged[0], "solar")["sum_micro"]
    assert sold > 0
    revoke(kit, "solar", Interval.parse(forged[0]))
    later = kit.live(flat=(100, 0), silent=["solar"])
    for key in (honest, *forged):  # the first closes with a reading of the time in doubt
        assert kit.slot(key, "solar").disputed == disputed.REPLACED
    assert kit.corrections("solar") == dict.fromkeys((honest, *forged), (0, 0))
    assert micro_of(kit, "solar") < 0
    assert kit.statement(forged[0], "solar")["sum_micro"] == sold  # what was sealed stays
    (notice,) = kit.notices("disputed/")
    assert notice.level == "alarm"
    assert "3 quarter-hours" in notice.text
    flags = {
        row.flags for row in kit.rows(ReadingRow, ReadingRow.point == kit.homes["solar"].point)
    }
    assert flags == {"", "disputed"}
    for key in (honest, *forged):
        assert kit.prove(key, "solar").code == 0
        assert kit.prove(key, "flat").code == 0
    assert later not in kit.corrections("solar")
    kit.check()


def test_registers_read_with_a_new_key_make_it_good(kit: Kit) -> None:
    first = kit.live(solar=(0, 500), flat=(300, 0))
    second = kit.live(solar=(0, 700), flat=(300, 0))
    home = kit.homes["solar"]
    revoke(kit, "solar", Interval.parse(second))
    successor(kit, home, Interval.containing_ms(kit.clock.now_ms()))
    third = kit.live(solar=(0, 90), flat=(10, 0))
    known = kit.corrections("solar")
    assert known.keys() == {first, second, third}
    assert sum(export for _, export in known.values()) == 500 + 700 + 90
    assert {kit.slot(key, "solar").disputed for key in (first, second)} == {disputed.MEASURED}
    for key in (first, second):
        assert kit.prove(key, "solar").code == 0
    kit.check()


def test_a_disputed_estimate_is_one_again(kit: Kit) -> None:
    kit.live(solar=(0, 100), flat=(10, 0))
    gap = [kit.live(silent=["solar"], flat=(10, 0)) for _ in range(2)]
    back = kit.live(solar=(0, 900), flat=(10, 0))
    assert sum(export for _, export in kit.corrections("solar").values()) == 900
    revoke(kit, "solar", Interval.parse(back))
    kit.live(silent=["solar"], flat=(10, 0))
    known = kit.corrections("solar")
    assert {known[key] for key in (*gap, back)} == {(0, 0)}
    kit.check()


def test_twice_is_once_and_earlier_adds(kit: Kit) -> None:
    keys = [kit.live(solar=(0, 500), flat=(300, 0)) for _ in range(3)]
    revoke(kit, "solar", Interval.parse(keys[2]))
    with pytest.raises(EnrolmentConflictError, match="already"):
        revoke(kit, "solar", Interval.parse(keys[2]))
    kit.live(silent=["solar"], flat=(1, 0))
    assert set(kit.corrections("solar")) == set(keys[1:])
    revoke(kit, "solar", Interval.parse(keys[1]))
    kit.live(silent=["solar"], flat=(1, 0))
    rows = kit.rows(CorrectionRow)
    assert {row.interval for row in rows} == set(keys)
    assert {row.version for row in rows} == {1}
    assert len(kit.rows(ValueFileRow)) == 2
    kit.check()


def test_a_rotation_loses_no_interval(kit: Kit) -> None:
    first = kit.live(solar=(0, 500), flat=(300, 0))
    start = Interval.parse(first).next().next()
    rotate(kit, "solar", start)
    second = kit.live(solar=(0, 600), flat=(300, 0))  # closes with the new key's first reading
    third = kit.live(solar=(0, 700), flat=(300, 0))
    assert [kit.energy(key, "solar")[1:] for key in (first, second, third)] == [
        (500, False),
        (600, False),
        (700, False),
    ]
    for key in (second, third):
        verdict = kit.prove(key, "solar")
        assert verdict.code == 0, verdict.steps[-1]
        assert any("a rotation" in step.text for step in verdict.steps)
    (old, new) = kit.rows(EnrolmentRow, EnrolmentRow.point == kit.homes["solar"].point)
    assert (old.revoked_from, new.valid_from) == (start.key, start.key)
    kit.check()


def test_the_audit_of_the_month_agrees_after_a_rotation_and_disputes(tmp_path: Path) -> None:
    """One is told before the statement, on which it stands; one after: a debit note in July."""
    start = Interval.parse("2026-06-30T21:00:00Z")  # an hour before the local month's end
    changes = {"statement_days": 0, "correction_days": 0}
    kit = Kit(tmp_path, f"sqlite:///{tmp_path / 'd.db'}", ("solar", "flat"), changes, start=start)
    first = Interval.parse(kit.live(solar=(0, 500), flat=(300, 0)))
    rotate(kit, "solar", first.next().next())
    second, third, _ = [
        Interval.parse(kit.live(solar=(0, 900), flat=(400, 0))) for _ in range(3)
    ]  # fmt: skip
    revoke(kit, "solar", third.next())
    kit.live(silent=["solar"], flat=(100, 0))
    issue(kit.house, "2026-06", "command")
    revoke(kit, "solar", third)
    kit.live(silent=["solar"], flat=(100, 0))
    told = {row.interval: (row.month, row.note) for row in kit.rows(CorrectionRow)}
    assert told == {
        second.key: ("2026-07", "debit"),
        third.key: ("2026-06", "debit"),
        third.next().key: ("2026-06", None),  # its window was open still
    }
    (tmp_path / "keys.json").write_bytes(kit.keys())
    export_month(kit.house, "2026-06", tmp_path / "june", force=False)
    verdict, differences = judge("2026-06", tmp_path / "june", tmp_path / "keys.json")
    assert (verdict.code, differences) == (0, []), verdict.steps[-1]
    kit.check()
    kit.close()


def test_a_revocation_in_advance_can_be_withdrawn_until_it_begins(kit: Kit) -> None:
    key = public_key(kit.keyring.meter(kit.homes["solar"].key_name))
    begins = START.next().next()
    revoke(kit, "solar", begins)
    with kit.database.write() as session:
        with pytest.raises(EnrolmentConflictError, match="began"):
            enrolment.withdraw(session, kit.settings.origin, key, begins)
        enrolment.withdraw(session, kit.settings.origin, key, START)
        with pytest.raises(EnrolmentConflictError, match="nothing to withdraw"):
            enrolment.withdraw(session, kit.settings.origin, key, START)
    roster = kit.ask(lambda session: enrolment.roster(session, begins))
    assert key.hex in {row.key for row in roster}

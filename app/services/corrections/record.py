"""One version of a correction: drafted, then written with all that follows from it.

``docs/money.md``, "Corrections".
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlmodel import Session

from app.services import losses
from app.services import settled as settled_rows
from app.services.certificates.issuing import issue
from app.services.house import House
from app.services.notices import point_of
from app.store import corrections, intervals, journal, log, market, people
from app.tables import CorrectionRow, RefusedCorrectionRow, SettledRow, SlotRow, ValueFileRow
from ledger_client.merkle import leaf_hash
from ledger_client.proof import Value, statement_leaf, value_leaf
from ledger_client.verify import canonical
from market.correction import Correction, Metered, Settled, closing_day, correct
from market.settlement import line_object
from metering.interval import Interval, from_ms
from metering.localtime import day_of, month_of

READINGS: Final = "readings"
VALUES: Final = "values"
_VALUE_REASON: Final = "authorised value in place of the one known before"


@dataclass(frozen=True, slots=True)
class Draft:
    """What the next version of a point's correction would say; nothing is written yet.

    ``month`` is the local month on whose statement it stands, ``original`` the number of the
    issued statement that it corrects, ``note`` (after ``final``) ``credit`` or ``debit``.
    """

    slot: SlotRow
    settled: Settled
    version: int
    before: Metered
    old_leaf: bytes
    done: Correction
    month: str
    original: str | None
    note: str | None

    @property
    def now(self) -> Metered:
        """The energies that the version says."""
        return Metered(self.done.drawn.wh, self.done.fed_in.wh)

    @property
    def changes(self) -> bool:
        """Whether it says anything new: other energies, or the first value after an estimate."""
        return self.now != self.before or (self.version == 1 and self.slot.estimated)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a version rests on: a leaf bound to border readings, or a file of values."""

    reason: str
    leaf: bytes = b""
    file: ValueFileRow | None = None

    @property
    def source(self) -> str:
        """Where the energies come from."""
        return VALUES if self.file else READINGS


def is_too_old(house: House, key: str) -> bool:
    """Tell whether energy is older than ``correction_months``: it is never corrected."""
    return day_of(Interval.parse(key).start, house.settings.tz) < first_day(house)


def first_day(house: House) -> date:
    """Return the first local day whose energy may still be corrected."""
    today = day_of(from_ms(house.clock.now_ms()), house.settings.tz)
    return closing_day(today, house.settings.correction_months)


def draft(house: House, session: Session, slot: SlotRow, now: Metered) -> Draft:
    """Return the next version of a slot's correction.

    Raises:
        CorrectionError: an energy below 0.
    """
    key, point = slot.interval, slot.point
    found, first = corrections.newest(session, key, point), corrections.settled(session, slot)
    version = found.version + 1 if found else 1
    before = Metered(found.import_wh, found.export_wh) if found else None
    done = correct(f"{key}/{point}/{version}", first, now, before)
    origin = month_of(Interval.parse(key).start, house.settings.tz)
    micro = done.amount.micro
    final = intervals.get(session, key).state == "final"
    return Draft(
        slot=slot,
        settled=first,
        version=version,
        before=before or Metered(first.drawn.wh, first.fed_in.wh),
        old_leaf=corrections.leaf_of(session, found) if found else slot.leaf,
        done=done,
        month=settled_rows.bill_month(session, first.participant, origin),
        original=corrections.statement_number(session, first.participant, origin),
        note=("credit" if micro > 0 else "debit") if final and micro else None,
    )


def write(house: House, session: Session, plan: Draft, evidence: Evidence) -> CorrectionRow:
    """Write a version in the caller's transaction, and amend all that rests on its interval."""
    key, owner = plan.slot.interval, plan.settled.participant
    lines = plan.done.lines
    session.add_all(market.line_row(key, plan.version, owner, line) for line in lines)
    if plan.done.entry.postings:
        journal.book(session, plan.done.entry, interval=key, booked_ms=house.clock.now_ms())
        journal.check_sum(session, plan.done.entry.ref, plan.done.entry.kind)
    row = _row(house, session, plan, evidence)
    session.add(row)
    session.flush()
    _follow(house, session, plan)
    return row


def refuse(
    house: House, session: Session, late: Sequence[tuple[SlotRow, Metered]], source: str
) -> None:
    """Keep on record what came too late to be corrected, of one point in time order; and tell."""
    if not late:
        return
    known_ms, (first, _), (last, _) = house.clock.now_ms(), late[0], late[-1]
    months = house.settings.correction_months
    why = f"energy from before {first_day(house)} is not corrected (correction_months: {months})"
    session.add_all(
        RefusedCorrectionRow(
            interval=slot.interval,
            point=slot.point,
            import_wh=now.import_wh,
            export_wh=now.export_wh,
            source=source,
            reason=why,
            known_ms=known_ms,
        )
        for slot, now in late
    )
    owner = session.get_one(SettledRow, (first.interval, first.point)).participant
    drawn, fed_in = (sum(wh) for wh in zip(*(now for _, now in late), strict=True))
    people.notify(
        session,
        ref=f"refused-correction/{first.interval}/{first.point}/{known_ms}",
        at_ms=known_ms,
        level="warning",
        text=f"{people.points(session)[first.point].name}: {drawn} Wh drawn and {fed_in} Wh fed in "
        f"from {first.interval} to the end of {last.interval} became known too late; they stay on "
        f"record and on no bill: {why}",
        point=point_of(session, first.point, owner, known_ms),
    )


def _follow(house: House, session: Session, plan: Draft) -> None:
    """Amend what rests on a settled interval: sums and bills first, which the others read."""
    key, zone = plan.slot.interval, house.settings.tz
    settled_rows.amend(session, zone, key, plan.done, plan.settled.tariff, plan.version)
    losses.record(house, session, key)
    issue(house, session, key, plan.slot.point)


def _row(house: House, session: Session, plan: Draft, evidence: Evidence) -> CorrectionRow:
    salt = secrets.token_bytes(32)
    payload = canonical(_delta(house, plan, evidence))
    new_leaf = evidence.leaf or _value_leaf(house, plan, evidence)
    entry = {
        "delta_root": leaf_hash(statement_leaf(salt, payload.decode())).hex(),
        "district": house.settings.origin,
        "interval": plan.slot.interval,
        "new_leaf": new_leaf.hex(),
        "old_leaf": plan.old_leaf.hex(),
        # What people type stays off the log: it may say who lives where.
        "reason": _VALUE_REASON if evidence.file else evidence.reason,
        "slot": plan.slot.position,
    }
    return CorrectionRow(
        interval=plan.slot.interval,
        point=plan.slot.point,
        version=plan.version,
        import_wh=plan.now.import_wh,
        export_wh=plan.now.export_wh,
        reason=evidence.reason,
        payload=payload,
        salt=salt,
        known_ms=house.clock.now_ms(),
        log_index=log.append(session, "correction", entry),
        source=evidence.source,
        new_leaf=new_leaf,
        value_file=evidence.file.id if evidence.file else None,
        participant=plan.settled.participant,
        micro=plan.done.amount.micro,
        month=plan.month,
        original=plan.original,
        note=plan.note,
    )


def _delta(house: House, plan: Draft, evidence: Evidence) -> dict[str, object]:
    """Return what the delta's leaf says: ``file`` is left out where there is none."""
    found: dict[str, object] = {
        "district": house.settings.origin,
        "export_wh": plan.now.export_wh,
        "import_wh": plan.now.import_wh,
        "interval": plan.slot.interval,
        "lines": [line_object(line) for line in plan.done.lines],
        "point": plan.slot.point,
        "version": plan.version,
    }
    return found | ({"file": evidence.file.digest.hex()} if evidence.file else {})


def _value_leaf(house: House, plan: Draft, evidence: Evidence) -> bytes:
    """Return the leaf hash of an authorised value: the new leaf of its slot."""
    value = Value(
        district=house.settings.origin,
        export_wh=plan.now.export_wh,
        file=evidence.file.digest if evidence.file else b"",
        import_wh=plan.now.import_wh,
        interval=plan.slot.interval,
        point=plan.slot.point,
        version=plan.version,
    )
    return leaf_hash(value_leaf(plan.slot.salt, value.text))

"""Changes of a meter's counters: proposed by what readings or a person tell, decided by a person.

A counter that was reset, a meter that was exchanged and a spool that was lost begin a new epoch
of a point's registers. What the last one showed and the first one shows is approved by a person
and entered in the log, signed by the registry; then the energy on both sides counts, and nothing
before the jump is ever subtracted from what lies after it (docs/protocol.md, "Epochs").
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from sqlmodel import Session, col, select, update

from app.services import judging, plausibility
from app.services.house import House
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
from app.store import chain, log, people
from app.store import changes as store
from app.store.changes import APPROVED, PROPOSED, REJECTED
from app.tables import MeterChangeRow, SlotRow
from ledger_client.merkle import leaf_hash
from metering import canonical
from metering.interval import Interval
from metering.signing import Purpose, sign

LEAF_PREFIX: Final = b"wattloom-leaf-epoch-v1\0"
EXCHANGED: Final = "the meter was exchanged"  # what a slot's fault says before a change is known
_SALT_BYTES: Final = 32
_LOOK_BACK: Final = 512
_ALL: Final = 2**53


def propose(session: Session, proposal: Proposal, by: str, now_ms: int) -> Change:
    """Enter a change for a person to decide on; the same one again changes nothing.

    Raises:
        ChangeDecidedError: what begins there was approved with another beginning.
    """
    new = proposal.new
    row = session.exec(
        select(MeterChangeRow).where(
            MeterChangeRow.new_key == new.key, MeterChangeRow.new_epoch == new.epoch
        )
    ).first()
    if row is None:
        row = _row(proposal, by, now_ms)
    elif row.state == APPROVED:
        if _old(row) != proposal.old:
            raise ChangeDecidedError(
                f"the change to epoch {new.epoch} of meter {new.serial} was approved already"
            )
        return shown(session, row)
    _put_values(row, proposal.closing or _closing(row), proposal.opening or _opening(row))
    session.add(row)
    session.flush()
    _tell_of_proposal(session, row, now_ms)
    return shown(session, row)


def found_epochs(session: Session, keys: Collection[tuple[str, int]], now_ms: int) -> None:
    """Propose what readings of epochs tell that nobody approved; known ones stay as they are."""
    for key, epoch in sorted(keys):
        seat = store.enrolled(session, key)
        rows = store.of_key(session, key)
        if epoch <= seat.epoch or any(row.new_epoch == epoch for row in rows):
            continue
        before = max([seat.epoch, *(r.new_epoch for r in rows if r.new_epoch < epoch)])
        sides = (Side(key, before, seat.serial), Side(key, epoch, seat.serial))
        propose(session, Proposal(seat.point, ChangeKind.RESET, *sides), "gateway", now_ms)
        # One that came in before this one goes on from here.
        for row in rows:
            if row.state == PROPOSED and row.old_epoch == before and row.new_epoch > epoch:
                row.old_epoch = epoch
                session.add(row)
                break


def listed(
    session: Session, points: Collection[str] | None = None, states: Sequence[str] = (PROPOSED,)
) -> list[Change]:
    """Return the changes in some states, the newest first: of all points, or of some."""
    return [
        shown(session, row)
        for row in store.listed(session, states)
        if points is None or row.point in points
    ]


def get(session: Session, change: int, points: Collection[str] | None = None) -> Change:
    """Return one change.

    Raises:
        UnknownChangeError: there is none of that number among the ``points`` (None: all).
    """
    return shown(session, _find(session, change, points))


def approve(
    house: House,
    session: Session,
    change: int,
    by: str,
    closing: Values | None = None,
    opening: Values | None = None,
    points: Collection[str] | None = None,
) -> Change:
    """Let a change count, with the values given or those that the readings tell.

    The entry goes into the log, the readings of the new epoch become good, and estimates made
    meanwhile are corrected as those of any gap.

    Raises:
        UnknownChangeError: see :func:`get`.
        ChangeDecidedError: it was approved already.
        ChangeValuesError: values are missing, or contradict the readings beside them.
    """
    row = _find(session, change, points)
    if row.state == APPROVED:
        raise ChangeDecidedError(f"change {change} was approved already")
    seen = shown(session, row)
    if seen.waits is not None and (closing is None or opening is None or _earlier(session, row)):
        raise ChangeValuesError(seen.waits)
    first, last = closing or seen.closing, opening or seen.opening
    if first is None or last is None:
        raise ChangeValuesError("closing and opening values are needed: enter both")
    _check_values(session, row, first, last)
    if closing is None and opening is None:
        row.kind = seen.kind
    _put_values(row, first, last)
    row.salt = secrets.token_bytes(_SALT_BYTES)
    row.log_index = log.append(session, "epoch", _entry(house, row, first, last))
    row.state, row.decided_by, row.decided_ms = APPROVED, by, house.clock.now_ms()
    session.add(row)
    session.flush()
    _heal(session, row)
    _tell_of_decision(session, row)
    return shown(session, row)


def reject(
    house: House,
    session: Session,
    change: int,
    by: str,
    reason: str,
    points: Collection[str] | None = None,
) -> Change:
    """Let a change not count: its readings stay stored and never settle. It can be approved yet.

    Raises:
        UnknownChangeError, ChangeDecidedError: see :func:`approve`.
        ChangeError: no reason was given.
    """
    row = _find(session, change, points)
    if row.state == APPROVED:
        raise ChangeDecidedError(f"change {change} was approved already: it stands in the log")
    if not 0 < len(reason.strip()) <= 200 or not reason.isprintable():
        raise ChangeError("say why, in up to 200 characters", "reason")
    row.state, row.decided_by, row.decided_ms = REJECTED, by, house.clock.now_ms()
    row.reason = reason.strip()
    session.add(row)
    session.flush()
    _tell_of_decision(session, row)
    return shown(session, row)


def shown(session: Session, row: MeterChangeRow) -> Change:
    """Return a row as people see it, with what the readings tell while it is not decided."""
    found = Change(
        id=row.id or 0, point=row.point, kind=ChangeKind(row.kind), state=row.state,
        old=_old(row), new=_new(row), closing=_closing(row), opening=_opening(row),
        proposed_by=row.proposed_by, proposed_ms=row.proposed_ms, decided_by=row.decided_by,
        decided_ms=row.decided_ms, reason=row.reason, waits=None,
    )  # fmt: skip
    if row.state == APPROVED:
        return found
    return _looked_up(session, row, found)


# --- What the readings tell ----------------------------------------------------------------------


def _looked_up(session: Session, row: MeterChangeRow, found: Change) -> Change:
    """Fill in the values that the readings tell, and say what is still awaited."""
    opening, closing = found.opening, found.closing
    first = _first(session, found.new)
    if opening is None and first is not None:
        opening = first
    if closing is None and opening is not None:
        closing = _last(session, found.old, opening.at_ms)
    kind = found.kind
    if found.closing is None and found.kind is not ChangeKind.EXCHANGE and opening and closing:
        limit_w = people.points(session)[row.point].max_power_w
        goes_on = not plausibility.fell(opening, closing)
        if goes_on and not plausibility.jumped(opening, closing, limit_w):
            # The registers went on: nothing was lost in between, only the spool.
            kind, closing = ChangeKind.RESTART, opening
    waits = None
    if _earlier(session, row):
        waits = f"the change before it (to epoch {found.old.epoch}) has to be decided first"
    elif opening is None:
        waits = f"reading 1 of epoch {found.new.epoch} has not come in yet"
    elif closing is None:
        waits = f"no good reading of meter {found.old.serial} before it is stored: enter the values"
    return replace(found, kind=kind, opening=opening, closing=closing, waits=waits)


def _earlier(session: Session, row: MeterChangeRow) -> bool:
    """Tell whether what this change goes on from is itself undecided."""
    return any(
        each.state == PROPOSED and each.new_key == row.old_key and each.new_epoch == row.old_epoch
        for each in store.of_points(session, [row.point])
    )


def _first(session: Session, side: Side) -> Values | None:
    """Return what the first good reading of a chain shows, once number 1 has come in."""
    entries = chain.above(session, (side.key, side.epoch), 1, plausibility.WINDOW)
    if not entries or entries[0].reading.seq != 1:
        return None
    return next((_values(entry) for entry in entries if judging.is_good(entry)), None)


def _last(session: Session, side: Side, before_ms: int) -> Values | None:
    """Return what the last good reading of a chain before a moment shows."""
    whose, seq = (side.key, side.epoch), _ALL
    for _ in range(_LOOK_BACK // plausibility.WINDOW):
        entries = chain.below(session, whose, seq, plausibility.WINDOW)
        for entry in entries:
            if entry.reading.answered_ms <= before_ms and judging.is_good(entry):
                return _values(entry)
        if not entries:
            return None
        seq = entries[-1].reading.seq
    return None


def _after(session: Session, side: Side, since_ms: int, before_ms: int) -> Values | None:
    """Return what the first good reading of a chain within a time shows."""
    whose = (side.key, side.epoch)
    entries = chain.above(
        session, whose, store.first_after(session, whose, since_ms), plausibility.WINDOW
    )
    within = (each for each in entries if since_ms < each.reading.answered_ms <= before_ms)
    return next((_values(each) for each in within if judging.is_good(each)), None)


def _values(entry: chain.Entry) -> Values:
    shows = entry.reading
    return Values(shows.answered_ms, shows.import_wh, shows.export_wh, shows.resolution_wh)


def _check_values(session: Session, row: MeterChangeRow, closing: Values, opening: Values) -> None:
    """Refuse values that the readings beside them contradict."""
    if opening.at_ms < closing.at_ms:
        raise ChangeValuesError("the new epoch begins before the old one ends", "opening")
    limit_w = people.points(session)[row.point].max_power_w
    last = _last(session, _old(row), closing.at_ms)
    after = _after(session, _old(row), closing.at_ms, opening.at_ms)
    first = _first(session, _new(row))
    beside = (("closing", last, closing), ("closing", closing, after), ("opening", opening, first))
    for field, earlier, later in beside:
        if earlier is None or later is None or earlier == later:
            continue
        if plausibility.lost_register(later, earlier):
            raise ChangeValuesError(
                f"the {field} values have to be of the registers that the meter has", field
            )
        if plausibility.fell(later, earlier) or plausibility.jumped(later, earlier, limit_w):
            raise ChangeValuesError(
                f"the {field} values do not fit the reading beside them ({_words(earlier)} and "
                f"then {_words(later)}): look at the meter's protocol again",
                field,
            )


def _words(values: Values) -> str:
    parts = [
        f"{name} {wh:,} Wh"
        for name, wh in (("import", values.import_wh), ("export", values.export_wh))
        if wh is not None
    ]
    return " and ".join(parts) or "no register"


# --- What a decision does ------------------------------------------------------------------------


def _entry(house: House, row: MeterChangeRow, closing: Values, opening: Values) -> dict[str, str]:
    """Return the log entry: the change, signed by the registry; the values under a salted hash."""
    content = canonical.encode({"closing": closing.document(), "opening": opening.document()})
    change = canonical.encode(
        {
            "district": house.settings.origin,
            "from_ms": opening.at_ms,
            "new": {"epoch": row.new_epoch, "key": row.new_key, "serial": row.new_serial},
            "old": {"epoch": row.old_epoch, "key": row.old_key, "serial": row.old_serial},
            "point": row.point,
            "values": leaf_hash(LEAF_PREFIX + (row.salt or b"") + content).hex(),
        }
    )
    signature = sign(house.keyring.registry, Purpose.EPOCH, change)
    return {"change": change.decode(), "registry": signature.hex()}


def _heal(session: Session, row: MeterChangeRow) -> None:
    """Judge the readings of both epochs anew, and let the gap's estimates be corrected."""
    if row.old_key == row.new_key:
        seat = chain.seats(session, [row.new_key])[row.new_key]
        judging.walk(session, seat, (row.new_key, row.new_epoch), 1, through=_ALL)
        late = store.first_after(session, (row.old_key, row.old_epoch), row.opening_ms or 0)
        judging.walk(session, seat, (row.old_key, row.old_epoch), late, through=_ALL)
    begin = Interval.containing_ms(row.closing_ms or 0)
    session.execute(
        update(SlotRow)
        .where(
            col(SlotRow.point) == row.point,
            col(SlotRow.interval) >= begin.key,
            col(SlotRow.fault) == EXCHANGED,
            col(SlotRow.made_good).is_(None),
        )
        .values(fault=None)
    )


def _tell_of_proposal(session: Session, row: MeterChangeRow, now_ms: int) -> None:
    name = people.points(session)[row.point].name
    people.notify(
        session,
        ref=f"meter-change/{row.new_key}/{row.new_epoch}/proposed",
        at_ms=now_ms,
        level="alarm",
        text=f"{name}: the counters of meter {row.new_serial} begin anew (epoch {row.new_epoch}); "
        "its energy is estimated until the building manager approves what they showed before and "
        "after, under Meter changes",
        point=row.point,
    )


def _tell_of_decision(session: Session, row: MeterChangeRow) -> None:
    name = people.points(session)[row.point].name
    done = (
        "was approved: what was measured on both sides counts, and estimates are corrected"
        if row.state == APPROVED
        else f"was rejected ({row.reason}): its readings do not settle"
    )
    people.notify(
        session,
        ref=f"meter-change/{row.new_key}/{row.new_epoch}/{row.state}/{row.decided_ms}",
        at_ms=row.decided_ms or 0,
        level="info" if row.state == APPROVED else "warning",
        text=f"{name}: the change to epoch {row.new_epoch} of meter {row.new_serial} {done}",
        point=row.point,
    )


# --- Rows ----------------------------------------------------------------------------------------


def _find(session: Session, change: int, points: Collection[str] | None) -> MeterChangeRow:
    query = select(MeterChangeRow).where(MeterChangeRow.id == change).with_for_update()
    row = session.exec(query).first() if 0 < change < 2**31 else None
    if row is None or (points is not None and row.point not in points):
        raise UnknownChangeError(f"there is no change of a meter with number {change}")
    return row


def _row(proposal: Proposal, by: str, now_ms: int) -> MeterChangeRow:
    old, new = proposal.old, proposal.new
    return MeterChangeRow(
        point=proposal.point, kind=proposal.kind, state=PROPOSED,
        old_key=old.key, old_epoch=old.epoch, old_serial=old.serial,
        new_key=new.key, new_epoch=new.epoch, new_serial=new.serial,
        proposed_by=by, proposed_ms=now_ms,
    )  # fmt: skip


def _put_values(row: MeterChangeRow, closing: Values | None, opening: Values | None) -> None:
    if closing is not None:
        row.closing_ms = closing.at_ms
        row.closing_import_wh, row.closing_export_wh = closing.import_wh, closing.export_wh
    if opening is not None:
        row.opening_ms = opening.at_ms
        row.opening_import_wh, row.opening_export_wh = opening.import_wh, opening.export_wh


def _closing(row: MeterChangeRow) -> Values | None:
    if row.closing_ms is None:
        return None
    return Values(row.closing_ms, row.closing_import_wh, row.closing_export_wh)


def _opening(row: MeterChangeRow) -> Values | None:
    if row.opening_ms is None:
        return None
    return Values(row.opening_ms, row.opening_import_wh, row.opening_export_wh)


def _old(row: MeterChangeRow) -> Side:
    return Side(row.old_key, row.old_epoch, row.old_serial)


def _new(row: MeterChangeRow) -> Side:
    return Side(row.new_key, row.new_epoch, row.new_serial)

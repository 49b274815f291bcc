"""Assembles proof files from what is stored; the offline verifier alone judges them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlmodel import Session, col, select

from app.services.checkpoints import cosignatures, is_enough
from app.services.house import House
from app.store import borders, changes, intervals, leaves, log, payments
from app.tables import (
    CheckpointRow,
    CorrectionRow,
    EnrolmentRow,
    IntervalRow,
    LogEntryRow,
    Payment,
    ReadingRow,
    SlotRow,
)
from ledger_client import proof
from ledger_client.ledger import InclusionProof
from ledger_client.log import decode_entry
from ledger_client.merkle import inclusion_path
from ledger_client.verify import ANCHOR_DEADLINE_S, NO_LEAF, parse_milestone
from ledger_client.verify import Statement as StatementLeaf
from metering.interval import Interval


class ProofError(Exception):
    """Root of this module's errors."""


class NoSuchProofError(ProofError):
    """There is no such interval or participant: check the name."""


class ProofNotReadyError(ProofError):
    """The interval is not yet sealed, paid and anchored: ask again later."""


class ErasedProofError(ProofError):
    """What the proof would rest on was erased: there is none any more (410)."""


_CONFIRMED = select(CheckpointRow).where(CheckpointRow.state == "confirmed")
_MOST_CANDIDATES = 96  # a day of checkpoints is looked through for one with enough cosignatures


def settlement_proof(house: House, key: str, participant: str) -> bytes:
    """Return the proof file of one participant and interval.

    Raises:
        NoSuchProofError: unknown interval, or the participant has no statement in it.
        ProofNotReadyError: seal, payment or anchor is still on its way.
    """
    with house.database.read() as session:
        row = session.get(IntervalRow, key)
        if row is None:
            raise NoSuchProofError(f"there is no interval {key}")
        paid = key not in payments.unpaid(session)
        if row.seal_index is None or row.anchor != "confirmed" or not paid:
            raise ProofNotReadyError(f"{key} is {row.state}: seal, payment or anchor is on its way")
        return proof.to_bytes(_settlement(house, session, row, participant))


def _settlement(
    house: House, session: Session, row: IntervalRow, participant: str
) -> proof.SettlementProof:
    statements = leaves.statements(session, row.key)
    mine = next((item for item in statements if item.participant == participant), None)
    if mine is None:
        raise NoSuchProofError(f"{participant} has no statement in {row.key}")
    checkpoint = _covering(house, session, row)
    seal = _log_entry(session, row.seal_index or 0, checkpoint.size)
    slots = intervals.slots(session, row.key)
    own = frozenset(item.point for item in StatementLeaf.read(mine.payload).metered)
    return proof.SettlementProof(
        anchor=_anchor(house, session, checkpoint),
        corrections=_corrections(house, session, row.key, own),
        payments=tuple(_payments(house, session, row.key, participant)),
        points=tuple(_points(house, session, own, slots, checkpoint.size)),
        seal=seal,
        statement=proof.salted_leaf(
            mine.payload.decode(), mine.salt, mine.position, leaves.statement_hashes(statements)
        ),
    )


def _covering(house: House, session: Session, row: IntervalRow) -> CheckpointRow:
    """Return the first confirmed checkpoint over an interval's seal, if it will do.

    Where cosignatures are asked for, the first that has enough of them is taken instead, as long
    as its milestone came in time for a real interval: a later one is later still. Where KEYS
    demand witnesses and none has enough, one is waited for as long as it would be in time.
    """
    over = session.exec(
        _CONFIRMED.where(col(CheckpointRow.size) > (row.seal_index or 0))
        .order_by(col(CheckpointRow.size))
        .limit(_MOST_CANDIDATES)
    ).all()
    if not over:
        raise ProofNotReadyError("no checkpoint over this seal is confirmed yet")
    judged = _first_judged(house, session, over)
    if judged is not None:
        in_time = judged.size == over[0].size or _in_time(house, judged, row.key)
        return judged if in_time else over[0]
    if len(over) < _MOST_CANDIDATES and _is_waited_for(house, row.key):
        need = house.settings.witness_threshold
        raise ProofNotReadyError(
            f"{need} of the district's witnesses have to cosign a checkpoint over this seal, and "
            "not all of them have: ask again in a few minutes"
        )
    return over[0]


def _newest_judged(house: House, session: Session) -> CheckpointRow:
    """Return the newest confirmed checkpoint that has enough cosignatures, else the newest."""
    rows = session.exec(
        _CONFIRMED.order_by(col(CheckpointRow.size).desc()).limit(_MOST_CANDIDATES)
    ).all()
    return _first_judged(house, session, rows) or rows[0]


def _first_judged(
    house: House, session: Session, rows: Sequence[CheckpointRow]
) -> CheckpointRow | None:
    beside = cosignatures(house, session, [row.size for row in rows])
    return next((row for row in rows if is_enough(house, beside[row.size])), None)


def _in_time(house: House, checkpoint: CheckpointRow, key: str) -> bool:
    if house.clock.simulated:
        return True
    anchored = parse_milestone(_included(house, checkpoint.block_id or "").milestone)
    return anchored.timestamp_s <= Interval.parse(key).end_ms // 1000 + ANCHOR_DEADLINE_S


def _is_waited_for(house: House, key: str) -> bool:
    """Tell whether KEYS demand witnesses, and a checkpoint of now would be in time."""
    if not house.settings.witness_threshold:
        return False
    last_ms = Interval.parse(key).end_ms + ANCHOR_DEADLINE_S * 1000
    return house.clock.simulated or house.clock.now_ms() <= last_ms


def _beside(house: House, session: Session, checkpoint: CheckpointRow) -> Sequence[str]:
    return cosignatures(house, session, [checkpoint.size])[checkpoint.size]


def anchored_log(house: House, session: Session, row: IntervalRow) -> tuple[proof.Anchor, int]:
    """Return the anchor of a checkpoint over an interval's seal, and the log's size in it.

    Raises:
        ProofNotReadyError: none is confirmed yet.
    """
    checkpoint = _covering(house, session, row)
    return _anchor(house, session, checkpoint), checkpoint.size


def _anchor(house: House, session: Session, checkpoint: CheckpointRow) -> proof.Anchor:
    included = _included(house, checkpoint.block_id or "")
    return proof.anchored(included, _beside(house, session, checkpoint))


def _corrections(
    house: House, session: Session, key: str, own: frozenset[str]
) -> proof.Corrections | None:
    """Return what later entries of the log correct, as far as a checkpoint is confirmed."""
    newest = _newest_judged(house, session)
    rows = session.exec(
        select(CorrectionRow)
        .where(
            CorrectionRow.interval == key,
            col(CorrectionRow.point).in_(own),
            col(CorrectionRow.log_index) < newest.size,
        )
        .order_by(CorrectionRow.point, col(CorrectionRow.version))
    ).all()
    items = tuple(
        proof.Correction(
            row.payload.decode(), _log_entry(session, row.log_index, newest.size), row.salt
        )
        for row in rows
    )
    return proof.Corrections(_anchor(house, session, newest), items) if items else None


def _included(house: House, identifier: str) -> InclusionProof:
    found = house.ledger.inclusion_proof(bytes.fromhex(identifier))
    if found is None:
        raise ProofNotReadyError(f"the ledger has not confirmed {identifier} yet")
    return found


def _log_entry(session: Session, position: int, size: int) -> proof.LogEntry:
    row = session.get_one(LogEntryRow, position)
    path = log.inclusion_path(session, position, size)
    return proof.LogEntry(decode_entry(row.entry)[1], position, tuple(path))


def _payments(house: House, session: Session, key: str, participant: str) -> list[proof.Payment]:
    return [
        _payment(house, session, payment)
        for payment in payments.of_interval(session, key)
        if any(
            party.participant == participant for party in payments.parties(session, payment.id or 0)
        )
    ]


def _payment(house: House, session: Session, payment: Payment) -> proof.Payment:
    consumed = [row.output_bytes for row in payments.inputs(session, payment.id or 0)]
    return proof.paid(_included(house, payment.transaction_id or ""), consumed)


def _points(
    house: House,
    session: Session,
    own: frozenset[str],
    slots: Sequence[SlotRow],
    size: int,
) -> list[proof.PointProof]:
    key = slots[0].interval
    ids = [end for slot in slots for end in (slot.opening, slot.closing) if end is not None]
    readings = borders.by_ids(session, ids)
    slot_hashes = [slot.leaf for slot in slots]
    tariff_hashes = leaves.tariff_hashes(slots)
    roster = leaves.roster_entries(session, key)
    roster_hashes = leaves.roster_hashes(roster)
    orders = _orders(house, session, key)
    return [
        proof.PointProof(
            closing=_reading(readings, slot.closing),
            enrolments=tuple(_enrolments(session, slot, readings, size)),
            epochs=tuple(_epochs(session, slot, readings, size)),
            opening=_reading(readings, slot.opening),
            orders=tuple(orders.get(slot.point, ())),
            roster=proof.RosterLeaf(
                roster[slot.position].text, tuple(inclusion_path(roster_hashes, slot.position))
            ),
            slot=proof.Slot(
                _borders(slot, readings),
                tuple(inclusion_path(slot_hashes, slot.position)),
                slot.salt,
            ),
            tariff=proof.RosterLeaf(
                slot.tariff, tuple(inclusion_path(tariff_hashes, slot.position))
            ),
        )
        for slot in slots
        if slot.point in own
    ]


def _orders(house: House, session: Session, key: str) -> Mapping[str, list[proof.SaltedLeaf]]:
    rows = leaves.orders(session, key)
    hashes = leaves.order_hashes(house.settings.origin, rows)
    found: dict[str, list[proof.SaltedLeaf]] = {}
    for place, row in enumerate(rows):
        text = leaves.order_text(house.settings.origin, row)
        found.setdefault(row.point, []).append(proof.salted_leaf(text, row.salt, place, hashes))
    return found


def _reading(rows: Mapping[int, ReadingRow], identifier: int | None) -> proof.SignedReading | None:
    if identifier is None:
        return None
    row = rows[identifier]
    if not row.payload:
        raise ErasedProofError(
            f"the readings of {row.point} behind this quarter-hour were erased on request: the "
            "seal still holds their hashes, but nobody can show any more what they said"
        )
    return proof.SignedReading(row.payload.decode(), row.salt, row.signature)


def _borders(slot: SlotRow, rows: Mapping[int, ReadingRow]) -> proof.Borders | None:
    if intervals.is_missing(slot):
        return None
    return borders_of(
        slot,
        None if slot.opening is None else rows[slot.opening].leaf,
        None if slot.closing is None else rows[slot.closing].leaf,
    )


def borders_of(slot: SlotRow, opening: bytes | None, closing: bytes | None) -> proof.Borders:
    """Return what a slot's leaf holds."""
    return proof.Borders(
        closing=closing or NO_LEAF,
        count=slot.count,
        opening=opening or NO_LEAF,
        root=slot.readings_root,
    )


def _enrolments(
    session: Session, slot: SlotRow, readings: Mapping[int, ReadingRow], size: int
) -> list[proof.LogEntry]:
    """Return the roster's enrolment, then that of the closing reading after a rotation."""
    indexes = [session.get_one(EnrolmentRow, slot.enrolment).log_index]
    if slot.closing is not None:
        key = readings[slot.closing].key
        after = session.exec(select(EnrolmentRow).where(EnrolmentRow.key == key)).one()
        if after.log_index not in indexes:
            indexes.append(after.log_index)
    return [_log_entry(session, index, size) for index in indexes]


def _epochs(
    session: Session, slot: SlotRow, readings: Mapping[int, ReadingRow], size: int
) -> Iterator[proof.LogEntry]:
    """Yield the changes that began the border readings' epochs, where those are not enrolled."""
    ends = [readings[end] for end in (slot.opening, slot.closing) if end is not None]
    chains = sorted({(row.key, row.epoch) for row in ends})
    for index in changes.began(session, chains):
        yield _log_entry(session, index, size)

"""Files for people: a reading up to the ledger, all leaves of a seal, numbers signed twice."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from app.services.house import House
from app.services.proofs import NoSuchProofError, ProofNotReadyError, anchored_log, borders_of
from app.store import borders, changes, intervals, leaves, log
from app.tables import BeaconRow, EnrolmentRow, EvidenceRow, IntervalRow, ReadingRow, SlotRow
from ledger_client.log import decode_entry
from ledger_client.merkle import inclusion_path, root
from ledger_client.proof import RosterLeaf, Slot, to_bytes
from ledger_client.verify import (
    BareReading,
    LogEntry,
    MeterEquivocation,
    Reading,
    ReadingProof,
    SealedLeaves,
    SignedReading,
)
from metering.interval import Interval


def sealed_leaves(house: House, key: str, point: str) -> bytes:
    """Return the file of all reading leaves of a point in a seal, and of the seal's late ones.

    Raises:
        NoSuchProofError: there is no such interval.
        ProofNotReadyError: it is not sealed, or not anchored yet.
    """
    with house.database.read() as session:
        row = session.get(IntervalRow, key)
        if row is None:
            raise NoSuchProofError(f"there is no interval {key}")
        if row.seal_index is None or row.anchor != "confirmed":
            raise ProofNotReadyError(f"{key} is {row.state}: seal or anchor is on its way")
        anchor, size = anchored_log(house, session, row)
        slots = intervals.slots(session, key)
        slot, roster = _seat(session, slots, key, point)
        interval = Interval.parse(key)
        held = borders.within(session, interval).get(point, ()) if slot else ()
        _check_whole(slot, held, key)
        file = SealedLeaves(
            anchor=anchor,
            late=tuple(borders.late(session, interval)),
            leaves=tuple(held),
            point=point,
            roster=roster,
            seal=_entry(session, row.seal_index, size),
            slot=slot,
        )
    return to_bytes(file)


def check_held(house: House, key: str, epoch: int, seq: int, link: bytes) -> None:
    """Refuse who does not hold a reading: ``link`` is its SHA-256(payload || signature).

    Raises:
        NoSuchProofError: there is no such reading, or it has another link.
    """
    with house.database.read() as session:
        held = session.exec(
            select(ReadingRow.link).where(
                ReadingRow.key == key, ReadingRow.epoch == epoch, ReadingRow.seq == seq
            )
        ).first()
    if held != link:
        raise NoSuchProofError(
            f"there is no reading {seq} of epoch {epoch} of key {key} with this link"
        )


def promised_leaves(house: House, key: str, epoch: int, seq: int) -> bytes:
    """Return the leaves of the seal that a stored reading was promised to; see there for errors."""
    with house.database.read() as session:
        found = session.exec(
            select(ReadingRow.seal_interval, ReadingRow.point).where(
                ReadingRow.key == key, ReadingRow.epoch == epoch, ReadingRow.seq == seq
            )
        ).first()
    if found is None:
        raise NoSuchProofError(f"there is no reading {seq} of epoch {epoch} of key {key}")
    return sealed_leaves(house, *found)


def _check_whole(slot: Slot | None, held: Sequence[bytes], key: str) -> None:
    """Refuse where readings were removed since: what is left of them says nothing."""
    due = root(()) if slot is None or slot.borders is None else slot.borders.root
    if root(held) != due:
        raise NoSuchProofError(f"readings of {key} were removed since: their leaves are not kept")


def reading_proof(house: House, key: str, epoch: int, seq: int) -> bytes:
    """Return the file that shows one reading of a slot up to the ledger, and its beacon.

    Raises:
        NoSuchProofError: there is no such reading, or it stands in no slot: ask for the leaves.
        ProofNotReadyError: its interval is not sealed, or not anchored yet.
    """
    with house.database.read() as session:
        row = session.exec(
            select(ReadingRow).where(
                ReadingRow.key == key, ReadingRow.epoch == epoch, ReadingRow.seq == seq
            )
        ).first()
        if row is None or not row.payload:
            raise NoSuchProofError(f"there is no reading {seq} of epoch {epoch} of key {key}")
        sealed = session.get(IntervalRow, row.seal_interval)
        if sealed is None or sealed.seal_index is None or sealed.anchor != "confirmed":
            raise ProofNotReadyError(f"the seal of {row.seal_interval} is on its way")
        interval = Interval.parse(row.seal_interval)
        held = borders.within(session, interval).get(row.point, ())
        slots = intervals.slots(session, interval.key)
        slot, roster = _seat(session, slots, interval.key, row.point)
        if slot is None or row.leaf not in held:
            raise NoSuchProofError(
                f"reading {seq} came too late for its slot: `wattloom export leaves` shows it"
            )
        _check_whole(slot, held, interval.key)
        mine = next(each for each in slots if each.point == row.point)
        return to_bytes(_single(house, session, sealed, row, (mine, slot, roster[0]), held))


def _single(
    house: House,
    session: Session,
    sealed: IntervalRow,
    row: ReadingRow,
    seat: tuple[SlotRow, Slot, RosterLeaf],
    held: Sequence[bytes],
) -> ReadingProof:
    anchor, size = anchored_log(house, session, sealed)
    mine, slot, roster = seat
    index = held.index(row.leaf)
    named = Reading.read(row.payload).beacon
    beacon = session.get(BeaconRow, named) if named else None
    return ReadingProof(
        anchor=anchor,
        beacon=beacon.milestone if beacon else b"",
        enrolment=_entry(session, session.get_one(EnrolmentRow, mine.enrolment).log_index, size),
        epochs=tuple(
            _entry(session, position, size)
            for position in changes.began(session, [(row.key, row.epoch)])
        ),
        index=index,
        path=tuple(inclusion_path(held, index)),
        reading=SignedReading(row.payload.decode(), row.salt, row.signature),
        roster=roster,
        seal=_entry(session, sealed.seal_index or 0, size),
        slot=slot,
    )


def _entry(session: Session, position: int, size: int) -> LogEntry:
    path = log.inclusion_path(session, position, size)
    return LogEntry(decode_entry(log.entry(session, position))[1], position, tuple(path))


def _seat(
    session: Session, slots: Sequence[SlotRow], key: str, point: str
) -> tuple[Slot | None, tuple[RosterLeaf, ...]]:
    """Return a point's slot and roster leaf, or the roster leaves around where it would stand."""
    entries = leaves.roster_entries(session, key)
    hashes = leaves.roster_hashes(entries)

    def leaf(place: int) -> RosterLeaf:
        return RosterLeaf(entries[place].text, tuple(inclusion_path(hashes, place)))

    mine = next((slot for slot in slots if slot.point == point), None)
    if mine is None:
        after = sum(slot.point < point for slot in slots)
        around = [place for place in (after - 1, after) if 0 <= place < len(slots)]
        return None, tuple(map(leaf, around))
    ids = [end for end in (mine.opening, mine.closing) if end is not None]
    found = borders.by_ids(session, ids)
    opening, closing = (
        None if end is None else found[end].leaf for end in (mine.opening, mine.closing)
    )
    held = None if intervals.is_missing(mine) else borders_of(mine, opening, closing)
    path = inclusion_path([slot.leaf for slot in slots], mine.position)
    return Slot(held, tuple(path), mine.salt), (leaf(mine.position),)


def equivocations(house: House) -> Sequence[tuple[str, bytes]]:
    """Return a name and the evidence's file for each number that a meter's key signed twice.

    A reading that was erased since is left out: nothing can be shown of it.
    """
    with house.database.read() as session:
        rows = session.exec(
            select(EvidenceRow).order_by(
                EvidenceRow.key, col(EvidenceRow.epoch), col(EvidenceRow.seq), col(EvidenceRow.id)
            )
        ).all()
        found = []
        for row in rows:
            first = session.exec(
                select(ReadingRow).where(
                    ReadingRow.key == row.key,
                    ReadingRow.epoch == row.epoch,
                    ReadingRow.seq == row.seq,
                )
            ).first()
            if first is None or not first.payload or first.payload == row.payload:
                continue
            found.append(
                (f"{row.key[:16]}-{row.epoch}-{row.seq}-{row.id}", _pair(session, first, row))
            )
        return found


def _pair(session: Session, first: ReadingRow, second: EvidenceRow) -> bytes:
    place = session.exec(select(EnrolmentRow.log_index).where(EnrolmentRow.key == first.key)).one()
    return to_bytes(
        MeterEquivocation(
            entry=decode_entry(log.entry(session, place))[1],
            first=BareReading(first.payload.decode(), first.signature),
            second=BareReading(second.payload.decode(), second.signature),
        )
    )

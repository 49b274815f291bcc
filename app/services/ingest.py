"""The one door for readings: whatever lies behind it was verified here and nowhere else.

A batch is authenticated outside the database, then all that arrives at once is stored in one
commit, and only what is committed is answered (docs/protocol.md, "A reading").
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from nacl.signing import SigningKey
from sqlmodel import Session, col, select

from app.clock import Clock
from app.db import Database
from app.services import admission, receipts, refusals, watch
from app.services.admission import Authentic, Chain
from app.services.group_commit import GroupCommit
from app.services.live import LiveBoard, LiveValue
from app.services.receipts import Receipt
from app.settings import Settings
from app.store import bulk, chain, removed
from app.store.chain import Entry, Seat
from app.tables import DistrictRow, EnrolmentRow, GatewayRow
from metering.batch import MAX_READINGS, Batch, BatchError, BatchHeader, ForgedBatchError
from metering.canonical import shown
from metering.identity import PublicKey
from metering.reading import (
    MalformedReadingError,
    Reading,
    SignedReading,
)
from metering.signing import Purpose, verify


class UnknownGatewayError(BatchError):
    """No gateway of this district (403): allow its key, or send the batch to its own district."""


class UnknownReadingError(LookupError):
    """No such reading is stored (404): send it again."""


class RemovedReadingError(LookupError):
    """The reading was stored and has been removed since (410): do not send it again."""


class DistrictMissingError(RuntimeError):
    """The database holds no district: stop and set the district up first."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one item: an HTTP status, and a receipt or an error in words."""

    index: int
    status: int
    receipt: Receipt | None = None
    error: str | None = None


@dataclass(slots=True)
class _Job:
    """One batch on its way through the commit."""

    gateway: str
    items: Sequence[Authentic]
    refused: list[ItemResult]
    kept: dict[int, Entry] = field(default_factory=dict)
    receipts: dict[int, Receipt] = field(default_factory=dict)

    def refuse(self, item: Authentic, status: int, error: str) -> None:
        """Answer an item with an error."""
        self.refused.append(ItemResult(item.index, status, error=error))


_Chains = Mapping[tuple[str, int], Chain]


class Door:
    """Verifies readings and then stores them; safe to call from many threads and processes.

    ``board`` is shown the power of what was stored, for pages of now.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        receipt_key: SigningKey,
        clock: Clock,
        board: LiveBoard | None = None,
    ) -> None:
        self._database = database
        self._board = board
        self._origin = settings.origin
        self._window_ms = (settings.grace_s + settings.seal_s) * 1_000
        self._receipt_key = receipt_key
        self._clock = clock
        self._commits = GroupCommit(self._commit, limit=MAX_READINGS)

    def receive(self, batch: Batch) -> Sequence[ItemResult]:
        """Verify a batch, store what is authentic, and answer each item in order.

        Raises:
            MalformedBatchError, ForgedBatchError, UnknownGatewayError: the whole batch is refused.
            DatabaseUnavailableError: nothing was stored; the gateway sends again later.
        """
        header = self._check_header(batch)
        job = self._authenticate(header, batch)
        self._commits.run(job, weight=len(job.items))
        if self._board is not None:
            _show(self._board, job, self._clock.now_ms())
        stored = [ItemResult(index, 200, receipt) for index, receipt in job.receipts.items()]
        return sorted(stored + job.refused, key=lambda result: result.index)

    def receipt(self, key: str, epoch: int, seq: int) -> Receipt:
        """Return the receipt of a stored reading.

        Raises:
            UnknownReadingError: there is none of this key, epoch and seq.
            RemovedReadingError: there was one.
        """
        with self._database.read() as session:
            entry = chain.find(session, key, epoch, seq)
            if entry is None and (gone := removed.find(session, key, epoch, [seq])):
                raise RemovedReadingError(f"{gone[seq]}: there is no receipt of it any more")
            if entry is None:
                raise UnknownReadingError(
                    f"no reading {seq} of epoch {epoch} of key {key} is stored: send it again"
                )
            return self._receipts(session, [entry])[0]

    # --- Outside the database: who signed what ----------------------------------------------

    def _check_header(self, batch: Batch) -> BatchHeader:
        try:
            header = batch.check()
        except ForgedBatchError:
            self._report_refused("forged batch", refusals.UNKNOWN, batch)
            raise
        if header.district != self._origin:
            self._report_refused("batch of another district", header.key.hex, batch)
            raise UnknownGatewayError(
                f"the batch is for {shown(header.district)}, this is {self._origin}: send it there"
            )
        with self._database.read() as session:
            row = session.get(GatewayRow, header.key.hex)
        if row is None or row.name != header.gateway:
            self._report_refused("unknown gateway", header.key.hex, batch)
            raise UnknownGatewayError(
                f"gateway {header.gateway!r} with key {header.key} is not allowed here: have the "
                "district's administrator allow it"
            )
        return header

    def _authenticate(self, header: BatchHeader, batch: Batch) -> _Job:
        job = _Job(header.gateway, [], [])
        parsed: list[tuple[int, SignedReading, Reading]] = []
        for index, signed in enumerate(batch.readings):
            try:
                parsed.append((index, signed, Reading.from_payload(signed.payload)))
            except MalformedReadingError as error:
                job.refused.append(ItemResult(index, 400, error=str(error)))
        enrolled = self._enrolled({reading.key for _, _, reading in parsed})
        items = []
        for index, signed, reading in parsed:
            item = Authentic(index, reading, signed, _link(signed))
            problem = self._distrust(reading, signed, enrolled)
            if problem is None:
                items.append(item)
            else:
                job.refuse(item, *problem)
        job.items = items
        return job

    def _distrust(
        self, reading: Reading, signed: SignedReading, enrolled: Mapping[str, PublicKey]
    ) -> tuple[int, str] | None:
        if reading.district != self._origin:
            return (
                403,
                f"a reading of {shown(reading.district)}; this is {self._origin}: send it there",
            )
        key = enrolled.get(reading.key)
        if key is None:
            return 403, f"key {reading.key} is not enrolled here: enrol the meter first"
        if not verify(key, Purpose.READING, signed.payload, signed.signature):
            return 401, f"the signature is not that of key {reading.key}: it proves nothing"
        return None

    def _enrolled(self, keys: Iterable[str]) -> Mapping[str, PublicKey]:
        with self._database.read() as session:
            query = select(EnrolmentRow.key)
            query = query.where(bulk.one_of(session, col(EnrolmentRow.key), sorted(keys)))
            return {key: PublicKey.enrolled(key) for key in session.exec(query)}

    def _report_refused(self, kind: str, subject: str, batch: Batch) -> None:
        event = refusals.Event(kind, subject, len(batch.readings))
        with self._database.write() as session:
            refusals.report(session, [event], self._clock.now_ms())

    # --- Inside one transaction -------------------------------------------------------------

    def _commit(self, jobs: Sequence[_Job]) -> None:
        with self._database.write() as session:
            self._store(session, jobs)

    def _store(self, session: Session, jobs: Sequence[_Job]) -> None:
        now_ms = self._clock.now_ms()
        # Held until the commit, so that an interval is not metered between the decision in which
        # seal a reading will stand and its becoming visible.
        district = session.exec(select(DistrictRow).with_for_update(read=True)).first()
        if district is None:
            raise DistrictMissingError("the database holds no district: set the district up first")
        keys = sorted({item.reading.key for job in jobs for item in job.items})
        seats = chain.seats(session, keys)
        chains = _load_chains(session, jobs, seats)
        evidence = [
            each
            for job in jobs
            for each in _place(job, seats, chains, district.metered_through, now_ms)
        ]
        judged = [each for part in chains.values() for each in part.judge()]
        fresh = [part.entries[seq] for part in chains.values() for seq in sorted(part.fresh)]
        self._promise(session, fresh)
        chain.add(session, fresh, now_ms)
        chain.judge_again(session, [entry for entry in judged if entry.id is not None])
        changed = [entry for part in chains.values() for entry in part.walk(session)]
        bulk.insert_once(session, "equivocation", evidence)
        watch.notify(session, changed, evidence, now_ms)
        refusals.report(session, _events(jobs), now_ms)
        self._answer(session, jobs)

    def _promise(self, session: Session, fresh: Sequence[Entry]) -> None:
        """Sign one receipt root over all new entries."""
        if not fresh:
            return
        items = [
            receipts.item(self._origin, entry.leaf, entry.seal_interval, self._window_ms)
            for entry in fresh
        ]
        signed = receipts.promise(items, self._receipt_key)
        batch = chain.add_receipt_batch(
            session,
            {
                "root": signed.root,
                "size": signed.size,
                "key": signed.key,
                "signature": signed.signature,
                "window_ms": self._window_ms,
            },
        )
        for index, (entry, path) in enumerate(zip(fresh, signed.paths, strict=True)):
            entry.receipt_batch, entry.receipt_index, entry.receipt_path = batch, index, path

    def _answer(self, session: Session, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            found = self._receipts(session, list(job.kept.values()))
            job.receipts = dict(zip(job.kept, found, strict=True))

    def _receipts(self, session: Session, entries: Sequence[Entry]) -> Sequence[Receipt]:
        batches = chain.receipt_batches(session, sorted({each.receipt_batch for each in entries}))
        return [
            receipts.assemble(self._origin, entry, batches[entry.receipt_batch])
            for entry in entries
        ]


def _show(board: LiveBoard, job: _Job, now_ms: int) -> None:
    """Show what was stored; a gateway's clock that runs ahead keeps no value new for longer."""
    for item in job.items:
        if item.index in job.receipts:
            at_ms = min(item.reading.answered_ms, now_ms)
            board.update(item.reading.point, LiveValue(item.reading.power_w, at_ms))


def _link(signed: SignedReading) -> bytes:
    return hashlib.sha256(signed.payload + signed.signature).digest()


def _load_chains(session: Session, jobs: Sequence[_Job], seats: Mapping[str, Seat]) -> _Chains:
    """Return the touched part of each chain, in the epoch that its key is enrolled with."""
    seqs: dict[tuple[str, int], list[int]] = defaultdict(list)
    for job in jobs:
        for item in job.items:
            if item.reading.epoch >= seats[item.reading.key].epoch:
                seqs[item.reading.key, item.reading.epoch].append(item.reading.seq)
    found = chain.around(session, seqs)
    return {
        whose: _chain(session, seats[whose[0]], whose, numbers, found[whose])
        for whose, numbers in seqs.items()
    }


def _chain(
    session: Session,
    seat: Seat,
    whose: tuple[str, int],
    numbers: Sequence[int],
    entries: dict[int, Entry],
) -> Chain:
    absent = [seq for seq in numbers if seq <= seat.removed_through and seq not in entries]
    return Chain(seat, entries, removed=removed.find(session, *whose, absent))


def _place(
    job: _Job, seats: Mapping[str, Seat], chains: _Chains, metered_through: str, now_ms: int
) -> Sequence[Mapping[str, object]]:
    """Put a job's items into their chains; return evidence of double use of a number."""
    evidence = []
    for item in job.items:
        reading = item.reading
        problem = admission.refusal(reading, seats[reading.key], now_ms)
        if problem is not None:
            job.refuse(item, *problem)
            continue
        part = chains[reading.key, reading.epoch]
        gone = part.removed.get(reading.seq)
        if gone is not None and gone.remains.link == item.link:
            job.refuse(item, 410, f"{gone}: it is not stored again")
            continue
        known = gone.remains if gone else part.place(item, metered_through, now_ms)
        if isinstance(known, Entry) and known.link == item.link:
            job.kept[item.index] = known
        else:
            job.refuse(item, 409, f"number {reading.seq} was used for other bytes; both are kept")
            evidence.append(_evidence(item, now_ms))
    return evidence


def _evidence(item: Authentic, now_ms: int) -> Mapping[str, object]:
    return {
        "key": item.reading.key,
        "epoch": item.reading.epoch,
        "seq": item.reading.seq,
        "link": item.link,
        "payload": item.signed.payload,
        "signature": item.signed.signature,
        "received_ms": now_ms,
    }


def _events(jobs: Sequence[_Job]) -> Sequence[refusals.Event]:
    """Return what to keep of refused items: how many of each kind, never their content."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for job in jobs:
        for refused in job.refused:
            if refused.status in _EVENT_KINDS:
                counts[_EVENT_KINDS[refused.status], job.gateway] += 1
    return [refusals.Event(kind, subject, count) for (kind, subject), count in counts.items()]


# 425 is a clock to set, and an equivocation (409) is kept whole as evidence.
_EVENT_KINDS: Final = {
    400: "malformed reading",
    401: "bad signature",
    403: "reading of no valid key",
}

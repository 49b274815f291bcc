"""``wattloom export month``: everything that a month's statements rest on, for an auditor.

Written interval by interval, so that a month of a large district needs no memory of its size.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from sqlmodel import Session, col, or_, select

from app.audit import monthfile as part
from app.commands.interval_export import ExportError
from app.files.output import written
from app.services.house import House
from app.services.proofs import borders_of
from app.services.statements.span import Span
from app.store import intervals, leaves, log, statements
from app.store.borders import BORDER_WINDOW_MS
from app.store.market import LEVEL_WORDS
from app.tables import (
    CheckpointRow,
    CorrectionRow,
    EnrolmentRow,
    IntervalRow,
    JournalEntry,
    LinkRow,
    MeteringPointRow,
    MonthlyStatementRow,
    ParticipantRow,
    PostingRow,
    PriceRow,
    ReadingRow,
    SlotRow,
    TariffVersionRow,
    TradeRow,
)
from ledger_client.log import decode_entry
from ledger_client.verify import Borders, LogEntry, Record, SignedReading
from market.order import GRID
from market.place import Level
from metering.interval import Interval
from metering.localtime import LocalTimeError

_SETTLED: Final = ("settled", "sealed", "final")
_WALLET: Final = "wallet:"
Told = Callable[[int, int], None]


def export_month(
    house: House, month: str, out: Path, *, force: bool, told: Told = lambda _done, _all: None
) -> int:
    """Write the file of a month; return how many intervals it holds.

    ``told`` hears how many intervals of how many were written.

    Raises:
        ExportError: no such month, nothing settled in it, or the file stands already; none is left.
        OSError: it cannot be written; none is left.
    """
    if out.exists() and not force:
        raise ExportError(f"{out} is there already: name another file, or add --force")
    with house.database.read() as session:
        try:
            span = Span.of(month, house.settings.tz)
        except LocalTimeError as error:
            raise ExportError(str(error)) from error
        writer = _Month(house, session, span)
        with (
            written(out, force=force) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as parts,
        ):
            return writer.write(parts, told)


class _Month:
    """Writes the parts of one month."""

    def __init__(self, house: House, session: Session, span: Span) -> None:
        self._house, self._session, self._span = house, session, span
        self._rows = session.exec(
            select(IntervalRow)
            .where(
                IntervalRow.key >= span.first,
                IntervalRow.key < span.after,
                col(IntervalRow.state).in_(_SETTLED),
            )
            .order_by(IntervalRow.key)
        ).all()
        if not self._rows:
            raise ExportError(f"nothing is settled in {span.month} yet: name another month")
        self._late = self._corrections()
        self._head = self._checkpoint()
        enrolled = session.exec(select(EnrolmentRow.id, EnrolmentRow.log_index))
        self._enrolled = {number or 0: index for number, index in enrolled}

    def write(self, parts: zipfile.ZipFile, told: Told) -> int:
        """Write all parts; return how many intervals are the month's own."""
        keys = [row.key for row in self._rows]
        earlier = sorted({row.interval for row in self._late} - set(keys))
        earlier = [key for key in earlier if key < self._span.first]
        whole = [*earlier, *keys]
        for name, records in (
            ("month", self._month(len(keys))),
            ("people", self._people()),
            ("points", self._points()),
            ("links", self._links(whole[0])),
            ("enrolments", self._enrolments()),
            ("tariffs", self._tariffs()),
            ("prices", self._prices(whole[0])),
            ("corrections", (_correction(row, self._span.zone) for row in self._late)),
            ("openings", self._openings()),
            ("movements", self._movements()),
            ("statements", self._statements()),
            *self._erased(whole),
            ("intervals", self._intervals(whole, told)),
        ):
            with parts.open(f"{name}.jsonl", "w", force_zip64=True) as file:
                for record in records:
                    file.write(record.text.encode() + b"\n")
        return len(keys)

    def _checkpoint(self) -> CheckpointRow | None:
        newest = select(CheckpointRow).order_by(col(CheckpointRow.size).desc())
        return self._session.exec(newest.limit(1)).first()

    def _month(self, count: int) -> Iterator[Record]:
        if self._head is None:
            raise ExportError("nothing is sealed yet: let the worker run, then export again")
        span, settings = self._span, self._house.settings
        yield part.Head(
            after=span.after,
            district=settings.origin,
            exported_ms=self._house.clock.now_ms(),
            first=span.first,
            intervals=count,
            month=span.month,
            note=self._head.note,
            type="month",
            version=1,
            zone=settings.zone,
        )

    def _people(self) -> Iterator[Record]:
        for row in self._session.exec(select(ParticipantRow).order_by(ParticipantRow.id)):
            yield part.Person(row.id, 1 if row.vat_liable else 0)

    def _points(self) -> Iterator[Record]:
        for row in self._session.exec(select(MeteringPointRow).order_by(MeteringPointRow.gsrn)):
            yield part.PointRow(row.gsrn, row.purpose)

    def _links(self, first: str) -> Iterator[Record]:
        query = select(LinkRow).where(
            LinkRow.valid_from < self._span.after,
            or_(col(LinkRow.valid_to).is_(None), col(LinkRow.valid_to) > first),
        )
        for row in self._session.exec(query.order_by(LinkRow.point, LinkRow.role, col(LinkRow.id))):
            yield part.Bond(row.point, row.role, row.target, row.valid_from, row.valid_to)

    def _enrolments(self) -> Iterator[Record]:
        for index in sorted(self._enrolled.values()):
            if entry := self._entry(index):
                yield entry

    def _tariffs(self) -> Iterator[Record]:
        query = select(TariffVersionRow).order_by(
            TariffVersionRow.tariff, TariffVersionRow.first_day
        )
        for row in self._session.exec(query):
            yield part.TariffText(row.definition, row.first_day, row.tariff)

    def _prices(self, first: str) -> Iterator[Record]:
        query = select(PriceRow).where(
            PriceRow.interval >= first, PriceRow.interval < self._span.after
        )
        for row in self._session.exec(query.order_by(PriceRow.series, PriceRow.interval)):
            yield part.SeriesPrice(row.interval, row.micro_per_kwh, row.series, row.source)

    def _corrections(self) -> list[CorrectionRow]:
        """Return all versions for each point and interval that the month's statements touch."""
        span = self._span
        own = col(CorrectionRow.interval).between(span.first, span.after)
        touched = self._session.exec(
            select(CorrectionRow).where(or_(own, CorrectionRow.month == span.month))
        ).all()
        places = {(row.interval, row.point) for row in touched if row.interval < span.after}
        found = self._session.exec(
            select(CorrectionRow)
            .where(col(CorrectionRow.interval).in_(sorted({key for key, _ in places})))
            .order_by(CorrectionRow.interval, CorrectionRow.point, col(CorrectionRow.version))
        )
        return [row for row in found if (row.interval, row.point) in places]

    def _openings(self) -> Iterator[Record]:
        span = self._span
        found = statements.opening_wallets(self._session, span.month, span.first, span.start_ms)
        for account, micro in sorted(found.items()):
            if account.startswith(_WALLET):
                yield part.Opening(micro, account.removeprefix(_WALLET))

    def _movements(self) -> Iterator[Record]:
        query = (
            select(JournalEntry.booked_ms, JournalEntry.kind, PostingRow.micro, PostingRow.account)
            .join(PostingRow, col(PostingRow.entry) == JournalEntry.id)
            .where(
                JournalEntry.booked_ms >= self._span.start_ms,
                JournalEntry.booked_ms < self._span.end_ms,
                col(JournalEntry.interval).is_(None),
                col(PostingRow.account).startswith(_WALLET),
            )
            .order_by(col(PostingRow.id))
        )
        for booked_ms, kind, micro, account in self._session.exec(query):
            yield part.Movement(booked_ms, kind, micro, account.removeprefix(_WALLET))

    def _statements(self) -> Iterator[Record]:
        query = select(MonthlyStatementRow).where(MonthlyStatementRow.month == self._span.month)
        for row in self._session.exec(query.order_by(MonthlyStatementRow.number)):
            yield part.Issued(row.number, row.participant, row.payload.decode())

    def _intervals(self, keys: Iterable[str], told: Told) -> Iterator[Record]:
        before: frozenset[int] = frozenset()
        done = 0
        for key in keys:
            slots = intervals.slots(self._session, key)
            used = frozenset(
                number
                for slot in slots
                if not slot.estimated
                for number in (slot.opening, slot.closing)
                if number is not None
            )
            yield self._interval(key, slots, self._readings(key), used - before)
            before = used
            self._session.expunge_all()
            done += key >= self._span.first
            told(done, len(self._rows))

    def _erased(self, keys: Sequence[str]) -> Iterator[tuple[str, Iterator[Record]]]:
        """Yield the part that names the borders' leaves of which the readings were erased."""
        ends_ms = Interval.parse(keys[0]).start_ms, Interval.parse(keys[-1]).end_ms
        query = select(ReadingRow.leaf, ReadingRow.point).where(
            ReadingRow.payload == b"",
            col(ReadingRow.answered_ms).between(ends_ms[0], ends_ms[1] + BORDER_WINDOW_MS),
        )
        if rows := self._session.exec(query.order_by(col(ReadingRow.answered_ms))).all():
            yield "erased", (part.Erased(leaf, point) for leaf, point in rows)

    def _readings(self, key: str) -> dict[int, ReadingRow]:
        """Return an interval's border readings by id: those of its slots, in two joins."""
        found: dict[int, ReadingRow] = {}
        for end in (SlotRow.opening, SlotRow.closing):
            query = select(ReadingRow).join(SlotRow, col(end) == ReadingRow.id)
            for row in self._session.exec(query.where(SlotRow.interval == key)):
                found[row.id or 0] = row
        return found

    def _interval(
        self,
        key: str,
        slots: Iterable[SlotRow],
        readings: dict[int, ReadingRow],
        fresh: frozenset[int],
    ) -> Record:
        origin = self._house.settings.origin
        return part.IntervalRecord(
            interval=key,
            orders=tuple(
                part.SaltedOrder(leaves.order_text(origin, row), row.salt)
                for row in leaves.orders(self._session, key)
            ),
            readings=tuple(
                SignedReading(row.payload.decode(), row.salt, row.signature)
                for number in sorted(fresh)
                for row in (readings[number],)
                if row.payload
            ),
            seal=self._entry(intervals.get(self._session, key).seal_index),
            slots=tuple(
                part.SlotRecord(
                    borders=_borders(slot, readings),
                    enrolment=self._enrolled[slot.enrolment],
                    estimated=1 if slot.estimated else 0,
                    export_wh=slot.export_wh,
                    import_wh=slot.import_wh,
                    point=slot.point,
                    salt=slot.salt,
                    tariff=slot.tariff,
                )
                for slot in slots
            ),
            trades=tuple(self._trades(key)),
        )

    def _entry(self, position: int | None) -> LogEntry | None:
        """Return a log entry with its path, if the newest checkpoint covers it."""
        head = self._head
        if position is None or head is None or position >= head.size:
            return None
        path = log.inclusion_path(self._session, position, head.size)
        entry = decode_entry(log.entry(self._session, position))[1]
        return LogEntry(entry, position, tuple(path))

    def _trades(self, key: str) -> Iterator[part.TradeRecord]:
        query = select(TradeRow).where(TradeRow.interval == key)
        for row in self._session.exec(query.order_by(col(TradeRow.number))):
            if GRID not in (row.seller_order, row.buyer_order):
                level = Level.DISTRICT if row.level is None else Level(row.level)
                yield part.TradeRecord(
                    amount_micro=row.amount_micro,
                    buyer=row.buyer_order,
                    distance=LEVEL_WORDS[level],
                    price_micro_per_kwh=row.price_micro_per_kwh,
                    seller=row.seller_order,
                    wh=row.wh,
                )


def _borders(slot: SlotRow, readings: Mapping[int, ReadingRow]) -> Borders | None:
    if intervals.is_missing(slot):
        return None
    opening, closing = (
        None if n is None else readings[n].leaf for n in (slot.opening, slot.closing)
    )
    return borders_of(slot, opening, closing)


def _correction(row: CorrectionRow, zone: ZoneInfo) -> Record:
    """Return a correction; one from before statements knew of it stands on its own month's."""
    origin = Interval.parse(row.interval).start.astimezone(zone)
    return part.Corrected(
        export_wh=row.export_wh,
        import_wh=row.import_wh,
        interval=row.interval,
        known_ms=row.known_ms,
        month=row.month or f"{origin:%Y-%m}",
        point=row.point,
        version=row.version,
    )

"""The audit of a month: works through its intervals, then compares every issued statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.audit import evidence
from app.audit.bills import Bill, Key, Links
from app.audit.compare import Difference, Settled, compare
from app.audit.evidence import Readings, start_of
from app.audit.meters import Meters
from app.audit.monthfile import (
    Bond,
    Corrected,
    Erased,
    Head,
    IntervalRecord,
    Issued,
    MonthFile,
    Movement,
    Opening,
    Person,
    PointRow,
    SeriesPrice,
    TariffText,
)
from app.audit.rates import Book, Rates
from app.audit.settling import (
    Deal,
    Held,
    Line,
    Split,
    corrected,
    delta,
    memo,
    memo_after,
    normal,
    split,
)
from ledger_client.verify import (
    ClaimError,
    Keys,
    LedgerKeys,
    LogEntry,
    Report,
    UnjudgedError,
    entry_bytes,
    in_tree,
    load_keys,
    open_note,
    parse,
    parse_note,
    require,
)

MOST_NAMED: Final = 200  # differences that are told one by one


class Known(NamedTuple):
    """A point in an interval: what held, its rates, its split at first."""

    held: Held
    rates: Rates
    first: Split


@dataclass(slots=True)
class Audit:
    """The state of one audit."""

    file: MonthFile
    head: Head
    report: Report
    zone: ZoneInfo
    links: Links
    book: Book
    alone: frozenset[str]
    issued_ms: Mapping[str, int]  # when each participant's statement was
    is_final: Mapping[str, bool]  # whether they left with it
    corrections: Mapping[str, list[Corrected]] = field(default_factory=dict)  # by interval
    bills: dict[str, Bill] = field(default_factory=lambda: defaultdict(Bill))
    estimates: int = 0
    unsealed: int = 0

    def interval(self, line: IntervalRecord, readings: Readings) -> None:
        """Work one interval out and add it to the bills."""
        metered = evidence.metered(line, readings, self.alone)
        seal = evidence.sealed(line, readings.meters, self.alone)
        self.unsealed += seal is None
        deals = evidence.deals(line, metered)
        held = {point: self.links.held(point, line.interval) for point in metered}
        rates = evidence.rates(line, held, self.book, self.zone)
        splits = split(metered, held, deals)
        late: dict[str, list[Corrected]] = defaultdict(list)
        for each in self.corrections.get(line.interval, ()):
            late[each.point].append(each)
        by_point = _deals_of(deals)
        for point, first in splits.items():
            known = Known(held[point], rates[point], first)
            require(first.residual_in >= 0 <= first.residual_out, f"{point} trades what it had not")
            self._point(line.interval, point, known, by_point.get(point, ()), late.get(point, ()))

    def _point(
        self,
        key: str,
        point: str,
        known: Known,
        sold: Iterable[tuple[str, Line]],
        late: Iterable[Corrected],
    ) -> None:
        held, rates, first = known
        bill = self.bills[held.participant]
        local = start_of(key).astimezone(self.zone)
        day = local.date().isoformat()
        origin = day[:7]
        lines = memo(rates, first)
        of_month = origin == self.head.month
        gained = 0
        if of_month:
            self.estimates += first.estimated
            for kind, line in (*sold, *lines.items()):
                self._add(bill, known, (point, origin), kind, line)
                gained += line.micro
        now, before = first, lines
        for each in sorted(late, key=lambda one: one.version):
            changed = corrected(first, each.import_wh, each.export_wh)
            after = memo_after(rates, first, changed)
            change = delta(after, before)
            before = after
            if each.month == self.head.month:
                for kind, line in change.items():
                    self._add(bill, known, (point, origin), kind, line)
            if each.known_ms <= self.issued_ms.get(held.participant, each.known_ms):
                now = changed
                gained += sum(line.micro for line in change.values())
        if of_month:
            bill.count(point, held.supplier, day, now)
            bill.saving += gained - normal(rates, now.import_wh, now.export_wh)

    @staticmethod
    def _add(bill: Bill, known: Known, where: tuple[str, str], kind: str, line: Line) -> None:
        point, origin = where
        key = Key(point, known.held.supplier, origin, kind, known.rates.vat_ppm)
        bill.lines[key].add(line)


def audit_month(
    month: str,
    file: MonthFile,
    keys: bytes | None,
    report: Report,
    told: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Difference]:
    """Derive the statements of a month from its file; return where issued ones differ.

    ``told`` hears how many intervals of how many were worked through.

    Raises:
        RefusedError: the evidence itself does not hold: a signature, a seal, an amount.
        UnjudgedError: the file cannot be read, or not judged with these KEYS.
    """
    head = _one(file.rows("month", Head))
    require(head.month == month, f"it holds {head.month}, not {month}")
    report.tick(f"{head.month} of {head.district}, {head.intervals} intervals")
    audit = _opened(file, head, report)
    pinned_keys = _keys(keys, report)
    pinned = _note(head, pinned_keys, report)
    report.begin("enrolments")
    rows = file.rows("enrolments", LogEntry)
    readings = Readings(Meters(rows, head.district, pinned, pinned_keys), _erased(file))
    report.tick(f"{len(readings.meters)} meters' keys stand in that log")
    report.begin("intervals")
    done, last = 0, ""
    for line in file.rows("intervals", IntervalRecord):
        report.begin(line.interval)
        require(line.interval > last, "the intervals are out of order")
        last = line.interval
        if line.seal is not None:
            leaf, (size, root) = entry_bytes("seal", line.seal.entry), pinned
            held = in_tree(leaf, line.seal.index, size, line.seal.path, root)
            require(held, "the seal is not in the log of the note")
        audit.interval(line, readings)
        done += head.first <= line.interval < head.after
        told(done, head.intervals)
    report.begin("intervals")
    require(done == head.intervals, f"{done} of {head.intervals} are there")
    report.tick(
        f"{done} worked out from signed readings, sealed orders and tariffs; {audit.estimates} "
        "estimates of a point are taken as the file says them"
    )
    _remark(report, audit, readings)
    return _statements(audit)


def _remark(report: Report, audit: Audit, readings: Readings) -> None:
    """Say what nothing in the file binds or shows."""
    if readings.blind:
        report.remark(
            f"{readings.blind} quarter-hours of a point rest on readings that were erased: what "
            "flowed in them is taken as the file says it, and only its seals are checked."
        )
    if audit.unsealed:
        report.remark(f"{audit.unsealed} intervals are not sealed yet: nothing binds their orders.")


def _erased(file: MonthFile) -> frozenset[bytes]:
    """Return the leaves of which there is nothing but the hash."""
    gone = file.rows("erased", Erased) if file.has("erased") else ()
    return frozenset(each.leaf for each in gone)


def _opened(file: MonthFile, head: Head, report: Report) -> Audit:
    try:
        zone = ZoneInfo(head.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnjudgedError(f"{head.zone!r} is no time zone that this machine knows") from error
    report.begin("tariffs")
    book = Book(file.rows("tariffs", TariffText), file.rows("prices", SeriesPrice))
    corrections: dict[str, list[Corrected]] = defaultdict(list)
    for each in file.rows("corrections", Corrected):
        corrections[each.interval].append(each)
    issued_ms: dict[str, int] = {}
    is_final: dict[str, bool] = {}
    for statement in file.rows("statements", Issued):
        document = parse(statement.payload.encode())
        if not isinstance(document, dict) or not isinstance(document.get("issued_ms"), int):
            raise ClaimError(f"{statement.number} does not say when it was issued")
        issued_ms[statement.participant] = int(str(document["issued_ms"]))
        is_final[statement.participant] = document.get("final") == 1
    alone = frozenset(each.point for each in file.rows("points", PointRow) if each.purpose)
    links = Links(each for each in file.rows("links", Bond) if each.point not in alone)
    return Audit(file, head, report, zone, links, book, alone, issued_ms, is_final, corrections)


def _keys(data: bytes | None, report: Report) -> Keys | None:
    report.begin("keys")
    if data is None:
        report.remark("No KEYS were given: whether the district signed these seals is not checked.")
        return None
    found = load_keys(data)
    if isinstance(found, LedgerKeys):
        raise UnjudgedError("KEYS pin milestones only: ask for the district's KEYS")
    return found


def _note(head: Head, keys: Keys | None, report: Report) -> tuple[int, bytes]:
    """Return size and root of the log that seals and enrolments have to stand in."""
    report.begin("note")
    if keys is None:
        checkpoint = parse_note(head.note)[0]
    else:
        checkpoint = open_note(head.note, keys.origin, keys.log)
        report.tick(f"a pinned key of {keys.origin} signed the log of {checkpoint.size} entries")
    require(checkpoint.origin == head.district, f"the log is of {checkpoint.origin}")
    return checkpoint.size, checkpoint.root


def _statements(audit: Audit) -> list[Difference]:
    audit.report.begin("statements")
    file = audit.file
    opening = {each.participant: each.micro for each in file.rows("openings", Opening)}
    moved: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for each in file.rows("movements", Movement):
        moved[each.participant][each.kind] += each.micro
    liable = {each.id: bool(each.vat_liable) for each in file.rows("people", Person)}
    found: list[Difference] = []
    seen: set[str] = set()
    for statement in file.rows("statements", Issued):
        who = statement.participant
        seen.add(who)
        ground = Settled(
            bill=audit.bills.get(who) or Bill(),
            links=audit.links,
            book=audit.book,
            zone=audit.zone,
            month=audit.head.month,
            after=audit.head.after,
            vat_liable=liable.get(who, False),
            opening_micro=opening.get(who, 0),
            moved=dict(moved.get(who, {})),
        )
        found += compare(statement, ground)
    if not seen:
        raise UnjudgedError(
            f"no statement of {audit.head.month} is issued yet: issue them, then export it again"
        )
    missing = sorted(who for who, bill in audit.bills.items() if bill.lines and who not in seen)
    if not all(audit.is_final.get(who) for who in seen):
        found += [Difference(who, "statement", "one", "none was issued") for who in missing]
    elif missing:  # only people who left within the month have theirs
        audit.report.remark(f"No statement of {audit.head.month} yet: {', '.join(missing)}.")
    audit.report.tick(f"{len(seen)} compared, {len(found)} differences")
    return found


def _deals_of(deals: Iterable[Deal]) -> Mapping[str, list[tuple[str, Line]]]:
    found: dict[str, list[tuple[str, Line]]] = defaultdict(list)
    for deal in deals:
        found[deal.seller].append(("local-sell", Line(deal.price, deal.wh, deal.micro)))
        found[deal.buyer].append(("local-buy", Line(deal.price, deal.wh, -deal.micro)))
    return found


def _one(rows: Iterator[Head]) -> Head:
    found = list(rows)
    require(len(found) == 1, "month.jsonl has to hold one line")
    return found[0]

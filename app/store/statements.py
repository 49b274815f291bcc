"""What monthly statements are made of, read in bulk; and the statements that were issued."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, func, or_, select

from app.store import months
from app.tables import (
    BillLineRow,
    CertificateMonthRow,
    CheckpointRow,
    CorrectionRow,
    DeviceRow,
    IntervalRow,
    JournalEntry,
    LinkRow,
    MeteringPointRow,
    MonthlyStatementRow,
    PostingRow,
    RollupRow,
    SettledRow,
    SlotRow,
    StatementRunRow,
)
from ledger_client.merkle import leaf_hash
from market.journal import receivable, wallet
from market.registry import Role
from market.settlement import Kind

_LEAF: Final = b"wattloom-leaf-monthly-v1\0"
_LOCAL: Final = (Kind.LOCAL_BUY.value, Kind.LOCAL_SELL.value)
_SETTLED: Final = ("settled", "sealed", "final")


_Row = TypeVar("_Row", BillLineRow, RollupRow)


class Bound(NamedTuple):
    """What a metering point was bound to in [``start``, ``end``) interval keys; '' has no end."""

    point: str
    target: str
    start: str
    end: str


def leaf(salt: bytes, payload: bytes) -> bytes:
    """Return a monthly statement's leaf (``docs/protocol.md``)."""
    return _LEAF + salt + payload


def run_hashes(session: Session, run: int) -> list[bytes]:
    """Return the leaf hashes of an issue's tree, in order."""
    rows = session.exec(
        select(MonthlyStatementRow.salt, MonthlyStatementRow.payload)
        .where(MonthlyStatementRow.run == run)
        .order_by(col(MonthlyStatementRow.position))
    )
    return [leaf_hash(leaf(salt, payload)) for salt, payload in rows]


# --- What a month holds --------------------------------------------------------------------------


def bound(session: Session, role: Role, first: str, after: str) -> Mapping[str, Sequence[Bound]]:
    """Return what settling points were bound to in a role within [first, after), by point."""
    rows = session.exec(
        select(LinkRow.point, LinkRow.target, LinkRow.valid_from, LinkRow.valid_to)
        .join(MeteringPointRow, col(MeteringPointRow.gsrn) == LinkRow.point)
        .where(
            LinkRow.role == role.value,
            LinkRow.valid_from < after,
            or_(col(LinkRow.valid_to).is_(None), col(LinkRow.valid_to) > first),
            col(MeteringPointRow.purpose).is_(None),
        )
        .order_by(LinkRow.point, LinkRow.valid_from)
    )
    found: dict[str, list[Bound]] = defaultdict(list)
    for point, target, start, end in rows:
        found[point].append(Bound(point, target, max(start, first), min(end or after, after)))
    return found


def bill_lines(
    session: Session, month: str, participants: Iterable[str]
) -> Mapping[str, Sequence[BillLineRow]]:
    """Return the lines of a month's statements by participant, in the order of their key."""
    rows = session.exec(
        select(BillLineRow)
        .where(BillLineRow.month == month, col(BillLineRow.participant).in_(list(participants)))
        .order_by(
            BillLineRow.participant,
            BillLineRow.point,
            BillLineRow.origin,
            BillLineRow.kind,
            col(BillLineRow.vat_ppm),
            BillLineRow.supplier,
        )
    )
    return _by_participant(rows)


def billed_people(session: Session, month: str) -> set[str]:
    """Return who has lines for a month's statement."""
    query = select(BillLineRow.participant).where(BillLineRow.month == month).distinct()
    return set(session.exec(query))


def late_origins(session: Session, month: str) -> set[tuple[str, str]]:
    """Return (participant, origin) of the lines of earlier months on a month's statements."""
    query = select(BillLineRow.participant, BillLineRow.origin).where(
        BillLineRow.month == month, BillLineRow.origin != month
    )
    return set(session.exec(query.distinct()))


def holders(session: Session, first: str, after: str) -> set[str]:
    """Return whose points settle within [first, after)."""
    bounds = bound(session, Role.PARTICIPANT, first, after)
    return {each.target for of_point in bounds.values() for each in of_point}


def rollups(
    session: Session, month: str, participants: Iterable[str]
) -> Mapping[str, Sequence[RollupRow]]:
    """Return a month's roll-ups by participant."""
    rows = session.exec(
        select(RollupRow)
        .where(
            RollupRow.span == "month",
            RollupRow.start == month,
            col(RollupRow.participant).in_(list(participants)),
        )
        .order_by(RollupRow.point, RollupRow.supplier, RollupRow.feeder, RollupRow.building)
    )
    return _by_participant(rows)


def peaks(
    session: Session, month: str, participants: Iterable[str]
) -> Mapping[tuple[str, str], Mapping[str, int]]:
    """Return each local day's highest quarter drawn, in Wh, by participant and point."""
    rows = session.exec(
        select(
            RollupRow.participant,
            RollupRow.point,
            RollupRow.start,
            func.max(RollupRow.peak_import_wh),
        )
        .where(
            RollupRow.span == "day",
            RollupRow.start >= f"{month}-01",
            RollupRow.start <= f"{month}-31",
            col(RollupRow.participant).in_(list(participants)),
        )
        .group_by(RollupRow.participant, RollupRow.point, RollupRow.start)
    )
    found: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for participant, point, day, wh in rows:
        found[participant, point][day] = int(wh)
    return found


def savings(session: Session, month: str) -> Mapping[str, tuple[int, int]]:
    """Return what each saved in a month, and in its year up to it, in micro-euros."""
    rows = session.exec(
        select(RollupRow.participant, RollupRow.start, func.sum(RollupRow.saving_micro))
        .where(
            RollupRow.span == "month",
            RollupRow.start >= f"{month[:4]}-01",
            RollupRow.start <= month,
        )
        .group_by(RollupRow.participant, RollupRow.start)
    )
    found: dict[str, tuple[int, int]] = {}
    for participant, start, micro in rows:
        of_month, of_year = found.get(participant, (0, 0))
        found[participant] = (int(micro) if start == month else of_month, of_year + int(micro))
    return found


def produced(
    session: Session, first: str, after: str, points: Iterable[str]
) -> Mapping[tuple[str, str, str], int]:
    """Return what production sub-meters counted in [first, after), in Wh.

    By metering point, and by the participant and supplier that it had in the intervals.
    """
    rows = session.exec(
        select(
            SettledRow.point,
            SettledRow.participant,
            SettledRow.supplier,
            func.sum(SlotRow.export_wh),
        )
        .join(DeviceRow, col(DeviceRow.point) == SettledRow.point)
        .join(
            SlotRow,
            (col(SlotRow.point) == DeviceRow.meter_point)
            & (col(SlotRow.interval) == SettledRow.interval),
        )
        .where(
            col(SettledRow.point).in_(list(points)),
            SettledRow.interval >= first,
            SettledRow.interval < after,
            DeviceRow.kind == "production",
            DeviceRow.valid_from <= SettledRow.interval,
            or_(col(DeviceRow.valid_to).is_(None), col(DeviceRow.valid_to) > SettledRow.interval),
        )
        .group_by(SettledRow.point, SettledRow.participant, SettledRow.supplier)
    )
    return {(point, who, supplier): int(wh) for point, who, supplier, wh in rows}


def corrections(
    session: Session, month: str, participants: Iterable[str]
) -> Sequence[CorrectionRow]:
    """Return the corrections that stand on a month's statements, in time order."""
    return session.exec(
        select(CorrectionRow)
        .where(CorrectionRow.month == month, col(CorrectionRow.participant).in_(list(participants)))
        .order_by(CorrectionRow.interval, CorrectionRow.point, col(CorrectionRow.version))
    ).all()


def certificates(
    session: Session, month: str, participants: Iterable[str]
) -> Mapping[str, CertificateMonthRow]:
    """Return what happened to each participant's certificates of a month."""
    rows = session.exec(
        select(CertificateMonthRow).where(
            CertificateMonthRow.month == month,
            col(CertificateMonthRow.participant).in_(list(participants)),
        )
    )
    return {row.participant: row for row in rows}


def _by_participant(rows: Iterable[_Row]) -> Mapping[str, Sequence[_Row]]:
    found: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        found[row.participant].append(row)
    return found


# --- The wallet and the journal ------------------------------------------------------------------


def opening_wallets(session: Session, month: str, first: str, start_ms: int) -> Mapping[str, int]:
    """Return what each wallet's account held as a month began, by account.

    Local energy counts for the month in which it flowed, whenever it was booked.
    """
    found = months.before(session, month)
    late = _sums(
        session,
        col(PostingRow.account).startswith("wallet:"),
        col(PostingRow.entry).in_(_late_entries(session, first, start_ms)),
    )
    return {account: found.get(account, 0) + late.get(account, 0) for account in {*found, *late}}


def _late_entries(session: Session, first: str, start_ms: int) -> Sequence[int]:
    """Return the entries of local energy from before a month that were booked in it or later.

    They are asked for first: asked for with their postings, they cost a look at every posting.
    """
    rows = session.exec(
        select(JournalEntry.id)
        .where(
            JournalEntry.booked_ms >= start_ms,
            JournalEntry.kind == "local",
            col(JournalEntry.interval) < first,
        )
        .order_by(col(JournalEntry.booked_ms))  # so that the index of what is newest is taken
    )
    return [number for number in rows if number is not None]


def wallet_movements(
    session: Session, span_ms: tuple[int, int]
) -> Mapping[str, Sequence[tuple[str, int]]]:
    """Return what moved wallets in a month beside local energy, as (kind, micro) by account."""
    rows = session.exec(
        select(PostingRow.account, JournalEntry.kind, func.sum(PostingRow.micro))
        .join(JournalEntry, col(JournalEntry.id) == PostingRow.entry)
        .where(
            col(PostingRow.account).startswith("wallet:"),
            col(JournalEntry.interval).is_(None),
            JournalEntry.booked_ms >= span_ms[0],
            JournalEntry.booked_ms < span_ms[1],
        )
        .group_by(PostingRow.account, JournalEntry.kind)
        .order_by(PostingRow.account, JournalEntry.kind)
    )
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for account, kind, micro in rows:
        found[account].append((kind, int(micro)))
    return found


def booked(
    session: Session, first: str, after: str, participants: Sequence[str] | None = None
) -> Mapping[str, int]:
    """Return what entries of the intervals [first, after) put on receivables and wallets.

    By account; ``participants`` None: of everybody.
    """
    account = col(PostingRow.account)
    of: ColumnElement[bool] = or_(account.startswith("receivable:"), account.startswith("wallet:"))
    if participants is not None:
        of = account.in_([make(who) for who in participants for make in (receivable, wallet)])
    interval = col(JournalEntry.interval)
    # A top-up is of no interval; what is issued here neither, nor what was issued before.
    return _sums(session, of, interval >= first, interval < after)


def billed(
    session: Session, origin: str, participants: Sequence[str] | None = None
) -> Mapping[str, int]:
    """Return what all bill lines of a month of origin come to, by the journal's account."""
    query = (
        select(BillLineRow.participant, BillLineRow.kind, func.sum(BillLineRow.micro))
        .where(BillLineRow.origin == origin)
        .group_by(BillLineRow.participant, BillLineRow.kind)
    )
    if participants is not None:
        query = query.where(col(BillLineRow.participant).in_(participants))
    found: dict[str, int] = defaultdict(int)
    for participant, kind, micro in session.exec(query):
        account = wallet(participant) if kind in _LOCAL else receivable(participant)
        found[account] += int(micro)
    return found


def _sums(session: Session, *conditions: ColumnElement[bool]) -> dict[str, int]:
    """Return the sums of postings by account, where their entries are of these conditions."""
    rows = session.exec(
        select(PostingRow.account, func.sum(PostingRow.micro))
        .join(JournalEntry, col(JournalEntry.id) == PostingRow.entry)
        .where(*conditions)
        .group_by(PostingRow.account)
    )
    return {account: int(micro) for account, micro in rows}


# --- What is issued ------------------------------------------------------------------------------


def unsettled(session: Session, first: str, after: str) -> Sequence[tuple[str, str]]:
    """Return (key, state) of the intervals in [first, after) that are not settled, oldest first."""
    return session.exec(
        select(IntervalRow.key, IntervalRow.state)
        .where(
            IntervalRow.key >= first,
            IntervalRow.key < after,
            col(IntervalRow.state).not_in(_SETTLED),
        )
        .order_by(IntervalRow.key)
    ).all()


def first_interval(session: Session) -> str | None:
    """Return the key of the district's first interval."""
    return session.exec(select(func.min(IntervalRow.key))).one()


def newest_interval(session: Session) -> str | None:
    """Return the key of the district's newest interval."""
    return session.exec(select(func.max(IntervalRow.key))).one()


def issued_to(session: Session, month: str) -> Mapping[str, str]:
    """Return the numbers of a month's statements by participant, in id order."""
    rows = session.exec(
        select(MonthlyStatementRow.participant, MonthlyStatementRow.number)
        .where(MonthlyStatementRow.month == month)
        .order_by(MonthlyStatementRow.participant)
    )
    return dict(rows.all())


def listed(
    session: Session, *, month: str | None = None, participant: str | None = None
) -> Sequence[tuple[MonthlyStatementRow, StatementRunRow]]:
    """Return issued statements with their issue, newest month first."""
    query = select(MonthlyStatementRow, StatementRunRow).join(
        StatementRunRow, col(StatementRunRow.id) == MonthlyStatementRow.run
    )
    if month is not None:
        query = query.where(MonthlyStatementRow.month == month)
    if participant is not None:
        query = query.where(MonthlyStatementRow.participant == participant)
    return session.exec(
        query.order_by(col(MonthlyStatementRow.month).desc(), MonthlyStatementRow.participant)
    ).all()


def find(session: Session, number: str) -> tuple[MonthlyStatementRow, StatementRunRow] | None:
    """Return a statement by its number."""
    return session.exec(
        select(MonthlyStatementRow, StatementRunRow)
        .join(StatementRunRow, col(StatementRunRow.id) == MonthlyStatementRow.run)
        .where(MonthlyStatementRow.number == number)
    ).first()


def is_anchored(session: Session, log_index: int) -> bool:
    """Tell whether a checkpoint over an entry of the log is confirmed on the ledger."""
    confirmed = select(CheckpointRow.size).where(
        CheckpointRow.state == "confirmed", col(CheckpointRow.size) > log_index
    )
    return session.exec(confirmed.limit(1)).first() is not None


def last_numbers(session: Session, year: str) -> tuple[int, int]:
    """Return how many statements and credit notes a year has; both are numbered without a gap."""
    last = select(
        func.max(MonthlyStatementRow.number).filter(
            col(MonthlyStatementRow.number).startswith(f"S-{year}-")
        ),
        func.max(MonthlyStatementRow.credit_note).filter(
            col(MonthlyStatementRow.credit_note).startswith(f"C-{year}-")
        ),
    )
    statement, credit = session.exec(last).one()
    return _count(statement), _count(credit)


def _count(number: str | None) -> int:
    return 0 if number is None else int(number.rpartition("-")[2])

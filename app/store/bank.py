"""The bank rail's rows: files, statements, entries, movements, payouts and exports."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlmodel import Session, col, delete, func, select

from app.store.locks import locked
from app.tables import (
    AddressRow,
    BankEntryRow,
    BankExportRow,
    BankFileRow,
    BankMovementRow,
    BankPayoutRow,
    BankStatementRow,
    JournalEntry,
    Payment,
    PaymentMove,
    PostingRow,
)

_CHUNK = 500  # how many values one query may name


def _text(name: str) -> str:
    """Return a name as a database takes it: PostgreSQL knows no NUL, nor does any name here."""
    return name.replace("\0", "\ufffd")


def file(session: Session, sha256: str) -> BankFileRow | None:
    """Return the file with this content, shown or taken."""
    return session.exec(select(BankFileRow).where(BankFileRow.sha256 == _text(sha256))).first()


def taken_files_count(session: Session) -> int:
    """Return how many files were taken."""
    query = select(func.count()).select_from(BankFileRow).where(col(BankFileRow.taken))
    return int(session.exec(query).one())


def forget_shown(session: Session, before_ms: int) -> None:
    """Drop files that were shown before that moment and never confirmed."""
    session.exec(
        delete(BankFileRow).where(~col(BankFileRow.taken), col(BankFileRow.at_ms) < before_ms)
    )


def entries(
    session: Session, account: str, bank_refs: Collection[str]
) -> Mapping[str, BankEntryRow]:
    """Return what is known of these bank references of an account."""
    wanted = sorted(bank_refs)
    found: dict[str, BankEntryRow] = {}
    for at in range(0, len(wanted), _CHUNK):
        rows = session.exec(
            select(BankEntryRow).where(
                BankEntryRow.account == account,
                col(BankEntryRow.bank_ref).in_(wanted[at : at + _CHUNK]),
            )
        )
        found |= {row.bank_ref: row for row in rows}
    return found


def statements(session: Session, through: str | None = None) -> Sequence[BankStatementRow]:
    """Return the statements, oldest closing day first, up to a day (ISO) when one is given."""
    query = select(BankStatementRow).order_by(
        col(BankStatementRow.closes), col(BankStatementRow.id)
    )
    if through is not None:
        query = query.where(col(BankStatementRow.closes) <= through)
    return session.exec(query).all()


def all_entries(session: Session) -> Sequence[tuple[str, int | None, int]]:
    """Return (day, statement, micro) of every entry."""
    rows = session.exec(select(BankEntryRow.booked, BankEntryRow.statement, BankEntryRow.micro))
    return [(booked, statement, micro) for booked, statement, micro in rows]


def movement(session: Session, ref: str, *, lock: bool = False) -> BankMovementRow | None:
    """Return a movement, locked when it is going to change."""
    query = select(BankMovementRow).where(BankMovementRow.ref == _text(ref))
    return session.exec(locked(query) if lock else query).first()


def movements(
    session: Session, *states: str, participant: str | None = None, limit: int = 1_000
) -> Sequence[tuple[BankMovementRow, str]]:
    """Return movements with the day on which the bank booked them, newest first."""
    query = select(BankMovementRow, BankEntryRow.booked).join(
        BankEntryRow, col(BankEntryRow.id) == BankMovementRow.entry
    )
    if states:
        query = query.where(col(BankMovementRow.state).in_(states))
    if participant is not None:
        query = query.where(BankMovementRow.participant == participant)
    newest = (col(BankEntryRow.booked).desc(), col(BankMovementRow.ref))
    return [(row, booked) for row, booked in session.exec(query.order_by(*newest).limit(limit))]


def payout(session: Session, ref: str, *, lock: bool = False) -> BankPayoutRow | None:
    """Return a payout, locked when it is going to change."""
    query = select(BankPayoutRow).where(BankPayoutRow.ref == _text(ref))
    return session.exec(locked(query) if lock else query).first()


def payouts(
    session: Session, *states: str, participant: str | None = None, limit: int = 1_000
) -> Sequence[BankPayoutRow]:
    """Return payouts, newest first."""
    query = select(BankPayoutRow)
    if states:
        query = query.where(col(BankPayoutRow.state).in_(states))
    if participant is not None:
        query = query.where(BankPayoutRow.participant == participant)
    newest = (col(BankPayoutRow.asked_ms).desc(), col(BankPayoutRow.ref))
    return session.exec(query.order_by(*newest).limit(limit)).all()


def payouts_by_ref(session: Session, refs: Collection[str]) -> Mapping[str, BankPayoutRow]:
    """Return those of the references that are payouts."""
    wanted = sorted(refs)
    found: dict[str, BankPayoutRow] = {}
    for at in range(0, len(wanted), _CHUNK):
        some = col(BankPayoutRow.ref).in_(wanted[at : at + _CHUNK])
        found |= {row.ref: row for row in session.exec(select(BankPayoutRow).where(some))}
    return found


def to_export(session: Session) -> Sequence[BankPayoutRow]:
    """Return the approved payments of the bank's rail, locked, in the order of their refs."""
    query = (
        select(BankPayoutRow)
        .where(BankPayoutRow.state == "approved", col(BankPayoutRow.kind) != "ledger")
        .order_by(col(BankPayoutRow.ref))
    )
    return session.exec(locked(query)).all()


def payout_sums(session: Session) -> Mapping[tuple[str, str], int]:
    """Return the micro-euros of payouts by kind and state."""
    query = select(BankPayoutRow.kind, BankPayoutRow.state, func.sum(BankPayoutRow.micro)).group_by(
        BankPayoutRow.kind, BankPayoutRow.state
    )
    return {(kind, state): int(micro) for kind, state, micro in session.exec(query)}


def export(session: Session, message_id: str) -> BankExportRow | None:
    """Return an exported file."""
    return session.exec(
        select(BankExportRow).where(BankExportRow.message_id == _text(message_id))
    ).first()


def exports(session: Session, limit: int) -> Sequence[BankExportRow]:
    """Return the exported files, newest first."""
    query = select(BankExportRow).order_by(col(BankExportRow.id).desc())
    return session.exec(query.limit(limit)).all()


def unconfirmed_foreign(session: Session) -> int:
    """Return the micro-euros that unconfirmed payments bring to addresses of people's own."""
    query = (
        select(func.coalesce(func.sum(PaymentMove.micro), 0))
        .join(Payment, col(Payment.id) == PaymentMove.payment)
        .outerjoin(AddressRow, col(AddressRow.address) == PaymentMove.address)
        .where(Payment.state != "confirmed", col(AddressRow.address).is_(None))
    )
    return int(session.exec(query).one())


def booked_at_founding(session: Session, account: str) -> int:
    """Return what the founding booked on an account, in micro-euros."""
    query = (
        select(func.coalesce(func.sum(PostingRow.micro), 0))
        .join(JournalEntry, col(JournalEntry.id) == PostingRow.entry)
        .where(JournalEntry.ref == "founding", PostingRow.account == account)
    )
    return int(session.exec(query).one())


def founding_top_up(session: Session, account: str) -> tuple[int, int]:
    """Return what the founding booked on a wallet and when (district clock), or (0, 0)."""
    query = (
        select(PostingRow.micro, JournalEntry.booked_ms)
        .join(JournalEntry, col(JournalEntry.id) == PostingRow.entry)
        .where(JournalEntry.ref == "founding", PostingRow.account == account)
    )
    found = session.exec(query).first()
    return (int(found[0]), int(found[1])) if found else (0, 0)

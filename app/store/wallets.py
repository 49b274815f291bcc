"""Custodial addresses by participant and month, and what planned payments make them hold.

A participant's key is m/44'/4218'/account'/0'/month' with months counted from the district's first
one, so that indices are small and without holes, as wallets expect that search for used addresses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from zoneinfo import ZoneInfo

from sqlmodel import Session, col, func, select

from app.store import people
from app.store.locks import locked
from app.tables import AddressRow, EnrolmentRow, OwnAddressRow, ParticipantRow, PaymentParty
from ledger_client.wallet import Wallet
from metering.interval import Interval


def ensure(session: Session) -> None:
    """Write the first address of each participant who has none yet.

    In a district from before months were told apart it holds what all payments came to.
    """
    known = select(AddressRow.participant)
    query = select(ParticipantRow).where(col(ParticipantRow.id).not_in(known))
    strangers = session.exec(query).all()
    if not strangers:
        return
    sums = select(PaymentParty.participant, func.sum(PaymentParty.micro))
    held = dict(session.exec(sums.group_by(PaymentParty.participant)).all())
    session.add_all(
        AddressRow(
            address=row.address,
            participant=row.id,
            month=0,
            planned_micro=int(held.get(row.id, 0)),
        )
        for row in strangers
    )
    session.flush()


def addresses(session: Session, *, lock: bool = False) -> Mapping[str, Sequence[AddressRow]]:
    """Return each participant's addresses that count, oldest first.

    These are those with a planned balance, and at the end the current one.
    """
    newest = (
        select(AddressRow.participant, func.max(AddressRow.month).label("month"))
        .group_by(AddressRow.participant)
        .subquery()
    )
    query = (
        select(AddressRow)
        .join(newest, newest.c.participant == AddressRow.participant)
        .where((AddressRow.planned_micro != 0) | (AddressRow.month == newest.c.month))
        .order_by(AddressRow.participant, col(AddressRow.month))
    )
    found: dict[str, list[AddressRow]] = defaultdict(list)
    for row in session.exec(locked(query) if lock else query):
        found[row.participant].append(row)
    return found


def current(session: Session, participant: str) -> AddressRow:
    """Return the address that a participant is paid to now, locked."""
    ensure(session)
    query = select(AddressRow).where(AddressRow.participant == participant)
    return session.exec(locked(query.order_by(col(AddressRow.month).desc()).limit(1))).one()


def held_at_current(session: Session, participant: str) -> int:
    """Return what planned payments make the current address hold, in micro-euros; for a reader."""
    query = select(AddressRow.planned_micro).where(AddressRow.participant == participant)
    newest = session.exec(query.order_by(col(AddressRow.month).desc()).limit(1)).first()
    return newest or 0


def current_address(session: Session, participant: ParticipantRow) -> str:
    """Return the address (hex) that a participant is paid to now, for a reader."""
    query = select(AddressRow.address).where(AddressRow.participant == participant.id)
    newest = session.exec(query.order_by(col(AddressRow.month).desc()).limit(1)).first()
    return newest or participant.address


def open_month(
    session: Session, wallet: Wallet, month: int, participants: Iterable[ParticipantRow]
) -> Mapping[str, Sequence[AddressRow]]:
    """Return the addresses that count, the current one being of ``month`` or later."""
    ensure(session)
    found = {who: list(rows) for who, rows in addresses(session, lock=True).items()}
    for row in participants:
        own = found[row.id]
        if own[-1].month < month:
            address = wallet.key(row.account, month).address.hex()
            fresh = AddressRow(address=address, participant=row.id, month=month, planned_micro=0)
            session.add(fresh)
            found[row.id] = [old for old in own if old.planned_micro] + [fresh]
    session.flush()
    return found


def month_of(session: Session, interval: Interval) -> int:
    """Return the calendar months, in the district's zone, from its first interval to this one's."""
    first = session.exec(select(func.min(EnrolmentRow.valid_from))).one()
    zone = ZoneInfo(people.district(session).zone)
    began = Interval.parse(first) if first else interval
    return max(0, _months(interval, zone) - _months(began, zone))


def _months(interval: Interval, zone: ZoneInfo) -> int:
    local = interval.start.astimezone(zone)
    return 12 * local.year + local.month


def all_addresses(session: Session) -> Mapping[str, Sequence[str]]:
    """Return every address (hex) that each participant ever had in our custody."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in session.exec(
        select(AddressRow).order_by(AddressRow.participant, col(AddressRow.month))
    ):
        found[row.participant].append(row.address)
    return found


def planned(session: Session) -> Mapping[str, int]:
    """Return what all planned payments make each participant's addresses hold, in micro-euros."""
    query = select(AddressRow.participant, func.sum(AddressRow.planned_micro))
    rows = session.exec(query.group_by(AddressRow.participant))
    return {participant: int(micro) for participant, micro in rows}


def own_address(session: Session, participant: str) -> OwnAddressRow | None:
    """Return the ledger address that a participant registered for payouts, if one is in force."""
    return session.exec(
        select(OwnAddressRow).where(
            OwnAddressRow.participant == participant, col(OwnAddressRow.until_ms).is_(None)
        )
    ).first()

"""What happens to money once a statement is issued: paid in, paid out, told when it is overdue.

``docs/money.md``, "Paying a statement". A credit at the bank that names a statement pays it
(bank -> ``receivable:P``); what the district owes on one is a payout that the manager approves and
the bank makes (``receivable:P`` -> bank).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final, NamedTuple

from sqlmodel import Session

from app.bankfiles.errors import BankFileError
from app.bankfiles.identifiers import check_iban, token
from app.bankfiles.pain import sepa_text
from app.bankfiles.statement import clean
from app.services.bank_account import own_account
from app.services.bank_errors import AskedError, BankError, NotThereError, StateError
from app.services.house import House
from app.store import dues, journal, people
from app.store.dues import Standing
from app.tables import BankPayoutRow, StatementPaymentRow
from market.dues import due_day
from market.journal import BANK, Entry, entry_of, receivable
from metering.interval import from_ms
from metering.localtime import day_of

KIND: Final = "statement"  # of a payout


class Credit(NamedTuple):
    """What came in for a statement: the bank movement's reference, and micro-euros > 0."""

    ref: str
    statement: str
    participant: str
    micro: int


def pay_in(session: Session, house: House, credits_: Iterable[Credit]) -> None:
    """Book credits on the receivables of those whose statements they pay."""
    now_ms = house.clock.now_ms()
    entries: list[Entry] = []
    for each in credits_:
        row = StatementPaymentRow(
            ref=each.ref, statement=each.statement, micro=each.micro, booked_ms=now_ms
        )
        session.add(row)
        moved = [(BANK, -each.micro), (receivable(each.participant), each.micro)]
        entries.append(entry_of(each.ref, "statement-payment", moved))
    journal.book_all(session, entries, interval=None, booked_ms=now_ms)


def find(session: Session, number: str) -> Standing:
    """Return where a statement stands.

    Raises:
        NotThereError: there is none of this number.
    """
    found = dues.standing(session, [number.replace("\0", "")]).get(number)
    if found is None:
        raise NotThereError(
            f"there is no statement {number[:40]!r}: look at wattloom statement list"
        )
    return found


# --- Paying out ----------------------------------------------------------------------------------


def ask_payout(
    house: House, participant: str, number: str, *, iban: str, holder: str
) -> BankPayoutRow:
    """Have what the district owes on a statement paid to an account; the manager approves it.

    ``holder`` is the account's ('' for the participant's own name).

    Raises:
        AskedError: the account cannot be used; it names the field.
        NotThereError: the participant has no such statement.
        StateError: the district owes nothing on it, or a payout is under way.
    """
    try:
        account = check_iban(iban)
    except BankFileError as error:
        raise AskedError(str(error), "iban") from error
    with house.database.write() as session:
        people.district(session, lock=True)  # two forms at once would both find none under way
        own = own_account(session, house.settings)
        if own is not None and own.iban == account:
            raise AskedError("that is the district's own account: write yours", "iban")
        found = find(session, number)
        if found.participant != participant:
            raise NotThereError(f"{participant} has no statement {number[:40]!r}")
        if found.dues.open_micro >= 0:
            raise StateError(f"nothing is to be paid out on {number}")
        if found.payout is not None:
            raise StateError(
                f"{number} is being paid out already: {found.payout.ref} is {found.payout.state}"
            )
        name = clean(holder, 70) or people.participants(session)[participant].name
        if not sepa_text(name, 70):
            raise AskedError("write the account holder's name in Latin letters", "holder")
        return _ask(session, house, found, account, name)


def propose(session: Session, house: House) -> int:
    """Ask for what the district owes on statements, to the accounts that people last used.

    Once per statement: what was rejected or undone, the participant asks for again. Whoever never
    named an account is asked for one on the statement's page. Returns how many payouts are new.
    """
    owed = [
        each
        for each in dues.unsettled(session).values()
        if each.dues.open_micro < 0 and not each.asked
    ]
    if not owed or own_account(session, house.settings) is None:
        return 0
    accounts = dues.last_accounts(session, {each.participant for each in owed})
    known = [each for each in owed if each.participant in accounts]
    for each in known:
        _ask(session, house, each, *accounts[each.participant])
    return len(known)


def _ask(session: Session, house: House, found: Standing, iban: str, holder: str) -> BankPayoutRow:
    micro = -found.dues.open_micro
    parts = ("wattloom-statement-payout-v1", house.settings.origin, found.number, str(found.asked))
    row = BankPayoutRow(
        ref="W" + token(*parts),
        kind=KIND,
        participant=found.participant,
        micro=micro,
        name=holder,
        target=iban,
        state="asked",
        asked_ms=house.clock.now_ms(),
    )
    session.add(row)
    session.add(StatementPaymentRow(ref=row.ref, statement=found.number, micro=-micro))
    session.flush()
    return row


def paid_out(session: Session, house: House, row: BankPayoutRow) -> None:
    """Book that the bank made a payout of a statement; the row is locked."""
    payment = session.get(StatementPaymentRow, row.ref)
    if payment is None or row.participant is None:
        raise BankError(f"{row.ref} pays out no statement: ask a person")
    payment.booked_ms = house.clock.now_ms()
    moved = [(receivable(row.participant), -row.micro), (BANK, row.micro)]
    entry = entry_of(row.ref, "statement-payout", moved)
    journal.book(session, entry, interval=None, booked_ms=payment.booked_ms)


# --- What is late --------------------------------------------------------------------------------


def look_daily(house: House) -> None:
    """Ask for payouts that an account is known for, and tell once what is overdue."""
    with house.database.read() as session:
        if not dues.unsettled(session):
            return  # nothing is open: spare the writing transaction
    with house.database.write() as session:
        people.district(session, lock=True)
        propose(session, house)
        now_ms = house.clock.now_ms()
        today = local_day(house, now_ms)
        for each in dues.unsettled(session).values():
            issued = local_day(house, each.issued_ms)
            if each.dues.is_overdue(issued, today):
                people.notify(
                    session,
                    ref=f"overdue/{each.number}",
                    at_ms=now_ms,
                    level="warning",
                    text=f"statement {each.number} is overdue: it was to be paid by "
                    f"{due_day(issued).isoformat()}",
                    point=None,
                )


def local_day(house: House, moment_ms: int) -> date:
    """Return the district's day of a moment."""
    return day_of(from_ms(moment_ms), house.settings.tz)

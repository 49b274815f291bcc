"""What the statements brought and nobody's reference claims: a person says what it is."""

from __future__ import annotations

from typing import Final

from sqlmodel import Session

from app.bankfiles.amounts import MICRO_PER_CENT
from app.bankfiles.identifiers import statements_in
from app.bankfiles.statement import clean
from app.services import dues, treasury
from app.services.bank_errors import AskedError, NotThereError, StateError
from app.services.bank_payouts import SUSPENSE, open_credit, treasury_in_words
from app.services.house import House
from app.store import bank, journal, people
from app.tables import BankMovementRow
from market.journal import BANK, entry_of

CHARGES: Final = "charges"


def assign(house: House, ref: str, participant: str) -> None:
    """Give a credit to a participant, as the top-up that it was meant to be.

    Raises:
        AskedError: there is no such participant.
        NotThereError, StateError: see there.
    """
    with house.database.write() as session:
        row = open_credit(session, ref)
        if participant not in people.participants(session):
            raise AskedError(f"there is no participant {participant[:40]!r}", "participant")
        _take_back(session, house, row)
        with treasury_in_words():
            treasury.top_up(session, house, participant, row.micro, ref)
        row.state, row.participant = "assigned", participant


def assign_to(house: House, ref: str, whose: str) -> None:
    """Give a credit to a participant's wallet by their id, or to a statement by its number.

    Raises:
        AskedError, NotThereError, StateError: see :func:`assign` and :func:`assign_statement`.
    """
    if statements_in(whose) == {whose}:
        assign_statement(house, ref, whose)
    else:
        assign(house, ref, whose)


def assign_statement(house: House, ref: str, number: str) -> None:
    """Give a credit to a statement of which something is to be paid.

    Raises:
        NotThereError, StateError: see there.
    """
    with house.database.write() as session:
        people.district(session, lock=True)  # an import may pay the same statement meanwhile
        row = open_credit(session, ref)
        found = dues.find(session, number)
        if found.dues.open_micro <= 0:
            raise StateError(f"nothing is to be paid on {number}: it is {found.dues.state}")
        if row.micro % MICRO_PER_CENT:
            raise StateError(f"{ref} is no amount of whole cents: send it back")
        _take_back(session, house, row)
        dues.pay_in(session, house, [dues.Credit(ref, number, found.participant, row.micro)])
        dues.propose(session, house)
        row.state, row.participant = "statement", found.participant


def _take_back(session: Session, house: House, row: BankMovementRow) -> None:
    back = entry_of(row.ref, "assigned", [(SUSPENSE, -row.micro), (BANK, row.micro)])
    journal.book(session, back, interval=None, booked_ms=house.clock.now_ms())


def charge(house: House, ref: str, note: str) -> None:
    """Say that a movement is the district's own affair, such as the bank's charges or interest.

    Raises:
        AskedError: without a note that says what it is.
        NotThereError, StateError: see there.
    """
    words = clean(note, 140)
    if not words:
        raise AskedError("write what it is, such as account fee of June", "note")
    with house.database.write() as session:
        row = bank.movement(session, ref, lock=True)
        if row is None:
            raise NotThereError(f"there is no bank movement {ref[:40]!r}")
        if row.state != "open":
            raise StateError(f"{ref} does not wait to be assigned: it is {row.state}")
        moved = entry_of(ref, CHARGES, [(SUSPENSE, -row.micro), (CHARGES, row.micro)])
        journal.book(session, moved, interval=None, booked_ms=house.clock.now_ms())
        row.state, row.note = "charges", words

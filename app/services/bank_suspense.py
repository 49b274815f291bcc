"""What the statements brought and nobody's reference claims: a person says what it is."""

from __future__ import annotations

from typing import Final

from app.bankfiles.statement import clean
from app.services import treasury
from app.services.bank_errors import AskedError, NotThereError, StateError
from app.services.bank_payouts import SUSPENSE, open_credit, treasury_in_words
from app.services.house import House
from app.store import bank, journal, people
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
        now_ms = house.clock.now_ms()
        back = entry_of(ref, "assigned", [(SUSPENSE, -row.micro), (BANK, row.micro)])
        journal.book(session, back, interval=None, booked_ms=now_ms)
        with treasury_in_words():
            treasury.top_up(session, house, participant, row.micro, ref)
        row.state, row.participant = "assigned", participant


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

"""The daily reconciliation: money at the bank = the journal's bank account = units in circulation.

The journal keeps what the bank holds for the district as a negative balance of ``bank`` (the bank
owes it); here it is shown as the positive amount that should be at the bank. Every step from one
figure to the next is a named line; what is left over is a difference that nothing explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Final

from sqlmodel import Session

from app.bankfiles.amounts import euros
from app.services.accounts import booked_accounts
from app.services.bank_account import own_account
from app.services.bank_payouts import SUSPENSE, local_day
from app.services.bank_suspense import CHARGES
from app.services.founding import treasury_address
from app.services.house import House
from app.store import bank, coins, dues, journal, payments, people
from app.tables import BankStatementRow
from ledger_client.ledger import LedgerError
from market.journal import BANK

OPEN_STATES: Final = ("asked", "approved", "exported")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table; ``key`` is its name in JSON, a ``total`` ends what stands above."""

    key: str
    text: str
    micro: int
    total: bool = False


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What agrees with what on a day; ``reasons`` is empty unless something is unexplained."""

    day: str
    statement: str  # the bank's statement that it starts from, '' without one
    lines: tuple[Line, ...]
    reasons: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether every difference has a name."""
        return not self.reasons


def reconcile(house: House, day: date | None = None) -> Reconciliation:
    """Compare the bank, the journal and the ledger; ``day`` (today) chooses the statement."""
    before = _circulating(house)
    with house.database.read() as session:
        chosen = day or local_day(session, house.clock.now_ms())
        at_bank = _bank_side(session, chosen.isoformat())
        at_ledger = _ledger_side(session)
    after = _circulating(house)
    lines = [*at_bank.lines, *at_ledger.lines]
    reasons = [*at_bank.reasons, *at_ledger.reasons]
    if at_ledger.settled and before is not None and before == after:
        text = "On the ledger itself: supply less the treasury’s units"
        lines.append(Line("supply_less_treasury", text, after, total=True))
        given = at_ledger.circulation_micro - after
        if given and given == _given(house, after):
            lines.append(Line("given", "Sent to the treasury by others, in nobody’s books", given))
        elif given:
            reasons.append(
                f"the ledger itself has {euros(after)} in circulation, the payments booked as "
                f"confirmed come to {euros(at_ledger.circulation_micro)}"
            )
    return Reconciliation(chosen.isoformat(), at_bank.statement, tuple(lines), tuple(reasons))


def watch(house: House) -> Reconciliation:
    """Reconcile today, and raise an alarm (once per day and difference) if something is left."""
    found = reconcile(house)
    if not found.agrees:
        with house.database.write() as session:
            for number, reason in enumerate(found.reasons):
                people.notify(
                    session,
                    ref=f"alarm/reconcile/{found.day}/{number}",
                    at_ms=house.clock.now_ms(),
                    level="alarm",
                    text=f"reconciliation of {found.day}: {reason}",
                    point=None,
                )
    return found


def _circulating(house: House) -> int | None:
    """Return the supply less the treasury's units, None where the ledger does not answer now."""
    if house.reader is None:
        return None
    try:
        supply = house.reader.network().supply_units
        return supply - house.ledger.balance(treasury_address(house.keyring)).units
    except LedgerError:
        return None


def _given(house: House, circulating: int) -> int:
    """Return the units that the treasury holds on the ledger beyond its coins in our books."""
    treasury = treasury_address(house.keyring)
    with house.database.read() as session:
        booked = sum(
            coin.units for coin in coins.holdings(session, [treasury.hex()]).free[treasury]
        )
    supply = house.reader.network().supply_units if house.reader else 0
    return max(0, supply - circulating - booked)


@dataclass(frozen=True, slots=True)
class _BankSide:
    statement: str
    lines: tuple[Line, ...]
    reasons: tuple[str, ...]


def _bank_side(session: Session, through: str) -> _BankSide:
    """Lead from the statement's closing balance to the journal's bank account."""
    chain = chained(bank.statements(session, through))
    entries = bank.all_entries(session)
    first = chain[0] if chain else None
    last = chain[-1] if chain else None
    held = {row.id for row in chain}

    def loose(after: str, to: str) -> int:
        """What entries without a statement moved after one day, up to another."""
        return sum(m for day, place, m in entries if place is None and after < day <= to)

    gaps = [
        (a, b, gap)
        for a, b in pairwise(chain)
        if (gap := b.opening_micro - a.closing_micro - loose(a.closes, b.closes))
    ]
    closing = last.closing_micro if last else 0
    later = sum(
        micro
        for day, place, micro in entries
        if place not in held and (place is not None or last is None or day > last.closes)
    )
    opening = first.opening_micro - loose("", first.closes) if first else 0
    founding = -bank.booked_at_founding(session, BANK)
    booked = -journal.balances(session, BANK).get(BANK, 0)
    expected = closing + later - opening + founding
    lines = [
        Line("bank_closing", "At the bank, by its statement", closing),
        Line("entries_later", "Booked by the bank since then, or without a statement", later),
        Line("opening", "There before the first statement", -opening),
        Line("founding", "Paid in at the founding, without a statement", founding),
    ]
    missing = sum(gap for _, _, gap in gaps)
    if missing:
        lines.append(Line("missing", "Missing between statements", -missing))
    lines.append(Line("journal_bank", "At the bank, by the journal", booked, total=True))
    reasons = [_gap(*each) for each in gaps]
    if expected - booked != missing:
        reasons.append(
            f"the bank’s entries come to {euros(expected)}, the journal’s bank account to "
            f"{euros(booked)}"
        )
    label = f"{last.ref} of {last.closes}" if last else ""
    return _BankSide(label, tuple(lines), tuple(reasons))


def _gap(a: BankStatementRow, b: BankStatementRow, micro: int) -> str:
    return (
        f"between the statements {a.ref} ({a.closes}) and {b.ref} ({b.closes}) {euros(micro)} are "
        "missing: import the statement between them"
    )


def chained(rows: Sequence[BankStatementRow]) -> list[BankStatementRow]:
    """Return statements in the order in which one's closing balance is the next one's opening.

    They come by closing day; within a day the one that follows goes first, whatever the order in
    which they were imported.
    """
    left, chain = list(rows), list[BankStatementRow]()
    while left:
        today = [row for row in left if row.closes == left[0].closes]
        if chain:
            fitting = [row for row in today if row.opening_micro == chain[-1].closing_micro]
        else:
            closings = {row.closing_micro for row in today}
            fitting = [row for row in today if row.opening_micro not in closings]
        chain.append((fitting or today)[0])
        left.remove(chain[-1])
    return chain


@dataclass(frozen=True, slots=True)
class _LedgerSide:
    lines: tuple[Line, ...]
    reasons: tuple[str, ...]
    circulation_micro: int
    settled: bool  # no payment is under way


def _ledger_side(session: Session) -> _LedgerSide:
    """Lead from the units in circulation to the journal's bank account."""
    accounts = booked_accounts(session).values()
    paid_out = sum(journal.balances(session, "paid-out:").values())
    leaving, settled = bank.unconfirmed_foreign(session), payments.all_confirmed(session)
    circulation = sum(each.ledger_micro for each in accounts) + paid_out - leaving
    under_way = sum(each.unconfirmed_micro for each in accounts) + leaving
    waiting = bank.payout_sums(session)
    lines = [
        Line("circulation", "Units in circulation on the ledger", circulation),
        Line("unconfirmed", "Payments that the ledger has not confirmed yet", under_way),
        Line("carry", "Carried over, and credit drawn", sum(each.carry_micro for each in accounts)),
    ]
    for state, words in zip(OPEN_STATES, ("asked for", "approved", "at the bank"), strict=True):
        micro = waiting.get(("bank", state), 0) + waiting.get(("ledger", state), 0)
        lines.append(Line(f"withdrawals_{state}", f"Withdrawals {words}", micro))
    own = {name: journal.balances(session, name).get(name, 0) for name in (SUSPENSE, CHARGES)}
    lines += [
        Line("suspense", "Credits and debits to be assigned", own[SUSPENSE]),
        Line("charges", "Bank charges and interest", own[CHARGES]),
        Line("statements", "Paid in on statements, less paid out", dues.booked_micro(session)),
    ]
    booked = -journal.balances(session, BANK).get(BANK, 0)
    found = sum(line.micro for line in lines)
    reserved = sum(journal.balances(session, "withdrawal:").values())
    reasons = []
    if found != booked:
        reasons.append(
            f"the ledger and what is under way come to {euros(found)}, the journal’s bank account "
            f"to {euros(booked)}"
        )
    if reserved != sum(line.micro for line in lines if line.key.startswith("withdrawals_")):
        reasons.append(f"{euros(reserved)} are reserved, but not by withdrawals that wait")
    lines.append(Line("explained", "At the bank, by the ledger", found, total=True))
    return _LedgerSide(tuple(lines), tuple(reasons), circulation, settled)


def has_account(house: House) -> bool:
    """Return whether the district has a bank account at all."""
    with house.database.read() as session:
        return own_account(session, house.settings) is not None

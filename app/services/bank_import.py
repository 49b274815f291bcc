"""Takes bank statements in: read, match by reference, show, book; a file is taken whole or not.

A credit with one participant's reference is a top-up, one with a statement's number pays that
statement, a debit with an exported payment's id is that payment, and everything else waits in
``suspense`` for a person.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlmodel import Session

from app.bankfiles.amounts import MICRO_PER_CENT, Decimal, euros
from app.bankfiles.camt import read_camt
from app.bankfiles.csvfile import read_csv
from app.bankfiles.errors import Fault, StatementFileError
from app.bankfiles.identifiers import compact, grouped, references_in, statements_in, token
from app.bankfiles.statement import MAX_BYTES, Entry, Statement, Transaction, clean
from app.services import bank_payouts, dues, treasury
from app.services.bank_account import by_reference, need_account
from app.services.bank_errors import AskedError, NotThereError
from app.services.bank_payouts import SUSPENSE, treasury_in_words
from app.services.house import House
from app.store import bank, journal, people
from app.store import dues as due_rows
from app.tables import (
    BankEntryRow,
    BankFileRow,
    BankMovementRow,
    BankPayoutRow,
    BankStatementRow,
)
from market.journal import BANK, entry_of

_PAYOUT_REF: Final = re.compile(r"(?=(W[0-9A-HJKMNP-TV-Z]{10}))")
_SHOWN_FOR_MS: Final = 24 * 3_600_000


class _Verdict(NamedTuple):
    """What a transaction is: ``state`` is top-up, statement, payout or open (with a note why)."""

    state: str
    participant: str | None = None
    payout: str | None = None
    statement: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """What becomes of one transaction: ``state`` is as in the import's verdict."""

    ref: str
    day: str  # ISO
    transaction: Transaction
    state: str
    participant: str | None = None
    payout: str | None = None
    statement: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file will change: its new entries with their transactions, and what is known."""

    name: str
    account: str
    statements: tuple[Statement, ...]
    new: tuple[tuple[Entry, tuple[Planned, ...]], ...]
    known: int  # entries that other files brought before

    @property
    def movements(self) -> tuple[Planned, ...]:
        """Every new transaction, in the file's order."""
        return tuple(each for _, planned in self.new for each in planned)


def read_statements(content: bytes, decimal: Decimal | None) -> tuple[Statement, ...]:
    """Return the statements of a camt.053 or CSV file.

    Raises:
        StatementFileError: something in the file is wrong; it says what and where.
        AskedError: a CSV needs its decimal mark told, which is never guessed.
    """
    if len(content) > MAX_BYTES:
        text = f"it has more than {MAX_BYTES // 2**20} MiB: ask the bank for fewer days per file"
        raise StatementFileError([Fault("the file", text)])
    if not content.strip():
        raise StatementFileError([Fault("the file", "it is empty: choose a statement file")])
    if content.startswith(b"PK\x03\x04"):
        raise StatementFileError([Fault("the file", "it is a ZIP archive: unpack it first")])
    if _is_xml(content):
        return read_camt(content)
    if decimal is None:
        raise AskedError(
            "say whether the CSV's amounts have a decimal comma or a decimal point", "decimal"
        )
    return read_csv(content, decimal)


def _is_xml(content: bytes) -> bool:
    head = content[:200].lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0")
    return head.startswith(b"<")


def plan(session: Session, house: House, name: str, statements: Sequence[Statement]) -> Plan:
    """Return what taking these statements would do now; nothing is written.

    Raises:
        StatementFileError: another account's statement, or one that contradicts what is known.
        NoAccountError: the district has no account.
    """
    account = need_account(session, house.settings).iban
    faults = [
        Fault(
            f"statement {each.ref}",
            f"it is of the account {each.account}, the district's is {account}",
        )
        for each in statements
        if each.account not in {"", account}
    ]
    entries, doubles = _unique(statements)
    known = bank.entries(session, account, [entry.bank_ref for entry in entries])
    faults += doubles
    faults += _contradictions(entries, known)
    faults += _changed_balances(session, account, statements)
    if faults:
        raise StatementFileError(faults)
    fresh = [entry for entry in entries if entry.bank_ref not in known]
    matcher = _Matcher(session, house, account, fresh)
    new = tuple((entry, tuple(matcher.planned(entry))) for entry in fresh)
    return Plan(name, account, tuple(statements), new, len(entries) - len(fresh))


def _unique(statements: Sequence[Statement]) -> tuple[list[Entry], list[Fault]]:
    """Return each entry once, though several statements of the file may hold it."""
    found: dict[str, Entry] = {}
    faults: list[Fault] = []
    for entry in (entry for statement in statements for entry in statement.entries):
        there = found.setdefault(entry.bank_ref, entry)
        if (there.micro, there.booked) != (entry.micro, entry.booked):
            faults.append(_twice(entry, there.micro, there.booked.isoformat()))
    return list(found.values()), faults


def _contradictions(entries: Sequence[Entry], known: Mapping[str, BankEntryRow]) -> Iterator[Fault]:
    for entry in entries:
        row = known.get(entry.bank_ref)
        if row is not None and (row.micro, row.booked) != (entry.micro, entry.booked.isoformat()):
            yield _twice(entry, row.micro, row.booked)


def _twice(entry: Entry, micro: int, booked: str) -> Fault:
    return Fault(
        f"entry {entry.bank_ref}",
        f"{euros(entry.micro)} euros of {entry.booked}, but this bank reference stands for "
        f"{euros(micro)} euros of {booked} already: ask the bank which is right",
    )


def _changed_balances(
    session: Session, account: str, statements: Sequence[Statement]
) -> Iterator[Fault]:
    known = {(row.ref, row.closes): row for row in bank.statements(session)}
    for each in statements:
        if each.balances is None:
            continue
        row = known.get((each.ref, each.balances.closes.isoformat()))
        told = (account, each.balances.opening_micro, each.balances.closing_micro)
        if row is not None and (row.account, row.opening_micro, row.closing_micro) != told:
            yield Fault(
                f"statement {each.ref}",
                "it was taken before with other balances: ask the bank which is right",
            )


class _Matcher:
    """Decides by reference what a transaction is; a payment is matched by one debit only.

    Credits pay statements in the file's order: one that comes when all is paid waits for a person.
    """

    def __init__(
        self, session: Session, house: House, account: str, entries: Sequence[Entry]
    ) -> None:
        self._account = account
        self._participants = by_reference(session, house.settings)
        texts = [_payment_text(each) for entry in entries for each in entry.transactions]
        refs = {ref for text in texts for ref in _PAYOUT_REF.findall(text)}
        self._payouts: Mapping[str, BankPayoutRow] = bank.payouts_by_ref(session, refs)
        self._used: set[str] = set()
        numbers = {n for entry in entries for each in entry.transactions for n in _numbers(each)}
        self._statements = due_rows.standing(session, numbers)
        self._due = {n: each.dues.open_micro for n, each in self._statements.items()}

    def planned(self, entry: Entry) -> Iterator[Planned]:
        """Yield what becomes of each transaction of an entry."""
        for position, each in enumerate(entry.transactions):
            ref = "B" + token("wattloom-bank-v1", self._account, entry.bank_ref, str(position))
            yield Planned(ref, entry.booked.isoformat(), each, *self._decide(each))

    def _decide(self, each: Transaction) -> _Verdict:
        if each.doubt:
            return _open(each.doubt)
        if each.micro % MICRO_PER_CENT:
            return _open("no amount of whole cents")
        return self._credit(each) if each.micro > 0 else self._debit(each)

    def _credit(self, each: Transaction) -> _Verdict:
        if (payout := self._payout(each)) is not None:
            return _open(f"comes back from the payment {payout.ref}")
        found = references_in(f"{each.remittance} {each.end_to_end}")
        people_ = sorted({self._participants[ref] for ref in found if ref in self._participants})
        numbers = sorted(_numbers(each))
        if known := [number for number in numbers if number in self._statements]:
            return self._statement(each, known, people_)
        if len(people_) == 1:
            return _Verdict("top-up", people_[0])
        if people_:
            return _open(f"references of several participants: {', '.join(people_)}")
        return _unknown(numbers, sorted(found))

    def _statement(
        self, each: Transaction, numbers: Sequence[str], people_: Sequence[str]
    ) -> _Verdict:
        """Decide about a credit that names statements: only one that is open is paid by it."""
        if people_:
            return _open(f"names {numbers[0]}, and the reference of {', '.join(people_)}")
        if len(numbers) > 1:
            return _open(f"names several statements: {', '.join(numbers)}")
        (number,) = numbers
        if self._due[number] <= 0:
            return _open(f"nothing is to be paid on {number} any more")
        self._due[number] -= each.micro
        who = self._statements[number].participant
        return _Verdict("statement", who, statement=number)

    def _debit(self, each: Transaction) -> _Verdict:
        row = self._payout(each)
        if row is None:
            return _open("no payment of ours has this id")
        if row.state != "exported" or row.ref in self._used:
            state = "paid" if row.ref in self._used else row.state
            return _open(f"the payment {row.ref} is {state}, not waiting for its debit")
        if row.micro != -each.micro:
            return _open(f"the payment {row.ref} is over {euros(row.micro)} euros")
        self._used.add(row.ref)
        return _Verdict("payout", row.participant, row.ref)

    def _payout(self, each: Transaction) -> BankPayoutRow | None:
        """Return the payment whose end-to-end id is told, or else the only one that is named."""
        if each.end_to_end in self._payouts:
            return self._payouts[each.end_to_end]
        named = {ref for ref in _PAYOUT_REF.findall(_payment_text(each)) if ref in self._payouts}
        return self._payouts[named.pop()] if len(named) == 1 else None


def _open(note: str) -> _Verdict:
    return _Verdict("open", note=note)


def _unknown(numbers: Sequence[str], references: Sequence[str]) -> _Verdict:
    if numbers:
        return _open(f"there is no statement {numbers[0]}")
    if references:
        return _open(f"nobody has the reference {grouped(references[0])}")
    return _open("no participant’s reference in it")


def _numbers(each: Transaction) -> frozenset[str]:
    """Return the statements that a credit names."""
    return statements_in(f"{each.remittance} {each.end_to_end}") if each.micro > 0 else frozenset()


def _payment_text(each: Transaction) -> str:
    return compact(f"{each.end_to_end} {each.remittance}")


def preview(house: House, name: str, content: bytes, decimal: Decimal | None) -> tuple[str, Plan]:
    """Read a file, keep it for confirmation, and return its digest and what it would change.

    Raises:
        StatementFileError, AskedError, NoAccountError: see :func:`plan`; nothing is kept.
    """
    statements = read_statements(content, decimal)
    digest = hashlib.sha256(content).hexdigest()
    with house.database.write() as session:
        people.district(session, lock=True)  # the same file may come from elsewhere at this moment
        planned = plan(session, house, name, statements)
        now_ms = house.clock.now_ms()
        bank.forget_shown(session, now_ms - _SHOWN_FOR_MS)
        row = _file(session, house, name, content, decimal)
        if not row.taken:
            row.decimal, row.at_ms = decimal, now_ms
    return digest, planned


def confirm(house: House, digest: str) -> Plan:
    """Take a file that was shown; what is booked is what holds now.

    Raises:
        NotThereError: it was not shown, or too long ago.
        StatementFileError, NoAccountError: see :func:`plan`.
    """
    with house.database.write() as session:
        people.district(session, lock=True)
        row = bank.file(session, digest)
        if row is None:
            raise NotThereError("this file is not here any more: choose it again")
        return _take(session, house, row)


def take(house: House, name: str, content: bytes, decimal: Decimal | None) -> Plan:
    """Read and book a file in one step; return what was new.

    Raises:
        StatementFileError, AskedError, NoAccountError: see :func:`plan`; nothing was booked.
    """
    read_statements(content, decimal)  # outside the lock: a bad file keeps nobody waiting
    with house.database.write() as session:
        people.district(session, lock=True)  # two imports at once would both find an entry new
        row = _file(session, house, name, content, decimal)
        if not row.taken:
            row.decimal = decimal
        return _take(session, house, row)


def _file(
    session: Session, house: House, name: str, content: bytes, decimal: Decimal | None
) -> BankFileRow:
    digest = hashlib.sha256(content).hexdigest()
    row = bank.file(session, digest)
    if row is None:
        row = BankFileRow(
            sha256=digest,
            name=clean(name, 120) or "statement",
            decimal=decimal,
            content=content,
            taken=False,
            at_ms=house.clock.now_ms(),
        )
        session.add(row)
        session.flush()
    return row


def _take(session: Session, house: House, row: BankFileRow) -> Plan:
    decimal: Decimal | None = None
    if row.decimal is not None:
        decimal = "comma" if row.decimal == "comma" else "point"
    planned = plan(session, house, row.name, read_statements(row.content, decimal))
    row.taken = True
    _write(session, house, row.id or 0, row.sha256, planned)
    _tell(session, house, row.sha256, planned)
    return planned


def _write(session: Session, house: House, file: int, digest: str, planned: Plan) -> None:
    plans = {entry.bank_ref: movements for entry, movements in planned.new}
    known = bank.entries(
        session,
        planned.account,
        [entry.bank_ref for each in planned.statements for entry in each.entries],
    )
    fresh = {entry.bank_ref: _entry_row(file, planned.account, entry) for entry, _ in planned.new}
    session.add_all(fresh.values())
    rows = {**known, **fresh}
    for statement in planned.statements:
        place = _statement_row(session, file, planned.account, statement)
        for entry in statement.entries:
            if rows[entry.bank_ref].statement is None:
                rows[entry.bank_ref].statement = place
    session.flush()
    for bank_ref, movements in plans.items():
        for position, each in enumerate(movements):
            _book(session, house, fresh[bank_ref].id or 0, position, each)
    _credit(session, house, digest, planned)


def _statement_row(session: Session, file: int, account: str, each: Statement) -> int | None:
    if each.balances is None:
        return None
    closes = each.balances.closes.isoformat()
    for known in bank.statements(session):
        if (known.account, known.ref, known.closes) == (account, each.ref, closes):
            return known.id
    row = BankStatementRow(
        file=file,
        account=account,
        ref=each.ref,
        closes=closes,
        opening_micro=each.balances.opening_micro,
        closing_micro=each.balances.closing_micro,
    )
    session.add(row)
    session.flush()
    return row.id


def _entry_row(file: int, account: str, entry: Entry) -> BankEntryRow:
    return BankEntryRow(
        file=file,
        account=account,
        bank_ref=entry.bank_ref,
        booked=entry.booked.isoformat(),
        micro=entry.micro,
    )


def _credit(session: Session, house: House, digest: str, planned: Plan) -> None:
    """Book what came in for participants, and what waits for a person, all in one go."""
    waiting = [
        (each.ref, each.transaction.micro) for each in planned.movements if each.state == "open"
    ]
    entries = [
        entry_of(ref, "suspense", [(BANK, -micro), (SUSPENSE, micro)]) for ref, micro in waiting
    ]
    journal.book_all(session, entries, interval=None, booked_ms=house.clock.now_ms())
    paid = [
        dues.Credit(each.ref, each.statement, each.participant or "", each.transaction.micro)
        for each in planned.movements
        if each.statement is not None
    ]
    dues.pay_in(session, house, paid)
    dues.propose(session, house)  # what was too much goes back
    credited = [
        treasury.TopUp(each.participant or "", each.transaction.micro, each.ref)
        for each in planned.movements
        if each.state == "top-up"
    ]
    with treasury_in_words():
        treasury.top_ups(session, house, f"bank-{digest[:20]}", credited)


def _book(session: Session, house: House, entry: int, position: int, each: Planned) -> None:
    """Write one transaction, and the end of the payment that it is; credits are booked together."""
    session.add(
        BankMovementRow(
            ref=each.ref,
            entry=entry,
            position=position,
            micro=each.transaction.micro,
            remittance=each.transaction.remittance,
            name=each.transaction.name,
            iban=each.transaction.iban,
            state=each.state,
            participant=each.participant,
            note=each.note,
        )
    )
    if each.state == "payout":
        row = bank.payout(session, each.payout or "", lock=True)
        if row is None or row.state != "exported":
            raise NotThereError(f"the payment {each.payout} changed meanwhile: import again")
        bank_payouts.settle(session, house, row)


def _tell(session: Session, house: House, digest: str, planned: Plan) -> None:
    waiting = sum(each.state == "open" for each in planned.movements)
    if waiting:
        people.notify(
            session,
            ref=f"bank-file/{digest}",
            at_ms=house.clock.now_ms(),
            level="warning",
            text=f"bank statement {planned.name}: {waiting} of {len(planned.movements)} movements "
            "could not be matched and wait on the treasury page",
            point=None,
        )

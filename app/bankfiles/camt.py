"""Reads camt.053, the bank-to-customer statement of ISO 20022 (versions 02, 04, 06 and 08).

Only what is needed is read: account, balances, and the booked entries with their transactions.
Source: ISO 20022 message definition report "Bank-to-Customer Cash Management"; the German banks'
Anlage 3 of the DFÜ agreement for the use of its fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from app.bankfiles.amounts import MAX_MICRO, euros, unsigned
from app.bankfiles.errors import AmountError, Fault, StatementFileError
from app.bankfiles.statement import (
    MAX_BYTES,
    MAX_ENTRIES,
    Balances,
    Entry,
    Statement,
    Transaction,
    clean,
)

_NAMESPACE: Final = re.compile(
    r"\{(urn:iso:std:iso:20022:tech:xsd:camt\.053\.001\.0[2468])\}Document"
)
_OPENING: Final = ("OPBD", "PRCD", "ITBD")
_CLOSING: Final = ("CLBD", "ITBD")
_MAX_BALANCE_MICRO: Final = 10**18
# What banks write where there is no reference.
_NO_REFERENCE: Final = frozenset({"", "NONREF", "NOTPROVIDED"})


class _FaultError(Exception):
    def __init__(self, at: _At, text: str) -> None:
        super().__init__(text)
        self.fault = Fault(at.path, text)


@dataclass(frozen=True, slots=True)
class _At:
    """An element and its place in the document, for messages."""

    element: Element
    namespace: str
    path: str

    def all(self, name: str) -> list[_At]:
        found = self.element.findall(f"{{{self.namespace}}}{name}")
        return [
            _At(each, self.namespace, f"{self.path}/{name}[{number}]")
            for number, each in enumerate(found, 1)
        ]

    def get(self, *names: str) -> _At | None:
        """Return the first element below these names, one level each."""
        at = self
        for name in names:
            found = at.element.find(f"{{{self.namespace}}}{name}")
            if found is None:
                return None
            at = _At(found, self.namespace, f"{at.path}/{name}")
        return at

    def need(self, *names: str) -> _At:
        found = self.get(*names)
        if found is None:
            raise _FaultError(self, f"there is no {'/'.join(names)}")
        return found

    def text(self, *names: str) -> str:
        found = self.get(*names)
        return clean(found.element.text) if found else ""


def read_camt(data: bytes) -> tuple[Statement, ...]:
    """Return the statements of a camt.053 document, each checked against its own balances.

    Raises:
        StatementFileError: not such a document, or something in it is wrong; names the paths.
    """
    document = _document(data)
    faults: list[Fault] = []
    statements = [
        found for at in document.all("Stmt") if (found := _statement(at, faults)) is not None
    ]
    if not statements and not faults:
        faults.append(Fault(document.path, "there is no statement (Stmt) in it"))
    if faults:
        raise StatementFileError(faults)
    return tuple(statements)


def _document(data: bytes) -> _At:
    if len(data) > MAX_BYTES:
        raise _refused(f"more than {MAX_BYTES // 2**20} MiB: ask the bank for one day per file")
    try:
        root: Element = fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise _refused("it defines entities or a document type, as no bank's file does") from error
    except (ParseError, ValueError, LookupError) as error:  # LookupError: a made-up encoding
        raise _refused(f"it is no XML ({error}); was it cut short?") from error
    namespace = _NAMESPACE.fullmatch(root.tag)
    if namespace is None:
        raise _refused(
            f"its root is {root.tag[:90]!r}, not a camt.053.001.02, .04, .06 or .08 document: "
            "ask the bank for account statements (not notifications) in one of these"
        )
    try:
        return _At(root, namespace[1], "/Document").need("BkToCstmrStmt")
    except _FaultError as error:
        raise StatementFileError([error.fault]) from error


def _refused(text: str) -> StatementFileError:
    return StatementFileError([Fault("the file", text)])


def _statement(at: _At, faults: list[Fault]) -> Statement | None:
    """Return a statement, or note what is wrong with it: every entry is looked at."""
    before = len(faults)
    entries: list[Entry] = []
    ref = at.text("Id")
    if not ref:
        faults.append(Fault(at.path, "the statement has no Id"))
    for number, each in enumerate(at.all("Ntry")):
        try:
            if (entry := _entry(each, f"{ref}#{number}")) is not None:
                entries.append(entry)
        except _FaultError as error:
            faults.append(error.fault)
    try:
        account, balances = _account(at), _balances(at)
        if len(faults) == before:
            _check(at, balances, entries)
            return Statement(account, ref, balances, tuple(entries))
    except _FaultError as error:
        faults.append(error.fault)
    return None


def _account(at: _At) -> str:
    currency = at.get("Acct", "Ccy")
    if currency is not None and clean(currency.element.text) != "EUR":
        raise _FaultError(currency, "the account is not held in EUR")
    return at.need("Acct", "Id", "IBAN").text()


def _balances(at: _At) -> Balances:
    found = [(each.text("Tp", "CdOrPrtry", "Cd"), each) for each in at.all("Bal")]
    opening = next((each for kind in _OPENING for code, each in found if code == kind), None)
    closing = next((e for kind in _CLOSING for code, e in reversed(found) if code == kind), None)
    if opening is None or closing is None or opening is closing:
        raise _FaultError(at, "an opening (OPBD) and a closing balance (CLBD) are needed")
    return Balances(
        _signed(opening, _MAX_BALANCE_MICRO),
        _signed(closing, _MAX_BALANCE_MICRO),
        _day(closing.need("Dt")),
    )


def _check(at: _At, balances: Balances, entries: Sequence[Entry]) -> None:
    if len(entries) > MAX_ENTRIES:
        raise _FaultError(at, f"more than {MAX_ENTRIES} entries: ask for one day per file")
    refs = [entry.bank_ref for entry in entries]
    if len(set(refs)) < len(refs):
        twice = next(ref for ref in refs if refs.count(ref) > 1)
        raise _FaultError(at, f"two entries share the bank reference {twice}")
    moved = sum(entry.micro for entry in entries)
    if balances.opening_micro + moved != balances.closing_micro:
        raise _FaultError(
            at,
            f"opening balance {balances.opening_micro} + entries {moved} is not the closing "
            f"balance {balances.closing_micro} (micro-euros): an entry is missing or changed",
        )


def _entry(at: _At, place: str) -> Entry | None:
    """Return a booked entry, None for one that is pending or information only."""
    status = at.text("Sts", "Cd") or at.text("Sts")
    if status in {"PDNG", "INFO", "FUTR"}:
        return None
    if status != "BOOK":
        raise _FaultError(at, f"its status (Sts) is {status!r}, not BOOK, PDNG, INFO or FUTR")
    micro = _signed(at, MAX_MICRO)
    if not micro:
        raise _FaultError(at, "an entry over 0 euros")
    bank_ref = at.text("AcctSvcrRef")
    return Entry(
        bank_ref=place if bank_ref.upper() in _NO_REFERENCE else bank_ref,
        booked=_day(at.need("BookgDt")),
        micro=micro,
        transactions=_transactions(at, micro),
    )


def _transactions(entry: _At, micro: int) -> tuple[Transaction, ...]:
    """Return the transactions of an entry; one line for all when a batch tells no amounts.

    What reached the account counts: an amount in another currency, or before charges, is passed
    over where it stands alone.
    """
    details = [each for group in entry.all("NtryDtls") for each in group.all("TxDtls")]
    amounts = [_detail_amount(each, micro) for each in details]
    if len(details) > 1 and None not in amounts:
        parts = [part for part in amounts if part is not None]
        if sum(parts) != micro:
            raise _FaultError(
                entry, f"its transactions add up to {sum(parts)} micro-euros, not to {micro}"
            )
        return tuple(
            _transaction([each], entry, part) for each, part in zip(details, parts, strict=True)
        )
    return (_transaction(details, entry, micro, _doubt(details, amounts, micro)),)


def _doubt(details: Sequence[_At], amounts: Sequence[int | None], micro: int) -> str:
    """Return why no reference may decide about an entry that is one transaction for us."""
    if len(details) > 1:
        return f"{len(details)} payments in one, and not how much each is"
    if amounts and amounts[0] not in {None, micro}:
        return f"{euros(micro)} euros were booked for a payment of {euros(amounts[0] or 0)}"
    return ""


def _detail_amount(at: _At, entry_micro: int) -> int | None:
    """Return a transaction's signed amount: the entry's direction unless it says its own.

    None where it tells none in euros.
    """
    amount = at.get("Amt") or at.get("AmtDtls", "TxAmt", "Amt")
    if amount is None or amount.element.get("Ccy", "EUR") != "EUR":
        return None
    direction = at.text("CdtDbtInd") or ("CRDT" if entry_micro > 0 else "DBIT")
    return _amount(amount, MAX_MICRO) * (1 if direction == "CRDT" else -1)


def _transaction(details: Sequence[_At], entry: _At, micro: int, doubt: str = "") -> Transaction:
    texts = [text for each in details for text in _remittance(each)]
    texts.append(entry.text("AddtlNtryInf"))
    party = "Dbtr" if micro > 0 else "Cdtr"
    first = details[0] if len(details) == 1 else None
    end_to_end = first.text("Refs", "EndToEndId") if first else ""
    return Transaction(
        micro=micro,
        remittance=clean(" ".join(filter(None, texts))),
        end_to_end="" if end_to_end.upper() in _NO_REFERENCE else end_to_end,
        name=_party(first, party) if first else "",
        iban=first.text("RltdPties", f"{party}Acct", "Id", "IBAN") if first else "",
        doubt="the bank reversed an earlier entry" if _is_reversal(entry) else doubt,
    )


def _is_reversal(entry: _At) -> bool:
    return entry.text("RvslInd") in {"true", "1"}


def _party(at: _At, role: str) -> str:
    """Return a party's name: one level deeper (Pty) since version 04 of its components."""
    return at.text("RltdPties", role, "Pty", "Nm") or at.text("RltdPties", role, "Nm")


def _remittance(at: _At) -> Iterator[str]:
    for info in at.all("RmtInf"):
        for line in info.all("Ustrd"):
            yield line.text()
        for structured in info.all("Strd"):
            yield structured.text("CdtrRefInf", "Ref")
            yield from (line.text() for line in structured.all("AddtlRmtInf"))


def _signed(at: _At, most_micro: int) -> int:
    """Return an element's Amt, negative where CdtDbtInd says debit."""
    direction = at.text("CdtDbtInd")
    if direction not in {"CRDT", "DBIT"}:
        raise _FaultError(at, f"CdtDbtInd is {direction!r}, not CRDT or DBIT")
    micro = _amount(at.need("Amt"), most_micro)
    return micro if direction == "CRDT" else -micro


def _amount(at: _At, most_micro: int) -> int:
    currency = at.element.get("Ccy")
    if currency != "EUR":
        raise _FaultError(at, f"the currency is {clean(currency, 10)!r}, not EUR")
    try:
        micro = unsigned(at.text())
    except AmountError as error:
        raise _FaultError(at, str(error)) from error
    if micro > most_micro:
        raise _FaultError(at, f"{at.text()} euros are beyond what any account here can hold")
    return micro


def _day(at: _At) -> date:
    text = at.text("Dt") or at.text("DtTm") or at.text()
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise _FaultError(at, f"{text[:30]!r} is no date such as 2026-06-24") from None

"""Writes pain.001.001.09, the customer credit transfer initiation of ISO 20022, for SEPA.

Source: EPC132-08, "SEPA Credit Transfer Customer-to-PSP Implementation Guidelines"; the character
set and its conversions stand in EPC217-08. The order of elements is the schema's.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from xml.etree import ElementTree as ET

from app.bankfiles.amounts import MAX_MICRO, MICRO_PER_CENT, euros
from app.bankfiles.errors import PaymentFileError
from app.bankfiles.identifiers import check_iban

NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_ALLOWED: Final = frozenset(_LETTERS + "/-?:().,'+ ")
_SPELLED: Final = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"}
    | {"æ": "ae", "Æ": "Ae", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
    | {"&": "+", "_": "-", "–": "-", "’": "'"}
)
_NAME: Final = 70
_IDENTIFIER: Final = 35
_REMITTANCE: Final = 140


@dataclass(frozen=True, slots=True)
class BankAccount:
    """An account: its holder's name, its IBAN, and the BIC where one is known ('' otherwise)."""

    name: str
    iban: str
    bic: str = ""


@dataclass(frozen=True, slots=True)
class Transfer:
    """One payment: whole cents as micro-euros, to whom, and what it is called everywhere."""

    end_to_end: str
    micro: int
    to: BankAccount
    remittance: str


@dataclass(frozen=True, slots=True)
class Order:
    """All payments of one file. The message id is what keeps a bank from paying it twice."""

    message_id: str
    created: datetime
    execute_on: date
    account: BankAccount
    transfers: tuple[Transfer, ...]


def sepa_text(text: str, most: int) -> str:
    """Return a text in the SEPA character set, at most so long; what has no likeness is dropped.

    Umlauts are spelled out, accents dropped; neither ``//`` nor a slash at an end is left, which
    banks read as signs of their own.
    """
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFC", text).translate(_SPELLED))
    kept = "".join(each if each in _ALLOWED else " " * each.isspace() for each in plain)
    while "//" in kept:
        kept = kept.replace("//", "/")
    return " ".join(kept.split())[:most].strip(" /")


def write_pain(order: Order) -> bytes:
    """Return the file: the same order always gives the same bytes.

    Raises:
        PaymentFileError: no payments, one that is no positive amount of whole cents, an id
            twice or not in the character set, or a name that leaves nothing behind.
    """
    _check(order)
    document = ET.Element("Document", {"xmlns": NAMESPACE})
    message = ET.SubElement(document, "CstmrCdtTrfInitn")
    count, total = str(len(order.transfers)), euros(sum(t.micro for t in order.transfers))
    _put(
        message,
        "GrpHdr",
        [
            ("MsgId", order.message_id),
            ("CreDtTm", order.created.strftime("%Y-%m-%dT%H:%M:%SZ")),
            ("NbOfTxs", count),
            ("CtrlSum", total),
            ("InitgPty/Nm", _name(order.account)),
        ],
    )
    batch = _put(
        message,
        "PmtInf",
        [
            ("PmtInfId", order.message_id),
            ("PmtMtd", "TRF"),
            ("BtchBookg", "false"),  # one line each on the statement, so that each is found again
            ("NbOfTxs", count),
            ("CtrlSum", total),
            ("PmtTpInf/SvcLvl/Cd", "SEPA"),
            ("ReqdExctnDt/Dt", order.execute_on.isoformat()),
            ("Dbtr/Nm", _name(order.account)),
            ("DbtrAcct/Id/IBAN", order.account.iban),
            ("DbtrAcct/Ccy", "EUR"),
            _agent("DbtrAgt", order.account.bic or "NOTPROVIDED"),
            ("ChrgBr", "SLEV"),
        ],
    )
    for transfer in order.transfers:
        _put_transfer(batch, transfer)
    ET.indent(document)
    text: str = ET.tostring(document, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _put_transfer(batch: ET.Element, transfer: Transfer) -> None:
    fields = [("PmtId/EndToEndId", transfer.end_to_end), ("Amt/InstdAmt", euros(transfer.micro))]
    if transfer.to.bic:
        fields.append(_agent("CdtrAgt", transfer.to.bic))
    fields += [
        ("Cdtr/Nm", _name(transfer.to)),
        ("CdtrAcct/Id/IBAN", transfer.to.iban),
        ("RmtInf/Ustrd", sepa_text(transfer.remittance, _REMITTANCE) or transfer.end_to_end),
    ]
    element = _put(batch, "CdtTrfTxInf", fields)
    amount = element.find("Amt/InstdAmt")
    if amount is not None:
        amount.set("Ccy", "EUR")


def _agent(name: str, bic: str) -> tuple[str, str]:
    known = bic != "NOTPROVIDED"
    return (f"{name}/FinInstnId/{'BICFI' if known else 'Othr/Id'}", bic)


def _put(parent: ET.Element, name: str, fields: Iterable[tuple[str, str]]) -> ET.Element:
    """Add an element and its fields; a field's path makes the elements that are missing."""
    element = ET.SubElement(parent, name)
    for path, text in fields:
        at = element
        for step in path.split("/"):
            last = at[-1] if len(at) else None
            at = last if last is not None and last.tag == step else ET.SubElement(at, step)
        at.text = text
    return element


def _name(account: BankAccount) -> str:
    return sepa_text(account.name, _NAME)


def _check(order: Order) -> None:
    if not order.transfers:
        raise PaymentFileError("there is nothing to pay")
    ids = [transfer.end_to_end for transfer in order.transfers]
    _check_ids([order.message_id, *ids])
    if len(set(ids)) < len(ids):
        raise PaymentFileError("two payments have one end-to-end id: pay each once")
    for account in (order.account, *(transfer.to for transfer in order.transfers)):
        if not _name(account):
            raise PaymentFileError(f"the name {account.name[:40]!r} cannot be written for SEPA")
        check_iban(account.iban)
    for transfer in order.transfers:
        if not 0 < transfer.micro <= MAX_MICRO or transfer.micro % MICRO_PER_CENT:
            raise PaymentFileError(
                f"{transfer.end_to_end}: {euros(transfer.micro)} is no amount of whole cents"
            )


def _check_ids(ids: Sequence[str]) -> None:
    for each in ids:
        if not each or sepa_text(each, _IDENTIFIER) != each:
            raise PaymentFileError(f"{each[:40]!r} is no id of a SEPA payment")

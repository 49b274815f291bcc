"""IBAN (ISO 13616), BIC (ISO 9362) and creditor references (ISO 11649), with their check digits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from app.bankfiles.errors import IdentifierError

# How long an IBAN is in each country of the Single Euro Payments Area (IBAN registry, EPC409-09).
_LENGTHS: Final = (
    "AD24 AL28 AT20 BE16 BG22 CH21 CY28 CZ24 DE22 DK18 EE20 ES24 FI18 FR27 GB22 GI23 GR27 HR21 "
    "HU28 IE22 IS26 IT27 LI21 LT20 LU20 LV21 MC27 MD24 ME22 MK19 MT31 NL18 NO15 PL28 PT25 RO24 "
    "RS22 SE24 SI19 SK24 SM27 VA22"
)
SEPA_LENGTHS: Final[Mapping[str, int]] = {each[:2]: int(each[2:]) for each in _LENGTHS.split()}

# Digits and letters that nobody confuses when copying by hand: no I, L, O and U.
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TOKEN_CHARACTERS: Final = 10
_REFERENCE: Final = re.compile(rf"(?=(RF[0-9]{{2}}[{_ALPHABET}]{{{_TOKEN_CHARACTERS}}}))")
_STATEMENT_REFERENCE: Final = re.compile(r"(?=(RF[0-9]{2}S2[0-9]{9}))")
_STATEMENT: Final = re.compile(r"(?<![A-Z0-9])S[\s./-]*(2[0-9]{3})[\s./-]*([0-9]{6})(?![0-9])")
_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_BIC: Final = re.compile(r"[A-Z]{6}[A-Z0-9]{2}([A-Z0-9]{3})?")


def compact(text: str) -> str:
    """Return the letters and digits of ``text`` alone, in capitals: spaces and case count not."""
    return "".join(each for each in text.upper() if each.isascii() and each.isalnum())


def grouped(identifier: str) -> str:
    """Return an IBAN or a reference in groups of four, as people read it."""
    return " ".join(identifier[at : at + 4] for at in range(0, len(identifier), 4))


def check_iban(text: str) -> str:
    """Return an IBAN of the Single Euro Payments Area in its electronic form, without spaces.

    Raises:
        IdentifierError: a character is wrong, it is too short or long, or its check digits say
            that something was mistyped.
    """
    iban = "".join(text.upper().split())
    length = SEPA_LENGTHS.get(iban[:2])
    if not _IBAN.fullmatch(iban):
        raise IdentifierError(
            "that is no IBAN: it begins with two letters and two digits, such as DE02"
        )
    if length is None:
        raise IdentifierError(f"{iban[:2]} is no country of the Single Euro Payments Area")
    if len(iban) != length:
        raise IdentifierError(
            f"an IBAN of {iban[:2]} has {length} characters, this one has {len(iban)}"
        )
    if mod97(iban) != 1 or not 2 <= int(iban[2:4]) <= 98:  # ISO 7064 gives no 00, 01 and 99
        raise IdentifierError("the IBAN's check digits do not fit: compare it with the bank card")
    return iban


def check_bic(text: str) -> str:
    """Return a BIC of 8 or 11 characters.

    Raises:
        IdentifierError: it is not made like one.
    """
    bic = "".join(text.upper().split())
    if not _BIC.fullmatch(bic):
        raise IdentifierError("that is no BIC: it has 8 or 11 letters and digits")
    return bic


def token(*parts: str) -> str:
    """Return ten characters that are always the same for ``parts``: 50 bits of their SHA-256."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    number = int.from_bytes(digest[:7], "big") >> 6
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(45, -1, -5))


def creditor_reference(district: str, participant: str) -> str:
    """Return the reference that a participant writes on a transfer: RF, two check digits, a token.

    It names nobody, and a mistyped character fails the check digits or meets no participant.
    """
    body = token("wattloom-payment-reference-v1", district, participant)
    return f"RF{98 - mod97(f'RF00{body}'):02d}{body}"


def statement_reference(number: str) -> str:
    """Return the reference with which a statement is paid: RF, two check digits, its number.

    ISO 11649 takes letters and digits: ``S-2026-000001`` is ``RF52S2026000001``.
    """
    body = compact(number)
    return f"RF{98 - mod97(f'RF00{body}'):02d}{body}"


def statements_in(text: str) -> frozenset[str]:
    """Return the numbers of statements that a remittance text names.

    By reference (spaces, line breaks and case count not, and its check digits have to fit), or as
    the number itself, with or without its dashes.
    """
    found = {each[4:] for each in _STATEMENT_REFERENCE.findall(compact(text)) if mod97(each) == 1}
    found |= {f"S{year}{count}" for year, count in _STATEMENT.findall(text.upper())}
    return frozenset(f"S-{each[1:5]}-{each[5:]}" for each in found)


def references_in(text: str) -> frozenset[str]:
    """Return every valid creditor reference of ours in a remittance text.

    Spaces, line breaks, punctuation and case count not, since banks cut and capitalise.
    """
    found = _REFERENCE.findall(compact(text))
    return frozenset(each for each in found if mod97(each) == 1)


def mod97(identifier: str) -> int:
    """Return ISO 7064 MOD 97-10 of what has its first four characters moved to its end."""
    moved = identifier[4:] + identifier[:4]
    return int("".join(str(int(each, 36)) for each in moved)) % 97

"""Amounts of euros as text and as integer micro-euros, exactly; no float is ever involved."""

from __future__ import annotations

import re
from typing import Final, Literal

from app.bankfiles.errors import AmountError

MICRO_PER_EURO: Final = 1_000_000
MICRO_PER_CENT: Final = 10_000
# Nine digits of euros are the most that a SEPA credit transfer carries (EPC130-08).
MAX_MICRO: Final = 999_999_999_990_000

Decimal = Literal["comma", "point"]

_MARKS: Final = {"comma": ",", "point": "."}
_NUMBER: Final = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,6}))?")


def unsigned(text: str, decimal: Decimal = "point") -> int:
    """Return the micro-euros of a plain decimal number with at most six places.

    Raises:
        AmountError: a sign, a group separator, the other decimal mark, or no number at all.
    """
    mark, other = _MARKS[decimal], _MARKS["comma" if decimal == "point" else "point"]
    plain = text.strip()
    if plain.startswith("-"):
        raise AmountError(f"{plain[:30]!r} is negative: the direction is said elsewhere")
    found = None if other in plain else _NUMBER.fullmatch(plain.replace(mark, "."))
    if found is None:
        raise AmountError(
            f"{plain[:30]!r} is no amount: write digits and at most one decimal {decimal}, "
            "no thousands separators, no currency sign"
        )
    return int(found[1]) * MICRO_PER_EURO + int((found[2] or "").ljust(6, "0"))


def signed(text: str, decimal: Decimal) -> int:
    """Return the micro-euros of a number that may carry a plus or minus in front.

    Raises:
        AmountError: see :func:`unsigned`.
    """
    plain = text.strip()
    if plain[:1] in {"-", "+"}:
        micro = unsigned(plain[1:], decimal)
        return -micro if plain[0] == "-" else micro
    return unsigned(plain, decimal)


def typed(text: str) -> int:
    """Return the micro-euros that a person typed: whole cents, with a comma or a point.

    A mark followed by three digits could mean thousands as well, and is asked back.

    Raises:
        AmountError: not an amount, not positive, not whole cents, or beyond SEPA's largest.
    """
    plain = text.replace("€", "").replace("\u00a0", " ").strip()
    if not re.fullmatch(r"[0-9]{1,12}([.,][0-9]{1,2})?", plain):
        raise AmountError(
            "write the amount in euros with at most two decimals, such as 12.50 or 12,50, "
            "without thousands separators"
        )
    micro = unsigned(plain.replace(",", "."))
    if micro == 0:
        raise AmountError("the amount is zero: write one from 0.01 euro")
    return within_sepa(micro)


def within_sepa(micro: int) -> int:
    """Return the amount.

    Raises:
        AmountError: more than a SEPA credit transfer can carry.
    """
    if micro > MAX_MICRO:
        raise AmountError(f"more than {euros(MAX_MICRO)} euros: no SEPA transfer carries that")
    return micro


def euros(micro: int) -> str:
    """Return an amount as a decimal with a point: two places, or as many of six as it needs."""
    whole, rest = divmod(abs(micro), MICRO_PER_EURO)
    places = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micro < 0 else ''}{whole}.{places}"

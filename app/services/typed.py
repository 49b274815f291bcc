"""Numbers as people type them into forms, as whole numbers in the house's units."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

WH_OF_KWH: Final = 1_000  # also W of a kW
MICRO_OF_CENT: Final = 10_000  # also ppm of a per cent
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,9}(?:[.,][0-9]{1,9})?")


class TypedError(ValueError):
    """What is typed is no such number: show the message beside its field."""


def scaled(text: str, scale: int, example: str) -> int:
    """Return a decimal number, with a point or a comma, times ``scale``: exactly, or not at all.

    ``example`` is one with its unit behind a blank, as ``12.5 ct/kWh``.

    Raises:
        TypedError: no number of at most nine digits before the mark, or one that is too fine.
    """
    typed = text.strip()
    plain = typed.replace("\u2212", "-")  # the sign that pages show
    if not _NUMBER.fullmatch(plain):
        raise TypedError(
            f"{typed[:30]!r} is no number: write it such as {example}, without the unit"
        )
    value = Decimal(plain.replace(",", ".")) * scale
    if value != value.to_integral_value():
        step = f"{Decimal(1) / scale} {example.partition(' ')[2]}"
        raise TypedError(f"{typed[:30]} is too fine: the smallest step is {step}")
    return int(value)


def written(value: int, scale: int) -> str:
    """Return what :func:`scaled` reads, with every decimal that the scale has."""
    return format(Decimal(value) / scale, "f")

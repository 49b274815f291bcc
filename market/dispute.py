"""What a disputed statement line holds back until it is settled. ``docs/money.md``, "Disputes"."""

from __future__ import annotations

from typing import NamedTuple

from market.money import Money, round_half_up
from market.statement import MICRO_PER_CENT
from market.statement_parts import LOCAL, SOLD


class DisputedLine(NamedTuple):
    """A line as the statement says it: ``micro`` > 0 is earned, < 0 owed, before VAT."""

    kind: str
    micro: int
    vat_ppm: int


def held(line: DisputedLine, *, vat_liable: bool) -> Money:
    """Return what is not to be collected while the line is disputed: whole cents, VAT included.

    What was earned holds nothing back. Local energy was paid through the wallet at once, so that
    of it only VAT is due. ``vat_liable`` says whether the participant's own sales bear VAT.
    """
    if line.micro >= 0:
        return Money(0)
    bears_vat = line.kind not in SOLD or vat_liable
    vat = Money(-line.micro).share(line.vat_ppm if bears_vat else 0).micro
    net = 0 if line.kind in LOCAL else -line.micro
    return Money(round_half_up(net + vat, MICRO_PER_CENT) * MICRO_PER_CENT)

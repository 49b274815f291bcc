"""Where an issued statement stands: what is open, held and overdue, by what the bank moved for it.

The rules stand in ``docs/money.md``, "Paying a statement".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

PAYMENT_DAYS: Final = 14


class State(StrEnum):
    """What people read of an issued statement."""

    OPEN = "open"
    PARTLY_PAID = "partly-paid"
    DISPUTED = "disputed"
    PAID = "paid"
    PAID_OUT = "paid-out"


@dataclass(frozen=True, slots=True)
class Dues:
    """A statement's money in micro-euros, all whole cents.

    ``due_micro`` > 0 is the participant's to pay, < 0 the district's; ``in_micro`` came in for it
    and ``out_micro`` was paid out on it (both >= 0); ``held_micro`` is not collected while it is
    disputed.
    """

    due_micro: int
    in_micro: int = 0
    out_micro: int = 0
    held_micro: int = 0

    @property
    def open_micro(self) -> int:
        """What is still to be paid: > 0 by the participant, < 0 to them."""
        return self.due_micro - self.in_micro + self.out_micro

    @property
    def state(self) -> State:
        """The state; whoever paid too much has paid, and gets back what is too much."""
        if self.open_micro > 0:
            if self.held_micro > 0:
                return State.DISPUTED
            return State.PARTLY_PAID if self.in_micro else State.OPEN
        if self.due_micro < 0:
            return State.OPEN if self.open_micro else State.PAID_OUT
        return State.PAID

    def is_overdue(self, issued: date, today: date) -> bool:
        """Tell whether more is open than is held, after the day on which it was due."""
        return self.open_micro > self.held_micro and today > due_day(issued)


def due_day(issued: date) -> date:
    """Return the local day up to which a statement is to be paid."""
    return issued + timedelta(days=PAYMENT_DAYS)

"""What can be wrong with a bank's file, an amount or an account number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_SHOWN: Final = 5


class BankFileError(ValueError):
    """Root: what was given is refused for good; mend what the message names."""


class AmountError(BankFileError):
    """The text is no amount of euros: write one such as 12.34."""


class IdentifierError(BankFileError):
    """An IBAN, BIC or reference has a typing mistake: compare it with the original."""


class PaymentFileError(BankFileError):
    """A payment cannot stand in a SEPA file: mend the payment or the setting that is named."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in a file: ``where`` is a line or a path within the document."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


class StatementFileError(BankFileError):
    """The statement file is refused as a whole, nothing of it was booked: mend it, import again."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        shown = "; ".join(str(fault) for fault in faults[:_SHOWN])
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        super().__init__(f"{shown}{more}")

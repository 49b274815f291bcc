"""What can go wrong on the bank rail; nothing was written when one of these is raised."""

from __future__ import annotations


class BankError(Exception):
    """Root: read the message, mend what it names, try again. ``field`` is a form's, or ''."""

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.field = field


class NoAccountError(BankError):
    """The district has no bank account: set ``bank_iban``."""


class NotThereError(BankError):
    """Nothing is known under this reference: look it up in the list."""


class StateError(BankError):
    """It is past this step: look at where it stands now."""


class AskedError(BankError):
    """What a person asked for cannot be done so: mend the field that is named."""

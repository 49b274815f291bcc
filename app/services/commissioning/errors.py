"""What commissioning refuses, and what the caller does next."""

from __future__ import annotations


class CommissioningError(ValueError):
    """Root of these errors: reject (4xx); ``field`` names the input to be mended, '' for none."""

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.field = field


class TokenRefusedError(CommissioningError):
    """No such token, or it is used or over (401): have a new one made on the web page."""


class TooManyGuessesError(CommissioningError):
    """Too many wrong tokens from one address (429): try again after ``retry_after_s``."""

    def __init__(self, text: str, retry_after_s: int) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class UnfitRequestError(CommissioningError):
    """The enrolment does not fit the token's offer (403): ask for the offer and sign again."""


class RequestConflictError(CommissioningError):
    """Key or point is taken otherwise (409): use a new key, or wait until that is decided."""


class UnknownRequestError(CommissioningError):
    """There is no such enrolment, key or point (404): look for a typing error."""


class NotDecidableError(CommissioningError):
    """It is decided already, or cannot be decided so (409): load the page again."""

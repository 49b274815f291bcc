"""What the REST server answers when it does not do what was asked; each error is one status."""

from __future__ import annotations

from typing import ClassVar


class RestError(Exception):
    """Root of this package's errors: becomes ``{"error": {"code", "message"}}``."""

    status: ClassVar[int] = 500
    headers: ClassVar[dict[str, str]] = {}


class BadRequestError(RestError):
    """A parameter or body is malformed (400): mend it, do not send it again."""

    status = 400


class UnauthorisedError(RestError):
    """The token is missing or wrong (401): ask the node's operator for one."""

    status = 401
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class NotFoundError(RestError):
    """There is no such thing here, or not yet (404): ask again later or elsewhere."""

    status = 404


class SlowSenderError(RestError):
    """The request did not arrive in time (408): send it again, faster."""

    status = 408
    headers: ClassVar[dict[str, str]] = {"Connection": "close"}


class BodyTooLargeError(RestError):
    """The body exceeds what any block needs (413): send less."""

    status = 413
    headers: ClassVar[dict[str, str]] = {"Connection": "close"}


class UnsupportedMediaTypeError(RestError):
    """The Content-Type is neither JSON nor the ledger's binary form (415): name one of them."""

    status = 415


class BusyError(RestError):
    """More blocks wait for the disk than the node takes (503): retry after the given seconds."""

    status = 503
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class WriteFaultError(RestError):
    """The node failed while it stored a group of blocks (500): nothing was stored; ask a person."""

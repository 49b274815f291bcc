"""What may go wrong between a line and a meter, and what the caller does next.

Source: Modbus Application Protocol V1.1b3, section 7 (exception codes).
"""

from __future__ import annotations

from typing import Final

NO_REGISTER: Final = 0x02
BUSY: Final = 0x06
NO_PATH: Final = 0x0A
NO_ANSWER: Final = 0x0B


class MeterError(Exception):
    """Root of these errors: there is no reading from this poll; never repeat an old one."""


class MeterTimeoutError(MeterError):
    """No reply in time: record the reading as missing and poll again when it is due."""


class MeterUnreachableError(MeterError):
    """No connection, or it broke off: record as missing and poll again when it is due."""


class MeterOfflineError(MeterError):
    """The gateway answers for a meter that does not (0x0A, 0x0B): missing; other units go on."""


class MeterBusyError(MeterError):
    """Still busy (0x06) after backing off: record as missing and poll again when it is due."""


class ReplyError(MeterError):
    """A short, long, foreign or senseless reply: reject it; the connection was closed."""


class MeterRefusedError(MeterError):
    """The meter refuses the request for good: ask a person to check profile and unit id."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class RegisterAbsentError(MeterRefusedError):
    """The meter has no such register (0x02): do without the fields there, and tell a person."""


def refusal(where: str, code: int, address: int) -> MeterError:
    """Return the error that stands for exception ``code`` of the unit called ``where``."""
    if code == BUSY:
        return MeterBusyError(f"{where} is busy (0x06): poll it less often")
    if code in {NO_PATH, NO_ANSWER}:
        return MeterOfflineError(
            f"the gateway of {where} cannot reach it (0x{code:02X}): check the bus and its power"
        )
    if code == NO_REGISTER:
        return RegisterAbsentError(
            f"{where} has no register {address} (0x02): check the profile against the meter", code
        )
    return MeterRefusedError(
        f"{where} refuses to read register {address} (0x{code:02X}): check profile and unit id",
        code,
    )

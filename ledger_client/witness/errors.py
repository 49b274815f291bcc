"""Why a witness does not cosign; each branch is one HTTP status of C2SP tlog-witness."""

from __future__ import annotations

from typing import ClassVar


class WitnessError(Exception):
    """Root of the witness's errors; ``status`` is the HTTP status that tells them apart."""

    status: ClassVar[int] = 503


class WitnessStateError(WitnessError):
    """The witness cannot write its state now: ask again later."""


class WitnessSettingsError(WitnessError):
    """A name or key that was given is none, or the folder is another witness's: mend it."""


class MalformedRequestError(WitnessError):
    """The request or its checkpoint has not the form of the protocol: mend the client."""

    status = 400


class LogSignatureError(WitnessError):
    """No trusted key of the log signed the checkpoint, or a signature is wrong."""

    status = 403


class UnknownLogError(WitnessError):
    """The witness does not watch this log: ask its operator."""

    status = 404


class OtherSizeError(WitnessError):
    """The witness is at another size: ask again with a proof from ``size``."""

    status = 409

    def __init__(self, size: int) -> None:
        super().__init__(f"the latest checkpoint cosigned here has size {size}")
        self.size = size


class InconsistentError(WitnessError):
    """The checkpoint does not continue what was cosigned: the proof or the log is wrong."""

    status = 422

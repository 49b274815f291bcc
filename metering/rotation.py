"""A meter's key gives way to a new one: the gateway's half of a rotation.

The payload is the new key's enrolment; the new key signs it to show possession, the old key to
hand over, and the registry to grant it (docs/protocol.md, "Enrolment").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nacl.signing import SigningKey

from metering.interval import Interval
from metering.reading import Enrolment
from metering.signing import Purpose, public_key, sign
from metering.spool import Signer


class RotationError(ValueError):
    """No signer fits: mend the gateway's settings, or enrol the meter again."""


@dataclass(frozen=True, slots=True)
class Handover:
    """A new key's enrolment, verbatim, signed by the new and by the old key."""

    payload: bytes
    possession: bytes
    handover: bytes


def begin(old: Signer, new: SigningKey, valid_from: Interval) -> tuple[Signer, Handover]:
    """Return the signer of the new key, from ``valid_from`` on, and what the registry has to sign.

    The new chain begins at ``seq`` 1 with a ``prev`` of zeros, in the same epoch: the meter and
    its registers stay.

    Raises:
        RotationError: the new key is the old one, or would begin before the old one did.
    """
    enrolled = old.enrolment
    if public_key(new) == enrolled.key or valid_from.key <= enrolled.valid_from.key:
        raise RotationError(
            f"meter {enrolled.serial}: a rotation takes a new key, from an interval after "
            f"{enrolled.valid_from.key} on"
        )
    enrolment = replace(enrolled, key=public_key(new), valid_from=valid_from)
    payload = enrolment.to_payload()
    signed = Handover(
        payload,
        possession=sign(new, Purpose.ENROL, payload),
        handover=sign(old.key, Purpose.ROTATE, payload),
    )
    return Signer(enrolment, new), signed


def signer_at(signers: Sequence[Signer], answered_ms: int) -> Signer:
    """Return which of a meter's signers signs what was answered at a moment (UTC ms).

    That is the one valid by then that began last, so that the new chain begins with the border.

    Raises:
        RotationError: none of them is valid yet.
    """
    begun = [each for each in signers if _start(each.enrolment) <= answered_ms]
    if not begun:
        raise RotationError("none of the meter's keys is valid yet: wait for its first interval")
    return max(begun, key=lambda each: _start(each.enrolment))


def _start(enrolment: Enrolment) -> int:
    return enrolment.valid_from.start_ms

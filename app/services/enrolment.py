"""Who may send readings: enrolments of meters, their rotation and revocation, and the roster.

Formats: docs/protocol.md, "Enrolment". Every act is an entry of the log, written in the caller's
transaction together with the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nacl.signing import SigningKey
from sqlmodel import Session, col, or_, select

from app.store import changes, disputed, log
from app.store.registry import begin as begin_of
from app.tables import EnrolmentRow, GatewayRow, MeteringPointRow
from metering.identity import PublicKey
from metering.interval import Interval
from metering.reading import Enrolment, MalformedEnrolmentError
from metering.signing import Purpose, sign, verify

_MAX_EPOCH: Final = 2**31 - 1  # the column's range
_SIGNED: Final = ("point", "serial", "profile", "epoch", "valid_from")


class EnrolmentError(ValueError):
    """Root of this module's errors: reject for good, and tell the person who enrols."""


class EnrolmentSignatureError(EnrolmentError):
    """Meter or registry did not sign this payload (401): have it signed again."""


class ForeignEnrolmentError(EnrolmentError):
    """Another district's enrolment (403): it was sent to the wrong place."""


class UnknownPointError(EnrolmentError):
    """The district has no such metering point (404): register the point first."""


class UnknownEnrolmentError(EnrolmentError):
    """No such key is enrolled (404): look for a typing error."""


class EnrolmentConflictError(EnrolmentError):
    """Key or point is taken otherwise (409): revoke the old enrolment first, or use a new key."""


@dataclass(frozen=True, slots=True)
class SignedEnrolment:
    """An enrolment's payload, verbatim, with the signatures of the meter and of the registry."""

    payload: bytes
    possession: bytes
    registry: bytes


@dataclass(frozen=True, slots=True)
class SignedRotation(SignedEnrolment):
    """The enrolment of a meter's new key, which ``old``, the key before, signed as well."""

    old: PublicKey
    handover: bytes


def endorse(enrolment: Enrolment, meter: SigningKey, registry: SigningKey) -> SignedEnrolment:
    """Sign an enrolment with both keys, where both are at hand (the demo, a test)."""
    payload = enrolment.to_payload()
    return SignedEnrolment(
        payload,
        possession=sign(meter, Purpose.ENROL, payload),
        registry=sign(registry, Purpose.ENROL, payload),
    )


def enrol(
    session: Session, district: str, registry: PublicKey, signed: SignedEnrolment
) -> EnrolmentRow:
    """Check an enrolment, store it and log it; the same one again changes nothing.

    Args:
        district: the origin that the payload has to name.
        registry: the registry's public key.
        signed: what the meter and the registry signed.

    Raises:
        MalformedEnrolmentError: not a payload of the protocol, or an unusable key.
        ForeignEnrolmentError, EnrolmentSignatureError, UnknownPointError: see there.
        EnrolmentConflictError: the key has another role or enrolment, or the point another key.
    """
    enrolment = Enrolment.from_payload(signed.payload)
    _check_signed(district, registry, enrolment, signed)
    # The point's row serialises enrolments of one point; SQLite's writers queue anyway.
    point = session.exec(
        select(MeteringPointRow).where(MeteringPointRow.gsrn == enrolment.point).with_for_update()
    ).first()
    if point is None:
        raise UnknownPointError(
            f"no metering point {enrolment.point} in {district}: add it with `wattloom point add`"
        )
    known = session.exec(select(EnrolmentRow).where(EnrolmentRow.key == enrolment.key.hex)).first()
    if known is not None:
        return _same(known, enrolment)
    _check_free(session, registry, enrolment)
    begin = begin_of(session, enrolment.point)
    if begin is not None and enrolment.valid_from < begin:
        raise EnrolmentConflictError(
            f"point {enrolment.point} is there from {begin} on: enrol its meter from then on"
        )
    body = {
        "enrolment": signed.payload.decode(),
        "possession": signed.possession.hex(),
        "registry": signed.registry.hex(),
    }
    row = _row(enrolment, log.append(session, "enrol", body))
    session.add(row)
    session.flush()
    return row


def rotate(
    session: Session, district: str, registry: PublicKey, signed: SignedRotation
) -> EnrolmentRow:
    """Let a meter's new key take over from its ``valid_from`` on; the same again changes nothing.

    Meter, point and epoch stay, so that border readings of both keys make a pair. The old key
    counts up to there.

    Raises:
        MalformedEnrolmentError, ForeignEnrolmentError, EnrolmentSignatureError: see there; the
            last also where the old key has not signed.
        UnknownEnrolmentError: the old key is not enrolled.
        EnrolmentConflictError: the old key is not the point's any more, is of another meter or
            epoch, or has signed readings after the new one begins; or the new key is taken.
    """
    enrolment = Enrolment.from_payload(signed.payload)
    _check_signed(district, registry, enrolment, signed)
    if not verify(signed.old, Purpose.ROTATE, signed.payload, signed.handover):
        raise EnrolmentSignatureError(
            f"meter {enrolment.serial}: its old key {signed.old} has not signed this rotation"
        )
    old = _enrolled(session, signed.old)
    known = session.exec(select(EnrolmentRow).where(EnrolmentRow.key == enrolment.key.hex)).first()
    if known is not None:
        return _same(known, enrolment)
    _check_successor(session, old, enrolment)
    old.revoked_from = enrolment.valid_from.key
    session.add(old)
    session.flush()
    _check_free(session, registry, enrolment)
    body = {
        "enrolment": signed.payload.decode(),
        "handover": signed.handover.hex(),
        "old": signed.old.hex,
        "possession": signed.possession.hex(),
        "registry": signed.registry.hex(),
    }
    row = _row(enrolment, log.append(session, "rotate", body))
    session.add(row)
    session.flush()
    return row


def revoke(session: Session, district: str, key: PublicKey, start: Interval) -> int:
    """Refuse the key's readings of the intervals from ``start`` on; return the log entry's index.

    A revocation from an earlier interval on replaces one that stands. What the key signed from
    ``start`` on and was taken in already is disputed: the worker replaces the energies that rest
    on it (``app/jobs/dispute.py``).

    Raises:
        UnknownEnrolmentError: the key is not enrolled.
        EnrolmentConflictError: it is revoked from then or from an earlier interval on already.
    """
    row = _enrolled(session, key)
    if row.revoked_from is not None and row.revoked_from <= start.key:
        raise EnrolmentConflictError(f"key {key} is revoked from {row.revoked_from} on already")
    row.revoked_from = start.key
    session.add(row)
    session.flush()
    disputed.mark(session, key.hex, start)
    return log.append(session, "revoke", {"district": district, "key": key.hex, "from": start.key})


def withdraw(session: Session, district: str, key: PublicKey, now: Interval) -> int:
    """Take back a revocation that has not begun by ``now``; return the log entry's index.

    Raises:
        UnknownEnrolmentError: the key is not enrolled.
        EnrolmentConflictError: it is not revoked, the revocation has begun, or another key takes
            over the point.
    """
    row = _enrolled(session, key)
    if row.revoked_from is None:
        raise EnrolmentConflictError(f"key {key} is not revoked: nothing to withdraw")
    if row.revoked_from <= now.key:
        raise EnrolmentConflictError(
            f"the revocation of key {key} began with {row.revoked_from}: enrol a new key"
        )
    after = session.exec(
        select(EnrolmentRow.serial).where(
            EnrolmentRow.point == row.point, EnrolmentRow.valid_from >= row.revoked_from
        )
    ).first()
    if after is not None:
        raise EnrolmentConflictError(
            f"meter {after} takes over point {row.point} from {row.revoked_from} on: revoke its "
            "key first"
        )
    row.revoked_from = None
    session.add(row)
    session.flush()
    return log.append(session, "revoke", {"district": district, "key": key.hex, "from": None})


def roster(session: Session, interval: Interval) -> Sequence[EnrolmentRow]:
    """Return the enrolments valid in ``interval``, one per point, sorted by point."""
    return session.exec(
        select(EnrolmentRow)
        .where(
            EnrolmentRow.valid_from <= interval.key,
            or_(
                col(EnrolmentRow.revoked_from).is_(None),
                col(EnrolmentRow.revoked_from) > interval.key,
            ),
        )
        .order_by(col(EnrolmentRow.point))
    ).all()


def allow_gateway(session: Session, name: str, key: PublicKey) -> GatewayRow:
    """Accept batches of a gateway from now on; the same again changes nothing.

    Raises:
        EnrolmentConflictError: the name has another key, or the key another role.
    """
    same_key = session.get(GatewayRow, key.hex)
    if same_key is not None and same_key.name == name:
        return same_key
    taken = session.exec(select(GatewayRow).where(GatewayRow.name == name)).first()
    if same_key or taken or _is_meter(session, key):
        raise EnrolmentConflictError(
            f"gateway {name!r} with key {key}: name or key is taken; forbid the old one first, "
            "and give each role a key of its own"
        )
    row = GatewayRow(key=key.hex, name=name)
    session.add(row)
    session.flush()
    return row


def forbid_gateway(session: Session, key: PublicKey) -> None:
    """Refuse the batches of a gateway from now on; unknown keys are refused anyway."""
    row = session.get(GatewayRow, key.hex)
    if row is not None:
        session.delete(row)
        session.flush()


def _enrolled(session: Session, key: PublicKey) -> EnrolmentRow:
    row = session.exec(
        select(EnrolmentRow).where(EnrolmentRow.key == key.hex).with_for_update()
    ).first()
    if row is None:
        raise UnknownEnrolmentError(f"key {key} is not enrolled: look for a typing error")
    return row


def _check_successor(session: Session, old: EnrolmentRow, enrolment: Enrolment) -> None:
    """Refuse unless the new key goes on where the old one may stop."""
    begins = enrolment.valid_from
    meter = (old.point, old.serial, old.profile, old.epoch)
    if meter != (enrolment.point, enrolment.serial, enrolment.profile, enrolment.epoch):
        raise EnrolmentConflictError(
            f"key {old.key} is of meter {old.serial} at {old.point}, profile {old.profile}, epoch "
            f"{old.epoch}: a rotation changes the key alone"
        )
    if old.revoked_from is not None:
        raise EnrolmentConflictError(
            f"key {old.key} is revoked from {old.revoked_from} on: enrol the new key instead"
        )
    if any(change.state == changes.PROPOSED for change in changes.of_key(session, old.key)):
        # A key of the enrolled epoch would make the question whether its counter began anew moot.
        raise EnrolmentConflictError(
            f"a new epoch of key {old.key} waits for a decision: approve or reject that change "
            "first, then rotate"
        )
    if begins.key <= old.valid_from or disputed.has_signed(session, old.key, begins):
        raise EnrolmentConflictError(
            f"key {old.key} has signed readings of {begins} or later, or begins then: rotate from "
            "a later interval on"
        )


def _check_signed(
    district: str, registry: PublicKey, enrolment: Enrolment, signed: SignedEnrolment
) -> None:
    if enrolment.district != district:
        raise ForeignEnrolmentError(
            f"the enrolment names {enrolment.district}, this is {district}: send it there"
        )
    if enrolment.epoch > _MAX_EPOCH:
        raise MalformedEnrolmentError(f"epoch {enrolment.epoch}: at most {_MAX_EPOCH}")
    if not verify(enrolment.key, Purpose.ENROL, signed.payload, signed.possession):
        raise EnrolmentSignatureError(
            f"meter {enrolment.serial}: no proof that it holds key {enrolment.key}; sign again"
        )
    if not verify(registry, Purpose.ENROL, signed.payload, signed.registry):
        raise EnrolmentSignatureError(
            f"meter {enrolment.serial}: the registry {registry} has not signed this enrolment"
        )


def _same(row: EnrolmentRow, enrolment: Enrolment) -> EnrolmentRow:
    wanted = _row(enrolment, row.log_index)
    if any(getattr(row, name) != getattr(wanted, name) for name in _SIGNED):
        raise EnrolmentConflictError(
            f"key {row.key} is enrolled otherwise (point {row.point}, meter {row.serial}, epoch "
            f"{row.epoch}, from {row.valid_from}): revoke it and enrol with a new key"
        )
    return row


def _check_free(session: Session, registry: PublicKey, enrolment: Enrolment) -> None:
    if enrolment.key == registry or session.get(GatewayRow, enrolment.key.hex) is not None:
        raise EnrolmentConflictError(
            f"key {enrolment.key} has another role: give the meter a key of its own"
        )
    # Two keys that are valid at once would give the point two rows in one roster.
    rivals = session.exec(select(EnrolmentRow).where(EnrolmentRow.point == enrolment.point))
    for rival in rivals:
        if rival.revoked_from is None or rival.revoked_from > enrolment.valid_from.key:
            raise EnrolmentConflictError(
                f"point {rival.point} has meter {rival.serial} with key {rival.key}: revoke that "
                f"one from {enrolment.valid_from} or earlier, then enrol the new one"
            )


def _is_meter(session: Session, key: PublicKey) -> bool:
    query = select(EnrolmentRow.id).where(EnrolmentRow.key == key.hex)
    return session.exec(query).first() is not None


def _row(enrolment: Enrolment, log_index: int) -> EnrolmentRow:
    return EnrolmentRow(
        key=enrolment.key.hex,
        point=enrolment.point,
        serial=enrolment.serial,
        profile=enrolment.profile,
        epoch=enrolment.epoch,
        valid_from=enrolment.valid_from.key,
        log_index=log_index,
    )

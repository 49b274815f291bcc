"""A meter's new key, for which the old one vouches: no token and no second person are needed."""

from __future__ import annotations

from typing import Final

from app.services import enrolment
from app.services.commissioning.errors import UnfitRequestError
from app.services.enrolment import SignedRotation
from app.services.house import House
from app.store import people
from metering.commissioning.wire import RotationRequest, Standing, fingerprint
from metering.identity import PublicKey
from metering.interval import LENGTH_MS, Interval
from metering.reading import Enrolment
from metering.signing import Purpose, public_key, sign

AHEAD_MS: Final = 7 * 86_400_000


def rotate(house: House, request: RotationRequest) -> Standing:
    """Have the registry sign and enter a rotation; the same again gives the same answer.

    Raises:
        UnfitRequestError: it begins in the past, or too far ahead.
        MalformedEnrolmentError, EnrolmentError: see :func:`app.services.enrolment.rotate`.
    """
    payload = request.enrolment.encode()
    signed = Enrolment.from_payload(payload)
    now = Interval.containing_ms(house.clock.now_ms())
    # A retry just after the border that it begins with is in time.
    if not now.start_ms - LENGTH_MS < signed.valid_from.start_ms <= now.start_ms + AHEAD_MS:
        raise UnfitRequestError(
            f"a new key begins in {now} or within 7 days, not in {signed.valid_from}: look at the "
            "gateway's clock"
        )
    rotation = SignedRotation(
        payload,
        possession=bytes.fromhex(request.possession),
        registry=sign(house.keyring.registry, Purpose.ENROL, payload),
        old=PublicKey.parse(request.old),
        handover=bytes.fromhex(request.handover),
    )
    with house.database.write() as session:
        registry = public_key(house.keyring.registry)
        row = enrolment.rotate(session, house.settings.origin, registry, rotation)
        people.notify(
            session,
            ref=f"rotation/{row.key}",
            at_ms=house.clock.now_ms(),
            level="info",
            text=f"Meter {row.serial} has a new key from {row.valid_from} on: "
            f"{fingerprint(signed.key)}; the old one signed it over",
            point=row.point,
        )
        return Standing(
            key=row.key,
            fingerprint=fingerprint(signed.key),
            point=row.point,
            state="active",
            registry=rotation.registry.hex(),
            log_index=row.log_index,
            revoked_from=row.revoked_from,
        )

"""An enrolment's way: offered to a token, brought by a gateway, confirmed by a person, signed.

``pending`` until somebody compared the key's fingerprint and the registry signed, ``active`` from
then on: only then does the door know the key. ``withdrawn`` is the other way out.
docs/commissioning.md tells it for people, docs/protocol.md for programs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from app.services import enrolment
from app.services.commissioning import exchanges, tokens
from app.services.commissioning.errors import (
    CommissioningError,
    NotDecidableError,
    RequestConflictError,
    TokenRefusedError,
    UnfitRequestError,
    UnknownRequestError,
)
from app.services.enrolment import EnrolmentError, SignedEnrolment
from app.services.house import House
from app.store import people, registry
from app.tables import EnrolmentRequestRow, EnrolmentRow, EnrolmentTokenRow, GatewayRow
from metering.commissioning.wire import (
    EnrolmentRequest,
    Exchange,
    Offer,
    Standing,
    compared,
    fingerprint,
    same_groups,
)
from metering.identity import PublicKey
from metering.interval import LENGTH_MS, Interval
from metering.reading import Enrolment, MalformedEnrolmentError
from metering.signing import Purpose, public_key, sign, verify

PENDING: Final = "pending"
ACTIVE: Final = "active"
WITHDRAWN: Final = "withdrawn"
BACK_MS: Final = LENGTH_MS
"""How far before now an enrolment may begin: whoever signed just before a border is in time."""


@dataclass(frozen=True, slots=True)
class Brought:
    """An enrolment that came in, and whether it stood already (an answer that was lost)."""

    standing: Standing
    repeated: bool


def offer(house: House, token: str, now_ms: int) -> Offer:
    """Return what a token allows; it stays unused.

    Raises:
        TokenRefusedError: unknown, used or over.
    """
    with house.database.read() as session:
        row = tokens.find(session, token, now_ms)
        if row.used_ms is not None:
            raise TokenRefusedError("the token was used: have a new one made")
        point = people.points(session)[row.point]
        old = tokens.holder(session, house, row.point)
        return Offer(
            district=house.settings.origin,
            point=row.point,
            name=point.name[:240],
            purpose="add" if old is None else "replace",
            valid_from=_first(house, old, session, row.point).key,
            max_power_w=point.max_power_w,
            old_key=old.key if old else None,
            old_serial=old.serial if old else None,
        )


def bring(house: House, token: str, request: EnrolmentRequest, now_ms: int) -> Brought:
    """Store an enrolment for a person to confirm; the same one again changes nothing.

    Raises:
        TokenRefusedError: unknown, over, or used for another enrolment.
        UnfitRequestError, RequestConflictError: see there; the token can be used again.
        MalformedEnrolmentError, EnrolmentSignatureError: the payload or the meter's signature.
    """
    refused: CommissioningError | EnrolmentError | MalformedEnrolmentError
    with house.database.write() as session:
        row = tokens.find(session, token, now_ms, lock=True)
        if row.used_ms is not None:
            return Brought(_same(house, session, row, request), repeated=True)
        try:
            brought = _store(house, session, row, request)
            row.used_ms = now_ms
            session.add(row)
            return Brought(brought, repeated=False)
        except (CommissioningError, EnrolmentError, MalformedEnrolmentError) as error:
            row.attempts += 1
            session.add(row)
            refused = error
    raise refused


def standing(house: House, key: str) -> Standing:
    """Return how far the enrolment of a key has come.

    Raises:
        UnknownRequestError: nobody brought one.
    """
    with house.database.read() as session:
        row = session.exec(
            select(EnrolmentRequestRow).where(EnrolmentRequestRow.key == key)
        ).first()
        if row is None:
            raise UnknownRequestError(f"no enrolment of key {key} was brought here")
        return _standing(house, session, row)


def confirm(house: House, request: int, typed: str, by: str) -> Standing:
    """Take a person's word that the gateway shows this fingerprint; have the registry sign.

    Args:
        house: whose registry signs.
        request: the enrolment's number.
        typed: the fingerprint's last groups, as the gateway shows them.
        by: who confirms.

    Raises:
        UnknownRequestError: there is no such enrolment.
        NotDecidableError: it waits for nobody, or those are other groups; nothing was changed.
        EnrolmentError: the point or key is taken meanwhile; nothing was changed.
    """
    with house.database.write() as session:
        row = _locked(session, request)
        shown, expected = compared(fingerprint(PublicKey.parse(row.key)))
        if not same_groups(typed, expected):
            raise NotDecidableError(
                "those are not the last two groups of this key. Compare again; where they still "
                f"differ ({shown} ... here), another key than the gateway's came in: withdraw it",
                "fingerprint",
            )
        row.decided_by, row.decided_ms = by, house.clock.now_ms()
        registry = sign(house.keyring.registry, Purpose.ENROL, row.payload)
        _activate(house, session, row, registry)
        return _standing(house, session, row)


def withdraw(house: House, request: int, by: str) -> None:
    """Turn down an enrolment that is not active yet; its key will never count.

    Raises:
        UnknownRequestError, NotDecidableError: there is none, or it is decided.
    """
    with house.database.write() as session:
        row = _locked(session, request)
        row.state, row.decided_by, row.decided_ms = WITHDRAWN, by, house.clock.now_ms()
        session.add(row)


def open_requests(session: Session) -> list[EnrolmentRequestRow]:
    """Return the enrolments that wait for somebody, the oldest first."""
    row = EnrolmentRequestRow
    return list(session.exec(select(row).where(row.state == PENDING).order_by(col(row.id))))


def _store(
    house: House, session: Session, token: EnrolmentTokenRow, request: EnrolmentRequest
) -> Standing:
    signed = Enrolment.from_payload(request.enrolment.encode())
    _check_offered(house, session, token, request, signed)
    possession = bytes.fromhex(request.possession)
    if not verify(signed.key, Purpose.ENROL, request.enrolment.encode(), possession):
        raise enrolment.EnrolmentSignatureError(
            f"meter {signed.serial}: no proof that it holds key {signed.key}; sign again"
        )
    _check_free(session, signed, request.gateway.key, request.gateway.name)
    row = EnrolmentRequestRow(
        token=token.hash,
        key=signed.key.hex,
        point=signed.point,
        serial=signed.serial,
        profile=signed.profile,
        profile_version=request.report.version,
        payload=request.enrolment.encode(),
        possession=possession,
        gateway=request.gateway.name,
        gateway_key=request.gateway.key,
        brought_by=request.by,
        sent_ms=house.clock.now_ms(),
        report=request.report.to_json(),
        exchange=None if request.exchange is None else request.exchange.to_json(),
        state=PENDING,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:  # brought at another point in this very moment
        raise _taken(row.key) from error
    people.notify(
        session,
        ref=f"enrolment/{row.key}",
        at_ms=row.sent_ms,
        level="warning",
        text=f"Meter {row.serial} waits for its confirmation: compare its fingerprint with the "
        "gateway's on the page Meters",
        point=row.point,
    )
    return _standing(house, session, row)


def _check_offered(
    house: House,
    session: Session,
    token: EnrolmentTokenRow,
    request: EnrolmentRequest,
    signed: Enrolment,
) -> None:
    if signed.district != house.settings.origin:
        raise UnfitRequestError(
            f"the enrolment names {signed.district}, this is {house.settings.origin}: send it there"
        )
    if signed.point != token.point:
        raise UnfitRequestError(
            f"the token is for metering point {token.point}, not {signed.point}: have one made "
            "for the point where the meter stands"
        )
    if signed.epoch != 1 or signed.profile != request.report.profile:
        raise UnfitRequestError(
            "a new key begins with epoch 1, and the report has to be of the enrolled profile: "
            "read the meter and sign again"
        )
    if request.exchange is not None:
        exchanges.check(request.exchange, house.clock.now_ms())
    old = tokens.holder(session, house, signed.point)
    first = _first(house, old, session, signed.point)
    begin = registry.begin(session, signed.point) or signed.valid_from
    earliest_ms = max(begin.start_ms, first.start_ms - BACK_MS)
    if not earliest_ms <= signed.valid_from.start_ms <= first.start_ms:
        raise UnfitRequestError(
            f"an enrolment made now begins in {first}, not in {signed.valid_from}: look at the "
            "gateway's clock and sign again"
        )
    named = request.exchange.old_key if request.exchange is not None else None
    if named != (old.key if old else None):
        raise RequestConflictError(
            f"meter {old.serial} is enrolled at this point: use `wattloom meter replace`"
            if old
            else "no meter is enrolled at this point any more: use `wattloom meter add`"
        )


def _first(house: House, old: EnrolmentRow | None, session: Session, point: str) -> Interval:
    """Return the interval in which a meter enrolled now begins.

    In place of another it is the next one: the interval of the exchange is neither's. Without one
    it is this one, or the one from which the last key of the point is revoked, or its first.
    """
    now = Interval.containing_ms(house.clock.now_ms())
    if old is not None:
        planned = old.revoked_from
        return max(now.next(), Interval.parse(planned)) if planned else now.next()
    revoked = session.exec(
        select(EnrolmentRow.revoked_from).where(EnrolmentRow.point == point)
    ).all()
    begin = registry.begin(session, point) or now
    return max([now, begin, *(Interval.parse(key) for key in revoked if key)])


def _check_free(session: Session, signed: Enrolment, gateway_key: str, gateway: str) -> None:
    row = EnrolmentRequestRow
    waiting = session.exec(
        select(row).where(row.point == signed.point, row.state == PENDING)
    ).first()
    if waiting is not None:
        raise RequestConflictError(
            f"meter {waiting.serial} waits for its confirmation at this point: confirm or withdraw "
            "that one first"
        )
    key = signed.key.hex
    known = session.exec(select(EnrolmentRow.id).where(EnrolmentRow.key == key)).first()
    again = session.exec(select(row.id).where(row.key == key)).first()
    taken = session.get(GatewayRow, key) is not None or key == gateway_key
    if known is not None or again is not None or taken:
        raise _taken(key)
    there = session.exec(select(GatewayRow).where(GatewayRow.name == gateway)).first()
    if there is not None and there.key != gateway_key:
        raise RequestConflictError(
            f"another gateway is called {gateway!r} here: give this one a name of its own"
        )


def _taken(key: str) -> RequestConflictError:
    return RequestConflictError(f"key {key} has another role or was used: make the meter a new one")


def _same(
    house: House, session: Session, token: EnrolmentTokenRow, request: EnrolmentRequest
) -> Standing:
    """Return what a used token brought, if it was this."""
    row = session.exec(
        select(EnrolmentRequestRow).where(EnrolmentRequestRow.token == token.hash)
    ).first()
    if row is None or row.payload != request.enrolment.encode():
        raise TokenRefusedError("the token was used: have a new one made")
    return _standing(house, session, row)


def _locked(session: Session, request: int) -> EnrolmentRequestRow:
    row = session.get(EnrolmentRequestRow, request, with_for_update=True)
    if row is None:
        raise UnknownRequestError(f"there is no enrolment number {request}")
    if row.state != PENDING:
        raise NotDecidableError(f"this enrolment is {row.state} already: load the page again")
    return row


def _activate(house: House, session: Session, row: EnrolmentRequestRow, registry: bytes) -> None:
    """Enter an enrolment that the registry signed, and what it brings with it."""
    exchange = None if row.exchange is None else Exchange.parse(row.exchange)
    if exchange is not None:
        exchanges.end_old(house, session, exchange.old_key, row.payload)
    enrolment.allow_gateway(session, row.gateway, PublicKey.parse(row.gateway_key))
    enrolment.enrol(
        session,
        house.settings.origin,
        public_key(house.keyring.registry),
        SignedEnrolment(row.payload, row.possession, registry),
    )
    row.state, row.endorsement = ACTIVE, registry
    session.add(row)
    if exchange is not None:
        exchanges.record(house, session, exchange, row)


def _standing(house: House, session: Session, row: EnrolmentRequestRow) -> Standing:
    entered = session.exec(select(EnrolmentRow).where(EnrolmentRow.key == row.key)).first()
    now = Interval.containing_ms(house.clock.now_ms()).key
    ended = entered.revoked_from if entered else None
    return Standing.model_validate(
        {
            "key": row.key,
            "fingerprint": fingerprint(PublicKey.parse(row.key)),
            "point": row.point,
            "state": "revoked" if ended is not None and ended <= now else row.state,
            "registry": row.endorsement.hex() if row.endorsement else None,
            "log_index": entered.log_index if entered else None,
            "revoked_from": ended,
        }
    )

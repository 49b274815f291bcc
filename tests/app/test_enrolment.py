from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlmodel import Session, select

from app.services.enrolment import (
    EnrolmentConflictError,
    EnrolmentSignatureError,
    ForeignEnrolmentError,
    SignedEnrolment,
    UnknownEnrolmentError,
    UnknownPointError,
    allow_gateway,
    endorse,
    enrol,
    forbid_gateway,
    revoke,
    roster,
)
from app.store import log
from app.tables import EnrolmentRow, GatewayRow
from ledger_client.log import decode_entry
from metering import canonical
from metering.interval import Interval
from metering.reading import MalformedEnrolmentError
from metering.signing import Purpose, public_key, sign
from tests.app.doorway import ORIGIN, START, District, gsrn, key_of

LATER = START.next().next()


def submit(session: Session, district: District, signed: SignedEnrolment) -> EnrolmentRow:
    return enrol(session, ORIGIN, public_key(district.registry), signed)


def test_an_enrolment_stands_in_the_log_as_it_was_signed(district: District) -> None:
    meter = district.meters[0]
    signed = endorse(meter.enrolment, meter.signing_key, district.registry)
    with district.database.read() as session:
        row = session.exec(select(EnrolmentRow).where(EnrolmentRow.key == meter.key)).one()
        kind, text = decode_entry(log.entry(session, row.log_index))
    assert kind == "enrol"
    assert canonical.decode(text.encode()) == {
        "enrolment": signed.payload.decode(),
        "possession": signed.possession.hex(),
        "registry": signed.registry.hex(),
    }
    assert (row.point, row.epoch, row.valid_from) == (meter.point, 1, START.key)


def test_the_same_enrolment_again_changes_nothing(district: District) -> None:
    meter = district.meters[0]
    signed = endorse(meter.enrolment, meter.signing_key, district.registry)
    with district.database.write() as session:
        size = log.size(session)
        first = session.exec(select(EnrolmentRow).where(EnrolmentRow.key == meter.key)).one()
        assert submit(session, district, signed).id == first.id
        assert log.size(session) == size


def _signed(place: District, /, **changes: object) -> SignedEnrolment:
    """A new key for the first point once its meter is revoked, with changes."""
    key = key_of(77)
    base = replace(place.meters[0].enrolment, key=public_key(key), valid_from=LATER)
    return endorse(replace(base, **changes), key, place.registry)


_Change = Callable[[District], SignedEnrolment]
REFUSED: dict[str, tuple[_Change, type[Exception]]] = {
    "other district": (
        lambda d: _signed(d, district="elsewhere.example"),
        ForeignEnrolmentError,
    ),
    "unknown point": (lambda d: _signed(d, point=gsrn(99)), UnknownPointError),
    "point has a meter": (_signed, EnrolmentConflictError),
    "not possessed": (
        lambda d: endorse(_with_key(d, 77), key_of(78), d.registry),
        EnrolmentSignatureError,
    ),
    "not by the registry": (
        lambda d: endorse(_with_key(d, 77), key_of(77), key_of(78)),
        EnrolmentSignatureError,
    ),
    "signed for another purpose": (
        lambda d: _for_purpose(d, Purpose.READING),
        EnrolmentSignatureError,
    ),
    "the registry's key": (lambda d: _own_key(d, d.registry), EnrolmentConflictError),
    "a gateway's key": (lambda d: _own_key(d, d.gateway), EnrolmentConflictError),
    "the key is enrolled elsewhere": (
        lambda d: _own_key(d, d.meters[1].signing_key),
        EnrolmentConflictError,
    ),
    "epoch beyond the column": (lambda d: _signed(d, epoch=2**31), MalformedEnrolmentError),
    "not canonical": (
        lambda d: replace(_signed(d), payload=_signed(d).payload + b" "),
        MalformedEnrolmentError,
    ),
    "small-order key": (
        lambda d: replace(
            _signed(d),
            payload=_signed(d).payload.replace(
                public_key(key_of(77)).hex.encode(), (b"01" + b"00" * 31)
            ),
        ),
        MalformedEnrolmentError,
    ),
}


def _with_key(district: District, number: int):
    return replace(district.meters[0].enrolment, key=public_key(key_of(number)), valid_from=LATER)


def _own_key(district: District, key) -> SignedEnrolment:
    enrolment = replace(district.meters[0].enrolment, key=public_key(key), valid_from=LATER)
    return endorse(enrolment, key, district.registry)


def _for_purpose(district: District, purpose: Purpose) -> SignedEnrolment:
    signed = endorse(_with_key(district, 77), key_of(77), district.registry)
    return replace(signed, possession=sign(key_of(77), purpose, signed.payload))


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_enrolment_leaves_no_trace(name: str, plain_district: District) -> None:
    make, error = REFUSED[name]
    district = plain_district
    with district.database.write() as session:
        size = log.size(session)
        with pytest.raises(error):
            submit(session, district, make(district))
        assert log.size(session) == size
        assert len(session.exec(select(EnrolmentRow)).all()) == 2


def test_roster_follows_validity_and_revocation(district: District) -> None:
    old, other = district.meters
    with district.database.write() as session:
        place = revoke(session, ORIGIN, public_key(old.signing_key), LATER)
        kind, text = decode_entry(log.entry(session, place))
        assert (kind, text) == (
            "revoke",
            f'{{"district":"{ORIGIN}","from":"{LATER.key}","key":"{old.key}"}}',
        )
        new = submit(session, district, _signed(district))
    with district.database.read() as session:

        def keys(interval: Interval) -> list[str]:
            rows = roster(session, interval)
            assert [row.point for row in rows] == sorted({row.point for row in rows})
            return [row.key for row in rows]

        assert keys(START.previous()) == []
        assert keys(START) == [old.key, other.key]
        assert keys(LATER.previous()) == [old.key, other.key]
        assert keys(LATER) == [new.key, other.key]


def test_revoking_twice_or_nobody_is_refused(district: District) -> None:
    key = public_key(district.meters[0].signing_key)
    with district.database.write() as session:
        revoke(session, ORIGIN, key, LATER)
        with pytest.raises(EnrolmentConflictError, match="already"):
            revoke(session, ORIGIN, key, LATER.next())
        with pytest.raises(UnknownEnrolmentError):
            revoke(session, ORIGIN, public_key(key_of(500)), START)


def test_gateways_are_allowed_once_and_forbidden(district: District) -> None:
    with district.database.write() as session:
        key = public_key(district.gateway)
        assert allow_gateway(session, "gateway-1", key).key == key.hex
        for name, other in (
            ("gateway-1", public_key(key_of(600))),
            ("gateway-2", key),
            ("gateway-2", public_key(district.meters[0].signing_key)),
        ):
            with pytest.raises(EnrolmentConflictError):
                allow_gateway(session, name, other)
        forbid_gateway(session, key)
        forbid_gateway(session, key)
        assert session.exec(select(GatewayRow)).all() == []

"""Records of charging sessions: published keys, sessions out of stored readings, numbered pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from sqlmodel import Session, col, func, select

from app.services.house import ENGINE_VERSION, House
from app.store import log, people
from app.tables import (
    EnrolmentRow,
    GatewayRow,
    MeteringPointRow,
    OcmfKeyRow,
    OcmfRecordRow,
    ReadingRow,
)
from metering.ocmf.session import Identified, OcmfSessionError, Signing, above, between, payload
from metering.ocmf.session import Session as Charging
from metering.ocmf.signature import OcmfKeyError, Published, public_hex, signed
from metering.reading import Reading

MAKER: Final = "Wattloom"
_CHARGER: Final = "charger"


class OcmfExportError(ValueError):
    """Nothing was exported: mend what the message names."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which sessions of a charger: from ``begin_ms`` to ``end_ms`` (UTC), for whom.

    Without ``threshold_w`` all of it is one session; else each run of at least so much power is.
    """

    point: str
    begin_ms: int
    end_ms: int
    who: Identified
    threshold_w: int | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """A record and its page; ``fresh`` if it was signed now."""

    number: int
    record: bytes
    fresh: bool


def publish(house: House, statement: Published) -> OcmfKeyRow:
    """Store and log a meter's key for records; the same again changes nothing.

    Raises:
        OcmfKeyError: the statement's meter is not the one enrolled with its key, or the key is
            another meter's.
    """
    with house.database.write() as session:
        row = session.exec(
            select(EnrolmentRow).where(EnrolmentRow.key == statement.key.hex)
        ).first()
        says = (statement.district, statement.point, statement.meter)
        if row is None or says != (house.settings.origin, row.point, row.serial):
            raise OcmfKeyError(
                f"key {statement.key} is not enrolled here for meter {statement.meter} at "
                f"{statement.point}: enrol the meter first, then publish"
            )
        known = session.get(OcmfKeyRow, statement.ocmf)
        if known is not None:
            if known.payload != statement.payload:
                raise OcmfKeyError("this key is another meter's already: make one for each meter")
            return known
        body = {"signature": statement.signature.hex(), "statement": statement.payload.decode()}
        found = OcmfKeyRow(
            public=statement.ocmf,
            meter_key=statement.key.hex,
            point=statement.point,
            payload=statement.payload,
            signature=statement.signature,
            log_index=log.append(session, "ocmf", body),
        )
        session.add(found)
        return found


def export(house: House, asked: Asked, key: ec.EllipticCurvePrivateKey) -> Sequence[Exported]:
    """Return a signed record per session, in time order; one that was made before stays as it is.

    Raises:
        OcmfExportError: not a charger, no such key, or no session in this time.
    """
    with house.database.write() as session:
        people.district(session, lock=True)  # one writer at a time counts pages
        published = session.get(OcmfKeyRow, public_hex(key))
        if published is None or published.point != asked.point:
            raise OcmfExportError(
                f"the key is not published for {asked.point}: wattloom ocmf publish"
            )
        _check_charger(session, asked.point)
        sessions = _sessions(session, asked)
        return [_record(house, session, each, asked, key) for each in sessions]


def _check_charger(session: Session, point: str) -> None:
    row = session.get(MeteringPointRow, point)
    if row is None or row.purpose != _CHARGER:
        raise OcmfExportError(f"{point} is no charger's metering point: set its purpose to charger")


def _sessions(session: Session, asked: Asked) -> Sequence[tuple[Charging, bytes, bytes]]:
    rows = session.exec(
        select(ReadingRow)
        .where(
            ReadingRow.point == asked.point,
            ReadingRow.quality == "measured",
            col(ReadingRow.answered_ms).between(asked.begin_ms, asked.end_ms),
        )
        .order_by(col(ReadingRow.answered_ms), col(ReadingRow.seq))
    ).all()
    kept = [row for row in rows if row.payload]  # an erased one has none
    links = {row.payload: row.link for row in kept}
    readings = [Reading.from_payload(row.payload) for row in kept]
    try:
        if asked.threshold_w is None:
            found = [between(readings)]
        else:
            found = list(above(readings, asked.threshold_w))
    except OcmfSessionError as error:
        raise OcmfExportError(str(error)) from error
    if not found:
        raise OcmfExportError(
            f"no session of {asked.threshold_w} W or more begins and ends in this time"
        )
    return [(one, links[one.begin.to_payload()], links[one.end.to_payload()]) for one in found]


def _record(
    house: House,
    session: Session,
    charged: tuple[Charging, bytes, bytes],
    asked: Asked,
    key: ec.EllipticCurvePrivateKey,
) -> Exported:
    one, begin, finish = charged
    public, who = public_hex(key), asked.who
    identified = f"{who.kind}:{who.data}" if who.data else ""
    known = session.exec(
        select(OcmfRecordRow).where(
            OcmfRecordRow.public == public,
            OcmfRecordRow.begin == begin,
            OcmfRecordRow.finish == finish,
            OcmfRecordRow.identified == identified,
        )
    ).first()
    if known is not None:
        return Exported(known.number, known.record, fresh=False)
    last = session.exec(
        select(func.max(OcmfRecordRow.number)).where(OcmfRecordRow.public == public)
    ).one()
    number = (last or 0) + 1
    text = payload(one, number, who, _signing(session, one), house.settings.tz)
    row = OcmfRecordRow(
        public=public,
        number=number,
        begin=begin,
        finish=finish,
        identified=identified,
        record=signed(text, key),
        made_ms=house.clock.now_ms(),
    )
    session.add(row)
    session.flush()
    return Exported(number, row.record, fresh=True)


def _signing(session: Session, one: Charging) -> Signing:
    """Return what signs: the gateway, where there is one alone, and the meter's type."""
    names = session.exec(select(GatewayRow.name)).all()
    enrolled = session.exec(select(EnrolmentRow).where(EnrolmentRow.key == one.begin.key)).one()
    serial = names[0] if len(names) == 1 else one.begin.meter
    return Signing(MAKER, serial, ENGINE_VERSION, enrolled.profile)

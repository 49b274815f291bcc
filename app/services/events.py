"""The door for gateways' events: verified like readings, stored once, told to people.

Formats: docs/protocol.md, "Gateway events". What each kind means to people: docs/faults.md.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from sqlalchemy import insert
from sqlmodel import Session, SQLModel, col, select

from app.clock import Clock
from app.db import Database
from app.services import event_words
from app.services.admission import FUTURE_MS
from app.services.commissioning.requests import ACTIVE
from app.store.bulk import insert_once
from app.tables import EnrolmentRequestRow, GatewayEventRow, GatewayRow, MeteringPointRow
from metering.canonical import json_fault, shown
from metering.event import MAX_EVENTS, EventError, GatewayEvent, SignedEvent
from metering.identity import PublicKey
from metering.interval import Interval
from metering.signing import SIGNATURE_BYTES, Purpose, verify

MAX_BODY_BYTES: Final = 256 * 1024


class EventBodyError(ValueError):
    """The whole upload breaks the format (400): mend the gateway."""


@dataclass(frozen=True, slots=True)
class EventResult:
    """What became of one event: an HTTP status, and an error in words."""

    index: int
    status: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """An event as people see it; ``text`` says what happened and what to do."""

    at_ms: int
    level: str
    kind: str
    gateway: str
    point: str | None
    text: str


def parse_body(body: bytes) -> list[SignedEvent]:
    """Parse ``{events: [{payload, signature}]}``; its shape alone is judged here.

    Raises:
        EventBodyError: not JSON, duplicate or unknown keys, too many events.
    """
    if len(body) > MAX_BODY_BYTES:
        raise EventBodyError(f"{len(body)} bytes: at most {MAX_BODY_BYTES}, send fewer at once")
    try:
        fields = json.loads(
            body.decode(), object_pairs_hook=_unique, parse_float=_refuse, parse_constant=_refuse
        )
    except EventBodyError:
        raise
    except (ValueError, RecursionError) as error:
        raise EventBodyError(f"not JSON in UTF-8: {json_fault(error)}") from error
    items = fields.get("events") if type(fields) is dict and len(fields) == 1 else None
    if type(items) is not list or not 1 <= len(items) <= MAX_EVENTS:
        raise EventBodyError(f"the body must be {{events: [...]}} with 1 to {MAX_EVENTS} events")
    return [_item(index, item) for index, item in enumerate(items)]


class EventDoor:
    """Verifies events of allowed gateways and stores them; safe to call from many threads."""

    def __init__(self, database: Database, origin: str, clock: Clock) -> None:
        self._database = database
        self._origin = origin
        self._clock = clock

    def receive(self, signed: Sequence[SignedEvent]) -> Sequence[EventResult]:
        """Verify events, store what is authentic, and answer each in order.

        Raises:
            DatabaseUnavailableError: nothing was stored; the gateway sends again later.
        """
        results, events = [], []
        for index, each in enumerate(signed):
            try:
                events.append((index, each, GatewayEvent.from_payload(each.payload)))
            except EventError as error:
                results.append(EventResult(index, 400, str(error)))
        with self._database.write() as session:
            gateways = _gateways(session, {event.key for _, _, event in events})
            tellers = _tellers(session, {event.point for _, _, event in events if event.point})
            for index, each, event in events:
                results.append(self._take(session, index, each, event, gateways, tellers))
        return sorted(results, key=lambda result: result.index)

    def _take(
        self,
        session: Session,
        index: int,
        signed: SignedEvent,
        event: GatewayEvent,
        gateways: dict[str, str],
        tellers: Mapping[str, str | None],
    ) -> EventResult:
        if event.district != self._origin:
            return EventResult(
                index, 403, f"an event of {shown(event.district)}; this is {self._origin}"
            )
        if gateways.get(event.key) != event.gateway:
            return EventResult(
                index, 403, f"gateway {event.gateway!r} with key {event.key} is not allowed here"
            )
        key = PublicKey.parse(event.key)
        if not verify(key, Purpose.EVENT, signed.payload, signed.signature):
            return EventResult(index, 401, "the signature is not the gateway's: it proves nothing")
        if event.point is not None and tellers.get(event.point, "") not in (None, event.key):
            return EventResult(
                index, 403, f"metering point {event.point} is not here, or another gateway's"
            )
        now_ms = self._clock.now_ms()
        if event.at_ms > now_ms + FUTURE_MS:
            return EventResult(index, 425, f"at_ms is {event.at_ms - now_ms} ms ahead: retry")
        return _store(session, index, signed, event, now_ms)


def of_points(session: Session, points: Collection[str], limit: int) -> list[Seen]:
    """Return the newest events of some points, the newest first."""
    rows = session.exec(
        select(GatewayEventRow)
        .where(col(GatewayEventRow.point).in_(points))
        .order_by(col(GatewayEventRow.at_ms).desc(), col(GatewayEventRow.id).desc())
        .limit(limit)
    )
    found = []
    for row in rows:
        event = GatewayEvent.from_payload(row.payload)
        text = event_words.words(event.kind, event.detail)
        found.append(
            Seen(row.at_ms, event_words.level(event.kind), row.kind, row.gateway, row.point, text)
        )
    return found


def _gateways(session: Session, keys: Collection[str]) -> dict[str, str]:
    """Return the allowed gateways among ``keys``, locked: one writer at a time takes its events."""
    query = select(GatewayRow).where(col(GatewayRow.key).in_(keys)).order_by(col(GatewayRow.key))
    return {row.key: row.name for row in session.exec(query.with_for_update())}


def _tellers(session: Session, points: Collection[str]) -> dict[str, str | None]:
    """Return those of ``points`` that exist, with the key of the gateway that tells of each.

    That is the one which brought the meter there, while it is allowed; None: any may.
    """
    gsrn, request = MeteringPointRow.gsrn, EnrolmentRequestRow
    found = dict.fromkeys(session.exec(select(gsrn).where(col(gsrn).in_(points))))
    brought = session.exec(
        select(request.point, request.gateway_key)
        .join(GatewayRow, col(GatewayRow.key) == col(request.gateway_key))
        .where(col(request.point).in_(points), request.state == ACTIVE)
        .order_by(col(request.id))
    )
    return found | dict(brought.all())


def _store(
    session: Session, index: int, signed: SignedEvent, event: GatewayEvent, now_ms: int
) -> EventResult:
    """Store an event unless it is there; another one of its number is kept as evidence."""
    link = bytes.fromhex(signed.link)
    known = session.exec(
        select(GatewayEventRow.link).where(
            GatewayEventRow.key == event.key, GatewayEventRow.seq == event.seq
        )
    ).all()
    if link in known:
        # The first of a number is the one that counts, whoever asks again.
        return EventResult(index, 200) if known[0] == link else _used(index, event.seq)
    session.connection().execute(
        insert(SQLModel.metadata.tables["gateway_event"]).values(
            key=event.key, seq=event.seq, link=link, gateway=event.gateway, kind=event.kind.value,
            point=event.point, at_ms=event.at_ms, clock=event.clock.value, payload=signed.payload,
            signature=signed.signature, received_ms=now_ms, double=bool(known),
        )
    )  # fmt: skip
    if known:
        return _used(index, event.seq)
    insert_once(session, "notice", [_notice(session, event)])
    return EventResult(index, 200)


def _used(index: int, seq: int) -> EventResult:
    return EventResult(index, 409, f"number {seq} was used for another event; both are kept")


def _notice(session: Session, event: GatewayEvent) -> dict[str, object]:
    """Return what people read: once per point, kind and quarter-hour."""
    where = f"Gateway {event.gateway}"
    if event.point is not None:
        where = session.get_one(MeteringPointRow, event.point).name
    interval = Interval.containing_ms(event.at_ms).key
    return {
        "ref": f"event/{event.kind}/{event.point or event.key}/{interval}",
        "at_ms": event.at_ms,
        "level": event_words.level(event.kind),
        "point": event.point,
        "text": f"{where}: {event_words.words(event.kind, event.detail)}",
    }


def _item(index: int, item: object) -> SignedEvent:
    if type(item) is not dict or item.keys() != {"payload", "signature"}:
        raise EventBodyError(f"events[{index}] must be {{payload, signature}}")
    payload, signature = item["payload"], item["signature"]
    try:
        mark = bytes.fromhex(signature)
        found = SignedEvent(payload.encode(), mark)
    except (ValueError, TypeError, AttributeError) as error:
        raise EventBodyError(f"events[{index}]: two texts, the signature in hex") from error
    if len(mark) != SIGNATURE_BYTES or mark.hex() != signature:
        raise EventBodyError(f"events[{index}]: a signature is 128 lowercase hex digits")
    return found


def _refuse(text: str) -> NoReturn:
    raise EventBodyError(f"{text[:40]!r}: no such number belongs into an upload")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise EventBodyError("a key stands twice in one object")
    return fields

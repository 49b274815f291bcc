"""The door for gateways' events, and the spool before it: strict, once, in a chain, told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlmodel import Session, select

from app.services import event_words
from app.services.commissioning import requests
from app.services.enrolment import allow_gateway, forbid_gateway
from app.services.events import EventBodyError, EventDoor, parse_body
from app.tables import GatewayEventRow, NoticeRow
from metering.event import (
    DETAILS,
    Event,
    Finding,
    GatewayEvent,
    Kind,
    MalformedEventError,
    SignedEvent,
)
from metering.event_spool import EventSpool, HttpEventSender, Reporter, send_events
from metering.reading import FIRST_PREV, Clock
from metering.sender import BatchRefusedError, SenderUnavailableError
from metering.signing import public_key
from tests.app.commissioning_kit import GATEWAY_KEY, Cellar
from tests.app.doorway import GATEWAY, ORIGIN, START, District, gsrn, key_of

BUSY = Finding(Kind.BUSY, {"error": "unit 3 is busy (0x06)"})
REPORTER = Reporter(ORIGIN, GATEWAY, key_of(9_002))


def event(finding: Finding = BUSY, point: str | None = gsrn(1), at_ms: int = START.start_ms):
    return Event(finding, point, at_ms, Clock.SYNCHRONISED)


def door(district: District) -> EventDoor:
    return EventDoor(district.database, ORIGIN, district.clock)


def statuses(district: District, *events: SignedEvent) -> list[int]:
    return [each.status for each in door(district).receive(events)]


REFUSED = {
    "another district": (replace(REPORTER, district="else.example"), event(), 403),
    "an unknown key": (replace(REPORTER, key=key_of(77)), event(), 403),
    "another gateway's name": (replace(REPORTER, name="gateway-2"), event(), 403),
    "an unknown point": (REPORTER, event(point=gsrn(99)), 403),
    "the future": (REPORTER, event(at_ms=START.start_ms + 10**10), 425),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_alone(name: str, plain_district: District) -> None:
    reporter, found, status = REFUSED[name]
    good = REPORTER.sign(event(), 1, FIRST_PREV)
    assert statuses(plain_district, reporter.sign(found, 2, good.link), good) == [status, 200]
    with plain_district.database.read() as session:
        assert len(session.exec(select(GatewayEventRow)).all()) == 1


def test_of_a_meter_that_a_gateway_brought_it_alone_tells(
    plain_district: District, tmp_path: Path
) -> None:
    cellar = Cellar(plain_district, tmp_path)
    number = cellar.brought(cellar.empty, key_of(501))
    own = Reporter(ORIGIN, "cellar-1", GATEWAY_KEY)
    lie = Finding(Kind.SETTING, {"name": "x", "value": 1, "advice": "Call 0900 123"})
    assert statuses(plain_district, REPORTER.sign(event(lie, cellar.empty), 1, FIRST_PREV)) == [200]
    requests.confirm(cellar.house, number, cellar.groups(key_of(501)), "manager")
    assert statuses(
        plain_district,
        REPORTER.sign(event(lie, cellar.empty), 2, FIRST_PREV),
        own.sign(event(point=cellar.empty), 1, FIRST_PREV),
    ) == [403, 200]
    with plain_district.database.write() as session:
        forbid_gateway(session, public_key(GATEWAY_KEY))
    assert statuses(plain_district, REPORTER.sign(event(BUSY, cellar.empty), 2, FIRST_PREV)) == [
        200
    ]


def test_a_repeated_one_changes_nothing_and_another_of_its_number_is_kept(
    district: District,
) -> None:
    first, other = (REPORTER.sign(event(at_ms=at), 1, FIRST_PREV) for at in (1_000, 2_000))
    forged = SignedEvent(first.payload, other.signature)
    assert statuses(district, first, first, other, other, first, forged) == [
        200, 200, 409, 409, 200, 401
    ]  # fmt: skip
    with district.database.read() as session:
        rows = session.exec(select(GatewayEventRow)).all()
        (notice,) = session.exec(select(NoticeRow)).all()
    assert [row.double for row in rows] == [False, True]
    assert (notice.level, notice.point) == ("info", gsrn(1))
    assert "unit 3 is busy" in notice.text


def test_every_kind_has_words_that_name_each_detail_with_its_unit() -> None:
    for kind, names in DETAILS.items():
        detail = {name: 12_345 if name.endswith(("_wh", "_w")) else "so" for name in names}
        text = event_words.words(kind, detail)
        assert event_words.level(kind) in {"info", "warning", "alarm"}
        assert ("12,345 Wh" in text) == any(name.endswith("_wh") for name in names), kind
        assert "{" not in text


BROKEN = ["{}", "[]", '{"events":[]}', '{"events":[1]}', '{"events":[{"payload":1,"signature":2}]}',
          '{"events":[],"events":[]}', '{"events":1e999}', "\ufeff{}", "[" * 5_000,
          '{"events":[{"payload":"\\ud800","signature":"00"}]}']  # fmt: skip


@pytest.mark.parametrize("body", BROKEN)
def test_broken_bodies_are_refused_whole(body: str) -> None:
    with pytest.raises(EventBodyError):
        parse_body(body.encode("utf-8", "surrogatepass"))
    with pytest.raises(EventBodyError):
        parse_body(b" " * 300_000)


FIELDS = {
    "kind": ["other", None, [], 1], "clock": ["X", None, {}], "seq": [0, -1, 2**53, "1", None],
    "at_ms": [-1, 2**53, "0", 1.5], "prev": ["00", None, "Z" * 64], "point": ["1", 1, ""],
    "key": ["00", None], "gateway": ["", "a\n", "x" * 65, None], "district": ["", 1],
    "detail": [{}, {"error": 1, "more": 2}, {"error": "x" * 201}, {"error": []}, None],
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_a_payload_is_parsed_strictly(name: str) -> None:
    payload = REPORTER.sign(event(), 1, FIRST_PREV).payload
    assert GatewayEvent.from_payload(payload).to_payload() == payload
    for value in FIELDS[name]:
        fields = json.loads(payload) | {name: value}
        text = json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()
        with pytest.raises(MalformedEventError):
            GatewayEvent.from_payload(text)


def test_the_spool_goes_on_after_a_restart_and_sends_each_once(
    plain_district: District, tmp_path: Path
) -> None:
    with plain_district.database.write() as session:
        known(session)
    spool = EventSpool.open(tmp_path / "spool.db", REPORTER)
    spool.report(event())
    spool.close()
    spool = EventSpool.open(tmp_path / "spool.db", REPORTER)
    spool.report(event(at_ms=START.start_ms + 1))
    sent = [GatewayEvent.from_payload(each.event.payload) for each in spool.unacknowledged()]
    assert [each.seq for each in sent] == [1, 2]
    assert sent[1].prev == spool.unacknowledged()[0].event.link

    answers = iter([503, 403, 200])

    def server(request: httpx.Request) -> httpx.Response:
        status = next(answers)
        if status != 200:
            return httpx.Response(status)
        found = door(plain_district).receive(parse_body(request.content))
        results = [{"index": each.index, "status": each.status} for each in found]
        return httpx.Response(200, json={"results": results})

    async def send() -> int:
        async with httpx.AsyncClient(transport=httpx.MockTransport(server)) as client:
            return await send_events(spool, HttpEventSender("http://x", client), lambda: 1)

    with pytest.raises(SenderUnavailableError):
        asyncio.run(send())
    with pytest.raises(BatchRefusedError):
        asyncio.run(send())
    assert (asyncio.run(send()), spool.pending(), spool.dropped) == (2, 0, 0)
    spool.close()


def known(session: Session) -> None:
    allow_gateway(session, GATEWAY, public_key(key_of(9_002)))


def test_what_cannot_be_kept_stops_nobody(tmp_path: Path) -> None:
    spool = EventSpool.open(tmp_path / "spool.db", REPORTER)
    spool.report(event(Finding(Kind.BUSY, {"error": "x" * 300})))
    assert (spool.dropped, spool.pending()) == (1, 0)
    spool.close()

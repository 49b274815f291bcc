from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from sqlmodel import col, func, select

from app.db import DatabaseUnavailableError
from app.services.enrolment import forbid_gateway, revoke
from app.services.ingest import Door, UnknownGatewayError, UnknownReadingError
from app.services.live import LiveBoard, LiveValue
from app.tables import (
    DistrictRow,
    EvidenceRow,
    NoticeRow,
    ReadingRow,
    ReceiptBatchRow,
    SecurityEventRow,
)
from metering.batch import Batch, ForgedBatchError, MalformedBatchError
from metering.reading import SignedReading, leaf_hash
from metering.receipt import Receipt
from metering.signing import Purpose, public_key, sign
from tests.app.doorway import GATEWAY, MINUTE_MS, ORIGIN, START, District, Meter, gsrn, key_of


def rows(district: District) -> list[ReadingRow]:
    with district.database.read() as session:
        query = select(ReadingRow).order_by(col(ReadingRow.key), col(ReadingRow.seq))
        return list(session.exec(query))


def count(district: District, table: type) -> int:
    with district.database.read() as session:
        return session.exec(select(func.count()).select_from(table)).one()


def statuses(district: District, *signed: SignedReading) -> list[int]:
    results = district.send(*signed)
    assert [result.index for result in results] == list(range(len(signed)))
    return [result.status for result in results]


# --- What is stored, and its receipt ------------------------------------------------------------


def test_a_reading_is_stored_verbatim_and_promised(district: District) -> None:
    meter = district.meters[0]
    signed = meter.chain(3)
    results = district.send(*signed)
    stored = rows(district)
    assert [row.payload for row in stored] == [each.payload for each in signed]
    for row, each, result in zip(stored, signed, results, strict=True):
        assert result.status == 200
        assert (row.signature, row.flags, row.quality) == (each.signature, "", "measured")
        assert row.leaf == leaf_hash(row.salt, each.payload, each.signature)
        receipt = Receipt.parse(result.receipt)
        assert receipt.check(each, ORIGIN, public_key(district.receipt_key)) == START
        assert district.door.receipt(row.key, row.epoch, row.seq) == result.receipt
    assert len({row.salt for row in stored}) == 3
    for before, after in pairwise(stored):
        assert after.prev == before.link


def test_pages_of_now_are_shown_the_newest_of_what_was_stored(district: District) -> None:
    board = LiveBoard()
    district.door = Door(
        district.database, district.settings, district.receipt_key, district.clock, board
    )
    meter, early = district.meters[0], START.start_ms + 3 * MINUTE_MS
    signed = meter.chain(3, _1={"power_w": 10}, _2={"power_w": 20}, _3={"power_w": -30})
    assert statuses(district, replace(signed[2], signature=bytes(64))) == [401]
    assert board.values() == {}, "what is refused is not shown"
    for one in (signed[2], signed[0], signed[1]):
        assert statuses(district, one) == [200]
    assert board.values() == {meter.point: LiveValue(-30, early)}


def test_a_duplicate_gets_the_same_receipt_in_any_batch(district: District) -> None:
    signed = district.meters[0].chain(4)
    first = district.send(*signed)
    again = district.send(signed[3], signed[3], signed[0])
    assert [result.receipt for result in again] == [first[at].receipt for at in (3, 3, 0)]
    assert len(rows(district)) == 4
    assert count(district, ReceiptBatchRow) == 1
    assert count(district, EvidenceRow) == 0


def test_a_number_used_twice_is_kept_as_evidence(district: District) -> None:
    meter = district.meters[0]
    signed = meter.chain(2)
    other = meter.sign(meter.reading(1, import_wh=5_000))
    assert statuses(district, *signed) == [200, 200]
    assert statuses(district, other, other, signed[0]) == [409, 409, 200]
    assert statuses(district, other) == [409]
    assert [row.payload for row in rows(district)] == [each.payload for each in signed]
    with district.database.read() as session:
        (kept,) = session.exec(select(EvidenceRow)).all()
        notices = session.exec(select(NoticeRow)).all()
    assert (kept.payload, kept.signature, kept.seq) == (other.payload, other.signature, 1)
    assert [notice.level for notice in notices if "equivocation" in notice.ref] == ["alarm"]
    assert count(district, SecurityEventRow) == 0


def test_a_number_used_twice_within_one_batch(district: District) -> None:
    meter = district.meters[0]
    one, other = meter.sign(meter.reading(1)), meter.sign(meter.reading(1, import_wh=5))
    assert statuses(district, one, other) == [200, 409]


# --- What is refused -----------------------------------------------------------------------------

_Make = Callable[[District, Meter], SignedReading]


def _changed(**changes: object) -> _Make:
    return lambda _district, meter: meter.sign(meter.reading(1, **changes))


def _raw(old: bytes, new: bytes) -> _Make:
    """A payload with other bytes, signed as it stands."""

    def make(_district: District, meter: Meter) -> SignedReading:
        payload = meter.reading(1).to_payload()
        assert old in payload
        payload = payload.replace(old, new, 1)
        return SignedReading(payload, sign(meter.signing_key, Purpose.READING, payload))

    return make


def _signed_as(purpose: Purpose) -> _Make:
    def make(_district: District, meter: Meter) -> SignedReading:
        payload = meter.reading(1).to_payload()
        return SignedReading(payload, sign(meter.signing_key, purpose, payload))

    return make


def _by_stranger(_district: District, _meter: Meter) -> SignedReading:
    stranger = Meter(1, key_of(50), gsrn(1))
    return stranger.sign(stranger.reading(1))


def _forged(_district: District, meter: Meter) -> SignedReading:
    payload = meter.reading(1).to_payload()
    return SignedReading(payload, sign(key_of(50), Purpose.READING, payload))


def _now_plus(ms: int) -> _Make:
    def make(district: District, meter: Meter) -> SignedReading:
        return meter.sign(meter.reading(1, answered_ms=district.clock.now_ms() + ms))

    return make


REFUSED: dict[str, tuple[_Make, int]] = {
    "not JSON": (_raw(b"{", b"["), 400),
    "duplicate key": (_raw(b'"seq":1', b'"seq":1,"seq":1'), 400),
    "surplus field": (_raw(b'"seq":1', b'"seq":1,"sequence":1'), 400),
    "missing field": (_raw(b',"seq":1', b""), 400),
    "space": (_raw(b'"seq":1', b'"seq": 1'), 400),
    "float": (_raw(b'"seq":1', b'"seq":1.0'), 400),
    "answered before it was asked": (_raw(b'"asked_ms":', b'"asked_ms":9'), 400),
    "NaN": (_raw(b'"import_wh":1100', b'"import_wh":NaN'), 400),
    "Infinity": (_raw(b'"import_wh":1100', b'"import_wh":Infinity'), 400),
    "1e999": (_raw(b'"import_wh":1100', b'"import_wh":1e999'), 400),
    "2^53": (_raw(b'"import_wh":1100', b'"import_wh":9007199254740992'), 400),
    "2^63": (_raw(b'"import_wh":1100', b'"import_wh":9223372036854775808'), 400),
    "5,000 digits": (_raw(b'"import_wh":1100', b'"import_wh":1' + b"0" * 4_999), 400),
    "boolean": (_raw(b'"seq":1', b'"seq":true'), 400),
    "text for a number": (_raw(b'"seq":1', b'"seq":" 1 "'), 400),
    "number 0": (_raw(b'"seq":1', b'"seq":0'), 400),
    "negative register": (_raw(b'"import_wh":1100', b'"import_wh":-1'), 400),
    "NUL": (_raw(b'"meter":"1', b'"meter":"\\u0000'), 400),
    "lone surrogate": (_raw(b'"meter":"1', b'"meter":"\\ud800'), 400),
    "wrong check digit": (_raw(gsrn(1).encode(), gsrn(1)[:17].encode() + b"x"), 400),
    "other district": (_changed(district="elsewhere.example"), 403),
    "unknown key": (_by_stranger, 403),
    "other point": (_changed(point=gsrn(2)), 403),
    "other serial": (_changed(meter="1WLM000002"), 403),
    "an epoch far from the enrolled one": (_changed(epoch=1_002), 403),
    "epoch beyond the column": (_changed(epoch=2**52), 403),
    "before it was enrolled": (
        _changed(asked_ms=START.start_ms - 2, answered_ms=START.start_ms - 1),
        403,
    ),
    "forged": (_forged, 401),
    "signed as a batch": (_signed_as(Purpose.BATCH), 401),
    "signed as an enrolment": (_signed_as(Purpose.ENROL), 401),
    "more than 60 s ahead": (_now_plus(60_001), 425),
    "the far future": (_changed(answered_ms=2**53 - 1), 425),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_item_is_refused_alone(name: str, plain_district: District) -> None:
    district = plain_district
    make, status = REFUSED[name]
    good = district.meters[1].chain(2)
    results = district.send(good[0], make(district, district.meters[0]), good[1])
    assert [result.status for result in results] == [200, status, 200]
    assert results[1].receipt is None
    assert results[1].error
    assert [row.key for row in rows(district)] == [district.meters[1].key] * 2
    assert count(district, SecurityEventRow) == (status != 425)
    assert count(district, EvidenceRow) == 0


def test_refusals_are_the_same_on_every_database(district: District) -> None:
    made = [(make(district, district.meters[0]), status) for make, status in REFUSED.values()]
    assert statuses(district, *(each for each, _ in made)) == [status for _, status in made]
    assert rows(district) == []


def test_sixty_seconds_ahead_is_taken(plain_district: District) -> None:
    district = plain_district
    assert statuses(district, _now_plus(60_000)(district, district.meters[0])) == [200]


def test_what_was_too_early_is_taken_later(plain_district: District) -> None:
    district = plain_district
    early = _now_plus(60_001)(district, district.meters[0])
    assert statuses(district, early) == [425]
    district.clock.advance_to(district.clock.now_ms() + 1)
    assert statuses(district, early) == [200]


def test_a_revoked_key_counts_until_its_interval_and_waits_in_quarantine(
    district: District,
) -> None:
    meter = district.meters[0]
    signed = meter.chain(20)
    assert statuses(district, *signed[:10]) == [200] * 10
    with district.database.write() as session:
        revoke(session, ORIGIN, public_key(meter.signing_key), START.next())
    assert statuses(district, *signed[9:]) == [200] * 5 + [403] * 6
    stored = rows(district)
    assert [row.seq for row in stored] == list(range(1, 15))
    assert {row.flags for row in stored[:10]} == {""}
    assert {(row.flags, row.quality) for row in stored[10:]} == {("quarantined", "questionable")}


def _foreign_batch(district: District, signed: list[SignedReading]) -> Batch:
    return Batch.pack(signed, district.gateway, "elsewhere.example", GATEWAY, 0)


def _tampered(district: District, signed: list[SignedReading]) -> Batch:
    batch = district.batch(*signed)
    return replace(batch, readings=batch.readings[:1])


def _swapped(district: District, signed: list[SignedReading]) -> Batch:
    batch = district.batch(*signed)
    return replace(batch, readings=batch.readings[::-1])


BATCHES: dict[str, tuple[Callable[[District, list[SignedReading]], Batch], type[Exception]]] = {
    "another district's": (_foreign_batch, UnknownGatewayError),
    "of an unknown gateway": (
        lambda _d, signed: Batch.pack(signed, key_of(60), ORIGIN, GATEWAY, 0),
        UnknownGatewayError,
    ),
    "under another gateway's name": (
        lambda d, signed: Batch.pack(signed, d.gateway, ORIGIN, "gateway-2", 0),
        UnknownGatewayError,
    ),
    "signed by a meter": (
        lambda d, signed: Batch.pack(signed, d.meters[0].signing_key, ORIGIN, GATEWAY, 0),
        UnknownGatewayError,
    ),
    "with an item taken away": (_tampered, ForgedBatchError),
    "in another order": (_swapped, ForgedBatchError),
    "with another signature": (
        lambda d, signed: replace(d.batch(*signed), header_signature=bytes(64)),
        ForgedBatchError,
    ),
    "with a header that is not canonical": (
        lambda d, signed: replace(d.batch(*signed), header=d.batch(*signed).header + b" "),
        MalformedBatchError,
    ),
}


@pytest.mark.parametrize("name", BATCHES)
def test_a_bad_batch_is_refused_whole(name: str, plain_district: District) -> None:
    district = plain_district
    make, error = BATCHES[name]
    with pytest.raises(error):
        district.door.receive(make(district, district.meters[0].chain(3)))
    assert rows(district) == []
    assert count(district, SecurityEventRow) == (error is not MalformedBatchError)


def test_a_forbidden_gateway_is_refused(plain_district: District) -> None:
    district = plain_district
    with district.database.write() as session:
        forbid_gateway(session, public_key(district.gateway))
    with pytest.raises(UnknownGatewayError):
        district.send(*district.meters[0].chain(1))


def test_many_refusals_raise_one_alarm_and_keep_no_content(plain_district: District) -> None:
    district = plain_district
    stranger = Meter(7, key_of(50), gsrn(7))
    for signed in stranger.chain(12):
        assert statuses(district, signed, signed) == [403, 403]
    with district.database.read() as session:
        events = session.exec(select(SecurityEventRow)).all()
        alarms = session.exec(select(NoticeRow).where(NoticeRow.level == "alarm")).all()
    assert len(events) <= 2  # two when the clock struck an hour meanwhile
    assert (sum(event.times for event in events), sum(event.count for event in events)) == (12, 24)
    assert all(event.first_ms <= event.last_ms for event in events)
    assert len(alarms) <= 1
    assert alarms or len(events) == 2


# --- In which seal a reading will stand -----------------------------------------------------------


def test_what_comes_after_metering_stands_in_the_next_seal(district: District) -> None:
    meter = district.meters[0]
    signed = meter.chain(40)
    district.send(*signed[:5])
    with district.database.write() as session:
        session.exec(select(DistrictRow)).one().metered_through = START.next().key
    results = district.send(*signed[5:])
    third = START.next().next()
    stored = rows(district)
    assert {(row.seal_interval, row.flags) for row in stored[:5]} == {(START.key, "")}
    late = [row for row in stored[5:] if row.answered_ms < third.start_ms]
    assert {(row.seal_interval, row.flags, row.quality) for row in late} == {
        (third.key, "late", "measured")
    }
    on_time = stored[5 + len(late) :]
    assert {(row.seal_interval, row.flags) for row in on_time} == {(third.key, "")}
    receipt = Receipt.parse(results[0].receipt)
    assert receipt.check(signed[5], ORIGIN, public_key(district.receipt_key)) == third


# --- Many at once, and a database that does not answer --------------------------------------------


def test_the_same_batch_from_many_threads_is_stored_once(district: District) -> None:
    batch = district.batch(*district.meters[0].chain(30), *district.meters[1].chain(30))
    doors = [
        district.door,
        Door(district.database, district.settings, district.receipt_key, district.clock),
    ]  # as two processes would have
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda at: doors[at % 2].receive(batch), range(12)))
    assert all(answer == answers[0] for answer in answers)
    assert {result.status for result in answers[0]} == {200}
    assert len(rows(district)) == 60
    assert count(district, ReceiptBatchRow) == 1


def test_interleaved_batches_from_many_threads_lose_nothing(district: District) -> None:
    chains = [meter.chain(40) for meter in district.meters]
    batches = [
        district.batch(*(chain[at] for chain in chains for at in range(start, 40, 8)))
        for start in range(8)
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(district.door.receive, batches))
    assert {result.status for answer in answers for result in answer} == {200}
    assert [(row.flags, row.quality) for row in rows(district)] == [("", "measured")] * 80


def test_a_locked_database_is_reported_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "locked.db"
    district = District(f"sqlite:///{path}?timeout=0.05")
    signed = district.meters[0].chain(2)
    district.send(signed[0])
    with district.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=50")  # the pool's one idle connection
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailableError, match="try again"):
            district.send(*signed)
        other.execute("ROLLBACK")
    assert statuses(district, *signed) == [200, 200]


def test_an_unknown_reading_has_no_receipt(plain_district: District) -> None:
    district = plain_district
    with pytest.raises(UnknownReadingError, match="send it again"):
        district.door.receipt(district.meters[0].key, 1, 1)

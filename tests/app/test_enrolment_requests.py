"""An enrolment's way over tokens, requests and a person's confirmation, up to the first reading."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest
from sqlmodel import select

from app.clock import wall_ms
from app.services import changes, enrolment
from app.services.commissioning import requests, rotations, tokens
from app.services.commissioning.errors import (
    NotDecidableError,
    RequestConflictError,
    TokenRefusedError,
    TooManyGuessesError,
    UnfitRequestError,
    UnknownRequestError,
)
from app.tables import (
    EnrolmentRequestRow,
    EnrolmentRow,
    EnrolmentTokenRow,
    MeterChangeRow,
    NoticeRow,
)
from metering import rotation
from metering.batch import Batch
from metering.commissioning.wire import RotationRequest
from metering.interval import LENGTH_MS, Interval
from metering.reading import FIRST_PREV, Enrolment, Reading, SignedReading
from metering.signing import Purpose, public_key, sign
from metering.spool import Signer
from tests.app.commissioning_kit import GATEWAY_KEY, Cellar
from tests.app.doorway import ORIGIN, District, gsrn, key_of

KEY = key_of(501)


@pytest.fixture
def cellar(plain_district: District, tmp_path: Path) -> Cellar:
    return Cellar(plain_district, tmp_path)


@pytest.fixture
def anywhere(district: District, tmp_path: Path) -> Cellar:
    """The same on each engine, for what locks and savepoints could change."""
    return Cellar(district, tmp_path)


def rows(cellar: Cellar, table):
    with cellar.house.database.read() as session:
        return list(session.exec(select(table)))


def reading(cellar: Cellar, request: str) -> SignedReading:
    """The first reading under an enrolment's payload, now."""
    signed = Enrolment.from_payload(request.encode())
    one = cellar.district.meters[0].reading(1)
    now = cellar.district.clock.now_ms()
    first = Reading(
        **{
            name: getattr(one, name)
            for name in one.__dataclass_fields__
            if name not in {"point", "meter", "key", "prev", "asked_ms", "answered_ms"}
        },
        point=signed.point,
        meter=signed.serial,
        key=signed.key.hex,
        prev=FIRST_PREV,
        asked_ms=now,
        answered_ms=now,
    )
    payload = first.to_payload()
    return SignedReading(payload, sign(KEY, Purpose.READING, payload))


def send(cellar: Cellar, signed: SignedReading) -> int:
    now = cellar.district.clock.now_ms()
    batch = Batch.pack([signed], GATEWAY_KEY, ORIGIN, "cellar-1", now)
    return cellar.district.door.receive(batch)[0].status


def test_a_reading_counts_from_the_confirmation_on(anywhere: Cellar) -> None:
    cellar = anywhere
    token = cellar.token(cellar.empty)
    offer = cellar.offer(token)
    assert (offer.purpose, offer.point, offer.max_power_w) == ("add", cellar.empty, 10_000)
    request = cellar.request(offer, KEY)
    brought = cellar.bring(token, request)
    assert brought.standing.state == "pending"
    assert len(brought.standing.fingerprint.split()) == 5
    with pytest.raises(Exception, match="gateway"):
        send(cellar, reading(cellar, request.enrolment))  # not even the gateway is known
    with cellar.house.database.write() as session:
        enrolment.allow_gateway(session, "cellar-1", public_key(GATEWAY_KEY))
    assert send(cellar, reading(cellar, request.enrolment)) == 403
    (row,) = rows(cellar, EnrolmentRequestRow)
    with pytest.raises(NotDecidableError) as refused:
        requests.confirm(cellar.house, row.id, "dead beef", "manager")
    assert refused.value.field == "fingerprint"
    assert send(cellar, reading(cellar, request.enrolment)) == 403
    typed = cellar.groups(KEY).upper().replace(" ", "-")
    assert requests.confirm(cellar.house, row.id, typed, "manager").state == "active"
    assert send(cellar, reading(cellar, request.enrolment)) == 200
    standing = requests.standing(cellar.house, public_key(KEY).hex)
    assert standing.registry is not None
    assert bytes.fromhex(standing.registry) == sign(
        cellar.house.keyring.registry, Purpose.ENROL, request.enrolment.encode()
    )


def test_only_the_hash_of_a_token_is_kept(cellar: Cellar) -> None:
    token = cellar.token(cellar.empty)
    (row,) = rows(cellar, EnrolmentTokenRow)
    assert token not in row.model_dump_json()
    assert token.replace("-", "") not in row.model_dump_json()
    again = cellar.token(cellar.empty)
    assert len(rows(cellar, EnrolmentTokenRow)) == 1, "the unused one before is void"
    with pytest.raises(TokenRefusedError):
        cellar.offer(token)
    assert cellar.offer(again.lower().replace("-", " ")).point == cellar.empty


def test_a_token_is_used_once_and_a_lost_answer_is_given_again(cellar: Cellar) -> None:
    token = cellar.token(cellar.empty)
    request = cellar.request(cellar.offer(token), KEY)
    first = cellar.bring(token, request)
    assert cellar.bring(token, request) == requests.Brought(first.standing, repeated=True)
    with pytest.raises(TokenRefusedError, match="used"):
        cellar.offer(token)
    other = request.model_copy(update={"enrolment": request.enrolment.replace("SN-1", "SN-2")})
    with pytest.raises(TokenRefusedError, match="used"):
        cellar.bring(token, other)
    assert len(rows(cellar, EnrolmentRequestRow)) == 1


def test_a_token_lives_fifteen_minutes(cellar: Cellar) -> None:
    token = cellar.token(cellar.empty)
    request = cellar.request(cellar.offer(token), KEY)
    cellar.wall_ms += tokens.LIVES_MS - 1
    cellar.offer(token)
    cellar.wall_ms += 1
    with pytest.raises(TokenRefusedError, match="15 minutes"):
        cellar.bring(token, request)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"point": gsrn(2)}, UnfitRequestError),
        ({"district": "other.example"}, UnfitRequestError),
        ({"epoch": 2}, UnfitRequestError),
        ({"profile": "other"}, UnfitRequestError),
        ({"key": public_key(key_of(9_002))}, enrolment.EnrolmentSignatureError),
    ],
    ids=["wrong point", "other district", "epoch", "profile", "not possessed"],
)
def test_what_the_token_does_not_offer_is_refused(cellar: Cellar, change, error) -> None:
    token = cellar.token(cellar.empty)
    offer = cellar.offer(token)
    for attempt in range(tokens.MAX_ATTEMPTS):
        with pytest.raises(error):
            cellar.bring(token, cellar.request(offer, KEY, **change))
        (row,) = rows(cellar, EnrolmentTokenRow)
        assert (row.attempts, row.used_ms) == (attempt + 1, None)
    with pytest.raises(TokenRefusedError, match="too much"):
        cellar.bring(token, cellar.request(offer, KEY))
    assert not rows(cellar, EnrolmentRequestRow)


@pytest.mark.parametrize(("shift", "taken"), [(-2, False), (-1, True), (0, True), (1, False)])
def test_an_enrolment_begins_about_now(cellar: Cellar, shift: int, taken: bool) -> None:
    token = cellar.token(cellar.empty)
    offer = cellar.offer(token)
    now = Interval.parse(offer.valid_from)
    begin = Interval.containing_ms(now.start_ms + shift * LENGTH_MS)
    request = cellar.request(offer, KEY, valid_from=begin)
    if taken:
        assert cellar.bring(token, request).standing.state == "pending"
    else:
        with pytest.raises(UnfitRequestError, match="clock"):
            cellar.bring(token, request)


def test_keys_of_another_role_and_second_enrolments_are_refused(cellar: Cellar) -> None:
    number = cellar.brought(cellar.empty, KEY)
    token = cellar.token(cellar.empty)
    with pytest.raises(RequestConflictError, match="waits"):
        cellar.bring(token, cellar.request(cellar.offer(token), key_of(502)))
    requests.withdraw(cellar.house, number, "manager")
    with pytest.raises(RequestConflictError, match="was used"):
        cellar.bring(token, cellar.request(cellar.offer(token), KEY))
    with pytest.raises(RequestConflictError, match="another role"):
        cellar.bring(token, cellar.request(cellar.offer(token), cellar.district.gateway))
    with pytest.raises(NotDecidableError, match="withdrawn already"):
        requests.confirm(cellar.house, number, cellar.groups(KEY), "manager")


def test_an_exchange_ends_the_old_key_where_the_new_one_begins(anywhere: Cellar) -> None:
    cellar = anywhere
    number = cellar.brought(cellar.taken, KEY)
    assert requests.confirm(cellar.house, number, cellar.groups(KEY), "m").state == "active"
    old, new = (
        next(row for row in rows(cellar, EnrolmentRow) if row.key == key)
        for key in (cellar.district.meters[0].key, public_key(KEY).hex)
    )
    now = Interval.containing_ms(cellar.district.clock.now_ms())
    assert old.revoked_from == new.valid_from == now.next().key
    (change,) = rows(cellar, MeterChangeRow)
    assert (change.state, change.kind, change.decided_by) == ("approved", "exchange", "m")
    assert (change.closing_import_wh, change.opening_import_wh) == (1_500, 0)
    assert change.proposed_by == "Kim Volt"


def test_values_that_a_reading_contradicts_wait_for_a_decision(anywhere: Cellar) -> None:
    cellar = anywhere
    cellar.district.send(*cellar.district.meters[0].chain(6))  # up to 1,600 Wh
    number = cellar.brought(cellar.taken, KEY)
    assert requests.confirm(cellar.house, number, cellar.groups(KEY), "m").state == "active"
    (change,) = rows(cellar, MeterChangeRow)
    assert change.state == "proposed", "the electrician read 1,500 Wh off the old meter"


def test_an_exchange_of_tomorrow_is_refused(cellar: Cellar) -> None:
    token = cellar.token(cellar.taken)
    request = cellar.request(cellar.offer(token), KEY)
    assert request.exchange is not None
    late = request.exchange.opening.model_copy(
        update={"at_ms": cellar.district.clock.now_ms() + 60_001}
    )
    exchange = request.exchange.model_copy(update={"opening": late})
    with pytest.raises(UnfitRequestError, match="clock"):
        cellar.bring(token, request.model_copy(update={"exchange": exchange}))


def test_a_rotation_needs_only_the_old_key(cellar: Cellar) -> None:
    meter = cellar.district.meters[0]
    begins = Interval.containing_ms(cellar.district.clock.now_ms()).next()
    _, handover = rotation.begin(Signer(meter.enrolment, meter.signing_key), KEY, begins)
    request = RotationRequest(
        enrolment=handover.payload.decode(),
        handover=handover.handover.hex(),
        old=meter.key,
        possession=handover.possession.hex(),
    )
    first = rotations.rotate(cellar.house, request)
    assert rotations.rotate(cellar.house, request) == first
    assert first.state == "active"
    old = next(row for row in rows(cellar, EnrolmentRow) if row.key == meter.key)
    assert old.revoked_from == begins.key
    stranger = request.model_copy(update={"old": cellar.district.meters[1].key})
    with pytest.raises(enrolment.EnrolmentSignatureError):
        rotations.rotate(cellar.house, stranger)
    cellar.district.clock.advance_to(begins.start_ms + 2 * LENGTH_MS)
    with pytest.raises(UnfitRequestError, match="7 days"):
        rotations.rotate(cellar.house, request)


def test_an_exchange_needs_its_closing_values_and_the_meter_that_is_there(cellar: Cellar) -> None:
    token = cellar.token(cellar.taken)
    offer = cellar.offer(token)
    assert offer.purpose == "replace"
    request = cellar.request(offer, KEY)
    assert request.exchange is not None
    for exchange in (None, request.exchange.model_copy(update={"old_key": "ab" * 32})):
        with pytest.raises(RequestConflictError, match="meter replace"):
            cellar.bring(token, request.model_copy(update={"exchange": exchange}))


def test_people_are_told_that_an_enrolment_waits(cellar: Cellar) -> None:
    cellar.brought(cellar.empty, KEY)
    (notice,) = [row for row in rows(cellar, NoticeRow) if row.ref.startswith("enrolment/")]
    assert "waits for its confirmation" in notice.text
    assert cellar.groups(KEY) not in notice.text, "it has to be read off the gateway"


def test_unknown_points_keys_and_numbers(cellar: Cellar) -> None:
    with pytest.raises(UnknownRequestError):
        cellar.token(gsrn(99))
    with pytest.raises(UnknownRequestError):
        requests.standing(cellar.house, "ab" * 32)
    with pytest.raises(UnknownRequestError):
        requests.confirm(cellar.house, 1, "", "m")


def test_wrong_tokens_are_counted_per_address_and_hour(cellar: Cellar) -> None:
    for _ in range(tokens.MAX_GUESSES):
        tokens.check_guesses(cellar.house, "10.0.0.1", cellar.wall_ms)
        tokens.report_guess(cellar.house, "10.0.0.1")
    hour_now = wall_ms()
    with pytest.raises(TooManyGuessesError) as refused:
        tokens.check_guesses(cellar.house, "10.0.0.1", hour_now)
    assert 0 < refused.value.retry_after_s <= 3_600
    tokens.check_guesses(cellar.house, "10.0.0.2", hour_now)
    tokens.check_guesses(cellar.house, "10.0.0.1", hour_now + 3_600_000)
    for number in range(50):  # who has many addresses keeps nobody out
        tokens.report_guess(cellar.house, f"2001:db8::{number}")
    tokens.check_guesses(cellar.house, "10.0.0.3", hour_now)
    assert any("wrong enrolment token" in row.text for row in rows(cellar, NoticeRow))


def at_once(*acts: Callable[[], object]) -> list[object]:
    """What each of the acts gives back or raises, all begun in one moment."""
    start = Barrier(len(acts))

    def act(one: Callable[[], object]) -> object:
        start.wait()
        return one()

    with ThreadPoolExecutor(len(acts)) as pool:
        begun = [pool.submit(act, one) for one in acts]
        return [each.exception() or each.result() for each in begun]


def test_tokens_made_at_once_leave_one(anywhere: Cellar) -> None:
    made = at_once(*[lambda: anywhere.token(anywhere.empty)] * 6)
    assert all(isinstance(each, str) for each in made)
    assert len(rows(anywhere, EnrolmentTokenRow)) == 1


def test_a_key_brought_at_two_points_at_once_is_at_one(anywhere: Cellar) -> None:
    brought = [
        (token, anywhere.request(anywhere.offer(token), KEY))
        for token in map(anywhere.token, (anywhere.empty, anywhere.taken))
    ]
    found = at_once(*[lambda each=each: anywhere.bring(*each) for each in brought])
    kinds = sorted(type(each).__name__ for each in found)
    assert kinds == ["Brought", "RequestConflictError"]
    assert len(rows(anywhere, EnrolmentRequestRow)) == 1


def test_an_exchange_begins_while_its_token_lives(cellar: Cellar) -> None:
    """From an older beginning, any energy would be plausible at the first border."""
    token = cellar.token(cellar.taken)
    request = cellar.request(cellar.offer(token), KEY)
    assert request.exchange is not None
    ends = {"closing": {"at_ms": 0}, "opening": {"at_ms": 1}}
    old = {
        name: getattr(request.exchange, name).model_copy(update=change)
        for name, change in ends.items()
    }
    forged = request.model_copy(update={"exchange": request.exchange.model_copy(update=old)})
    with pytest.raises(UnfitRequestError, match="too long ago"):
        cellar.bring(token, forged)
    assert not cellar.bring(token, request).repeated


def test_closing_values_beyond_a_later_reading_are_not_approved(cellar: Cellar) -> None:
    cellar.district.send(*cellar.district.meters[0].chain(3))
    token = cellar.token(cellar.taken)
    request = cellar.request(cellar.offer(token), KEY)
    assert request.exchange is not None
    closing = request.exchange.closing.model_copy(update={"at_ms": 0, "import_wh": 10**12})
    exchange = request.exchange.model_copy(update={"closing": closing})
    cellar.bring(token, request.model_copy(update={"exchange": exchange}))
    requests.confirm(cellar.house, 1, cellar.groups(KEY), "manager")
    (change,) = rows(cellar, MeterChangeRow)
    assert (change.state, change.closing_import_wh) == ("proposed", 10**12)


def test_an_exchange_goes_on_from_no_epoch_that_was_rejected(cellar: Cellar) -> None:
    meter = cellar.district.meters[0]
    cellar.district.send(*meter.chain(3))
    begun = meter.sign(replace(meter.reading(1), epoch=2, import_wh=5))
    assert [each.status for each in cellar.district.send(begun)] == [200]
    with cellar.house.database.write() as session:
        changes.reject(cellar.house, session, 1, "manager", "no such reset")
    requests.confirm(cellar.house, cellar.brought(cellar.taken, KEY), cellar.groups(KEY), "manager")
    assert [(row.old_epoch, row.new_key == meter.key) for row in rows(cellar, MeterChangeRow)] == [
        (1, True),
        (1, False),
    ]

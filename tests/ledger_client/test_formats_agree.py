"""The ground and the market write the very records that the offline verifier reads."""

from __future__ import annotations

import hashlib

import pytest

from ledger_client import verify
from market.money import Money, Price
from market.payout import Transfer
from market.settlement import Direction, Kind, Line, SettledEnergy, Statement
from metering import canonical, reading, signing
from metering.identity import PublicKey
from metering.interval import Interval
from metering.quantities import Energy
from tests.ledger_client.ledger_bytes import key, public, salt
from tests.ledger_client.proof_records import INTERVAL, ORIGIN, ROOF, START_MS

ENROLMENT = reading.Enrolment(
    district=ORIGIN,
    point=ROOF,
    serial="SN-1",
    profile="sdm630",
    key=PublicKey.parse(public("meter").hex()),
    epoch=1,
    valid_from=Interval.parse(INTERVAL),
)


@pytest.mark.parametrize("registers", [(1, None), (None, 2), (2**53 - 1, 0)])
def test_a_gateway_s_reading_is_read_by_the_verifier(registers: tuple[int, int]) -> None:
    measured = reading.Measurement(
        asked_ms=START_MS,
        answered_ms=START_MS + 9,
        clock=reading.Clock.SYNCHRONISED,
        import_wh=registers[0],
        export_wh=registers[1],
        resolution_wh=1,
        power_w=-40,
        quality=reading.Quality.MEASURED,
        raw=hashlib.sha256(b"raw").hexdigest(),
    )
    payload = reading.Reading.of(ENROLMENT, measured, 7, "00" * 32).to_payload()
    signature = signing.sign(key("meter"), signing.Purpose.READING, payload)
    found = verify.Reading.read(payload)
    assert found.text.encode() == payload
    assert (found.import_wh, found.export_wh) == registers
    assert verify.signature_holds(found.key, verify.READING_PREFIX + payload, signature)
    signed = verify.SignedReading(payload.decode(), salt("r"), signature)
    assert verify.reading_leaf(signed) == reading.leaf(salt("r"), payload, signature)


def test_an_enrolment_is_read_by_the_verifier() -> None:
    payload = ENROLMENT.to_payload()
    signature = signing.sign(key("meter"), signing.Purpose.ENROL, payload)
    assert verify.Enrolment.read(payload).text.encode() == payload
    assert verify.signature_holds(public("meter"), verify.ENROL_PREFIX + payload, signature)


def test_the_enumerations_are_the_same() -> None:
    kinds = {name: field.type for name, field in verify.Reading.__dataclass_fields__.items()}
    assert {item.value for item in reading.Quality} == set(verify.get_args(kinds["quality"]))
    assert {item.value for item in reading.Clock} == set(verify.get_args(kinds["clock"]))
    assert {item.value for item in Kind} == set(verify.get_args(verify.LineKind))
    assert {item.value for item in Direction} == set(verify.get_args(verify.Direction))
    assert {item.value for item in Kind if item.moves_wallet} == set(verify.LOCAL)


def test_a_statement_of_the_market_is_read_by_the_verifier() -> None:
    statement = Statement(
        participant="anna",
        metered=(
            SettledEnergy(
                point=ROOF,
                direction=Direction.EXPORT,
                estimated=False,
                wh=100,
                local_wh=60,
                own_wh=0,
                residual_wh=40,
            ),
        ),
        lines=(Line(Kind.LOCAL_SELL, ROOF, Price(100_000), 60, 6_000),),
        opening_carry=Money(0),
        transfers=(Transfer(salt("a").hex(), 6_000),),
        closing_carry=Money(0),
    )
    payload = canonical.encode(statement.payload(ORIGIN, INTERVAL))
    found = verify.Statement.read(payload)
    assert found.text.encode() == payload
    assert found.sum_micro == 6_000


@pytest.mark.parametrize(
    ("price", "wh"), [(1, 500), (-1, 500), (-1, 1_500), (301_002, 250), (-7, 499), (0, 1), (3, 0)]
)
def test_money_is_rounded_alike(price: int, wh: int) -> None:
    assert verify.round_half_up(price * wh, 1000) == Price(price).of(Energy(wh)).micro

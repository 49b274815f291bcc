"""Records of the Open Charge Metering Format: written, read back, refused."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from metering.identity import PublicKey
from metering.interval import Interval
from metering.ocmf.document import OcmfError, OcmfFormatError, parse
from metering.ocmf.fields import IDENTIFICATIONS
from metering.ocmf.session import (
    Identified,
    OcmfSessionError,
    Session,
    Signing,
    above,
    between,
    payload,
)
from metering.ocmf.signature import (
    OcmfKeyError,
    OcmfUnsupportedError,
    Published,
    create_key,
    load_key,
    public_hex,
    read_public,
    signature_holds,
    signed,
)
from metering.reading import FIRST_PREV, Clock, Enrolment, Measurement, Quality, Reading
from tests.conftest import LONG

POINT = "707057500000000018"
START_MS = Interval.parse("2026-03-29T00:45:00Z").start_ms  # the clock is put forward at 01:00 UTC
BERLIN = ZoneInfo("Europe/Berlin")
SIGNING = Signing("Wattloom", "gateway-1", "0.2.0", "eastron_sdm120")
METER = SigningKey(bytes(range(32)))
KEY = ec.derive_private_key(7, ec.SECP256R1())
PUBLIC = KEY.public_key()


def reading(second: int, import_wh: int, power_w: int = 0, **changes: object) -> Reading:
    enrolment = Enrolment(
        district="lindenhof.example",
        point=POINT,
        serial="SN-18",
        profile="eastron_sdm120",
        key=PublicKey(bytes(METER.verify_key)),
        epoch=1,
        valid_from=Interval.parse("2026-03-01T00:00:00Z"),
    )
    measured = Measurement(
        asked_ms=START_MS + 1_000 * second,
        answered_ms=START_MS + 1_000 * second + 7,
        clock=Clock.SYNCHRONISED,
        import_wh=import_wh,
        export_wh=0,
        resolution_wh=1,
        power_w=power_w,
        quality=Quality.MEASURED,
        raw="ab" * 32,
    )
    return replace(Reading.of(enrolment, measured, second + 1, FIRST_PREV), **changes)


NOBODY = Identified()
SESSION = Session(reading(0, 2_935_600), reading(1_800, 2_965_104))


def record(session: Session = SESSION, number: int = 1, who: Identified = NOBODY) -> bytes:
    return signed(payload(session, number, who, SIGNING, BERLIN), KEY)


# --- Written and read back ----------------------------------------------------------------------


def test_a_session_begins_and_ends_with_a_signed_register() -> None:
    found = parse(record(who=Identified("ISO14443", "1F2D3A4F5506C7")))
    assert signature_holds(found, PUBLIC)
    assert (found.context, found.number) == ("T", 1)
    assert [(r.transaction, str(r.value), r.unit, r.state) for r in found.readings] == [
        ("B", "2935.600", "kWh", "G"),
        ("E", "2965.104", "kWh", "G"),
    ]
    assert b'"TM":"2026-03-29T01:45:00,007+0100 S"' in found.payload
    assert b'"TM":"2026-03-29T03:15:00,007+0200 S"' in found.payload
    fields = found.fields
    assert (fields["IS"], fields["IT"], fields["ID"]) == (True, "ISO14443", "1F2D3A4F5506C7")
    assert (fields["FV"], fields["GS"], fields["MS"]) == ("1.4", "gateway-1", "SN-18")


@settings(max_examples=2_000 if LONG else 60, deadline=None)
@given(
    st.integers(0, 2**53 - 2),
    st.integers(0, 10**6),
    st.none() | st.tuples(st.integers(0, 10**9), st.integers(0, 10**6)),
    st.integers(1, 10**9),
    st.sampled_from(IDENTIFICATIONS),
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40),
    st.sampled_from(Clock),
)
def test_what_is_exported_reads_back(begin, drawn, export, number, kind, data, clock) -> None:
    end = min(begin + drawn, 2**53 - 1)
    fed_in = export or (None, 0)
    last = None if fed_in[0] is None else fed_in[0] + fed_in[1]
    session = Session(
        reading(0, begin, export_wh=fed_in[0], clock=clock),
        reading(60, end, export_wh=last, clock=clock),
    )
    who = Identified() if kind == "NONE" else Identified(kind, data)
    found = parse(record(session, number, who))
    assert signature_holds(found, PUBLIC)
    assert found.number == number
    assert found.fields.get("ID", "") == who.data
    assert {each.clock for each in found.readings} == {clock.value}
    values = [each.value for each in found.readings]
    assert values[:2] == [Decimal(begin) / 1000, Decimal(end) / 1000]
    assert len(values) == (4 if fed_in[1] else 2)
    if fed_in[1]:
        assert values[2:] == [Decimal(fed_in[0]) / 1000, Decimal(last) / 1000]
    moments = [round(each.at.timestamp() * 1000) for each in found.readings[:2]]
    assert moments == [session.begin.answered_ms, session.end.answered_ms]


def test_every_flipped_bit_is_noticed() -> None:
    whole = record()
    for place in range(0, len(whole), 1 if LONG else 5):
        for bit in (1, 32):
            changed = bytearray(whole)
            changed[place] ^= bit
            try:
                found = parse(bytes(changed))
                held = signature_holds(found, PUBLIC) and found.payload == parse(whole).payload
            except OcmfError:
                continue
            assert not held or _only_spelling(changed, whole, place)


def _only_spelling(changed: bytes, whole: bytes, place: int) -> bool:
    """Hex digits in capitals, and names in the part that nobody signed, say the same."""
    unsigned = whole.rindex(b"|")
    return place > unsigned and (
        bytes(changed).lower() == whole.lower() or b'"SA"' not in bytes(changed)
    )


# --- Others' records ----------------------------------------------------------------------------

# Fields, white space and omissions as the specification's example has them, with a vendor's own.
FOREIGN = """{
    "FV": "1.4", "GI": "ABL SBC-301", "GS": "808829900001", "GV": "1.4p3", "PG": "T12345",
    "MV": "Phoenix Contact", "MM": "EEM-350-D-MCB", "MS": "BQ27400330016", "MF": "1.0",
    "IS": true, "IL": "VERIFIED", "IF": ["RFID_PLAIN", "OCPP_RS_TLS"], "IT": "ISO14443",
    "ID": "1F2D3A4F5506C7", "TT": "Tarif 1", "ZZ": {"own": [1, null]},
    "LC": {"LN": "cable_name", "LI": 1, "LR": 2, "LU": "mOhm"},
    "RD": [
        {"TM": "2018-07-24T13:22:04,000+0200 S", "TX": "B", "RV": 2935.600,
         "RI": "01-0B:01.08.00*FF", "RU": "kWh", "RT": "DC", "EF": "", "ST": "G"},
        {"TM": "2018-07-24T13:24:04,000+0200 S", "TX": "C", "RV": 2940.1},
        {"TM": "2018-07-24T13:25:04,000+0200 S", "RV": 2950},
        {"TM": "2018-07-24T13:26:04,000+0200 S", "TX": "E", "RV": 2965.100, "CL": 0.5}
    ]
}"""
OTHER_CURVES = {
    "ECDSA-secp256k1-SHA256": ec.SECP256K1(),
    "ECDSA-secp384r1-SHA256": ec.SECP384R1(),
    "ECDSA-brainpool256r1-SHA256": ec.BrainpoolP256R1(),
    "ECDSA-brainpool384r1-SHA256": ec.BrainpoolP384R1(),
}


def foreign(text: str = FOREIGN, signature: object = None) -> bytes:
    data = KEY.sign(text.encode(), ec.ECDSA(SHA256())).hex().upper()
    return f"OCMF|{text}|{json.dumps(signature or {'SD': data})}\n".encode()


def test_another_maker_s_record_is_read() -> None:
    found = parse(foreign())
    assert signature_holds(found, PUBLIC)
    assert [each.transaction for each in found.readings] == ["B", "C", "C", "E"]
    assert [str(each.value) for each in found.readings] == [
        "2935.600",
        "2940.1",
        "2950",
        "2965.100",
    ]
    assert {each.obis for each in found.readings} == {"01-0B:01.08.00*FF"}
    assert found.fields["ZZ"] == {"own": [Decimal(1), None]}
    assert found.readings[3].loss == Decimal("0.5")


@pytest.mark.parametrize("name", OTHER_CURVES)
def test_the_format_s_other_curves(name: str) -> None:
    key = ec.generate_private_key(OTHER_CURVES[name])
    data = key.sign(FOREIGN.encode(), ec.ECDSA(SHA256()))
    found = parse(foreign(signature={"SA": name, "SD": data.hex(), "X": 1}))
    assert signature_holds(found, key.public_key())
    with pytest.raises(OcmfKeyError, match="algorithm"):
        signature_holds(found, PUBLIC)


def test_what_cannot_be_checked_is_said() -> None:
    found = parse(foreign(signature={"SA": "ECDSA-secp192k1-SHA256", "SD": "00"}))
    with pytest.raises(OcmfUnsupportedError):
        signature_holds(found, PUBLIC)


def changed(old: str, new: str) -> bytes:
    assert old in FOREIGN
    return foreign(FOREIGN.replace(old, new))


MALFORMED = {
    "no header": (b"OCM|{}|{}", "character 0"),
    "two sections": (b"OCMF|{}", "3 sections"),
    "a pipe too many": (b'OCMF|{"GI":"a|b"}|{}', "character 17"),
    "not UTF-8": (b'OCMF|{"GI":"\xff"}|{}', "byte 12"),
    "no JSON": (b"OCMF|{]|{}", "payload, character 6"),
    "an array": (b"OCMF|[]|{}", "payload, character 5"),
    "NaN": (changed("2940.1", "NaN"), "NaN is no number"),
    "one name twice": (changed('"MF": "1.0"', '"MS": "1.0"'), "stands twice"),
    "no page": (changed('"PG": "T12345",', ""), "payload.PG is missing"),
    "a page with zeros": (changed("T12345", "T012345"), "payload.PG"),
    "another context": (changed("T12345", "X1"), "payload.PG"),
    "no user status": (changed('"IS": true, ', ""), "payload.IS is missing"),
    "no user type": (changed('"IT": "ISO14443",', ""), "payload.IT is missing"),
    "an unknown user type": (changed("ISO14443", "ISO1"), "payload.IT"),
    "a status in quotes": (changed('"IS": true', '"IS": "true"'), "payload.IS"),
    "five flags": (changed('"RFID_PLAIN",', '"RFID_NONE",' * 4), "payload.IF"),
    "a user in a fiscal record": (changed("T12345", "F1"), "payload.IS"),
    "a version of three": (changed('"FV": "1.4"', '"FV": "1.4.1"'), "payload.FV"),
    "a value in quotes": (changed("2940.1", '"2940.1"'), "payload.RD[1].RV"),
    "a value without end": (changed("2940.1", "1e99"), "payload.RD[1].RV"),
    "a time without zone": (changed("04,000+0200 S", "04,000 S"), "payload.RD[0].TM"),
    "no such day": (changed("2018-07-24T13:26", "2018-02-30T13:26"), "payload.RD[3].TM"),
    "no such reason": (changed('"TX": "C"', '"TX": "Q"'), "payload.RD[1].TX"),
    "no such state": (changed('"ST": "G"', '"ST": "Z"'), "payload.RD[0].ST"),
    "no state": (changed(', "ST": "G"', ""), "payload.RD[0].ST is missing"),
    "no such unit": (changed('"kWh"', '"MWh"'), "payload.RD[0].RU"),
    "a code without unit": (changed('"RU": "kWh", ', ""), "RI and RU"),
    "an error of nothing": (changed('"EF": ""', '"EF": "Q"'), "payload.RD[0].EF"),
    "no readings": (foreign('{"PG":"F1","MS":"1","RD":[]}'), "payload.RD"),
    "no signer": (foreign('{"PG":"F1","RD":[]}'), "payload.MS"),
    "no signature": (b"OCMF|" + FOREIGN.encode() + b"|{}", "signature.SD"),
    "an algorithm of ours": (foreign(signature={"SA": "Ed25519", "SD": "00"}), "signature.SA"),
}


@pytest.mark.parametrize(("data", "said"), MALFORMED.values(), ids=MALFORMED)
def test_what_breaks_the_format_is_refused_with_its_place(data: bytes, said: str) -> None:
    with pytest.raises(OcmfFormatError) as caught:
        parse(data)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "signature", [{"SD": "zz"}, {"SD": "00", "SE": "hex"}, {"SD": "*", "SE": "base64"}]
)
def test_what_is_no_signature(signature: dict[str, str]) -> None:
    with pytest.raises(OcmfFormatError, match=r"signature\.SD"):
        signature_holds(parse(foreign(signature=signature)), PUBLIC)


@settings(max_examples=4_000 if LONG else 100)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: f"OCMF|{t}|{{}}".encode()))
def test_nothing_else_is_read_and_nothing_crashes(data: bytes) -> None:
    with pytest.raises(OcmfFormatError):
        parse(data)


# --- Sessions -----------------------------------------------------------------------------------


def test_power_above_a_threshold_makes_sessions() -> None:
    powers = [0, 11_000, 11_000, 0, 0, 7_000, 5, 9_000]
    run = [reading(60 * n, 100 * n, power) for n, power in enumerate(powers)]
    found = [(each.begin.seq, each.end.seq) for each in above(run, 1_000)]
    assert found == [(1, 181), (241, 361)]  # where the last one ends nobody knows
    assert list(above(run[1:4], 1_000)) == []  # nor where this one began


def test_a_reading_that_is_not_measured_bounds_nothing() -> None:
    bad = [reading(0, 5, quality=Quality.ESTIMATED), reading(60, 7), reading(120, 9)]
    assert between(bad).begin.import_wh == 7
    with pytest.raises(OcmfSessionError, match="1 measured"):
        between(bad[:2])


@pytest.mark.parametrize("change", [{"import_wh": 1}, {"meter": "SN-2"}, {"import_wh": None}])
def test_two_readings_that_make_no_session(change: dict[str, object]) -> None:
    with pytest.raises(OcmfSessionError):
        Session(reading(0, 5), replace(reading(60, 7), **change))


# --- Keys ---------------------------------------------------------------------------------------


def test_a_key_is_private_and_published_by_the_meter_s_key(tmp_path: Path) -> None:
    path = tmp_path / "charger.pem"
    key = create_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert public_hex(load_key(path)) == public_hex(key)
    statement = Published.of(("lindenhof.example", POINT, "SN-18"), METER, public_hex(key))
    found = Published.parse(statement.to_json())
    assert found == statement
    assert signature_holds(parse(signed(b'{"PG":"F1","MS":"1","RD":[{"TM":"2018-07-24T13:22:04,000'
        b'+0200 S","ST":"G"}]}', key)), read_public(found.ocmf))  # fmt: skip
    forged = statement.to_json().replace(b"SN-18", b"SN-19")
    with pytest.raises(OcmfKeyError):
        Published.parse(forged)
    path.chmod(0o644)
    with pytest.raises(OcmfKeyError, match="chmod"):
        load_key(path)


@pytest.mark.parametrize("text", ["", "04ff", "-----BEGIN PUBLIC KEY-----\n", "?" * 40])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(OcmfKeyError):
        read_public(text)

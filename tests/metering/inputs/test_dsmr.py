"""P1 telegrams, written from the P1 Companion Standard: values, checksums, and what is refused."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.inputs.dsmr import (
    MAX_BYTES,
    ChecksumError,
    FrameError,
    ObjectError,
    TelegramError,
    crc16,
    parse,
    split,
)
from metering.quantities import Power, RegisterTotal
from tests.conftest import LONG

BODY = """\
/WLM5\\3WATTLOOM-1

1-3:0.2.8(50)
0-0:1.0.0(260623141500S)
0-0:96.1.1(4530303635303030303035363132)
1-0:1.8.1(004512.345*kWh)
1-0:1.8.2(003201.006*kWh)
1-0:2.8.1(000120.400*kWh)
1-0:2.8.2(000000.001*kWh)
0-0:96.14.0(0002)
1-0:1.7.0(00.000*kW)
1-0:2.7.0(01.193*kW)
0-0:96.7.21(00004)
1-0:99.97.0(1)(0-0:96.7.19)(251208152415W)(0000000240*s)
1-0:32.7.0(230.1*V)
1-0:52.7.0(229.0*V)
1-0:31.7.0(001*A)
0-0:96.13.0()
0-1:24.1.0(003)
0-1:96.1.0(3232323241424344313233343536373839)
0-1:24.2.1(260623140000S)(12785.123*m3)
"""


def telegram(body: str = BODY) -> bytes:
    data = body.replace("\n", "\r\n").encode() + b"!"
    return data + f"{crc16(data):04X}\r\n".encode()


def test_a_telegram_says_what_the_meter_shows() -> None:
    data = telegram()
    found = parse(data)
    assert found.serial == "E0065000005612"
    assert found.at_ms == datetime(2026, 6, 23, 12, 15, tzinfo=UTC).timestamp() * 1000
    values = found.values
    assert values.import_total == RegisterTotal(4_512_345 + 3_201_006)
    assert values.export_total == RegisterTotal(120_400 + 1)
    assert values.power == Power(-1193)
    assert values.voltages_mv == (230_100, 229_000, None)
    assert values.resolution_wh == 1
    assert values.raw_digest == hashlib.sha256(data).digest()


def test_the_checksum_is_that_of_the_catalogue() -> None:
    """CRC-16/ARC's check value (Greg Cook's catalogue of parametrised CRC algorithms)."""
    assert crc16(b"123456789") == 0xBB3D


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("260623141500S", datetime(2026, 6, 23, 12, 15, tzinfo=UTC)),
        ("260123141500W", datetime(2026, 1, 23, 13, 15, tzinfo=UTC)),
        ("261025023000S", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ("261025023000W", datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
    ],
)
def test_the_doubled_hour_is_told_apart(stamp: str, expected: datetime) -> None:
    assert parse(telegram(BODY.replace("260623141500S", stamp, 1))).at_ms == (
        expected.timestamp() * 1000
    )


def test_a_meter_without_tariffs_shows_its_total_and_one_without_export_none() -> None:
    lines = [line for line in BODY.splitlines() if not line.startswith(("1-0:1.8", "1-0:2.8"))]
    found = parse(telegram("\n".join([*lines, "1-0:1.8.0(000001*kWh)", ""])))
    assert found.values.import_total == RegisterTotal(1000)
    assert found.values.export_total is None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("1-0:1.8.1(004512.345*kWh)\n1-0:1.8.2(003201.006*kWh)\n", "", r"1-0:1\.8\.0 is absent"),
        ("004512.345*kWh", "004512.3456*kWh", r"1-0:1\.8\.1.* no decimal in kWh with up to three"),
        ("004512.345*kWh", "4512.345*MWh", r"1-0:1\.8\.1\(4512\.345\*MWh\) is no decimal in kWh"),
        ("004512.345*kWh", "-04512.345*kWh", r"1-0:1\.8\.1.* no decimal"),
        ("1-0:2.8.1(", "1-0:1.8.1(", r"line 8: 1-0:1\.8\.1 is there twice"),
        ("01.193*kW", "01,193*kW", r"1-0:2\.7\.0\(01,193\*kW\) is no decimal in kW"),
        ("260623141500S", "260623141500", r"0-0:1\.0\.0.* no moment YYMMDDhhmmss with S or W"),
        ("260623141500S", "260631141500S", r"0-0:1\.0\.0\(260631141500S\) is no moment"),
        ("0-0:1.0.0(260623141500S)\n", "", r"0-0:1\.0\.0 is absent"),
        ("0-0:96.1.1(4530", "0-0:96.1.1(45X0", r"0-0:96\.1\.1.* no serial number in hexadecimal"),
        ("0-0:96.1.1(4530", "0-0:96.1.1(4507", r"0-0:96\.1\.1.* no serial number in hexadecimal"),
        ("0-0:96.1.1(", "0-0:96.1.9(", r"0-0:96\.1\.1 is absent"),
    ],
)
def test_what_is_wrong_in_it_is_named(old: str, new: str, expected: str) -> None:
    assert old in BODY
    with pytest.raises(ObjectError, match=expected):
        parse(telegram(BODY.replace(old, new)))


@pytest.mark.parametrize(
    ("data", "error", "expected"),
    [
        (telegram()[:-8], FrameError, "not a telegram"),
        (telegram()[1:], FrameError, "not a telegram"),
        (telegram() + b"\r\n", FrameError, "not a telegram"),
        (telegram().split(b"!")[0] + b"!\r\n", FrameError, "before DSMR 4 have no checksum"),
        (telegram(BODY.replace("(50)", "(5\N{DEGREE SIGN})")), FrameError, "byte 32 is not ASCII"),
        (telegram().replace(b"4512.345", b"4512.346"), ChecksumError, "its bytes make .*, it says"),
        (b"/" * (MAX_BYTES + 1), FrameError, "8193 bytes: a telegram has at most 8192"),
        (b"", FrameError, "not a telegram"),
    ],
)
def test_what_is_no_telegram_is_refused(
    data: bytes, error: type[TelegramError], expected: str
) -> None:
    with pytest.raises(error, match=expected):
        parse(data)


class Shown(NamedTuple):
    """What a made-up meter shows, in Wh, W and seconds of its clock."""

    serial: str
    tariffs_wh: tuple[int, int, int, int]
    power_w: int
    second: int

    def body(self) -> str:
        one, two, three, four = (f"{wh // 1000:06}.{wh % 1000:03}" for wh in self.tariffs_wh)
        watts = abs(self.power_w)
        kilowatts = f"{watts // 1000:02}.{watts % 1000:03}"
        to_client, by_client = (kilowatts, "00.000") if self.power_w > 0 else ("00.000", kilowatts)
        moment = datetime.fromtimestamp(self.second + 3600, UTC)
        return (
            "/WLM5MADE-UP\n\n"
            f"0-0:1.0.0({moment:%y%m%d%H%M%S}W)\n0-0:96.1.1({self.serial.encode().hex()})\n"
            f"1-0:1.8.1({one}*kWh)\n1-0:1.8.2({two}*kWh)\n"
            f"1-0:2.8.1({three}*kWh)\n1-0:2.8.2({four}*kWh)\n"
            f"1-0:1.7.0({to_client}*kW)\n1-0:2.7.0({by_client}*kW)\n"
        )


TOTAL = st.integers(0, 999_999_999)
SHOWN = st.builds(
    Shown,
    serial=st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=20),
    tariffs_wh=st.tuples(TOTAL, TOTAL, TOTAL, TOTAL),
    power_w=st.integers(-99_999, 99_999),
    second=st.integers(946_684_800, 2_524_608_000),
)
often = settings(max_examples=4_000 if LONG else 100)


@often
@given(SHOWN)
def test_every_watt_hour_comes_through(shown: Shown) -> None:
    found = parse(telegram(shown.body()))
    one, two, three, four = shown.tariffs_wh
    assert found.values.import_total == RegisterTotal(one + two)
    assert found.values.export_total == RegisterTotal(three + four)
    assert found.values.power == Power(shown.power_w)
    assert (found.serial, found.at_ms) == (shown.serial, shown.second * 1000)


@often
@given(st.data())
def test_one_changed_byte_is_always_noticed(data: st.DataObject) -> None:
    whole = telegram()
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))
    with pytest.raises(TelegramError):
        parse(whole[:at] + bytes([byte]) + whole[at + 1 :])


@often
@given(st.lists(st.integers(1, 400), max_size=12), st.binary(max_size=40))
def test_telegrams_are_cut_out_of_whatever_pieces_come(sizes: list[int], noise: bytes) -> None:
    whole = telegram()
    stream = noise.replace(b"/", b"") + whole[: len(whole) // 2] + whole + whole + whole[:100]
    found: list[bytes] = []
    rest = b""
    for size in [*sizes, len(stream)]:
        piece, stream = stream[:size], stream[size:]
        cut, rest = split(rest + piece)
        found += cut
    assert found == [whole, whole]
    assert rest == whole[:100]


def test_noise_takes_no_memory() -> None:
    assert split(b"/" + b"x" * MAX_BYTES) == ([], b"")
    assert split(b"no slash at all") == ([], b"")
    assert split(b"/" + b"x" * 10) == ([], b"/" + b"x" * 10)

"""Numbers as people type them: exactly what is meant, or a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.typed import MICRO_OF_CENT, WH_OF_KWH, TypedError, scaled, written


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("12.5", 125_000),
        (" 12,5 ", 125_000),
        ("-3", -30_000),
        ("\N{MINUS SIGN}3,0001", -30_001),  # as pages show it
        ("+0.0001", 1),
        ("0", 0),
        ("999999999", 9_999_999_990_000),
    ],
)
def test_what_is_meant(text, micro):
    assert scaled(text, MICRO_OF_CENT, "12.5 ct/kWh") == micro


@pytest.mark.parametrize(
    "text", ["", "-", ".5", "5.", "1e9", "NaN", "1 000", "1,000.5", "\u0663", "1000000000", "0x1"]
)
def test_what_is_no_number(text):
    with pytest.raises(TypedError, match=r"such as 12\.5 ct/kWh, without the unit"):
        scaled(text, MICRO_OF_CENT, "12.5 ct/kWh")


def test_what_is_too_fine():
    with pytest.raises(TypedError, match=r"1\.2345 is too fine: the smallest step is 0\.001 kWh"):
        scaled("1.2345", WH_OF_KWH, "2 kWh")


@given(st.integers(1 - 10**12, 10**12 - 1), st.sampled_from([WH_OF_KWH, MICRO_OF_CENT]))
def test_what_is_written_is_read_again(value, scale):
    assert scaled(written(value, scale), scale, "1 kWh") == value

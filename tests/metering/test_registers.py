"""Raw registers to exact values: types, word orders, scales, sentinels, resolution."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.quantities import Power, RegisterTotal
from metering.registers import (
    TYPES,
    Block,
    EncodingError,
    Field,
    Kind,
    MapMismatchError,
    NegativeTotalError,
    ReadRange,
    RegisterMap,
    RegisterType,
    decode,
    encode,
    encode_text,
    exact_value,
    resolution_wh,
    text_value,
)

TEXT = RegisterType(Kind.TEXT, 4)


def block(*registers: int, address: int = 0, function: int = 3) -> Block:
    return Block(ReadRange(function, address, len(registers)), registers)


def field(
    name: str,
    *,
    scale: Fraction = Fraction(1),
    low_word_first: bool = False,
    missing: frozenset[int] = frozenset(),
    scale_register: int | None = None,
) -> Field:
    return Field(3, 0, TYPES[name], scale, low_word_first, missing, scale_register)


def kwh_float(value_kwh: int) -> list[int]:
    return encode(field("float32", scale=Fraction(1000)), Fraction(value_kwh * 1000))


@pytest.mark.parametrize(
    ("name", "registers", "expected"),
    [
        ("int16", [0xFFFE], -2),
        ("uint16", [0xFFFE], 65534),
        ("int32", [0xFFFF, 0xFF38], -200),
        ("uint32", [0x0001, 0x0000], 65536),
        ("int64", [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF], -1),
        ("uint64", [0, 0, 0x0001, 0x86A0], 100_000),
        ("acc32", [0x0000, 0x2710], 10_000),
        ("float32", [0x436A, 0x0000], 234),
        ("float32", [0xC000, 0x0000], -2),
        ("float32", [0x0000, 0x0001], Fraction(1, 2**149)),
    ],
)
def test_each_type_reads_big_endian_words(
    name: str, registers: list[int], expected: Fraction
) -> None:
    assert exact_value(field(name), [block(*registers)]) == expected


def test_low_word_first_swaps_words_not_bytes() -> None:
    swapped = field("int32", low_word_first=True, scale=Fraction(1, 10))
    assert exact_value(swapped, [block(0x1234, 0x0001)]) == Fraction(0x11234, 10)


@pytest.mark.parametrize(
    ("spec", "registers"),
    [
        (field("float32"), [0x7FC0, 0x0000]),
        (field("float32"), [0x7F80, 0x0000]),
        (field("float32"), [0xFF80, 0x0000]),
        (field("uint64", missing=frozenset({2**64 - 1})), [0xFFFF] * 4),
        (field("int32", missing=frozenset({0x7FFFFFFF})), [0x7FFF, 0xFFFF]),
        (field("int32", missing=frozenset({0x7FFFFFFF}), low_word_first=True), [0xFFFF, 0x7FFF]),
        (field("acc32", missing=frozenset({0})), [0, 0]),
        (field("int16", scale_register=1), [5, 0x8000]),
        (field("int16", scale_register=1), [5, 11]),
        (field("int16", scale_register=7), [5, 0]),
    ],
)
def test_what_a_meter_marks_as_missing_is_none(spec: Field, registers: list[int]) -> None:
    assert exact_value(spec, [block(*registers)]) is None


@pytest.mark.parametrize(("exponent", "expected"), [(0, 5), (2, 500), (0xFFFE, Fraction(1, 20))])
def test_a_scale_register_is_a_power_of_ten(exponent: int, expected: Fraction) -> None:
    assert exact_value(field("int16", scale_register=1), [block(5, exponent)]) == expected


@pytest.mark.parametrize(("kwh", "step_wh"), [(5, 1), (10_000, 1), (50_000, 4), (100_000, 8)])
def test_a_float_counter_gets_coarser_as_it_grows(kwh: int, step_wh: int) -> None:
    spec = field("float32", scale=Fraction(1000))
    assert resolution_wh(spec, [block(*kwh_float(kwh))]) == step_wh


def test_an_integer_counter_steps_by_its_scale() -> None:
    spec = field("uint64", scale=Fraction(10))
    assert resolution_wh(spec, [block(0, 0, 0, 7)]) == 10
    assert resolution_wh(field("acc32", scale_register=2), [block(0, 9, 0xFFFE)]) == 1


def slow_float32(bits: int) -> Fraction | None:
    """IEEE 754-2019, table 3.1 to 3.4, for binary32, written out."""
    sign = -1 if bits >> 31 else 1
    biased, trailing = bits >> 23 & 0xFF, bits & 0x7FFFFF
    if biased == 0xFF:
        return None
    if biased == 0:
        return sign * Fraction(trailing, 2**149)
    return sign * (1 + Fraction(trailing, 2**23)) * Fraction(2) ** (biased - 127)


@given(st.integers(0, 2**32 - 1))
def test_floats_are_exact_fractions(bits: int) -> None:
    assert exact_value(field("float32"), [block(bits >> 16, bits & 0xFFFF)]) == slow_float32(bits)


@given(
    st.sampled_from(["uint32", "acc32", "int64", "uint64", "float32"]),
    st.integers(0, 4_000_000_000),
    st.sampled_from([Fraction(1), Fraction(10), Fraction(1000), Fraction(1, 10)]),
    st.booleans(),
)
def test_encoding_never_runs_ahead_and_stays_within_the_resolution(
    name: str, milli_wh: int, scale: Fraction, low_word_first: bool
) -> None:
    spec = field(name, scale=scale, low_word_first=low_word_first)
    shown = Fraction(milli_wh, 1000)
    blocks = [block(*encode(spec, shown))]
    read = exact_value(spec, blocks)
    assert read is not None
    assert 0 <= shown - read < max(Fraction(resolution_wh(spec, blocks)), scale)


@given(st.integers(0, 10**11), st.integers(0, 10**6))
def test_a_rising_value_never_shows_less(milli_wh: int, more: int) -> None:
    spec = field("float32", scale=Fraction(1000))
    earlier, later = (
        exact_value(spec, [block(*encode(spec, Fraction(value, 1000)))])
        for value in (milli_wh, milli_wh + more)
    )
    assert earlier is not None
    assert later is not None
    assert earlier <= later


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (field("int16"), Fraction(32768)),
        (field("int16"), Fraction(-32769)),
        (field("uint32"), Fraction(-1)),
        (field("uint32"), Fraction(2**32)),
        (field("uint32"), None),
        (field("float32"), Fraction(10) ** 39),
        (field("float32"), Fraction(10) ** 400),
    ],
)
def test_what_does_not_fit_is_refused(spec: Field, value: Fraction | None) -> None:
    with pytest.raises(EncodingError):
        encode(spec, value)


def test_missing_is_encoded_as_the_types_own_pattern() -> None:
    spec = field("int32", missing=frozenset({0x7FFFFFFF}), low_word_first=True)
    assert encode(spec, None) == [0xFFFF, 0x7FFF]
    assert exact_value(field("float32"), [block(*encode(field("float32"), None))]) is None


@pytest.mark.parametrize("text", ["A1", "12345678"])
def test_text_serials_round_trip(text: str) -> None:
    spec = Field(3, 0, TEXT)
    assert text_value(spec, [block(*encode_text(spec, text))]) == text


def test_serials_that_do_not_fit_are_refused_and_empty_ones_are_none() -> None:
    with pytest.raises(EncodingError, match="8 ASCII"):
        encode_text(Field(3, 0, TEXT), "123456789")
    with pytest.raises(EncodingError, match="digits"):
        encode_text(field("uint32"), "A1")
    assert text_value(Field(3, 0, TEXT), [block(0, 0, 0, 0)]) is None
    assert text_value(field("uint32"), [block(*encode_text(field("uint32"), "77"))]) == "77"


def two_counters(**guards: int) -> RegisterMap:
    return RegisterMap(
        reads=(ReadRange(4, 0, 4), ReadRange(4, 100, 1)),
        fields={
            "import_total": Field(4, 0, TYPES["uint32"], Fraction(10)),
            "export_total": Field(4, 2, TYPES["int32"], Fraction(100)),
            "power": Field(4, 100, TYPES["int16"], Fraction(1, 2)),
        },
        serial=None,
        guards={(4, int(key[1:])): value for key, value in guards.items()},
    )


def test_decode_gives_quantities_resolution_and_digest() -> None:
    blocks = [block(0, 7, 0, 3, function=4), block(0xFFFB, address=100, function=4)]
    values = decode(two_counters(), blocks)
    assert values.import_total == RegisterTotal(70)
    assert values.export_total == RegisterTotal(300)
    assert values.power == Power(-2)  # -2.5 W, half up
    assert values.resolution_wh == 100
    assert values.voltages_mv == (None, None, None)
    assert values.raw_digest == hashlib.sha256(bytes.fromhex("00000007 00000003 fffb")).digest()


def test_an_absent_block_leaves_its_fields_out() -> None:
    values = decode(two_counters(), [block(0xFFFB, address=100, function=4)])
    assert values.import_total is None
    assert values.power == Power(-2)
    assert values.resolution_wh == 1


def test_a_counter_below_zero_is_an_error() -> None:
    with pytest.raises(NegativeTotalError, match="word order"):
        decode(two_counters(), [block(0, 7, 0xFFFF, 0xFFFF, function=4)])


def test_a_guard_that_differs_makes_the_map_unusable() -> None:
    blocks = [block(0, 7, 0, 3, function=4)]
    assert decode(two_counters(r1=7), blocks).import_total == RegisterTotal(70)
    with pytest.raises(MapMismatchError, match="register 1 holds 7 instead of 8"):
        decode(two_counters(r1=8), blocks)


@given(st.integers(0, 2**32 - 1), st.sampled_from([Fraction(1), Fraction(1000), Fraction(1, 3)]))
def test_counters_are_floored_to_whole_watt_hours(raw: int, scale: Fraction) -> None:
    table = RegisterMap(
        (ReadRange(3, 0, 2),), {"import_total": field("uint32", scale=scale)}, None, {}
    )
    total = decode(table, [block(raw >> 16, raw & 0xFFFF)]).import_total
    assert total == RegisterTotal(math.floor(raw * scale))

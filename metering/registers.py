"""Raw Modbus registers <-> exact values; pure, no network. Floats end here.

A meter answers with 16-bit registers. A :class:`RegisterMap` says where in them each quantity
stands; :func:`decode` turns them into whole watt-hours and watts, with exact fractions in
between, and :func:`encode` does the reverse for the simulator. What a meter marks as missing
(a sentinel, NaN, an infinity) becomes ``None``, never 0.

Sources: IEEE 754 for float32; the SunSpec Information Model Specification for accumulators,
scale factors and "not implemented" values.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from typing import Final

from metering.quantities import Power, RegisterTotal

QUANTITIES: Final[Mapping[str, str]] = {
    "import_total": "Wh",
    "export_total": "Wh",
    "power": "W",
    "voltage_l1": "V",
    "voltage_l2": "V",
    "voltage_l3": "V",
    "frequency": "Hz",
}
"""What a map may name, and the unit that its exact values have here."""

MAX_READ: Final = 125
"""Registers that one Modbus request may ask for (Modbus Application Protocol V1.1b3, 6.3)."""

_MAX_SCALE_EXPONENT: Final = 10  # SunSpec: a scale factor is -10..10, all else "not implemented"


class RegisterError(ValueError):
    """Root of this module's errors: the registers do not fit the map; take no reading from them."""


class MapMismatchError(RegisterError):
    """The map no longer fits this meter: discover its registers anew, then read again."""


class NegativeTotalError(RegisterError):
    """A counter shows a negative value: ask a person to check profile and wiring."""


class EncodingError(RegisterError):
    """A value does not fit its registers: choose a wider type or a larger scale."""


class Kind(Enum):
    """How the bits of a field are read."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    ACCUMULATOR = "accumulator"
    FLOAT = "float"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class RegisterType:
    """The type of a field: its kind and its width in 16-bit registers."""

    kind: Kind
    words: int

    @property
    def bits(self) -> int:
        """The width in bits."""
        return 16 * self.words


TYPES: Final[Mapping[str, RegisterType]] = {
    "int16": RegisterType(Kind.SIGNED, 1),
    "uint16": RegisterType(Kind.UNSIGNED, 1),
    "int32": RegisterType(Kind.SIGNED, 2),
    "uint32": RegisterType(Kind.UNSIGNED, 2),
    "acc32": RegisterType(Kind.ACCUMULATOR, 2),
    "float32": RegisterType(Kind.FLOAT, 2),
    "int64": RegisterType(Kind.SIGNED, 4),
    "uint64": RegisterType(Kind.UNSIGNED, 4),
    "acc64": RegisterType(Kind.ACCUMULATOR, 4),
}
"""The numeric types by the name that a profile uses (text has a length of its own)."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where one quantity stands and how it is read.

    ``scale`` is what one count is worth in the unit of :data:`QUANTITIES`; a ``scale_register``
    multiplies it by ten to the power of the int16 found there. ``missing`` holds the raw bit
    patterns (first word highest, after word order) that mean "no value". ``modulus`` is the
    number of counts after which a counter starts again at 0 (``None``: not known), ``step`` how
    far it moves at a time where that is more than its type shows.
    """

    function: int
    address: int
    type: RegisterType
    scale: Fraction = Fraction(1)
    low_word_first: bool = False
    missing: frozenset[int] = frozenset()
    scale_register: int | None = None
    modulus: int | None = None
    step: Fraction | None = None

    @property
    def range(self) -> ReadRange:
        """The request that reads this field alone."""
        return ReadRange(self.function, self.address, self.type.words)

    def moved(self, by: int) -> Field:
        """Return this field ``by`` addresses further on (an offset made absolute)."""
        scale = None if self.scale_register is None else self.scale_register + by
        return replace(self, address=self.address + by, scale_register=scale)


@dataclass(frozen=True, slots=True)
class ReadRange:
    """One request: ``count`` registers from ``address`` by function 3 or 4."""

    function: int
    address: int
    count: int

    def covers(self, function: int, address: int, words: int) -> bool:
        """Tell whether ``words`` registers from ``address`` lie inside this range."""
        end = self.address + self.count
        return self.function == function and self.address <= address <= end - words


@dataclass(frozen=True, slots=True)
class Block:
    """The registers that one request brought."""

    range: ReadRange
    registers: Sequence[int]


@dataclass(frozen=True, slots=True)
class RegisterMap:
    """All that is read from a meter in one poll.

    ``guards`` gives registers (function, address) that must hold a known value, such as the
    model id in front of a SunSpec block: if they do not, the map is out of date.
    """

    reads: tuple[ReadRange, ...]
    fields: Mapping[str, Field]
    serial: Field | None
    guards: Mapping[tuple[int, int], int]


@dataclass(frozen=True, slots=True)
class MeterValues:
    """What a meter showed; ``None`` where it has no such register or marked it missing.

    ``resolution_wh`` is the step of the coarser counter, at least 1. ``raw_digest`` is the
    SHA-256 of all registers read, big-endian, in read order (docs/protocol.md, "A reading").
    The moduli tell where each counter starts again at 0; ``None`` where that is not known.
    """

    import_total: RegisterTotal | None
    export_total: RegisterTotal | None
    power: Power | None
    voltages_mv: tuple[int | None, int | None, int | None]
    frequency_mhz: int | None
    resolution_wh: int
    raw_digest: bytes
    import_modulus_wh: int | None = None
    export_modulus_wh: int | None = None


def decode(register_map: RegisterMap, blocks: Sequence[Block]) -> MeterValues:
    """Return the exact values in ``blocks``; counters are floored to whole watt-hours.

    A field whose block is absent is ``None``.

    Raises:
        MapMismatchError: a guard register holds another value than the map says.
        NegativeTotalError: a counter is below zero.
    """
    _check_guards(register_map.guards, blocks)
    exact = {name: exact_value(field, blocks) for name, field in register_map.fields.items()}
    steps = [
        resolution_wh(register_map.fields[name], blocks)
        for name in ("import_total", "export_total")
        if exact.get(name) is not None
    ]
    power = exact.get("power")
    return MeterValues(
        import_total=_total("import_total", exact.get("import_total")),
        export_total=_total("export_total", exact.get("export_total")),
        power=None if power is None else Power(_nearest(power)),
        voltages_mv=(
            _thousandths(exact.get("voltage_l1")),
            _thousandths(exact.get("voltage_l2")),
            _thousandths(exact.get("voltage_l3")),
        ),
        frequency_mhz=_thousandths(exact.get("frequency")),
        resolution_wh=max(steps, default=1),
        raw_digest=raw_digest(blocks),
        import_modulus_wh=modulus_wh(register_map.fields.get("import_total"), blocks),
        export_modulus_wh=modulus_wh(register_map.fields.get("export_total"), blocks),
    )


def raw_digest(blocks: Sequence[Block]) -> bytes:
    """Return the SHA-256 of all registers, big-endian, in read order (32 bytes)."""
    registers = [register for block in blocks for register in block.registers]
    return hashlib.sha256(struct.pack(f">{len(registers)}H", *registers)).digest()


def exact_value(field: Field, blocks: Sequence[Block]) -> Fraction | None:
    """Return a numeric field's exact value in its unit, or ``None`` where it is missing."""
    raw = _raw(field, blocks)
    if raw is None or raw in field.missing:
        return None
    count = _count(field.type, raw)
    scale = _scale(field, blocks)
    return None if count is None or scale is None else count * scale


def text_value(field: Field, blocks: Sequence[Block]) -> str | None:
    """Return text without its padding, or a number in decimal; ``None`` where there is none."""
    if field.type.kind is Kind.TEXT:
        words = _words(blocks, field.function, field.address, field.type.words)
        packed = b"" if words is None else struct.pack(f">{len(words)}H", *words)
        return packed.split(b"\0")[0].decode("ascii", "replace").strip() or None
    value = exact_value(field, blocks)
    if value is None:
        return None
    return str(value.numerator if value.denominator == 1 else float(value))


def resolution_wh(field: Field, blocks: Sequence[Block]) -> int:
    """Return the step of a counter at its present value in Wh, rounded up, at least 1.

    An integer steps by its scale, a float32 by two to the power of its exponent less 23, and
    neither by less than the field's own ``step``.
    """
    raw, scale = _raw(field, blocks), _scale(field, blocks)
    if raw is None or scale is None:
        return 1
    step = Fraction(1)
    if field.type.kind is Kind.FLOAT:
        step = Fraction(2) ** (max(raw >> 23 & 0xFF, 1) - 150)
    return max(1, math.ceil(max(step * abs(scale), field.step or 0)))


def modulus_wh(field: Field | None, blocks: Sequence[Block]) -> int | None:
    """Return the Wh at which a counter starts again at 0, rounded down; ``None``: not known."""
    if field is None or field.modulus is None:
        return None
    scale = _scale(field, blocks)
    return None if scale is None else math.floor(field.modulus * abs(scale))


def encode(field: Field, value: Fraction | None, exponent: int = 0) -> list[int]:
    """Return the registers that show ``value`` (in the field's unit), rounded down.

    ``None`` gives the field's missing pattern. ``exponent`` is what its scale register holds.

    Raises:
        EncodingError: the value does not fit, or the field has no pattern for missing.
    """
    if value is None:
        return _to_words(field, _missing_pattern(field))
    count = value / (field.scale * Fraction(10) ** exponent)
    if field.type.kind is Kind.FLOAT:
        return _to_words(field, _float_bits_below(count))
    whole = math.floor(count)
    signed = field.type.kind is Kind.SIGNED
    lowest, highest = (-(1 << field.type.bits - 1) if signed else 0), (1 << field.type.bits) - 1
    if signed:
        highest >>= 1
    if not lowest <= whole <= highest:
        raise EncodingError(
            f"{value} makes {whole} counts, outside {lowest}..{highest} of the field at "
            f"{field.address}: choose a larger scale"
        )
    return _to_words(field, whole & ((1 << field.type.bits) - 1))


def encode_text(field: Field, text: str) -> list[int]:
    """Return the registers that show a serial number, as text or as a whole number.

    Raises:
        EncodingError: the text is too long, not ASCII, or not a number where one is needed.
    """
    if field.type.kind is not Kind.TEXT:
        if not (text.isascii() and text.isdigit()):
            raise EncodingError(f"serial {text!r}: this meter type shows decimal digits only")
        return encode(field, Fraction(int(text)))
    size = 2 * field.type.words
    if not text.isascii() or len(text) > size:
        raise EncodingError(f"serial {text!r}: this meter type shows up to {size} ASCII characters")
    return list(struct.unpack(f">{field.type.words}H", text.encode().ljust(size, b"\0")))


def _check_guards(guards: Mapping[tuple[int, int], int], blocks: Sequence[Block]) -> None:
    for (function, address), expected in guards.items():
        found = _words(blocks, function, address, 1)
        if found is not None and found[0] != expected:
            raise MapMismatchError(
                f"register {address} holds {found[0]} instead of {expected}: the meter's layout "
                "has changed, discover it again"
            )


def _words(
    blocks: Sequence[Block], function: int, address: int, count: int
) -> Sequence[int] | None:
    for block in blocks:
        if block.range.covers(function, address, count):
            start = address - block.range.address
            return block.registers[start : start + count]
    return None


def _raw(field: Field, blocks: Sequence[Block]) -> int | None:
    words = _words(blocks, field.function, field.address, field.type.words)
    if words is None:
        return None
    raw = 0
    for word in reversed(words) if field.low_word_first else words:
        raw = raw << 16 | word
    return raw


def _count(kind: RegisterType, raw: int) -> Fraction | None:
    if kind.kind is Kind.FLOAT:
        value: float = struct.unpack(">f", raw.to_bytes(4, "big"))[0]
        return Fraction(value) if math.isfinite(value) else None
    if kind.kind is Kind.SIGNED and raw >> (kind.bits - 1):
        raw -= 1 << kind.bits
    return Fraction(raw)


def _scale(field: Field, blocks: Sequence[Block]) -> Fraction | None:
    if field.scale_register is None:
        return field.scale
    words = _words(blocks, field.function, field.scale_register, 1)
    if words is None:
        return None
    exponent = words[0] - (words[0] >> 15 << 16)
    if abs(exponent) > _MAX_SCALE_EXPONENT:
        return None
    return field.scale * Fraction(10) ** exponent


def _total(name: str, value: Fraction | None) -> RegisterTotal | None:
    if value is None:
        return None
    if value < 0:
        raise NegativeTotalError(
            f"{name} shows {float(value)} Wh, below zero: check the profile's type and word order"
        )
    return RegisterTotal(math.floor(value))


def _nearest(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def _thousandths(value: Fraction | None) -> int | None:
    return None if value is None else _nearest(value * 1000)


def _missing_pattern(field: Field) -> int:
    if field.type.kind is Kind.FLOAT:
        return 0x7FC00000
    if not field.missing:
        raise EncodingError(
            f"the field at {field.address} has no pattern for a missing value: add one to its "
            "profile under 'missing'"
        )
    return min(field.missing)


def _float_bits_below(value: Fraction) -> int:
    """Return the bits of the largest float32 not above ``value``: a counter never runs ahead."""
    try:
        bits = int.from_bytes(struct.pack(">f", float(value)), "big")
    except OverflowError as error:
        raise EncodingError(f"{value} is beyond float32: choose another type") from error
    nearest: float = struct.unpack(">f", bits.to_bytes(4, "big"))[0]
    if Fraction(nearest) <= value:
        return bits
    return bits - 1 if nearest > 0 else bits + 1


def _to_words(field: Field, raw: int) -> list[int]:
    words = [raw >> shift & 0xFFFF for shift in range(field.type.bits - 16, -1, -16)]
    return words[::-1] if field.low_word_first else words

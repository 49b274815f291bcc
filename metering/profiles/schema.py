"""The schema of a profile's file, and how what it says becomes a :class:`Profile`.

Every breach is answered with the file, the key and how to mend it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from metering import registers
from metering.profiles.model import Identifier, Profile, ProfileError, Role, Setting
from metering.registers import MAX_READ, QUANTITIES, TYPES, Kind, ReadRange, RegisterMap
from metering.sunspec import NOT_IMPLEMENTED, SunSpecLayout, SunSpecModel

_UNITS: Final = {
    "Wh": ("Wh", 1),
    "kWh": ("Wh", 1000),
    "W": ("W", 1),
    "kW": ("W", 1000),
    "V": ("V", 1),
    "Hz": ("Hz", 1),
}
_MUST: Final = {Role.CONNECTION: "import_total", Role.PRODUCTION: "export_total"}


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


_Address = Annotated[int, Field(ge=0, le=0xFFFF)]
_Function = Literal[3, 4]
_TypeName = Literal[
    "int16", "uint16", "int32", "uint32", "acc32", "float32", "int64", "uint64", "acc64"
]
_Quantity = Literal[
    "import_total",
    "export_total",
    "power",
    "voltage_l1",
    "voltage_l2",
    "voltage_l3",
    "frequency",
]
_WordOrder = Literal["high-first", "low-first"]
_Decimal = Annotated[str, Field(pattern=r"^\d+(\.\d+)?$")]


class _QuantitySpec(_Spec):
    address: _Address
    type: _TypeName
    unit: Literal["Wh", "kWh", "W", "kW", "V", "Hz"]
    scale: Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?$")] = "1"
    missing: tuple[Annotated[str, Field(pattern=r"^0x[0-9A-Fa-f]+$")], ...] = Field(
        default=(), strict=False
    )
    scale_register: _Address | None = None
    modulus: _Decimal | None = None
    resolution: _Decimal | None = None


class _RegisterSpec(_Spec):
    """A register of its own, outside the poll."""

    address: _Address
    type: Literal["text"] | _TypeName
    words: Annotated[int, Field(ge=1, le=MAX_READ)] | None = None
    function: _Function | None = None


class _IdentifySpec(_RegisterSpec):
    equals: list[int | str] = []
    prefix: list[Annotated[str, Field(min_length=1)]] = []


class _WatchSpec(_RegisterSpec):
    name: Annotated[str, Field(min_length=1)]
    safe: list[int | str] = []
    advice: Annotated[str, Field(min_length=1)]


class _ReadSpec(_Spec):
    address: _Address
    count: Annotated[int, Field(ge=1, le=MAX_READ)]


class _HeadSpec(_Spec):
    title: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    role: Literal["connection", "production"] = "connection"
    rated_w: Annotated[int, Field(ge=1)] | None = None
    notes: list[str] = []
    function: _Function
    word_order: _WordOrder = "high-first"
    serial: _RegisterSpec | None = None


class _FixedSpec(_HeadSpec):
    layout: Literal["fixed"]
    read: Annotated[list[_ReadSpec], Field(min_length=1)]
    quantity: dict[_Quantity, _QuantitySpec]
    identify: list[_IdentifySpec] = []
    watch: list[_WatchSpec] = []


class _ModelSpec(_Spec):
    ids: Annotated[list[_Address], Field(min_length=1)]
    length: Annotated[int, Field(ge=1, le=0xFFFF)]
    quantity: dict[_Quantity, _QuantitySpec]


class _SunSpecSpec(_HeadSpec):
    layout: Literal["sunspec"]
    bases: Annotated[list[_Address], Field(min_length=1)]
    model: Annotated[list[_ModelSpec], Field(min_length=1)]


_ROOT: Final[TypeAdapter[_FixedSpec | _SunSpecSpec]] = TypeAdapter(
    Annotated[_FixedSpec | _SunSpecSpec, Field(discriminator="layout")]
)


def build(name: str, tables: Mapping[str, object]) -> Profile:
    """Return the profile that ``tables`` (a TOML file, read) describe.

    Raises:
        ProfileError: naming the file, the key and how to mend it.
    """
    try:
        spec = _ROOT.validate_python(tables)
    except ValidationError as error:
        raise ProfileError(_explain(name, error)) from error
    return Profile(
        name=name,
        title=spec.title,
        source=spec.source,
        version=hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest(),
        layout=_fixed(name, spec) if isinstance(spec, _FixedSpec) else _sunspec(name, spec),
        role=Role(spec.role),
        identify=_identify(name, spec) if isinstance(spec, _FixedSpec) else (),
        watch=_watch(name, spec) if isinstance(spec, _FixedSpec) else (),
        rated_w=spec.rated_w,
        notes=tuple(spec.notes),
    )


def _fixed(name: str, spec: _FixedSpec) -> RegisterMap:
    reads = tuple(ReadRange(spec.function, read.address, read.count) for read in spec.read)
    fields: dict[str, registers.Field] = {
        key: _quantity(f"{name}.toml: quantity.{key}", spec, quantity)
        for key, quantity in spec.quantity.items()
    }
    _require_counter(f"{name}.toml: quantity", spec, fields)
    for key, field in fields.items():
        spans = [(field.address, field.type.words)]
        if field.scale_register is not None:
            spans.append((field.scale_register, 1))
        for address, words in spans:
            if not any(read.covers(spec.function, address, words) for read in reads):
                raise ProfileError(
                    f"{name}.toml: quantity.{key}: register {address} lies in no [[read]]: widen "
                    "one or add one"
                )
    return RegisterMap(reads, fields, _serial(name, spec), {})


def _sunspec(name: str, spec: _SunSpecSpec) -> SunSpecLayout:
    models: dict[int, SunSpecModel] = {}
    for number, entry in enumerate(spec.model):
        where = f"{name}.toml: model.{number}.quantity"
        fields: dict[str, registers.Field] = {
            key: _quantity(f"{where}.{key}", spec, quantity, NOT_IMPLEMENTED)
            for key, quantity in entry.quantity.items()
        }
        _require_counter(where, spec, fields)
        for model_id in entry.ids:
            models[model_id] = SunSpecModel(model_id, entry.length, fields)
            if models[model_id].extent > min(entry.length + 2, MAX_READ):
                raise ProfileError(
                    f"{where}: an address lies beyond the model's {entry.length} registers or "
                    f"beyond one read of {MAX_READ}: correct it"
                )
    return SunSpecLayout(spec.function, tuple(spec.bases), models, _serial(name, spec))


def _quantity(
    where: str,
    spec: _HeadSpec,
    quantity: _QuantitySpec,
    missing_by_type: Mapping[str, int] | None = None,
) -> registers.Field:
    unit, factor = _UNITS[quantity.unit]
    needed = QUANTITIES[where.rsplit(".", 1)[1]]
    if unit != needed:
        raise ProfileError(f"{where}.unit {quantity.unit!r} does not fit: give it in {needed}")
    scale = Fraction(quantity.scale) * factor
    if scale == 0:
        raise ProfileError(f'{where}.scale is 0: give what one count is worth, e.g. "0.01"')
    missing = {int(pattern, 16) for pattern in quantity.missing}
    register_type = TYPES[quantity.type]
    if any(pattern >> register_type.bits for pattern in missing):
        raise ProfileError(f"{where}.missing is wider than {quantity.type}: shorten the pattern")
    if missing_by_type and quantity.type in missing_by_type:
        missing.add(missing_by_type[quantity.type])
    return registers.Field(
        function=spec.function,
        address=quantity.address,
        type=register_type,
        scale=scale,
        low_word_first=spec.word_order == "low-first",
        missing=frozenset(missing),
        scale_register=quantity.scale_register,
        modulus=_modulus(where, quantity, scale),
        step=None if quantity.resolution is None else Fraction(quantity.resolution) * factor,
    )


def _modulus(where: str, quantity: _QuantitySpec, scale: Fraction) -> int | None:
    """Return after how many counts the counter starts again; an accumulator by its width."""
    register_type = TYPES[quantity.type]
    if quantity.modulus is None:
        accumulator = register_type.kind is Kind.ACCUMULATOR
        return 1 << register_type.bits if accumulator else None
    if not where.endswith("_total") or quantity.scale_register is not None:
        raise ProfileError(
            f"{where}.modulus does not belong here: only a counter without a scale register has "
            "one, remove it"
        )
    counts = Fraction(quantity.modulus) * _UNITS[quantity.unit][1] / scale
    if counts.denominator != 1 or not 1 < counts <= 1 << register_type.bits:
        raise ProfileError(
            f"{where}.modulus is no whole number of counts that {quantity.type} can show: give "
            f"the {quantity.unit} after which the counter starts again at 0"
        )
    return counts.numerator


def _serial(name: str, spec: _HeadSpec) -> registers.Field | None:
    return None if spec.serial is None else _register(f"{name}.toml: serial", spec, spec.serial)


def _identify(name: str, spec: _FixedSpec) -> tuple[Identifier, ...]:
    for number, entry in enumerate(spec.identify):
        if not entry.equals and not entry.prefix:
            raise ProfileError(
                f"{name}.toml: identify.{number} matches nothing: give 'equals' or 'prefix'"
            )
    return tuple(
        Identifier(
            field=_register(f"{name}.toml: identify.{number}", spec, entry),
            equals=frozenset(map(str, entry.equals)),
            prefixes=tuple(entry.prefix),
        )
        for number, entry in enumerate(spec.identify)
    )


def _watch(name: str, spec: _FixedSpec) -> tuple[Setting, ...]:
    return tuple(
        Setting(
            name=entry.name,
            field=_register(f"{name}.toml: watch.{number}", spec, entry),
            safe=frozenset(map(str, entry.safe)),
            advice=entry.advice,
        )
        for number, entry in enumerate(spec.watch)
    )


def _register(where: str, spec: _HeadSpec, entry: _RegisterSpec) -> registers.Field:
    if (entry.type == "text") != (entry.words is not None):
        advice = "is absent: a text" if entry.type == "text" else "is given: only a text"
        raise ProfileError(f"{where}.words {advice} has a length, in registers")
    register_type = (
        TYPES[entry.type] if entry.words is None else registers.RegisterType(Kind.TEXT, entry.words)
    )
    return registers.Field(
        function=entry.function or spec.function,
        address=entry.address,
        type=register_type,
        low_word_first=spec.word_order == "low-first",
    )


def _require_counter(where: str, spec: _HeadSpec, fields: Mapping[str, registers.Field]) -> None:
    needed = _MUST[Role(spec.role)]
    if needed not in fields:
        hint = "" if spec.role == "production" else ' (an inverter\'s role is "production")'
        raise ProfileError(f"{where}.{needed} is absent: role {spec.role!r} needs it{hint}")


def _explain(name: str, error: ValidationError) -> str:
    """Return one line per breach: file, key, what is wrong there."""
    lines = []
    for detail in error.errors():
        key = ".".join(str(part) for part in detail["loc"] if part not in {"fixed", "sunspec"})
        advice = {
            "extra_forbidden": "unknown key: remove it or correct its spelling",
            "missing": "is absent: add it",
        }.get(detail["type"], detail["msg"])
        lines.append(f"{name}.toml: {key or 'layout'}: {advice}")
    return "\n".join(lines)

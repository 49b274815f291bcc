"""Meter types as data: every ``*.toml`` beside this file is one; adding a meter needs no code.

A profile has ``title``, ``source`` (where the addresses come from), ``layout`` and ``function``
(3 holding, 4 input registers). In the ``fixed`` layout ``[[read]]`` lists the requests of one
poll and ``[quantity.NAME]`` says where each of ``registers.QUANTITIES`` stands: ``address``
(0-based, as on the wire), ``type``, ``unit`` and, where needed, ``scale`` (a decimal in quotes),
``missing`` (bit patterns in hex that mean "no value"), ``scale_register``. In the ``sunspec``
layout the meter's block is found by walking its chain of models: ``[[model]]`` gives ``ids``,
``length`` and quantities whose addresses count from the model's ID word.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from importlib import resources
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from metering import registers
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


class ProfileError(ValueError):
    """A profile is absent or breaks the schema: ask a person to mend the file it names."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A meter type: what it is called, where its addresses come from, and its registers."""

    name: str
    title: str
    source: str
    layout: RegisterMap | SunSpecLayout


def profile_names() -> tuple[str, ...]:
    """Return the names of the built-in profiles, sorted."""
    files = resources.files(__name__).iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


@lru_cache
def load_profile(name: str) -> Profile:
    """Return the built-in profile called ``name``.

    Raises:
        ProfileError: there is none of that name, or its file breaks the schema.
    """
    if name not in profile_names():
        raise ProfileError(f"no profile {name!r}: known are {', '.join(profile_names())}")
    text = resources.files(__name__).joinpath(f"{name}.toml").read_text("utf-8")
    return parse_profile(name, text)


def parse_profile(name: str, text: str) -> Profile:
    """Return the profile written in ``text`` (TOML); ``name`` is used in messages.

    Raises:
        ProfileError: naming the file, the key and how to mend it.
    """
    try:
        spec = _ROOT.validate_python(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{name}.toml is not TOML: {error}") from error
    except ValidationError as error:
        raise ProfileError(_explain(name, error)) from error
    layout = _fixed(name, spec) if isinstance(spec, _FixedSpec) else _sunspec(name, spec)
    return Profile(name, spec.title, spec.source, layout)


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


class _QuantitySpec(_Spec):
    address: _Address
    type: _TypeName
    unit: Literal["Wh", "kWh", "W", "kW", "V", "Hz"]
    scale: Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?$")] = "1"
    missing: tuple[Annotated[str, Field(pattern=r"^0x[0-9A-Fa-f]+$")], ...] = Field(
        default=(), strict=False
    )
    scale_register: _Address | None = None


class _SerialSpec(_Spec):
    address: _Address
    type: Literal["text", "uint32"]
    words: Annotated[int, Field(ge=1, le=MAX_READ)] = 2
    function: _Function | None = None


class _ReadSpec(_Spec):
    address: _Address
    count: Annotated[int, Field(ge=1, le=MAX_READ)]


class _HeadSpec(_Spec):
    title: str
    source: str
    function: _Function
    word_order: _WordOrder = "high-first"
    serial: _SerialSpec | None = None


class _FixedSpec(_HeadSpec):
    layout: Literal["fixed"]
    read: Annotated[list[_ReadSpec], Field(min_length=1)]
    quantity: dict[_Quantity, _QuantitySpec]


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


def _fixed(name: str, spec: _FixedSpec) -> RegisterMap:
    reads = tuple(ReadRange(spec.function, read.address, read.count) for read in spec.read)
    fields: dict[str, registers.Field] = {
        key: _field(f"{name}.toml: quantity.{key}", spec, quantity)
        for key, quantity in spec.quantity.items()
    }
    _require_import(name, "quantity", fields)
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
    return RegisterMap(reads, fields, _serial(spec), {})


def _sunspec(name: str, spec: _SunSpecSpec) -> SunSpecLayout:
    models: dict[int, SunSpecModel] = {}
    for number, entry in enumerate(spec.model):
        where = f"{name}.toml: model.{number}.quantity"
        fields: dict[str, registers.Field] = {
            key: _field(f"{where}.{key}", spec, quantity, NOT_IMPLEMENTED)
            for key, quantity in entry.quantity.items()
        }
        _require_import(name, f"model.{number}.quantity", fields)
        for model_id in entry.ids:
            models[model_id] = SunSpecModel(model_id, entry.length, fields)
            if models[model_id].extent > min(entry.length + 2, MAX_READ):
                raise ProfileError(
                    f"{where}: an address lies beyond the model's {entry.length} registers or "
                    f"beyond one read of {MAX_READ}: correct it"
                )
    return SunSpecLayout(spec.function, tuple(spec.bases), models, _serial(spec))


def _field(
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
    )


def _serial(spec: _HeadSpec) -> registers.Field | None:
    if spec.serial is None:
        return None
    text = spec.serial.type == "text"
    register_type = (
        registers.RegisterType(Kind.TEXT, spec.serial.words) if text else TYPES["uint32"]
    )
    return registers.Field(
        function=spec.serial.function or spec.function,
        address=spec.serial.address,
        type=register_type,
        low_word_first=spec.word_order == "low-first",
    )


def _require_import(name: str, where: str, fields: Mapping[str, registers.Field]) -> None:
    if "import_total" not in fields:
        raise ProfileError(
            f"{name}.toml: {where}.import_total is absent: a meter that settles needs it"
        )


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

"""Finding a SunSpec meter's registers: base address, then the chain of models. Pure, no I/O.

Source: SunSpec Device Information Model Specification: the marker "SunS" at one of three bases,
then models ``{ID, length, data}`` in a row until the ID 0xFFFF; model 1 names the device.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from metering.registers import Field, ReadRange, RegisterError, RegisterMap

MARKER: Final = (0x5375, 0x6E53)
COMMON_MODEL: Final = 1
END_MODEL: Final = 0xFFFF
_MAX_MODELS: Final = 64

NOT_IMPLEMENTED: Final[Mapping[str, int]] = MappingProxyType(
    {
        "int16": 0x8000,
        "uint16": 0xFFFF,
        "int32": 0x8000_0000,
        "uint32": 0xFFFF_FFFF,
        "int64": 0x8000_0000_0000_0000,
        "uint64": 0xFFFF_FFFF_FFFF_FFFF,
    }
)
"""The bit pattern of "not implemented" by type; a float has NaN, a text is empty.

An accumulator's would be 0, which a new meter shows as well. Every counter read here is mandatory
in its model, and so is its scale factor: a device without the one has 0x8000 in the other, and a
0 beside a scale factor is a counter that stands at 0.
"""


class SunSpecError(RegisterError):
    """No SunSpec meter is found behind the address: ask a person to check address and profile."""


@dataclass(frozen=True, slots=True)
class SunSpecModel:
    """A meter model: its data ``length`` and its fields, addressed from the model's ID word."""

    id: int
    length: int
    fields: Mapping[str, Field]

    @property
    def extent(self) -> int:
        """How many registers from the ID word a poll reads (as far as the last field)."""
        ends = [field.address + field.type.words for field in self.fields.values()]
        scales = [field.scale_register or 0 for field in self.fields.values()]
        return max(*ends, max(scales) + 1)


@dataclass(frozen=True, slots=True)
class SunSpecLayout:
    """Where to look for the marker, which models count as a meter, and model 1's serial."""

    function: int
    bases: tuple[int, ...]
    models: Mapping[int, SunSpecModel]
    serial: Field | None

    def map_at(self, model: SunSpecModel, address: int, common: int | None) -> RegisterMap:
        """Return the registers of ``model`` at ``address``; ``common`` is model 1's address."""
        serial = None
        if self.serial is not None and common is not None:
            serial = self.serial.moved(common)
        guards = {(self.function, address): model.id, (self.function, address + 1): model.length}
        return RegisterMap(
            reads=(ReadRange(self.function, address, model.extent),),
            fields={name: field.moved(address) for name, field in model.fields.items()},
            serial=serial,
            guards=guards,
        )


Walk = Generator[ReadRange, "list[int] | None", RegisterMap]
"""Yields requests, is sent their registers (``None`` where refused), returns the map."""


def walk(layout: SunSpecLayout) -> Walk:
    """Find the first known meter model; the caller does the reading.

    Raises:
        SunSpecError: no marker at any base, or no known meter model in the chain.
    """
    for base in layout.bases:
        marker = yield ReadRange(layout.function, base, len(MARKER))
        if marker is not None and tuple(marker) == MARKER:
            return (yield from _walk_chain(layout, base + len(MARKER)))
    raise SunSpecError(
        f"no 'SunS' marker at {', '.join(map(str, layout.bases))}: check the unit id, and that "
        "SunSpec is switched on in the device"
    )


def _walk_chain(layout: SunSpecLayout, address: int) -> Walk:
    common: int | None = None
    seen: list[int] = []
    while len(seen) < _MAX_MODELS and address < END_MODEL:
        header = yield ReadRange(layout.function, address, 2)
        if header is None or header[0] == END_MODEL:
            break
        model_id, length = header
        model = layout.models.get(model_id)
        if model is not None and model.length == length:
            return layout.map_at(model, address, common)
        if model_id == COMMON_MODEL:
            common = address
        seen.append(model_id)
        address += 2 + length
    raise SunSpecError(
        f"no known meter model among {seen}; known are {sorted(layout.models)}: check the unit "
        "id, or add the model to the profile"
    )

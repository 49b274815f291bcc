"""What a meter type is, once its file has been read: plain frozen data, no input or output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from metering.registers import Block, Field, RegisterMap, text_value
from metering.sunspec import SunSpecLayout


class ProfileError(ValueError):
    """A profile is absent or breaks the schema: ask a person to mend the file it names."""


class Role(Enum):
    """What a meter of this type stands for, and so which counter it cannot do without."""

    CONNECTION = "connection"
    """A connection to the grid or a consumer: ``import_total`` is a must."""
    PRODUCTION = "production"
    """An inverter or a generator's meter: ``export_total`` is a must, import may be absent."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A register whose value tells the type: one of ``equals`` or beginning with a prefix."""

    field: Field
    equals: frozenset[str]
    prefixes: tuple[str, ...]

    def fits(self, registers: Sequence[int]) -> bool:
        """Tell whether ``registers``, as ``field.range`` brought them, are those of this type."""
        shown = text_value(self.field, [Block(self.field.range, registers)])
        return shown is not None and (shown in self.equals or shown.startswith(self.prefixes))


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of the meter that changes what its counters mean, and is watched for that.

    ``safe`` holds the values under which the counters mean what the profile says; where it is
    empty every value may be right and only a change is worth a word. ``advice`` tells a person
    what an unsafe or a changed value does and how to set it right.
    """

    name: str
    field: Field
    safe: frozenset[str]
    advice: str

    def value(self, registers: Sequence[int]) -> str | None:
        """Return what ``registers`` (brought by ``field.range``) say; ``None``: nothing."""
        return text_value(self.field, [Block(self.field.range, registers)])

    def is_safe(self, value: str | None) -> bool:
        """Tell whether the counters mean what the profile says under this value."""
        return not self.safe or value in self.safe


@dataclass(frozen=True, slots=True)
class Profile:
    """A meter type: what it is called, where its addresses come from, and its registers.

    ``version`` is the SHA-256 (hex) of what the file says, whatever its comments and layout: a
    stored version tells later whether the profile has changed. All of ``identify`` has to fit
    before a scan suggests the type. ``rated_w`` is the highest power the type can measure,
    ``None`` where that depends on its transformers. ``notes`` are words for who installs it.
    """

    name: str
    title: str
    source: str
    version: str
    layout: RegisterMap | SunSpecLayout
    role: Role = Role.CONNECTION
    identify: tuple[Identifier, ...] = ()
    watch: tuple[Setting, ...] = ()
    rated_w: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def serial(self) -> Field | None:
        """Where the serial number stands (SunSpec: counted from the common model's ID word)."""
        return self.layout.serial

    @property
    def quantities(self) -> frozenset[str]:
        """What a meter of this type may show, by the names of ``registers.QUANTITIES``."""
        if isinstance(self.layout, RegisterMap):
            return frozenset(self.layout.fields)
        return frozenset(name for model in self.layout.models.values() for name in model.fields)

    @property
    def evidence(self) -> Literal["register", "models", "values"]:
        """What tells the type in a scan, from the surest on: a register, SunSpec models, values."""
        if self.identify:
            return "register"
        return "values" if isinstance(self.layout, RegisterMap) else "models"

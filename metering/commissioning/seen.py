"""What was seen at a meter, and the words for single values; pure, shared by the judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from metering.profiles import Profile
from metering.registers import Block, Field, RegisterMap, exact_value, resolution_wh

VOLTAGES: Final = ("voltage_l1", "voltage_l2", "voltage_l3")
COUNTERS: Final = ("import_total", "export_total")
LABELS: Final[Mapping[str, str]] = {
    "voltage_l1": "Voltage L1",
    "voltage_l2": "Voltage L2",
    "voltage_l3": "Voltage L3",
    "frequency": "Frequency",
    "power": "Power",
    "import_total": "Import counter",
    "export_total": "Export counter",
}
MIN_V: Final = 50
MAX_V: Final = 300
MIN_HZ: Final = 45
MAX_HZ: Final = 65


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The registers of one poll and the moment (UTC ms) that they stand for."""

    at_ms: int
    blocks: Sequence[Block]

    def value(self, spec: Field) -> Fraction | None:
        """Return a field's exact value, ``None`` where the meter shows none."""
        return exact_value(spec, self.blocks)


@dataclass(frozen=True, slots=True)
class Seen:
    """Two polls of a meter some seconds apart, its serial number and its watched settings.

    ``settings`` has the values by name, ``None`` where the meter has no such register.
    ``identified``: whether its type is what the profile says; ``None`` where nothing tells.
    """

    profile: Profile
    register_map: RegisterMap
    first: Snapshot
    last: Snapshot
    serial: str | None = None
    settings: Mapping[str, str | None] = field(default_factory=dict)
    identified: bool | None = None

    def both(self, name: str) -> tuple[Fraction | None, Fraction | None]:
        """Return a quantity as first and as last seen; ``None`` where the type has none."""
        spec = self.register_map.fields.get(name)
        if spec is None:
            return None, None
        return self.first.value(spec), self.last.value(spec)

    def step_wh(self, name: str) -> int:
        """Return by how much a counter moves at a time, Wh."""
        spec = self.register_map.fields.get(name)
        return 1 if spec is None else resolution_wh(spec, self.last.blocks)

    @property
    def elapsed_ms(self) -> int:
        """How long the two polls lie apart."""
        return self.last.at_ms - self.first.at_ms


def turned(spec: Field) -> Field:
    """Return a field read with its words in the other order."""
    return replace(spec, low_word_first=not spec.low_word_first)


def possible(name: str, value: Fraction | None) -> bool:
    """Tell whether a voltage or a frequency is one that a mains meter can see."""
    if value is None:
        return False
    if name in VOLTAGES:
        return MIN_V <= value <= MAX_V
    return MIN_HZ <= value <= MAX_HZ


def fits(register_map: RegisterMap, blocks: Sequence[Block]) -> bool:
    """Tell whether what a meter shows can be read so: mains voltage and frequency, whole counters.

    That is weak evidence for a type, for those on which no register tells it.
    """
    snapshot = Snapshot(0, blocks)
    judged = [name for name in ("voltage_l1", "frequency") if name in register_map.fields]
    shown = {name: snapshot.value(spec) for name, spec in register_map.fields.items()}
    counters = [shown[name] for name in COUNTERS if shown.get(name) is not None]
    return (
        bool(judged)
        and bool(counters)
        and all(possible(name, shown[name]) for name in judged)
        and all(value is not None and value >= 0 for value in counters)
    )


def number(value: Fraction | None, digits: int = 1) -> str:
    """Write a value for people; what is absurdly small or large with an exponent."""
    if value is None:
        return "none"
    if value and not Fraction(1, 1_000) <= abs(value) < 10**12:
        return f"{float(value):.3g}"
    return f"{float(value):,.{digits}f}"

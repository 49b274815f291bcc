"""What a slow bus can carry: the time a request takes on the wire, and the time a border allows.

A Modbus RTU character has 11 bits (8N1: 10). Source: Modbus over Serial Line, Specification and
Implementation Guide V1.02, 2.5.1: frames stand apart by 3.5 characters, and by 1.75 ms above
19,200 baud.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from metering.lines.config import LineConfig, SerialLine
from metering.profiles import Profile
from metering.registers import ReadRange, RegisterMap

BORDER_WINDOW_MS: Final = 10_000
"""Every meter is read within this time after a quarter-hour's border (docs/protocol.md)."""

THINKING_MS: Final = 40
"""What a meter usually takes between the last byte asked and the first one answered."""

LARGEST: Final = ReadRange(3, 0, 125)

_REQUEST_CHARACTERS: Final = 8
_REPLY_CHARACTERS: Final = 5  # unit, function, byte count, checksum; then two for each register
_SILENT_CHARACTERS: Final = 3.5


def wire_ms(line: LineConfig, wanted: ReadRange) -> int:
    """Return how long request and reply are on the bus of ``line``, 0 where it has no bus."""
    if line.baud is None:
        return 0
    bits = 11
    if isinstance(line, SerialLine):
        bits = 9 + line.stop_bits + (line.parity != "none")
    character_ms = 1_000 * bits / line.baud
    silence_ms = max(1.75, _SILENT_CHARACTERS * character_ms)
    characters = _REQUEST_CHARACTERS + _REPLY_CHARACTERS + 2 * wanted.count
    return math.ceil(characters * character_ms + 2 * silence_ms)


def poll_ms(line: LineConfig, profile: Profile) -> int:
    """Return how long the bus of ``line`` is taken by one poll of a meter of this type."""
    each = (wire_ms(line, wanted) + THINKING_MS + line.gap_ms for wanted in reads(profile))
    return sum(each) if line.baud is not None else 0


def reads(profile: Profile) -> Sequence[ReadRange]:
    """Return the requests of one poll; for SunSpec those of the longest of its models."""
    if isinstance(profile.layout, RegisterMap):
        return profile.layout.reads
    longest = max(model.extent for model in profile.layout.models.values())
    return (ReadRange(profile.layout.function, 0, longest),)


def warnings(line: LineConfig, meters: Iterable[Profile]) -> list[str]:
    """Return what a person should know about ``line`` with these meters on it, in whole sentences.

    An empty list means that every meter can be read within 10 s of a border.
    """
    profiles = list(meters)
    needed_ms = sum(poll_ms(line, profile) for profile in profiles)
    if needed_ms <= BORDER_WINDOW_MS:
        return []
    fits = len(profiles) * BORDER_WINDOW_MS // needed_ms
    return [
        f"line {line.name}: {len(profiles)} meters at {line.baud} baud cannot all be read within "
        f"{BORDER_WINDOW_MS // 1000} s of a border (they need {needed_ms / 1000:.1f} s, about "
        f"{fits} fit): raise the baud rate, or spread them over {-(-len(profiles) // fits)} lines"
        if fits
        else f"line {line.name}: not one of its meters can be read within "
        f"{BORDER_WINDOW_MS // 1000} s of a border at {line.baud} baud: raise the baud rate"
    ]

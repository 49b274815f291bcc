"""Meters as seen through raw registers that are made from values, for tests of the judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from metering.commissioning.seen import Seen, Snapshot
from metering.profiles import Profile, load_profile
from metering.registers import Block, RegisterMap, encode

AT_MS = 1_800_000_000_000
SDM630 = load_profile("eastron_sdm630")
EM340 = load_profile("carlo_gavazzi_em340")
MAINS = {
    "voltage_l1": 230,
    "voltage_l2": 231,
    "voltage_l3": 229,
    "frequency": 50,
    "power": 1_000,
    "import_total": 1_000_000,
    "export_total": 5_000,
}


def snapshot(profile: Profile, at_ms: int, shown: Mapping[str, object]) -> Snapshot:
    """Encode ``shown`` (in the units of registers.QUANTITIES) as the profile's meter does."""
    layout = profile.layout
    assert isinstance(layout, RegisterMap)
    words = {
        (field.function, field.address + at): word
        for name, field in layout.fields.items()
        for at, word in enumerate(
            encode(field, None if shown[name] is None else Fraction(str(shown[name])))
        )
    }
    blocks = [
        Block(
            read,
            [words.get((read.function, read.address + at), 0) for at in range(read.count)],
        )
        for read in layout.reads
    ]
    return Snapshot(at_ms, blocks)


def seen(
    profile: Profile = SDM630,
    *,
    seconds: int = 10,
    then: Mapping[str, object] | None = None,
    **shown: object,
) -> Seen:
    """Return a meter that shows MAINS but for ``shown``, and after ``seconds`` also ``then``."""
    first = MAINS | shown
    layout = profile.layout
    assert isinstance(layout, RegisterMap)
    return Seen(
        profile,
        layout,
        snapshot(profile, AT_MS, first),
        snapshot(profile, AT_MS + 1_000 * seconds, first | (then or {})),
        serial="12345",
        settings={each.name: min(each.safe, default="0") for each in profile.watch},
    )


def swapped(profile: Profile) -> Profile:
    """Return the profile with the words of every register turned round: the trap on site."""
    layout = profile.layout
    assert isinstance(layout, RegisterMap)
    fields = {
        name: replace(field, low_word_first=not field.low_word_first)
        for name, field in layout.fields.items()
    }
    return replace(profile, layout=replace(layout, fields=fields))

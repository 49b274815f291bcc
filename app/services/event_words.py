"""What people read of a gateway's event: how grave it is, what happened, what they should do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from metering.event import Detail, Kind

_TEXTS: Final[Mapping[Kind, tuple[str, str]]] = {
    Kind.BLIP: (
        "warning",
        (
            "the {register} counter showed {shown_wh} for {readings} readings and then went on "
            "from {last_wh}; what it showed in between does not count. If it happens again, have "
            "the meter looked at"
        ),
    ),
    Kind.STEPPED_BACK: (
        "info",
        (
            "the {register} counter stepped back by less than one step, to {shown_wh}; {held_wh} "
            "is held until it passes that. Nothing to do"
        ),
    ),
    Kind.RESET: (
        "alarm",
        (
            "the counters begin anew: import {closing_import_wh} became {opening_import_wh}, "
            "export {closing_export_wh} became {opening_export_wh} (epoch {new_epoch}). Look at "
            "the meter, then decide under Meter changes"
        ),
    ),
    Kind.EXCHANGED: (
        "alarm",
        (
            "meter {found} answers where {enrolled} is enrolled; its readings do not count. If it "
            "was exchanged, enter that with `wattloom meter replace`; else look for a wrong unit id"
        ),
    ),
    Kind.ROLLED_OVER: (
        "info",
        (
            "the {register} counter rolled over at {modulus_wh} and shows {shown_wh}; it is "
            "counted on. Nothing to do"
        ),
    ),
    Kind.SPIKE: (
        "warning",
        (
            "the {register} counter rose by {rise_wh}, {allowed_wh} were possible; the reading "
            "does not count. Check the meter and its line"
        ),
    ),
    Kind.STUCK: (
        "alarm",
        (
            "the {register} counter stands while {power_w} flow; {expected_wh} should have been "
            "counted. Have the meter looked at"
        ),
    ),
    Kind.MISSING: (
        "warning",
        (
            "the meter marks its {quantity} counter as missing; there is no reading, and never 0. "
            "Check the meter"
        ),
    ),
    Kind.DIRECTION: (
        "alarm",
        (
            "the {register} counter rose by {rise_wh} while the power was {power_w}: import and "
            "export are swapped, or the meter counts both in one register. Check the wiring and "
            "the meter's settings"
        ),
    ),
    Kind.IMPLAUSIBLE: (
        "alarm",
        (
            "{quantity} is {value_milli} thousandths, which no grid has: the word order or the "
            "profile is wrong. Commission the meter anew"
        ),
    ),
    Kind.TIME_OUT: (
        "warning",
        (
            "the meter does not answer ({error}); no old value is signed in its place. Check its "
            "power, address and line"
        ),
    ),
    Kind.BUSY: ("info", "the meter is busy ({error}). Poll it less often if it lasts"),
    Kind.OFFLINE: (
        "warning",
        (
            "the meter does not answer its gateway: {error}. The others on its line go on, and no "
            "old value is signed in its place"
        ),
    ),
    Kind.ABSENT: (
        "warning",
        (
            "the meter has no register for {quantity}; it is done without. Check the profile "
            "against the meter's manual"
        ),
    ),
    Kind.BAD_REPLY: (
        "warning",
        (
            "the meter sent a reply that cannot be its own ({error}); it was thrown away and the "
            "connection opened anew. Check the line"
        ),
    ),
    Kind.UNIT_CLASH: (
        "alarm",
        (
            "two devices seem to answer one unit id (serial {enrolled}, also seen: {found}; bad "
            "replies: {bad_replies}). Give each its own id"
        ),
    ),
    Kind.ANSWERS_AGAIN: ("info", "the meter answers again after {missed_polls} polls without"),
    Kind.CLOCK_JUMP: (
        "alarm",
        (
            "the gateway's clock jumped by {by_ms} ms. Readings do not settle while it is unsure: "
            "check its time source"
        ),
    ),
    Kind.CLOCK_STATE: (
        "warning",
        (
            "the gateway's clock was {was} and is {now}. Unless it is synchronised or "
            "informative, readings do not settle: check its time source"
        ),
    ),
    Kind.SETTING: (
        "alarm",
        "the setting {name} is now {value}. {advice}",
    ),
}


def level(kind: Kind) -> str:
    """Return how grave an event is: info, warning or alarm."""
    return _TEXTS[kind][0]


_CLOCKS: Final = {"S": "synchronised", "I": "informative", "U": "unknown"}


def words(kind: Kind, detail: Detail) -> str:
    """Return what happened and what to do, units on every number."""
    shown = {name: _shown(name, value) for name, value in detail.items()}
    return _TEXTS[kind][1].format(**shown)


def _shown(name: str, value: str | int | None) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return _CLOCKS.get(value, value) if name in ("was", "now") else value
    unit = {"wh": " Wh", "w": " W"}.get(name.rsplit("_", 1)[-1], "")
    return f"{value:,}{unit}"

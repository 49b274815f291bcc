"""The types of meters that are not read over Modbus, by the name that an enrolment carries.

They have no registers, so no scan finds them and no file describes them.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Final

from metering.inputs.config import InputConfig, P1Line
from metering.profiles import Profile, load_profile
from metering.registers import RegisterMap

_NO_REGISTERS: Final = RegisterMap((), {}, None, {})

P1: Final = Profile(
    name="dsmr_p1",
    title="Meter with a P1 port (DSMR 4 and 5, eSMR)",
    source="DSMR P1 Companion Standard 5.0.2",
    version=sha256(b"dsmr_p1 1").hexdigest(),
    layout=_NO_REGISTERS,
)
MQTT: Final = Profile(
    name="mqtt_json",
    title="Meter that publishes JSON to an MQTT broker",
    source="docs/inputs.md, the mapping in the gateway's settings",
    version=sha256(b"mqtt_json 1").hexdigest(),
    layout=_NO_REGISTERS,
)
TYPES: Final = {profile.name: profile for profile in (P1, MQTT)}


def meter_type(name: str) -> Profile:
    """Return the type of a meter, whether it is read over Modbus or tells by itself.

    Raises:
        ProfileError: there is none of that name.
    """
    return TYPES.get(name) or load_profile(name)


def type_of(line: InputConfig, unit: int) -> Profile:
    """Return the type of the meter of a unit, with the most that can flow there if that is said."""
    if isinstance(line, P1Line):
        return replace(P1, rated_w=line.max_power_w)
    fuse = next((one.max_power_w for one in line.device if one.unit == unit), None)
    return replace(MQTT, rated_w=fuse)


def units_of(line: InputConfig) -> frozenset[int]:
    """Return the units that a line tells of."""
    return frozenset({1} if isinstance(line, P1Line) else {one.unit for one in line.device})

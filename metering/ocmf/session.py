"""Charging sessions out of a charger's signed readings, and a session as a record's payload."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Final

from metering.ocmf.document import OcmfError
from metering.ocmf.fields import IDENTIFICATIONS
from metering.reading import Quality, Reading

VERSION: Final = "1.4"
IMPORT: Final = "01-00:B0.08.00*FF"
EXPORT: Final = "01-00:C0.08.00*FF"
"""OBIS codes of the format for mains energy in total (OCMF 1.4.1, table 25)."""
_STATES: Final[Mapping[Quality, str]] = {
    Quality.MEASURED: "G",
    Quality.ESTIMATED: "S",
    Quality.SUBSTITUTED: "S",
    Quality.MISSING: "T",
}
_MAX_ID: Final = 40


class OcmfSessionError(OcmfError):
    """The readings make no session: name another time, or look at the charger."""


@dataclass(frozen=True, slots=True)
class Session:
    """A charging session between two readings of one meter."""

    begin: Reading
    end: Reading

    def __post_init__(self) -> None:
        one, other = self.begin, self.end
        if (one.point, one.meter) != (other.point, other.meter):
            raise OcmfSessionError("the two readings are of two meters: end the session before")
        if one.answered_ms >= other.answered_ms:
            raise OcmfSessionError("the session ends before it begins")
        for name, first, last in (
            ("import", one.import_wh, other.import_wh),
            ("export", one.export_wh, other.export_wh),
        ):
            if (first is None) != (last is None) or (last or 0) < (first or 0):
                raise OcmfSessionError(f"the {name} register fell or went missing in between")


@dataclass(frozen=True, slots=True)
class Identified:
    """Who charged, as far as somebody said so: nobody checked it here.

    Raises:
        OcmfSessionError: a type that the format does not have, or data too long.
    """

    kind: str = "NONE"
    data: str = ""

    def __post_init__(self) -> None:
        if self.kind not in IDENTIFICATIONS or (self.kind == "NONE") != (not self.data):
            raise OcmfSessionError(
                f"{self.kind!r:.40} with {self.data!r:.40} identifies nobody: write TYPE:DATA, "
                f"TYPE one of {', '.join(IDENTIFICATIONS[3:])}"
            )
        if len(self.data) > _MAX_ID or not self.data.isprintable():
            raise OcmfSessionError(f"identification data has at most {_MAX_ID} characters")


@dataclass(frozen=True, slots=True)
class Signing:
    """The component that signs: what it is, its own serial, its version, the meter's model."""

    gateway: str
    serial: str
    version: str
    model: str


def between(readings: Sequence[Reading]) -> Session:
    """Return the session from the first to the last good reading.

    Raises:
        OcmfSessionError: there are not two of them.
    """
    good = [each for each in readings if each.quality is Quality.MEASURED]
    if len(good) < 2:
        raise OcmfSessionError(
            f"{len(good)} measured readings in this time: a session needs one at each end"
        )
    return Session(good[0], good[-1])


def above(readings: Sequence[Reading], threshold_w: int) -> Iterator[Session]:
    """Yield the runs of readings with at least so much power, either way.

    Each is bounded by the reading before its first and the one after its last; a run that the
    readings cut off is none, since nobody knows where it began or ended.
    """
    begun: Reading | None = None
    before: Reading | None = None
    for each in readings:
        if each.quality is not Quality.MEASURED:
            continue
        if abs(each.power_w or 0) >= threshold_w:
            begun, before = begun or before, None
            continue
        if begun is not None:
            yield Session(begun, each)
        begun, before = None, each


def payload(
    session: Session, number: int, who: Identified, signing: Signing, zone: tzinfo
) -> bytes:
    """Return the payload of a session's record: readings at its begin and its end.

    Args:
        session: between which readings.
        number: the page in the transaction context, one more for each record of a key.
        who: the user, if there is one.
        signing: what signs.
        zone: in which zone times are written.
    """
    begin, end = session.begin, session.end
    fields: dict[str, object] = {
        "FV": VERSION,
        "GI": signing.gateway,
        "GS": signing.serial,
        "GV": signing.version,
        "PG": f"T{number}",
        "MM": signing.model,
        "MS": begin.meter,
        "IS": who.kind != "NONE",
        "IL": "NONE" if who.kind == "NONE" else "HEARSAY",
        "IT": who.kind,
    }
    if who.data:
        fields["ID"] = who.data
    rows = [
        _row(begin, "B", IMPORT, begin.import_wh, zone),
        _row(end, "E", IMPORT, end.import_wh, zone),
    ]
    if (end.export_wh or 0) > (begin.export_wh or 0):
        rows += [
            _row(begin, "B", EXPORT, begin.export_wh, zone),
            _row(end, "E", EXPORT, end.export_wh, zone),
        ]
    head = ",".join(f"{_quoted(name)}:{_quoted(value)}" for name, value in fields.items())
    return f'{{{head},"RD":[{",".join(rows)}]}}'.encode()


def _row(reading: Reading, reason: str, obis: str, wh: int | None, zone: tzinfo) -> str:
    state = _STATES.get(reading.quality, "E")
    parts = [f'"TM":"{_moment(reading, zone)}"', f'"TX":"{reason}"']
    if wh is not None:
        kwh = Decimal(wh).scaleb(-3)
        parts.append(f'"RV":{kwh:.3f},"RI":"{obis}","RU":"kWh","RT":"AC"')
    parts.append(f'"EF":"{"" if state == "G" else "E"}","ST":"{state}"')
    return f"{{{','.join(parts)}}}"


def _moment(reading: Reading, zone: tzinfo) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=reading.answered_ms)
    local = at.astimezone(zone)
    return f"{local:%Y-%m-%dT%H:%M:%S},{reading.answered_ms % 1000:03d}{local:%z} {reading.clock}"


def _quoted(value: object) -> str:
    """Return a value as JSON; the character that parts sections is escaped."""
    return json.dumps(value, ensure_ascii=False).replace("|", "\\u007c")

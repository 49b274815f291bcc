"""Adds versions of tariffs and puts metering points on them: never in the past of what is metered.

Both say beforehand what they would change for whom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from sqlmodel import Session

from app.files.tomlfile import TomlFileError, read_toml
from app.services.house import House
from app.services.registry.changes import earliest
from app.services.registry.changes import enter as enter_change
from app.services.registry.changes import preview as preview_change
from app.services.registry.wanted import Change as Wanted
from app.services.tariffs.effects import Effect, effects
from app.store import people, registry, tariffs
from app.tables import TariffVersionRow
from market.registry import RegistryError, Role
from market.tariff import TariffError
from market.tariff_text import written
from market.tariffs import TariffVersion, VersionError
from metering.interval import Interval, from_ms
from metering.localtime import day_start

MAX_BYTES: Final = 64 * 1024
MAX_NAME: Final = 40


class TariffRefusedError(Exception):
    """The change is refused for good: mend what the message names."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to hold from when on, and what it comes to for whom."""

    tariff: str
    first: date
    digest: str
    effects: Sequence[Effect]


def read(file: Path) -> TariffVersion:
    """Return the version that a TOML file says.

    Raises:
        TariffRefusedError: it cannot be read, or a field is wrong.
    """
    try:
        return written(read_toml(file, MAX_BYTES))
    except TomlFileError as error:
        raise TariffRefusedError(str(error)) from error
    except (VersionError, TariffError) as error:
        raise TariffRefusedError(f"{file}: {error}") from error


def next_day(house: House) -> date:
    """Return the first local day that has not begun, and of which nothing is metered or agreed."""
    with house.database.read() as session:
        return _next_day(house, session)


def add(house: House, tariff: str, version: TariffVersion, first: date, *, preview: bool) -> Change:
    """Write a new version, or only say what it changes; a new name is a new tariff.

    Raises:
        TariffRefusedError: the day has begun, a version of that day stands already, or the name
            is none.
    """
    opened = house.database.read() if preview else house.database.write()
    with opened as session:
        if not preview:
            people.district(session, lock=True)
        _check(house, session, tariff, first)
        on = registry.standing(session, day_start(first, house.settings.tz).key)
        points = [point for point, each in on.items() if each.tariff == tariff]
        found = effects(house, session, points, lambda _: version)
        if not preview:
            known_ms = house.clock.now_ms()
            tariffs.begin(session, tariff, first, version, house.settings.tz, known_ms)
        return Change(tariff, first, version.digest, found)


def assign(
    house: House, tariff: str, points: Sequence[str], first: date, by: str, *, preview: bool
) -> Change:
    """Put metering points on a tariff from a local day on, or only say what that changes.

    Raises:
        TariffRefusedError: there is no such tariff or point, the day is metered, or they are on
            it already.
    """
    wanted = Wanted(points, day_start(first, house.settings.tz), {Role.TARIFF: tariff})
    with house.database.read() as session:
        if not tariffs.versions(session, tariff):
            raise TariffRefusedError(f"there is no tariff {tariff!r}: add it first")
        version = tariffs.version_on(session, tariff, first)
        known = people.points(session).keys()
        found = effects(house, session, [p for p in points if p in known], lambda _: version)
    try:
        if preview:
            preview_change(house, wanted)
        else:
            enter_change(house, wanted, by)
    except RegistryError as error:
        raise TariffRefusedError(str(error)) from error
    return Change(tariff, first, version.digest, found)


def _next_day(house: House, session: Session) -> date:
    zone = house.settings.tz
    day = from_ms(house.clock.now_ms()).astimezone(zone).date() + timedelta(days=1)
    free = earliest(house, session)
    while free is not None and day_start(day, zone) < free:
        day += timedelta(days=1)
    return day


def _check(house: House, session: Session, tariff: str, first: date) -> None:
    allowed = _next_day(house, session)
    if first < allowed:
        raise TariffRefusedError(
            f"{first} has begun, or is metered or agreed upon already: the first day that a tariff "
            f"may change is {allowed}"
        )
    if not 1 <= len(tariff) <= MAX_NAME or not tariff.isprintable() or tariff != tariff.strip():
        raise TariffRefusedError(f"a tariff's name has 1 to {MAX_NAME} printable characters")
    if session.get(TariffVersionRow, (tariff, first.isoformat())) is not None:
        raise TariffRefusedError(
            f"a version of {tariff} from {first} on stands already: choose another day"
        )


def listed(house: House) -> Sequence[tuple[TariffVersionRow, int]]:
    """Return every version of every tariff, and how many metering points are on the tariff now."""
    with house.database.read() as session:
        now = Interval.containing_ms(house.clock.now_ms()).key
        on = [each.tariff for each in registry.standing(session, now).values()]
        rows = tariffs.all_versions(session)
        session.expunge_all()
        return [(row, on.count(row.tariff)) for row in rows]

"""What simulated meters count: energy as an exact, ever-rising function of time.

Quarter-hour profiles of 2016 (SimBench; see data/NOTICE.md) give the power of loads and roofs.
A :class:`NetCurve` adds them up for one metering point; where the sum is above zero the point
imports, where it is below it exports. Inside a quarter-hour each counter follows a monotone cubic
whose rate runs on smoothly over the borders, while every quarter's total is kept exactly.

Any date takes the profile of the same day, month and local time (Europe/Berlin) in 2016. So
29 February has its own profile in leap years; weekdays are those of 2016. An hour that the given
year has and 2016 skipped (27 March 2016, 2 o'clock) takes the hour after it, one that is doubled
takes 2016's doubled hour or else the same hour twice; an hour that the given year
skips is left out.

All figures are integers: energy in milliwatt-hours (mWh, "milli_wh"), power in W, time in UTC ms.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import resources
from typing import Final, Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from metering.interval import LENGTH_MS, from_ms, to_ms

FIRST_YEAR: Final = 2024
"""Every simulated meter shows its base values at the start of this year (UTC)."""

STEPS: Final = 100_000  # one count in the data file is 1/100000 of the rated power
ROWS: Final = 35_136
_FILE: Final = "simbench_2016.csv.gz"
_ZONE: Final = ZoneInfo("Europe/Berlin")
_DATA_START: Final = datetime(2015, 12, 31, 23, tzinfo=UTC)
_MILLI_WH_PER_W_QUARTER: Final = 250
_WEEK: Final = 7 * 96
_BASE_RANGE_KWH: Final = (500, 8000)

Profiles = Mapping[str, NDArray[np.int32]]


class CurveError(ValueError):
    """Root of this module's errors: a person corrects the configuration."""


class UnknownProfileError(CurveError):
    """There is no profile of that name."""


class BeforeInstallationError(CurveError):
    """The time lies before the simulated meters were installed."""


class EnergyCurve(Protocol):
    """What a simulated meter counts, as a pure function of UTC ms."""

    def import_milli_wh(self, at_ms: int) -> int:
        """Return the import counter in mWh; it never falls."""
        ...

    def export_milli_wh(self, at_ms: int) -> int:
        """Return the export counter in mWh; it never falls."""
        ...

    def power_w(self, at_ms: int) -> int:
        """Return the power in W, import positive."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """A load (``rated_w`` above zero) or a roof (below) behind a metering point.

    ``weeks_later`` shifts the profile within the year, so that one profile serves several cars.
    """

    profile: str
    rated_w: int
    weeks_later: int = 0

    def milli_wh(self) -> NDArray[np.int64]:
        """Return the energy of each quarter-hour of 2016, rounded to whole mWh."""
        counts = np.roll(_profile(self.profile).astype(np.int64), self.weeks_later * _WEEK)
        return (counts * (self.rated_w * _MILLI_WH_PER_W_QUARTER) + STEPS // 2) // STEPS


@dataclass(frozen=True, slots=True)
class Timetable:
    """What runs by the local clock every day, such as a battery: (from hour, to hour, W).

    Charging is above zero, discharging below; hours that are not named are 0.
    """

    hours: tuple[tuple[int, int, int], ...]

    def milli_wh(self) -> NDArray[np.int64]:
        """Return the energy of each quarter-hour of 2016 in mWh."""
        powers_w = np.zeros(24, dtype=np.int64)
        for start, end, w in self.hours:
            powers_w[start:end] += w
        return np.repeat(powers_w[_local_hours()], 4) * _MILLI_WH_PER_W_QUARTER


def load(profile: str, *, rated_w: int) -> Part:
    """Return a load by its rated power, which its profile reaches at its peak."""
    return Part(profile, rated_w)


def yearly_load(profile: str, *, annual_kwh: int) -> Part:
    """Return a load by the energy that it takes in the profile's year 2016."""
    counts = int(_profile(profile).sum(dtype=np.int64))
    return Part(profile, (annual_kwh * 1000 * 4 * STEPS + counts // 2) // counts)


def fleet(profile: str, *, rated_w: int, cars: int) -> list[Part]:
    """Return ``cars`` chargers of ``rated_w`` each, every one a week behind the one before."""
    return [Part(profile, rated_w, weeks_later=week) for week in range(cars)]


def roof(profile: str, *, peak_w: int) -> Part:
    """Return a solar roof by its module power (W peak); it feeds in."""
    return Part(profile, -peak_w)


class NetCurve:
    """The two counters of a metering point with ``parts`` behind it.

    The counters start from bases derived from ``serial`` (the export counter at 0 where nothing is
    ever exported). Behind one meter, load and generation within a quarter-hour cancel out.

    Raises:
        UnknownProfileError: a part names no profile in the data.
    """

    def __init__(self, parts: Sequence[Part | Timetable], *, serial: str) -> None:
        net = np.zeros(ROWS, dtype=np.int64)
        for part in parts:
            net += part.milli_wh()
        self._import = _Counter(np.maximum(net, 0), _base_milli_wh(serial, "import"))
        exports = np.maximum(-net, 0)
        base = _base_milli_wh(serial, "export") if exports.any() else 0
        self._export = _Counter(exports, base)

    def import_milli_wh(self, at_ms: int) -> int:
        """Return the import counter in mWh at ``at_ms`` (UTC ms)."""
        return self._import.total(at_ms)

    def export_milli_wh(self, at_ms: int) -> int:
        """Return the export counter in mWh at ``at_ms`` (UTC ms)."""
        return self._export.total(at_ms)

    def power_w(self, at_ms: int) -> int:
        """Return the power in W at ``at_ms`` (UTC ms), import positive."""
        rate = self._import.rate(at_ms) - self._export.rate(at_ms)
        half = _MILLI_WH_PER_W_QUARTER // 2
        return (rate + half) // _MILLI_WH_PER_W_QUARTER


def profile_names() -> tuple[str, ...]:
    """Return the names of the profiles in the data, sorted."""
    return tuple(sorted(_profiles()))


def interpolate(before: int, energy: int, after: int, elapsed_ms: int) -> int:
    """Return the part of ``energy`` counted after ``elapsed_ms`` of a quarter-hour, floored.

    ``before`` and ``after`` are the energies of the neighbouring quarters (all >= 0). A cubic
    Hermite curve with the harmonic means as slopes at the borders: at most twice either
    neighbour's mean rate, which keeps it monotone (Fritsch and Carlson 1980 allow three times).
    """
    first, last = _slope(before, energy), _slope(energy, after)
    s, whole = elapsed_ms, LENGTH_MS
    cubic = (
        first * (s * whole**2 - 2 * s**2 * whole + s**3)
        + energy * (3 * s**2 * whole - 2 * s**3)
        + last * (s**3 - s**2 * whole)
    )
    return cubic // whole**3


def rate(before: int, energy: int, after: int, elapsed_ms: int) -> int:
    """Return the slope of :func:`interpolate`, in energy per quarter-hour, floored."""
    first, last = _slope(before, energy), _slope(energy, after)
    s, whole = elapsed_ms, LENGTH_MS
    quadratic = (
        first * (whole**2 - 4 * s * whole + 3 * s**2)
        + energy * 6 * (s * whole - s**2)
        + last * (3 * s**2 - 2 * s * whole)
    )
    return quadratic // whole**2


def _slope(left: int, right: int) -> int:
    return 2 * left * right // (left + right) if left and right else 0


class _Counter:
    """One direction: the energy of each quarter of 2016 (mWh), totalled up year by year."""

    def __init__(self, energies: NDArray[np.int64], base_milli_wh: int) -> None:
        self._energies = energies
        self._base = base_milli_wh
        self._years: dict[int, NDArray[np.int64]] = {}

    def total(self, at_ms: int) -> int:
        start, left, energy, right, elapsed_ms = self._around(at_ms)
        return start + interpolate(left, energy, right, elapsed_ms)

    def rate(self, at_ms: int) -> int:
        _, left, energy, right, elapsed_ms = self._around(at_ms)
        return rate(left, energy, right, elapsed_ms)

    def _around(self, at_ms: int) -> tuple[int, int, int, int, int]:
        """Return the total at the quarter's start, the energies around it, the ms elapsed."""
        year = from_ms(at_ms).year
        if year < FIRST_YEAR:
            raise BeforeInstallationError(
                f"{from_ms(at_ms).isoformat()} is before {FIRST_YEAR}, when the simulated meters "
                "were installed: set the district's clock later"
            )
        quarter, elapsed_ms = divmod(at_ms - _year_start_ms(year), LENGTH_MS)
        totals = self._totals(year)
        start, end = int(totals[quarter + 1]), int(totals[quarter + 2])
        left, right = start - int(totals[quarter]), int(totals[quarter + 3]) - end
        return start, left, end - start, right, elapsed_ms

    def _totals(self, year: int) -> NDArray[np.int64]:
        """Return the totals at the borders from one quarter before ``year`` to one after it."""
        if year not in self._years:
            energies = self._energies[rows_of_year(year)]
            start = self._base if year == FIRST_YEAR else int(self._totals(year - 1)[-2])
            totals = np.concatenate(([0], np.cumsum(energies)))
            self._years[year] = totals + (start - totals[1])
        return self._years[year]


@lru_cache
def rows_of_year(year: int) -> NDArray[np.int32]:
    """Return the data row of each quarter of a UTC year, with one more before and after it."""
    start = datetime(year, 1, 1, tzinfo=UTC)
    hours = (datetime(year + 1, 1, 1, tzinfo=UTC) - start) // timedelta(hours=1)
    firsts = [_row_of_hour(start + timedelta(hours=hour)) for hour in range(-1, hours + 1)]
    rows = np.add.outer(np.array(firsts, dtype=np.int32), np.arange(4, dtype=np.int32)).ravel()
    return rows[3:-3]


def _row_of_hour(hour: datetime) -> int:
    local = hour.astimezone(_ZONE)
    in_2016 = local.replace(year=2016).astimezone(UTC)
    return (in_2016 - _DATA_START) // timedelta(minutes=15)


@lru_cache
def _local_hours() -> NDArray[np.int32]:
    """Return the local hour of day of each hour of the data."""
    hours = (_DATA_START + timedelta(hours=hour) for hour in range(ROWS // 4))
    return np.array([hour.astimezone(_ZONE).hour for hour in hours], dtype=np.int32)


def _year_start_ms(year: int) -> int:
    return to_ms(datetime(year, 1, 1, tzinfo=UTC))


def _base_milli_wh(serial: str, direction: str) -> int:
    low, high = _BASE_RANGE_KWH
    digest = hashlib.sha256(f"{serial}/{direction}".encode()).digest()
    return 1000 * (low * 1000 + int.from_bytes(digest[:8], "big") % ((high - low) * 1000))


def _profile(name: str) -> NDArray[np.int32]:
    profiles = _profiles()
    if name not in profiles:
        raise UnknownProfileError(
            f"no load profile {name!r}: known are {', '.join(sorted(profiles))}"
        )
    return profiles[name]


@lru_cache
def _profiles() -> Profiles:
    packed = resources.files("metering").joinpath("data", _FILE).read_bytes()
    head, *lines = gzip.decompress(packed).decode("ascii").splitlines()
    names = head.split(",")[1:]
    table = np.loadtxt(lines, dtype=np.int32, delimiter=",", usecols=range(1, len(names) + 1))
    if table.shape != (ROWS, len(names)):
        raise CurveError(f"{_FILE} has {table.shape} instead of {ROWS} rows: extract it again")
    return {name: np.ascontiguousarray(table[:, place]) for place, name in enumerate(names)}

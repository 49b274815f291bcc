"""The entrance: from a history to a forecast, and which model made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metering.interval import Interval
from optimizer.forecast import baseline as by_mean
from optimizer.forecast import learned as by_regression
from optimizer.forecast import solar as by_sun
from optimizer.forecast.history import (
    HORIZON,
    MISSING,
    Floats,
    History,
    to_floats,
    to_wh,
)
from optimizer.forecast.solar import SkyError, ask_clear_sky
from optimizer.forecast.weather import by_quarter

NO_MODEL: Final = ""  # nothing is known, or nothing was ever fed in


class Model(StrEnum):
    """Which model is asked for."""

    BASELINE = "baseline"
    LEARNED = "learned"


VERSIONS: Final = {Model.BASELINE: by_mean.VERSION, Model.LEARNED: by_regression.VERSION}


@dataclass(frozen=True, slots=True)
class Site:
    """Where the district stands, in decimal degrees as text, and what its weather file says.

    ``weather`` is W/m2 by UTC milliseconds (:func:`optimizer.forecast.weather.read_weather`).
    """

    latitude: str
    longitude: str
    weather: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class PointForecast:
    """Whole Wh per quarter-hour and direction, None where nothing can be said, and by what."""

    point: str
    import_wh: list[int | None]
    export_wh: list[int | None]
    import_model: str
    export_model: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of each point in the 192 quarter-hours from ``first`` on.

    ``remark`` says where it is not the model that was asked for, ``fault`` what went wrong that
    somebody should mend; '' when nothing is to be said.
    """

    first: Interval
    points: tuple[PointForecast, ...]
    remark: str
    fault: str
    quarters: int = HORIZON


class _Direction(NamedTuple):
    wh: Floats
    models: list[str]


def forecast(history: History, site: Site, model: Model) -> Forecast:
    """Return the forecast of every point of a history.

    Import: the baseline, or the learned model where there is enough history for it. Export: a
    point that feeds in under the sun alone follows the sun, any other one is treated like import;
    one that never fed in exports 0, and one of which nothing was ever measured has no forecast.
    """
    exports = to_floats(history.export_wh)
    feeds_in = np.asarray((history.export_wh > 0).any(axis=1))
    remark, faults = "", list[str]()
    sky = _sky(history, site, faults) if feeds_in.any() else None
    imports = _usual(to_floats(history.import_wh), history, sky, model)
    exporting = _exports(exports, feeds_in, history, sky, model)
    if model is Model.LEARNED:
        named = [name for name in (*imports.models, *exporting.models) if name]
        short = sum(name != by_regression.VERSION for name in named)
        if short:
            remark = (
                f"{short} of {len(named)} series have less than {by_regression.FEWEST_DAYS} days "
                "to learn from and are forecast without"
            )
    return Forecast(
        first=history.next,
        points=tuple(
            PointForecast(point, to_wh(imports.wh[n]), to_wh(exporting.wh[n]), *models)
            for n, (point, *models) in enumerate(
                zip(history.points, imports.models, exporting.models, strict=True)
            )
        ),
        remark=remark,
        fault="; ".join(faults),
    )


class _Sky(NamedTuple):
    """W/m2 over history and horizon: a clear sky's, and the weather file's (NaN: not told)."""

    clear: Floats
    weather: Floats

    @property
    def expected(self) -> Floats:
        return np.where(np.isfinite(self.weather), self.weather, self.clear)


def _sky(history: History, site: Site, faults: list[str]) -> _Sky | None:
    first_ms, quarters = history.first.start_ms, history.quarters + HORIZON
    try:
        clear = ask_clear_sky(first_ms, quarters, site.latitude, site.longitude)
    except SkyError as error:
        faults.append(f"{error}; solar power is forecast by the baseline")
        return None
    weather = by_quarter(site.weather, first_ms, quarters)
    if site.weather and np.isnan(weather[-HORIZON:]).all():
        faults.append("the weather file says nothing of the next 48 hours: a clear sky stands in")
    return _Sky(clear, weather)


def _usual(floats: Floats, history: History, sky: _Sky | None, model: Model) -> _Direction:
    """Forecast what depends on the calendar."""
    ahead = slice(history.quarters, history.quarters + HORIZON)
    wh = by_mean.baseline(floats, history.calendar, ahead)
    versions = np.where(np.isnan(wh).all(axis=1), NO_MODEL, by_mean.VERSION)
    if model is Model.LEARNED and len(floats):
        told = by_regression.learned(floats, history.calendar, sky.expected if sky else None)
        fitted = ~np.isnan(told).all(axis=1)
        wh = np.where(np.isnan(told), wh, told)
        versions = np.where(fitted, by_regression.VERSION, versions)
    return _Direction(wh, versions.tolist())


def _exports(
    floats: Floats,
    feeds_in: NDArray[np.bool_],
    history: History,
    sky: _Sky | None,
    model: Model,
) -> _Direction:
    measured = (history.export_wh != MISSING).any(axis=1)
    wh = np.where(measured[:, None], 0.0, np.nan) * np.ones(HORIZON)
    models = np.full(len(floats), NO_MODEL, dtype=object)
    rows = np.flatnonzero(feeds_in)
    if len(rows):
        usual = _usual(floats[rows], history, sky, model)
        wh[rows], models[rows] = usual.wh, usual.models
    if sky is not None:
        past = slice(0, history.quarters)
        roofs = feeds_in & by_sun.follows_the_sun(floats[:, past], sky.clear[past])
        chosen = np.flatnonzero(roofs & (models != by_regression.VERSION))
        if len(chosen):
            wh[chosen] = by_sun.solar(floats[chosen], sky.clear, sky.weather)
            models[chosen] = by_sun.VERSION
        dark = sky.clear[history.quarters :] < by_sun.DARK_W_PER_M2
        wh[np.ix_(roofs, dark)] = 0.0
    return _Direction(wh, models.tolist())

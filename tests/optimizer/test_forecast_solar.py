"""Solar power: the clear sky against pvlib called directly, roofs of known size, weather files."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from pvlib.location import Location

from metering.interval import LENGTH_MS, Interval
from optimizer.forecast import engine, solar
from optimizer.forecast.engine import Model, Site, forecast
from optimizer.forecast.history import DAY, HORIZON, MISSING, WEEK, Floats, History, Integers
from optimizer.forecast.solar import SkyError, ask_clear_sky
from optimizer.forecast.weather import MAX_BYTES, WeatherError, by_quarter, read_weather

UPTO = Interval.parse("2026-06-23T10:15:00Z")
FIRST_MS = UPTO.start_ms - 4 * WEEK * LENGTH_MS
HERE = ("52.52", "13.41")


@pytest.fixture(scope="module")
def clear() -> Floats:
    """The clear sky of four weeks and the two days ahead, as the engine asks for it."""
    return ask_clear_sky(FIRST_MS, 4 * WEEK + HORIZON, *HERE)


def test_the_clear_sky_of_a_day_is_pvlibs(clear: Floats) -> None:
    start = pd.Timestamp("2026-06-24T00:07:30Z")
    middles = pd.date_range(start, periods=DAY, freq="15min")
    expected = Location(52.52, 13.41).get_clearsky(middles, model="haurwitz")["ghi"].to_numpy()
    at = (Interval.parse("2026-06-24T00:00:00Z").start_ms - FIRST_MS) // LENGTH_MS
    np.testing.assert_allclose(
        clear[at : at + DAY], expected, atol=0.05
    )  # it knows the altitude, too
    assert expected.max() > 800
    assert not clear[at : at + 8].any(), "02:00 to 04:00 in Berlin is night"


def test_a_sky_that_cannot_be_worked_out_says_so() -> None:
    with pytest.raises(SkyError, match="could not convert string to float"):
        ask_clear_sky(FIRST_MS, 4, "north", "13.41")


def history(exports: Integers) -> History:
    imports = np.full_like(exports, 100)
    first = Interval.containing_ms(FIRST_MS)
    points = tuple(f"p{n}" for n in range(len(exports)))
    return History(first, ZoneInfo("Europe/Berlin"), points, imports, exports)


def test_roofs_follow_the_sun_and_batteries_the_calendar(
    clear: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "ask_clear_sky", lambda *_: clear)
    past = clear[:-HORIZON]
    roof = np.where(past >= 20, past * 0.5, 0).astype(np.int64)
    spoilt = roof.copy()
    spoilt[np.arange(len(roof)) // DAY % 7 == 0] = 0  # a dark day a week: the median stands
    battery = np.full(len(past), 300)
    nothing, unknown = np.zeros(len(past)), np.full(len(past), MISSING)
    found = forecast(
        history(np.array([roof, spoilt, battery, nothing, unknown], dtype=np.int64)),
        Site(*HERE, {}),
        Model.BASELINE,
    )
    assert [each.export_model for each in found.points] == ["solar-1"] * 2 + ["baseline-1", "", ""]
    expected = np.where(clear[-HORIZON:] >= 20, clear[-HORIZON:] * 0.5, 0)
    for each in found.points[:2]:
        np.testing.assert_allclose(np.array(each.export_wh, dtype=float), expected, atol=8)
        dark = [wh for wh, sun in zip(each.export_wh, clear[-HORIZON:], strict=True) if sun < 20]
        assert set(dark) == {0}
        assert len(dark) > 40
    assert found.points[2].export_wh == [300] * HORIZON
    assert found.points[3].export_wh == [0] * HORIZON
    assert found.points[4].export_wh == [None] * HORIZON
    assert (found.remark, found.fault) == ("", "")


def test_without_a_sky_a_roof_has_its_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_sky(*_: object) -> Floats:
        raise SkyError("no pvlib here")

    monkeypatch.setattr(engine, "ask_clear_sky", no_sky)
    found = forecast(
        history(np.full((1, 4 * WEEK), 40, dtype=np.int64)), Site(*HERE, {}), Model.BASELINE
    )
    assert found.points[0].export_wh == [40] * HORIZON
    assert found.fault == "no pvlib here; solar power is forecast by the baseline"


def test_who_never_feeds_in_needs_no_sky(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ask_clear_sky", lambda *_: pytest.fail("asked for the sky"))
    nothing = np.zeros((2, 4 * WEEK), dtype=np.int64)
    assert forecast(history(nothing), Site(*HERE, {}), Model.BASELINE).points[0].export_wh[0] == 0


def roof_under(weather: Floats, clear: Floats, exports: Floats) -> Floats:
    return solar.solar(exports[None, :], clear, weather)[0]


def test_a_weather_file_with_a_past_is_its_own_measure(clear: Floats) -> None:
    weather = clear * 0.4  # overcast, then and ahead
    exports = np.where(clear >= 20, weather * 0.5, 0.0)
    ahead = weather[-HORIZON:] * 0.5
    told = roof_under(weather, clear, exports)
    bright = weather[-HORIZON:] >= 20
    np.testing.assert_allclose(told[bright], ahead[bright])


def test_a_weather_file_without_a_past_takes_bright_days_as_the_measure(clear: Floats) -> None:
    weather = np.full_like(clear, np.nan)
    weather[-HORIZON:] = clear[-HORIZON:]  # two bright days are foreseen
    exports = clear * 0.5
    dull = np.arange(len(clear)) // DAY % 4 != 0  # three days of four were dull
    exports[dull] *= 0.3
    told = roof_under(weather, clear, exports)
    bright = clear[-HORIZON:] >= 20
    np.testing.assert_allclose(told[bright], clear[-HORIZON:][bright] * 0.5)
    without = roof_under(np.full_like(clear, np.nan), clear, exports)
    np.testing.assert_allclose(without[bright], clear[-HORIZON:][bright] * 0.15)


HEADER = b"time,w_per_m2\n"


def test_a_weather_file_is_read_by_quarters() -> None:
    rows = b"2026-06-23T09:00:00Z,400\r\n2026-06-23T09:10:00+00:00,100.5\r\n\r\n"
    weather = read_weather(b"\xef\xbb\xbf" + HEADER + rows)
    first_ms = Interval.parse("2026-06-23T08:45:00Z").start_ms
    told = by_quarter(weather, first_ms, 7)
    expected = [np.nan, (400 * 10 + 100.5 * 5) / 15, 100.5, 100.5, 100.5, np.nan, np.nan]
    np.testing.assert_allclose(told, expected)  # the last value holds an hour, until 10:10


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "must begin with the header"),
        (b"when,ghi\n", "must begin with the header"),
        (b"\xff\xfe", "no CSV in UTF-8"),
        (HEADER + b"2026-06-23T09:00:00Z\n", "row 2: 1 columns"),
        (HEADER + b"2026-06-23T09:00:00Z,1,2\n", "row 2: 3 columns"),
        (HEADER + b"2026-06-23T09:00:00,1\n", "row 2: .* is no UTC time"),
        (HEADER + b"2026-06-23T09:00:00+02:00,1\n", "row 2: .* is not UTC"),
        (HEADER + b"yesterday,1\n", "row 2: 'yesterday' is no UTC time"),
        (HEADER + b"2026-06-23T09:00:00Z,bright\n", "row 2: 'bright' is no irradiance"),
        (HEADER + b"2026-06-23T09:00:00Z,nan\n", "row 2: 'nan' is no irradiance"),
        (HEADER + b"2026-06-23T09:00:00Z,-1\n", "row 2: '-1' is no irradiance"),
        (HEADER + b"2026-06-23T09:00:00Z,1500.1\n", "row 2: '1500.1' is no irradiance"),
        (
            HEADER + b"2026-06-23T09:00:00Z,1\n\n2026-06-23T09:00:00Z,2\n",
            "row 4: .* is not after the row before",
        ),
        (HEADER + b'"2026', "no CSV"),
        (HEADER + b" " * MAX_BYTES, "more than"),
    ],
)
def test_a_weather_file_is_refused_whole_with_the_row(content: bytes, said: str) -> None:
    with pytest.raises(WeatherError, match=said):
        read_weather(content)

"""What was forecast when, how good it was, and the prices that followed from it.

A run keeps its issue time, so that no forecast is ever judged by what came to be known after it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel


class ForecastRunRow(SQLModel, table=True):
    """One run: what was known at ``issued_ms`` about the quarter-hours from ``first`` on."""

    __tablename__ = "forecast_run"
    id: int | None = Field(default=None, primary_key=True)
    issued_ms: int = Field(sa_type=BigInteger, unique=True)  # district clock
    first: str  # interval key
    quarters: int
    model: str  # the version that was asked for, as `learned-1`
    remark: str = ""  # what it had to do without; '' when nothing is to be said
    published_ms: int | None = Field(default=None, sa_type=BigInteger)  # by MQTT, district clock


class ForecastRow(SQLModel, table=True):
    """A run's forecast of one metering point: JSON lists of whole Wh or null, one per quarter."""

    __tablename__ = "forecast"
    run: int = Field(primary_key=True, foreign_key="forecast_run.id")
    point: str = Field(primary_key=True, foreign_key="metering_point.gsrn")
    import_wh: str
    export_wh: str
    import_model: str  # the version that made it, as `baseline-1`
    export_model: str


class ExpectedPriceRow(SQLModel, table=True):
    """What a run's forecasts would trade at in one interval. Sums are those of the district."""

    __tablename__ = "expected_price"
    run: int = Field(primary_key=True, foreign_key="forecast_run.id")
    interval: str = Field(primary_key=True)
    participants: int  # with a forecast; below five nothing of the row is shown to anybody
    price_micro_per_kwh: int | None = None  # net at the hub; None: no local trade is expected
    import_wh: int = Field(sa_type=BigInteger)
    export_wh: int = Field(sa_type=BigInteger)
    local_wh: int = Field(sa_type=BigInteger)


class ForecastScoreRow(SQLModel, table=True):
    """How a local day's forecast did, beside yesterday's same quarters, in exact sums.

    The mean absolute error is ``abs_wh / quarters``, the bias ``bias_wh / quarters`` (forecast
    less measured). ``point`` is '' for the sum of the district.
    """

    __tablename__ = "forecast_score"
    __table_args__ = (Index("forecast_score_point", "point", "day"),)
    day: str = Field(primary_key=True)  # local day, ISO
    point: str = Field(primary_key=True)
    direction: str = Field(primary_key=True)  # import, export
    run: int = Field(foreign_key="forecast_run.id")
    model: str
    quarters: int
    measured_wh: int = Field(sa_type=BigInteger)
    abs_wh: int = Field(sa_type=BigInteger)
    bias_wh: int = Field(sa_type=BigInteger)
    persistence_abs_wh: int = Field(sa_type=BigInteger)
    persistence_bias_wh: int = Field(sa_type=BigInteger)
    known_ms: int = Field(sa_type=BigInteger)  # district clock

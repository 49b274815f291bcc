"""Versions of tariffs, and the price series that some of them follow."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class TariffVersionRow(SQLModel, table=True):
    """One version of a tariff: it holds from a local day on, until the next version does."""

    __tablename__ = "tariff_version"
    tariff: str = Field(primary_key=True, foreign_key="tariff.id")
    first_day: str = Field(primary_key=True)  # YYYY-MM-DD, local
    definition: str  # canonical JSON
    digest: str  # hex, SHA-256 of the definition
    known_ms: int = Field(sa_type=BigInteger)


class PriceRow(SQLModel, table=True):
    """The price of one interval in a series (spot, imbalance), as imported."""

    __tablename__ = "price"
    series: str = Field(primary_key=True)
    interval: str = Field(primary_key=True)
    micro_per_kwh: int = Field(sa_type=BigInteger)
    source: str  # name of the file; 'synthetic' for the demo's curve
    known_ms: int = Field(sa_type=BigInteger)

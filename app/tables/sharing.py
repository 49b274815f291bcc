"""Sharing keys as versions: who has which share of what a generating point feeds in."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel


class SharingVersionRow(SQLModel, table=True):
    """One version of a generating point's key; never changed, at most withdrawn before it holds."""

    __tablename__ = "sharing_version"
    __table_args__ = (Index("sharing_version_point", "point", "valid_from"),)
    id: int | None = Field(default=None, primary_key=True)
    point: str = Field(foreign_key="metering_point.gsrn")
    valid_from: str  # interval key: a local midnight of the district's zone
    kind: str  # `market.sharing.Kind`
    redistribute: bool
    price_micro_per_kwh: int
    source: str  # name of the file that brought it
    imported_ms: int = Field(sa_type=BigInteger)  # district clock
    withdrawn_ms: int | None = Field(default=None, sa_type=BigInteger)


class SharingMemberRow(SQLModel, table=True):
    """One member of a version, and its share."""

    __tablename__ = "sharing_member"
    version: int = Field(primary_key=True, foreign_key="sharing_version.id")
    point: str = Field(primary_key=True, foreign_key="metering_point.gsrn")
    ppm: int

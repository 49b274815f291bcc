"""Who and what stands behind a metering point, and since when: every link has its validity."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel


class FeederRow(SQLModel, table=True):
    """A feeder of the district. ``head`` is the metering point that measures all of it, if any."""

    __tablename__ = "feeder"
    id: str = Field(primary_key=True)
    name: str
    head: str | None = Field(default=None, foreign_key="metering_point.gsrn")


class BuildingRow(SQLModel, table=True):
    """A building; ids are unique within its feeder."""

    __tablename__ = "building"
    feeder: str = Field(primary_key=True, foreign_key="feeder.id")
    id: str = Field(primary_key=True)
    name: str


class SupplierRow(SQLModel, table=True):
    """Who sells the residual. '' is the district's one supplier of before there were several."""

    __tablename__ = "supplier"
    id: str = Field(primary_key=True)
    name: str


class BalancePartyRow(SQLModel, table=True):
    """A balance responsible party; '' as for suppliers. ``code`` is its EIC, where it has one."""

    __tablename__ = "balance_party"
    id: str = Field(primary_key=True)
    name: str
    code: str | None = None


class LinkRow(SQLModel, table=True):
    """What a metering point is bound to from one interval on, up to another (not included).

    ``role`` is participant, supplier, balance-party, tariff, feeder or building; of each role a
    point has exactly one ``target`` at a time ('' where it has none, as a building).
    """

    __tablename__ = "link"
    __table_args__ = (Index("link_role", "point", "role", "valid_from", unique=True),)
    id: int | None = Field(default=None, primary_key=True)
    point: str = Field(foreign_key="metering_point.gsrn")
    role: str
    target: str
    valid_from: str  # interval key
    valid_to: str | None = None  # interval key; None: no end is known
    known_ms: int = Field(sa_type=BigInteger)  # district clock: when it was entered
    entered_by: str


class DeviceRow(SQLModel, table=True):
    """A device behind a metering point: a production unit, a storage or a charger.

    ``meter_point`` is the metering point of its own sub-meter; None: the point's own registers are
    all that measures it. ``output_register`` is the sub-meter's register that counts what comes out
    of the device; a storage charges on the other one.
    """

    __tablename__ = "device"
    id: str = Field(primary_key=True)
    point: str = Field(foreign_key="metering_point.gsrn", index=True)
    meter_point: str | None = Field(default=None, foreign_key="metering_point.gsrn")
    output_register: str = "export"  # export, import
    name: str
    kind: str  # production, storage, charger
    technology: str  # AIB fact sheet 5 code, such as T010000
    source: str  # AIB fact sheet 5 energy source code, such as F01040100
    capacity_w: int
    efficiency_ppm: int | None = None  # of a storage: energy out / energy in
    emissions_mg_per_kwh: int = 0
    valid_from: str  # interval key
    valid_to: str | None = None

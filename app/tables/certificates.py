"""Granular certificates, field names as EnergyTag's API has them where there is one."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel


class CertificateRow(SQLModel, table=True):
    """A bundle of certificates of 1 Wh each: one device, one interval, one account, one status."""

    __tablename__ = "certificate"
    __table_args__ = (
        Index("certificate_issuance", "issuance_id", "certificate_bundle_id_range_start"),
        Index("certificate_account", "account_id", "production_starting_interval"),
        Index("certificate_interval", "production_starting_interval", "certificate_bundle_status"),
        Index("certificate_expiry", "certificate_bundle_status", "expiry_datestamp"),
        Index("certificate_beneficiary", "beneficiary", "certificate_bundle_status"),
    )
    id: int | None = Field(default=None, primary_key=True)
    issuance_id: str  # DEVICE/INTERVAL/N
    device_id: str = Field(index=True)  # a device's, or a foreign device's where it was imported
    production_starting_interval: str  # interval key
    account_id: str = Field(foreign_key="participant.id")
    certificate_bundle_status: str
    certificate_bundle_id_range_start: int = Field(sa_type=BigInteger)
    certificate_bundle_id_range_end: int = Field(sa_type=BigInteger)  # included
    is_storage: bool = False
    # Whose consumption it is for, or the storage that holds it; a reserved one with a beneficiary
    # becomes Claimed when its interval is final, one without becomes Active.
    beneficiary: str | None = None
    hash: str  # hex
    expiry_datestamp: str  # YYYY-MM-DD


class CertificateEventRow(SQLModel, table=True):
    """What happened to watt-hours of an issuance; never changed."""

    __tablename__ = "certificate_event"
    id: int | None = Field(default=None, primary_key=True)
    issuance_id: str = Field(index=True)
    # issue, reserve, import (into the target); transfer (from source to target); activate, claim,
    # lock (the account stays); cancel, withdraw, expire (out of the source). The sum over an
    # account of what came in less what went out is what it holds.
    action: str
    range_start: int = Field(sa_type=BigInteger)
    range_end: int = Field(sa_type=BigInteger)
    source_account: str | None = None
    target_account: str | None = None
    at_ms: int = Field(sa_type=BigInteger)  # district clock
    by: str
    note: str = ""


class CertifiedRow(SQLModel, table=True):
    """What a device's certificates of one interval rest on, corrections included.

    Held in all = measured + shortfall - deducted: a shortfall was claimed before the correction,
    and became the device's debt; what was deducted paid off such a debt.
    """

    __tablename__ = "certified"
    __table_args__ = (Index("certified_deducted", "device_id", "deducted_wh"),)
    interval: str = Field(primary_key=True, foreign_key="interval.key")
    device_id: str = Field(primary_key=True, foreign_key="device.id")
    account_id: str  # whose the device's metering point was
    measured_wh: int = Field(sa_type=BigInteger)
    self_used_wh: int = Field(sa_type=BigInteger)  # claimed at once, the most it ever was
    shortfall_wh: int = Field(default=0, sa_type=BigInteger)
    deducted_wh: int = Field(default=0, sa_type=BigInteger)
    issues: int = 0


class CertificateOriginRow(SQLModel, table=True):
    """Which certificates a storage used up for what it gave out: a discharge's origin."""

    __tablename__ = "certificate_origin"
    device_id: str = Field(primary_key=True, foreign_key="device.id")  # the storage
    interval: str = Field(primary_key=True)  # of the discharge
    issuance_id: str = Field(primary_key=True)  # of what was charged
    range_start: int = Field(primary_key=True, sa_type=BigInteger)
    range_end: int = Field(sa_type=BigInteger)


class CertificateMonthRow(SQLModel, table=True):
    """A participant's certificates in a local month, written as things happen to them.

    ``month`` is that of the production, or the first after it whose statement is not issued.
    """

    __tablename__ = "certificate_month"
    month: str = Field(primary_key=True)
    participant: str = Field(primary_key=True)
    issued_wh: int = Field(default=0, sa_type=BigInteger)
    received_wh: int = Field(default=0, sa_type=BigInteger)
    sent_wh: int = Field(default=0, sa_type=BigInteger)
    self_used_wh: int = Field(default=0, sa_type=BigInteger)
    claimed_wh: int = Field(default=0, sa_type=BigInteger)  # self-used ones included
    # Consumption that a certificate of the same quarter-hour covers: claimed, or reserved for it.
    matched_wh: int = Field(default=0, sa_type=BigInteger)
    avoided_mg: int = Field(default=0, sa_type=BigInteger)  # CO2, by what was claimed


class ForeignDeviceRow(SQLModel, table=True):
    """A device elsewhere, as a file of imported certificates describes it."""

    __tablename__ = "foreign_device"
    id: str = Field(primary_key=True)
    name: str
    technology: str
    source: str
    capacity_w: int
    location: str
    emissions_mg_per_kwh: int
    issue_market_zone: str
    energy_carrier: str
    efficiency_ppm: int | None = None


class CertificateDebtRow(SQLModel, table=True):
    """What a device issued too much of and was claimed already: taken off its next issues."""

    __tablename__ = "certificate_debt"
    device_id: str = Field(primary_key=True, foreign_key="device.id")
    wh: int = Field(sa_type=BigInteger)


class StorageRecordRow(SQLModel, table=True):
    """What a storage took in and gave out in one interval, and how much of that was certified."""

    __tablename__ = "storage_record"
    device_id: str = Field(primary_key=True, foreign_key="device.id")
    interval: str = Field(primary_key=True)
    charged_wh: int = Field(sa_type=BigInteger)
    charged_certified_wh: int = Field(sa_type=BigInteger)
    discharged_wh: int = Field(sa_type=BigInteger)
    discharged_certified_wh: int = Field(sa_type=BigInteger)
    stored_certified_wh: int = Field(sa_type=BigInteger)  # left after it

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
    )
    id: int | None = Field(default=None, primary_key=True)
    issuance_id: str  # DEVICE/INTERVAL/N
    device_id: str = Field(foreign_key="device.id", index=True)
    production_starting_interval: str  # interval key
    account_id: str = Field(foreign_key="participant.id")
    certificate_bundle_status: str
    certificate_bundle_id_range_start: int = Field(sa_type=BigInteger)
    certificate_bundle_id_range_end: int = Field(sa_type=BigInteger)  # included
    is_storage: bool = False
    beneficiary: str | None = None
    hash: str  # hex
    expiry_datestamp: str  # YYYY-MM-DD


class CertificateEventRow(SQLModel, table=True):
    """What happened to watt-hours of an issuance; never changed."""

    __tablename__ = "certificate_event"
    id: int | None = Field(default=None, primary_key=True)
    issuance_id: str = Field(index=True)
    action: str  # issue, reserve, activate, transfer, claim, cancel, withdraw, shortfall, deduct
    range_start: int = Field(sa_type=BigInteger)
    range_end: int = Field(sa_type=BigInteger)
    source_account: str | None = None
    target_account: str | None = None
    at_ms: int = Field(sa_type=BigInteger)  # district clock
    by: str
    note: str = ""


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

"""One-time tokens for enrolments, and the enrolments that came with them."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class EnrolmentTokenRow(SQLModel, table=True):
    """Leave to enrol one meter at one point; only the token's hash is at rest. Wall-clock times."""

    __tablename__ = "enrolment_token"
    hash: str = Field(primary_key=True)  # SHA-256 of the token's one spelling, hex
    point: str = Field(foreign_key="metering_point.gsrn", index=True)
    purpose: str  # add, replace
    made_by: str
    made_ms: int = Field(sa_type=BigInteger)
    expires_ms: int = Field(sa_type=BigInteger)
    used_ms: int | None = Field(default=None, sa_type=BigInteger)
    attempts: int = 0  # enrolments brought with it that were refused


class EnrolmentRequestRow(SQLModel, table=True):
    """An enrolment that its meter signed, on its way to the registry's signature."""

    __tablename__ = "enrolment_request"
    id: int | None = Field(default=None, primary_key=True)
    token: str = Field(unique=True)  # hash of the token that it came with
    key: str = Field(unique=True)  # hex public key
    point: str = Field(foreign_key="metering_point.gsrn", index=True)
    serial: str
    profile: str
    profile_version: str  # digest of the profile's file, hex
    payload: bytes  # verbatim, as the meter's key signed it
    possession: bytes
    gateway: str
    gateway_key: str
    brought_by: str
    sent_ms: int = Field(sa_type=BigInteger)  # district clock
    report: str  # canonical JSON, what was seen at the meter
    exchange: str | None = None  # canonical JSON, where it replaces another meter
    state: str = Field(index=True)  # pending, active, withdrawn
    decided_by: str | None = None
    decided_ms: int | None = Field(default=None, sa_type=BigInteger)  # district clock
    endorsement: bytes | None = None  # the registry's signature

"""Keys and records of the Open Charge Metering Format, and milestones handed out as beacons."""

from __future__ import annotations

from sqlalchemy import BigInteger, UniqueConstraint
from sqlmodel import Field, SQLModel


class OcmfKeyRow(SQLModel, table=True):
    """A meter's P-256 key, in a statement that its enrolled Ed25519 key signed."""

    __tablename__ = "ocmf_key"
    public: str = Field(primary_key=True)  # SubjectPublicKeyInfo in DER, hex
    meter_key: str = Field(index=True)  # hex, as enrolled
    point: str = Field(foreign_key="metering_point.gsrn", index=True)
    payload: bytes  # verbatim
    signature: bytes
    log_index: int = Field(unique=True)


class OcmfRecordRow(SQLModel, table=True):
    """A session's record as it was signed; the numbers of a key have no gap."""

    __tablename__ = "ocmf_record"
    __table_args__ = (UniqueConstraint("public", "begin", "finish", "identified"),)
    public: str = Field(primary_key=True, foreign_key="ocmf_key.public")
    number: int = Field(primary_key=True)
    begin: bytes  # link of the reading that the session begins with
    finish: bytes  # link of the one that it ends with
    identified: str  # TYPE:DATA; '' for nobody
    record: bytes  # verbatim
    made_ms: int = Field(sa_type=BigInteger)  # district clock


class BeaconRow(SQLModel, table=True):
    """A milestone whose digest gateways may put into what they sign."""

    __tablename__ = "beacon"
    digest: bytes = Field(primary_key=True)
    milestone: bytes  # payload with its signatures (TIP-29)
    index: int = Field(unique=True, sa_type=BigInteger)

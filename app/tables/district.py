"""The district and its people: participants, metering points, tariffs, enrolments, notices."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class DistrictRow(SQLModel, table=True):
    """The one district of this database, its clock, and how far metering has come."""

    __tablename__ = "district"
    origin: str = Field(primary_key=True)
    name: str
    zone: str
    simulated: bool
    clock_ms: int = Field(sa_type=BigInteger)
    seed: int
    # Key of the last interval that was metered ('' before the first). Ingest reads it under a
    # shared lock to decide in which seal a reading will stand.
    metered_through: str = ""


class ParticipantRow(SQLModel, table=True):
    """A contract party. ``account`` is its SLIP-10 wallet account (the treasury has 0)."""

    __tablename__ = "participant"
    id: str = Field(primary_key=True)
    name: str
    account: int = Field(unique=True)
    address: str  # hex, 32 bytes
    credit_limit_micro: int = Field(sa_type=BigInteger)
    # For statements. `vat_liable`: sales bear VAT; None and False: a private seller, exempt.
    postal_address: str | None = None
    tax_number: str | None = None
    vat_liable: bool | None = None
    left_from: str | None = None  # interval key from which on no metering point is theirs


class TariffRow(SQLModel, table=True):
    """A tariff by name, and the net components with which it began, micro-euros per kWh.

    What holds in an interval says :class:`app.tables.TariffVersionRow`.
    """

    __tablename__ = "tariff"
    id: str = Field(primary_key=True)
    energy_micro_per_kwh: int
    grid_fee_micro_per_kwh: int
    local_grid_fee_micro_per_kwh: int
    levy_micro_per_kwh: int
    feed_in_micro_per_kwh: int
    vat_ppm: int


class MeteringPointRow(SQLModel, table=True):
    """A metering point. ``participant``, ``tariff``, ``feeder`` and ``building`` are today's.

    What held or will hold in an interval says :class:`app.tables.LinkRow`.
    """

    __tablename__ = "metering_point"
    gsrn: str = Field(primary_key=True)
    name: str
    kind: str
    feeder: str
    participant: str = Field(foreign_key="participant.id", index=True)
    tariff: str = Field(foreign_key="tariff.id")
    max_power_w: int  # what the fuse allows; more is implausible
    building: str | None = None  # within the feeder; None: directly at it
    green: bool | None = None  # whether what it feeds in is from a renewable source
    # None: it settles. feeder-head, production, storage, charger: it measures alone.
    purpose: str | None = None


class EnrolmentRow(SQLModel, table=True):
    """A meter's key bound to a point, as signed by the meter and the registry."""

    __tablename__ = "enrolment"
    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(unique=True)  # hex public key
    point: str = Field(foreign_key="metering_point.gsrn", index=True)
    serial: str
    profile: str
    epoch: int
    valid_from: str  # interval key
    revoked_from: str | None = None  # interval key
    log_index: int = Field(unique=True)
    # The highest number of this key whose reading was removed (docs/privacy.md); None: none was.
    removed_through: int | None = Field(default=None, sa_type=BigInteger)


class NoticeRow(SQLModel, table=True):
    """Something people must see. ``ref`` makes a repeated step write it once."""

    __tablename__ = "notice"
    id: int | None = Field(default=None, primary_key=True)
    ref: str = Field(unique=True)
    at_ms: int = Field(sa_type=BigInteger)
    level: str
    point: str | None = None
    text: str


class SessionRow(SQLModel, table=True):
    """A web session; only the hash of its cookie is at rest."""

    __tablename__ = "web_session"
    cookie_hash: str = Field(primary_key=True)
    role: str
    participant: str | None = None
    csrf_token: str
    created_ms: int = Field(sa_type=BigInteger)
    seen_ms: int = Field(sa_type=BigInteger)

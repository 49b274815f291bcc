"""Changes of a meter's counters that a person decides on: a reset, an exchange, a new start."""

from __future__ import annotations

from sqlalchemy import BigInteger, UniqueConstraint
from sqlmodel import Field, SQLModel


class MeterChangeRow(SQLModel, table=True):
    """From one epoch of a point's counters to the next, with what both ends showed.

    Until it is decided, the values of what the readings themselves tell are None: they are looked
    up (``app/services/changes.py``). A meter that lacks a register has None there, too.
    """

    __tablename__ = "meter_change"
    __table_args__ = (UniqueConstraint("new_key", "new_epoch"),)
    id: int | None = Field(default=None, primary_key=True)
    point: str = Field(foreign_key="metering_point.gsrn", index=True)
    kind: str  # reset, exchange, restart
    state: str = Field(index=True)  # proposed, approved, rejected
    old_key: str  # hex public key
    old_epoch: int
    old_serial: str
    new_key: str
    new_epoch: int
    new_serial: str
    closing_ms: int | None = Field(default=None, sa_type=BigInteger)
    closing_import_wh: int | None = Field(default=None, sa_type=BigInteger)
    closing_export_wh: int | None = Field(default=None, sa_type=BigInteger)
    opening_ms: int | None = Field(default=None, sa_type=BigInteger)
    opening_import_wh: int | None = Field(default=None, sa_type=BigInteger)
    opening_export_wh: int | None = Field(default=None, sa_type=BigInteger)
    proposed_by: str
    proposed_ms: int = Field(sa_type=BigInteger)  # district clock
    decided_by: str | None = None
    decided_ms: int | None = Field(default=None, sa_type=BigInteger)  # district clock
    reason: str | None = None  # why it was rejected, in words
    salt: bytes | None = None  # of the leaf of its values
    log_index: int | None = Field(default=None, unique=True)

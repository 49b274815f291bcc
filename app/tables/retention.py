"""What stays of readings that were removed, and who had them erased: docs/privacy.md."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel


class RemovedRow(SQLModel, table=True):
    """What stays of one chain's removed readings in one seal: enough for its tree, no value.

    ``packed`` holds 80 bytes a reading, by seq: seq and ``answered_ms`` (8 bytes each,
    big-endian), leaf hash, link. ``erasure`` is None where the time to keep them was over.
    """

    __tablename__ = "removed_reading"
    __table_args__ = (Index("removed_reading_seq", "key", "epoch", "last_seq"),)
    seal_interval: str = Field(primary_key=True)
    point: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    epoch: int = Field(primary_key=True)
    first_seq: int = Field(sa_type=BigInteger)
    last_seq: int = Field(sa_type=BigInteger)
    packed: bytes
    erasure: int | None = Field(default=None, foreign_key="erasure.id")


class RetentionRow(SQLModel, table=True):
    """How far the readings of a UTC month between the borders are removed.

    Those whose seal is of an interval before ``horizon`` go; ``through_ms`` and ``through_id`` are
    the last one looked at.
    """

    __tablename__ = "retention"
    month: str = Field(primary_key=True)  # YYYY-MM
    horizon: str  # interval key
    through_ms: int = Field(sa_type=BigInteger)
    through_id: int = Field(sa_type=BigInteger)
    readings: int = Field(sa_type=BigInteger)  # removed
    finished_ms: int | None = Field(default=None, sa_type=BigInteger)  # district clock


class ErasureRow(SQLModel, table=True):
    """An erasure of a person's or a point's readings: who asked for it, when and why.

    The log holds a salted hash of it (entry ``audit``), so that it cannot be denied later.
    """

    __tablename__ = "erasure"
    id: int | None = Field(default=None, primary_key=True)
    subject: str  # a participant's id, or a GSRN
    reason: str
    asked_by: str
    asked_ms: int = Field(sa_type=BigInteger)  # district clock
    salt: bytes
    log_index: int
    readings: int = Field(default=0, sa_type=BigInteger)  # erased so far
    finished_ms: int | None = Field(default=None, sa_type=BigInteger)  # district clock


class ErasureSpanRow(SQLModel, table=True):
    """A point's intervals from ``first`` on, up to ``after``, that an erasure covers."""

    __tablename__ = "erasure_span"
    __table_args__ = (Index("erasure_span_point", "point", "first"),)
    erasure: int = Field(primary_key=True, foreign_key="erasure.id")
    point: str = Field(primary_key=True, foreign_key="metering_point.gsrn")
    first: str = Field(primary_key=True)
    after: str

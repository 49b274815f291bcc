"""Readings as they came in, their receipts, and what was kept as evidence."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, UniqueConstraint
from sqlmodel import Field, SQLModel


class GatewayRow(SQLModel, table=True):
    """A gateway whose signed batches are accepted."""

    __tablename__ = "gateway"
    key: str = Field(primary_key=True)  # hex public key
    name: str = Field(unique=True)


class ReadingRow(SQLModel, table=True):
    """An authentic reading, stored verbatim, beside the columns that queries need.

    On PostgreSQL it stands by months and its unique numbers in a table of their own
    (``app/store/partitions.py``). One that was erased and that a slot names as its border has
    neither payload, signature, salt (b'') nor registers.
    """

    __tablename__ = "reading"
    __table_args__ = (
        UniqueConstraint("key", "epoch", "seq"),
        Index("reading_point_time", "point", "answered_ms"),
        Index("reading_time", "answered_ms"),
        Index("reading_seal_interval", "seal_interval"),
    )
    id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    )
    key: str
    epoch: int
    seq: int = Field(sa_type=BigInteger)
    point: str
    answered_ms: int = Field(sa_type=BigInteger)
    import_wh: int | None = Field(default=None, sa_type=BigInteger)
    export_wh: int | None = Field(default=None, sa_type=BigInteger)
    power_w: int | None = Field(default=None, sa_type=BigInteger)
    quality: str  # effective: what the meter said, or worse if implausible
    flags: str  # space-separated, '' when none
    payload: bytes
    signature: bytes
    link: bytes  # SHA-256(payload || signature), what the next reading's prev must be
    prev: bytes
    salt: bytes
    leaf: bytes  # leaf hash
    seal_interval: str
    received_ms: int = Field(sa_type=BigInteger)  # district clock
    receipt_batch: int = Field(foreign_key="receipt_batch.id")
    receipt_index: int
    receipt_path: bytes  # concatenated 32-byte hashes, bottom up


class ReceiptBatchRow(SQLModel, table=True):
    """The signed root over the receipt items of one group commit."""

    __tablename__ = "receipt_batch"
    id: int | None = Field(default=None, primary_key=True)
    root: bytes
    size: int
    key: str
    signature: bytes
    # Time from the end of a seal interval to its deadline when this was signed: grace + sealing.
    window_ms: int = Field(sa_type=BigInteger)


class EvidenceRow(SQLModel, table=True):
    """An authentic reading whose (key, epoch, seq) is taken by other bytes."""

    __tablename__ = "equivocation"
    __table_args__ = (UniqueConstraint("key", "epoch", "seq", "link"),)
    id: int | None = Field(default=None, primary_key=True)
    key: str
    epoch: int
    seq: int = Field(sa_type=BigInteger)
    link: bytes
    payload: bytes
    signature: bytes
    received_ms: int = Field(sa_type=BigInteger)


class SecurityEventRow(SQLModel, table=True):
    """How often one sender was refused for one kind of fault within an hour; never the content."""

    __tablename__ = "security_event"
    hour: int = Field(primary_key=True)  # of the wall clock, since 1970
    kind: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    times: int = Field(sa_type=BigInteger)  # uploads refused, whole or in part
    count: int = Field(sa_type=BigInteger)  # readings concerned
    first_ms: int = Field(sa_type=BigInteger)  # wall clock
    last_ms: int = Field(sa_type=BigInteger)

"""The transparency log and its checkpoints."""

from __future__ import annotations

from sqlmodel import Field, SQLModel


class LogEntryRow(SQLModel, table=True):
    """One entry of the append-only log, verbatim."""

    __tablename__ = "log_entry"
    position: int = Field(primary_key=True)
    entry: bytes
    leaf: bytes  # leaf hash


class LogNodeRow(SQLModel, table=True):
    """The hash of a complete subtree of the log (level >= 1), so that a path needs no leaves."""

    __tablename__ = "log_node"
    level: int = Field(primary_key=True)
    place: int = Field(primary_key=True)  # covers leaves [place * 2**level, (place + 1) * 2**level)
    hash: bytes


class CheckpointRow(SQLModel, table=True):
    """A signed note over the log, and where it is anchored."""

    __tablename__ = "checkpoint"
    size: int = Field(primary_key=True)
    root: bytes
    note: str
    data: bytes  # what the anchor carries
    block_id: str | None = None
    state: str = Field(index=True)  # pending, submitted, confirmed

"""Files of authorised values, and corrections that came too late to be made."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel


class ValueFileRow(SQLModel, table=True):
    """A file of authorised values, verbatim; a value entered by hand is a file of one row."""

    __tablename__ = "value_file"
    id: int | None = Field(default=None, primary_key=True)
    name: str
    content: bytes
    digest: bytes  # SHA-256
    reason: str
    entered_by: str
    entered_ms: int = Field(sa_type=BigInteger)  # district clock


class RefusedCorrectionRow(SQLModel, table=True):
    """What became known too late about a point's energy: on record, and billed to nobody."""

    __tablename__ = "refused_correction"
    __table_args__ = (Index("refused_correction_known", "known_ms"),)
    id: int | None = Field(default=None, primary_key=True)
    interval: str = Field(foreign_key="interval.key")
    point: str = Field(foreign_key="metering_point.gsrn")
    import_wh: int = Field(sa_type=BigInteger)
    export_wh: int = Field(sa_type=BigInteger)
    source: str  # readings, values
    reason: str
    known_ms: int = Field(sa_type=BigInteger)  # district clock

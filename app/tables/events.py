"""What gateways signed about their meters, lines and clocks."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlmodel import Field, SQLModel


class GatewayEventRow(SQLModel, table=True):
    """An event of a gateway, stored verbatim, beside the columns that queries need."""

    __tablename__ = "gateway_event"
    __table_args__ = (
        UniqueConstraint("key", "seq", "link"),
        Index("gateway_event_point", "point", "at_ms"),
    )
    id: int | None = Field(default=None, primary_key=True)
    key: str  # hex public key of the gateway
    seq: int = Field(sa_type=BigInteger)
    link: bytes  # SHA-256(payload || signature), what the next event's prev must be
    gateway: str
    kind: str
    point: str | None = None
    at_ms: int = Field(sa_type=BigInteger)
    clock: str  # S, I, U, R
    payload: bytes
    signature: bytes
    received_ms: int = Field(sa_type=BigInteger)  # district clock
    # Another event of this number came first; both are kept.
    double: bool = False

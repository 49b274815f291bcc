"""Forward sessions: their orders in every version, and what gate closure made of them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel


class ForwardSessionRow(SQLModel, table=True):
    """One session: consecutive intervals with one gate closure and one call auction."""

    __tablename__ = "forward_session"
    first: str = Field(primary_key=True)  # key of its first interval
    last: str = Field(index=True)  # key of its last interval
    intervals: int
    gate_ms: int = Field(sa_type=BigInteger)  # from here on its orders are final
    state: str  # open, closed, cleared, delivered, metered, settled, sealed, final
    rule: str
    cleared_ms: int | None = Field(default=None, sa_type=BigInteger)  # district clock
    welfare_micro: int | None = Field(default=None, sa_type=BigInteger)
    gap_ppm: int | None = None  # how far from the optimum the blocks may be
    fallback: bool | None = None  # cleared by the engine's fallback, since it gave no answer
    optimal: bool | None = None  # the search for blocks reached its gap within the time limit
    order_root: bytes | None = None
    results_root: bytes | None = None
    log_index: int | None = None  # place of the entry `session` in the log


class ForwardOrderRow(SQLModel, table=True):
    """One version of one order; the newest counts, nothing is overwritten."""

    __tablename__ = "forward_order"
    __table_args__ = (Index("forward_order_of", "session", "participant"),)
    session: str = Field(primary_key=True, foreign_key="forward_session.first")
    order_id: str = Field(primary_key=True)
    version: int = Field(primary_key=True)  # from 1
    state: str  # entered, cancelled
    participant: str = Field(foreign_key="participant.id")
    point: str = Field(foreign_key="metering_point.gsrn")
    kind: str
    text: str  # canonical JSON of the order's row, as a session's file has it
    known_ms: int = Field(sa_type=BigInteger)  # district clock
    entered_by: str  # the participant's id, building-manager, forecast
    salt: bytes  # of the order's leaf


class ForwardResultRow(SQLModel, table=True):
    """What the auction made of one final order."""

    __tablename__ = "forward_result"
    session: str = Field(primary_key=True, foreign_key="forward_session.first")
    order_id: str = Field(primary_key=True)
    version: int  # the final one
    outcome: str  # accepted, partly, rejected, paradoxical, left-out
    reason: str  # in words; '' where it was accepted in full
    salt: bytes  # of the result's leaf


class ForwardFillRow(SQLModel, table=True):
    """What an order got in one interval; intervals without are left out."""

    __tablename__ = "forward_fill"
    session: str = Field(primary_key=True, foreign_key="forward_session.first")
    order_id: str = Field(primary_key=True)
    interval: str = Field(primary_key=True, index=True)
    side: str = Field(primary_key=True)  # bid, offer
    wh: int = Field(sa_type=BigInteger)
    # What of it other participants contracted; the supplier is meant to serve the rest.
    local_wh: int = Field(sa_type=BigInteger)


class ForwardPriceRow(SQLModel, table=True):
    """The session's price of one interval, None where nothing traded."""

    __tablename__ = "forward_price"
    session: str = Field(primary_key=True, foreign_key="forward_session.first")
    interval: str = Field(primary_key=True, index=True)
    price_micro_per_kwh: int | None = None
    price_low_micro_per_kwh: int | None = None
    price_high_micro_per_kwh: int | None = None
    traded_wh: int = Field(sa_type=BigInteger)


class ForwardTradeRow(SQLModel, table=True):
    """Energy that two orders agreed on for one interval, at the interval's price."""

    __tablename__ = "forward_trade"
    session: str = Field(primary_key=True, foreign_key="forward_session.first")
    interval: str = Field(primary_key=True, index=True)
    number: int = Field(primary_key=True)
    seller_order: str
    buyer_order: str
    wh: int = Field(sa_type=BigInteger)


class ForwardStandingRow(SQLModel, table=True):
    """Whether who enters nothing takes part by forecast; the newest version counts."""

    __tablename__ = "forward_standing"
    participant: str = Field(primary_key=True, foreign_key="participant.id")
    version: int = Field(primary_key=True)  # from 1
    by_forecast: bool
    known_ms: int = Field(sa_type=BigInteger)  # district clock
    entered_by: str

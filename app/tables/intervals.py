"""One row per interval, and what metering, clearing and correcting it gave."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, text
from sqlmodel import Field, SQLModel


class IntervalRow(SQLModel, table=True):
    """The state of one interval and the figures of its clearing and seal."""

    __tablename__ = "interval"
    __table_args__ = (Index("interval_state", "state", "key"),)
    key: str = Field(primary_key=True)
    state: str
    payment: str = "none"  # none, submitted, confirmed
    anchor: str = "pending"  # pending, confirmed
    rule: str
    price_micro_per_kwh: int | None = None
    price_low_micro_per_kwh: int | None = None
    price_high_micro_per_kwh: int | None = None
    traded_wh: int = Field(default=0, sa_type=BigInteger)
    order_root: bytes | None = None
    settlement_root: bytes | None = None
    late_root: bytes | None = None
    seal_index: int | None = None  # place of the seal in the log
    mode: str | None = None  # metered (also None), forward, sharing
    # Canonical JSON of the seal's `hub_prices`; None where one price holds for all trades.
    hub_prices: str | None = None
    fallback: bool | None = None  # cleared by the fallback rule, since the engine gave no answer


def _border() -> Column[int]:
    """Return a column that names a reading."""
    return Column(BigInteger().with_variant(Integer, "sqlite"), ForeignKey("reading.id"))


class SlotRow(SQLModel, table=True):
    """A roster point's place in an interval: its borders, its energy, its leaf."""

    __tablename__ = "slot"
    __table_args__ = (
        Index("slot_estimated", "estimated", "interval"),
        Index("slot_point", "point", "interval"),
        # Estimates that may still be made good; the words are those of the query that asks for it.
        Index(
            "slot_awaits",
            "point",
            "interval",
            sqlite_where=text("estimated IS 1 AND fault IS NULL AND made_good IS NULL"),
            postgresql_where=text("estimated IS true AND fault IS NULL AND made_good IS NULL"),
        ),
        Index(
            "slot_disputed",
            "disputed",
            "point",
            "interval",
            sqlite_where=text("disputed IS NOT NULL"),
            postgresql_where=text("disputed IS NOT NULL"),
        ),
    )
    interval: str = Field(primary_key=True, foreign_key="interval.key")
    point: str = Field(primary_key=True, foreign_key="metering_point.gsrn")
    position: int  # index in roster order
    enrolment: int = Field(foreign_key="enrolment.id")
    tariff: str  # as it was then: the canonical text of the tariff leaf
    opening: int | None = Field(default=None, sa_column=_border())
    closing: int | None = Field(default=None, sa_column=_border())
    estimated: bool
    fault: str | None = None  # why the estimate stays for good; None while it may be corrected
    made_good: bool | None = None  # a correction holds what the registers told of the estimate
    # marked, replaced, measured: it rests on readings of a key that was revoked from earlier on.
    disputed: str | None = None
    # As settled at first; a correction stands beside it, it does not replace it.
    import_wh: int = Field(sa_type=BigInteger)
    export_wh: int = Field(sa_type=BigInteger)
    salt: bytes
    count: int
    readings_root: bytes
    leaf: bytes  # leaf hash


class OrderRow(SQLModel, table=True):
    """One order of one point, as it entered the book."""

    __tablename__ = "market_order"
    interval: str = Field(primary_key=True, foreign_key="interval.key")
    order_id: str = Field(primary_key=True)
    point: str
    participant: str
    side: str
    wh: int = Field(sa_type=BigInteger)
    limit_micro_per_kwh: int
    cleared_wh: int = Field(sa_type=BigInteger)
    salt: bytes
    place: str | None = None  # FEEDER/BUILDING; None where the order says none
    wish: str | None = None  # words of `market.place.Wish`; None where it has none
    instruction: int | None = None  # version of the point's instruction; None: the default
    agreed: str | None = None  # canonical JSON of the leaf's `agreed`; None without a contract


class TradeRow(SQLModel, table=True):
    """Who sold how much to whom; the same integer amount on both sides."""

    __tablename__ = "trade"
    interval: str = Field(primary_key=True, foreign_key="interval.key")
    number: int = Field(primary_key=True)
    seller_order: str
    buyer_order: str
    wh: int = Field(sa_type=BigInteger)
    price_micro_per_kwh: int
    amount_micro: int = Field(sa_type=BigInteger)
    level: int | None = None  # `market.place.Level`; None: district
    product: str | None = None  # None: any
    contract: str | None = None  # the bilateral contract behind it; None: the market


class CorrectionRow(SQLModel, table=True):
    """What became known later about a point's energy in a settled interval: versions 1, 2, ...

    Event time is ``interval``, knowledge time ``known_ms``. The nullable columns are None in rows
    from before there were further versions: those are of readings, within the window.
    """

    __tablename__ = "correction"
    interval: str = Field(primary_key=True, foreign_key="interval.key")
    point: str = Field(primary_key=True, foreign_key="metering_point.gsrn")
    version: int = Field(primary_key=True)
    import_wh: int = Field(sa_type=BigInteger)
    export_wh: int = Field(sa_type=BigInteger)
    reason: str
    payload: bytes  # canonical JSON of the delta, the leaf behind the entry's delta_root
    salt: bytes
    known_ms: int = Field(sa_type=BigInteger)  # district clock
    log_index: int
    source: str | None = None  # readings (also None), values
    new_leaf: bytes | None = None  # leaf hash, the `old_leaf` of the version after
    value_file: int | None = None  # id of the file of values behind it
    participant: str | None = None  # whose point it was in the interval
    micro: int | None = Field(default=None, sa_type=BigInteger)  # the lines' sum
    month: str | None = None  # YYYY-MM, local: on whose statement it stands
    original: str | None = None  # number of the statement that it corrects, if that was issued
    note: str | None = None  # after `final`: credit, debit

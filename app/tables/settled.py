"""What was settled, as known now, and its sums: pages and bills never scan quarters of a year."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel


class SettledRow(SQLModel, table=True):
    """One metering point in one settled interval, corrections included.

    Per direction local + own + residual = metered. Statement leaves hold what was settled at first
    and corrections what changed; ``version`` is the newest correction in here (0: none).
    """

    __tablename__ = "settled"
    __table_args__ = (Index("settled_point", "point", "interval"),)
    interval: str = Field(primary_key=True, foreign_key="interval.key")
    point: str = Field(primary_key=True, foreign_key="metering_point.gsrn")
    version: int = 0
    participant: str
    supplier: str
    balance_party: str
    feeder: str
    building: str
    estimated: bool
    import_wh: int = Field(sa_type=BigInteger)
    import_local_wh: int = Field(sa_type=BigInteger)
    import_own_wh: int = Field(sa_type=BigInteger)
    import_residual_wh: int = Field(sa_type=BigInteger)
    export_wh: int = Field(sa_type=BigInteger)
    export_local_wh: int = Field(sa_type=BigInteger)
    export_own_wh: int = Field(sa_type=BigInteger)
    export_residual_wh: int = Field(sa_type=BigInteger)
    # In forward mode: what was agreed on before delivery; None elsewhere.
    contracted_import_wh: int | None = Field(default=None, sa_type=BigInteger)
    contracted_export_wh: int | None = Field(default=None, sa_type=BigInteger)
    saving_micro: int = Field(sa_type=BigInteger)


class RollupRow(SQLModel, table=True):
    """Sums of settled rows and their lines over an hour, a local day or a local month.

    ``start`` is a UTC interval key (hour), ``YYYY-MM-DD`` (day) or ``YYYY-MM`` (month). Money > 0
    is earned, < 0 owed. ``peak_*`` are the highest quarter's energies.
    """

    __tablename__ = "rollup"
    __table_args__ = (
        Index("rollup_point", "point", "span", "start"),
        Index("rollup_participant", "participant", "span", "start"),
    )
    span: str = Field(primary_key=True)  # hour, day, month
    start: str = Field(primary_key=True)
    point: str = Field(primary_key=True)
    participant: str = Field(primary_key=True)
    feeder: str = Field(primary_key=True)
    building: str = Field(primary_key=True)
    supplier: str = Field(primary_key=True)
    balance_party: str = Field(primary_key=True)
    intervals: int
    estimated: int  # of them
    import_wh: int = Field(sa_type=BigInteger)
    import_local_wh: int = Field(sa_type=BigInteger)
    import_own_wh: int = Field(sa_type=BigInteger)
    import_residual_wh: int = Field(sa_type=BigInteger)
    export_wh: int = Field(sa_type=BigInteger)
    export_local_wh: int = Field(sa_type=BigInteger)
    export_own_wh: int = Field(sa_type=BigInteger)
    export_residual_wh: int = Field(sa_type=BigInteger)
    peak_import_wh: int = Field(sa_type=BigInteger)
    peak_export_wh: int = Field(sa_type=BigInteger)
    wallet_micro: int = Field(sa_type=BigInteger)  # local energy, paid at once
    memo_micro: int = Field(sa_type=BigInteger)  # the rest, billed by the month
    saving_micro: int = Field(sa_type=BigInteger)


class ProductionRollupRow(SQLModel, table=True):
    """What a production unit's own meter counted over a local day or month, as sealed at first.

    ``start`` as in :class:`RollupRow`; ``point`` is the metering point that the unit stands behind.
    """

    __tablename__ = "production_rollup"
    span: str = Field(primary_key=True)  # day, month
    start: str = Field(primary_key=True)
    meter: str = Field(primary_key=True)  # the sub-meter's metering point
    point: str = Field(primary_key=True)
    intervals: int
    estimated: int  # of them: they count as 0
    output_wh: int = Field(sa_type=BigInteger)


class BillLineRow(SQLModel, table=True):
    """The lines of one kind that a monthly statement will show, summed as they come.

    ``month`` is the local month on whose statement they stand, ``origin`` the one in which the
    energy flowed: an earlier one where that month's statement was issued already.
    """

    __tablename__ = "bill_line"
    __table_args__ = (Index("bill_line_kind", "kind", "month"),)
    month: str = Field(primary_key=True)
    participant: str = Field(primary_key=True)
    point: str = Field(primary_key=True)
    origin: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    vat_ppm: int = Field(primary_key=True)
    supplier: str = Field(primary_key=True)
    lines: int
    wh: int = Field(sa_type=BigInteger)
    micro: int = Field(sa_type=BigInteger)
    low_micro_per_kwh: int = Field(sa_type=BigInteger)  # the lowest and highest price among them
    high_micro_per_kwh: int = Field(sa_type=BigInteger)


class LossRow(SQLModel, table=True):
    """A feeder's virtual loss meter: what its head measured, less what all points did."""

    __tablename__ = "loss"
    interval: str = Field(primary_key=True, foreign_key="interval.key")
    feeder: str = Field(primary_key=True)
    head_import_wh: int = Field(sa_type=BigInteger)
    head_export_wh: int = Field(sa_type=BigInteger)
    points_import_wh: int = Field(sa_type=BigInteger)
    points_export_wh: int = Field(sa_type=BigInteger)
    loss_wh: int = Field(sa_type=BigInteger)
    estimated: bool  # some of it is: no alarm rests on it

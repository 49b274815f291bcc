"""What participants want of the market: standing instructions, in versions that stay."""

from __future__ import annotations

from sqlalchemy import BigInteger, UniqueConstraint
from sqlmodel import Field, SQLModel


class ContractRow(SQLModel, table=True):
    """A bilateral contract between two participants, matched before the book while it is valid."""

    __tablename__ = "contract"
    id: str = Field(primary_key=True)
    seller: str = Field(foreign_key="participant.id")
    buyer: str = Field(foreign_key="participant.id")
    seller_point: str = ""  # GSRN; '' for all of the seller's
    buyer_point: str = ""
    price_micro_per_kwh: int  # net
    cap_wh: int = Field(sa_type=BigInteger)  # of one interval
    valid_from: str  # interval key
    ends: str | None = None  # key of the first interval without it
    known_ms: int = Field(sa_type=BigInteger)  # district clock


class InstructionRow(SQLModel, table=True):
    """One version of a metering point's instruction, from an interval on that had not begun.

    Of the versions that are valid in an interval the highest counts. Nothing is overwritten:
    whoever takes a version back enters a further one.
    """

    __tablename__ = "instruction"
    __table_args__ = (UniqueConstraint("point", "version"),)
    id: int | None = Field(default=None, primary_key=True)
    point: str = Field(foreign_key="metering_point.gsrn")
    version: int  # from 1; 0 stands for the default, which has no row
    # Whose it is: it ends with their time at the point. None: of before points changed hands.
    participant: str | None = None
    valid_from: str  # interval key
    known_ms: int = Field(sa_type=BigInteger)  # district clock
    entered_by: str  # role
    strategy: str
    share_ppm: int
    buy_all_in_micro_per_kwh: int | None = None
    sell_micro_per_kwh: int | None = None  # net
    wish: str  # words of `market.place.Wish`, '' for none
    repeats: int | None = None  # the version that it brings back

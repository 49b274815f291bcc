"""Standing instructions as rows, and what each metering point brings to an interval's book."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, func, select

from app.store import people
from app.tables import InstructionRow, MeteringPointRow
from market.agents import Instruction, Standing, Strategy
from market.money import Price
from market.place import Place, PlaceError, Wish


@dataclass(frozen=True, slots=True)
class Version:
    """A point's standing in an interval, and the version of its instruction (None: the default)."""

    standing: Standing
    version: int | None


def holding(session: Session, key: str) -> Mapping[str, Version]:
    """Return what holds for every metering point in an interval, by GSRN.

    Of the versions that are valid by then the highest counts, so that a later one also replaces
    what was planned before it.
    """
    newest = (
        select(InstructionRow.point, func.max(InstructionRow.version).label("version"))
        .where(InstructionRow.valid_from <= key)
        .group_by(InstructionRow.point)
        .subquery()
    )
    rows = session.exec(
        select(InstructionRow).join(
            newest,
            (newest.c.point == InstructionRow.point) & (newest.c.version == InstructionRow.version),
        )
    )
    found = {row.point: row for row in rows}
    return {
        gsrn: _version(point, found.get(gsrn)) for gsrn, point in people.points(session).items()
    }


def versions(session: Session, point: str) -> Sequence[InstructionRow]:
    """Return every version of a point's instruction, newest first."""
    return session.exec(
        select(InstructionRow)
        .where(InstructionRow.point == point)
        .order_by(col(InstructionRow.version).desc())
    ).all()


def lock_point(session: Session, point: str) -> MeteringPointRow | None:
    """Return a metering point, locked, so that two versions at a time get two numbers."""
    return session.exec(
        select(MeteringPointRow).where(MeteringPointRow.gsrn == point).with_for_update()
    ).first()


def place_of(point: MeteringPointRow) -> Place:
    """Return where a metering point stands; the district where its names are no place."""
    try:
        return Place(point.feeder, point.building or "")
    except PlaceError:
        return Place()


def to_instruction(row: InstructionRow | None) -> Instruction:
    """Return what a row says; without one the default."""
    if row is None:
        return Instruction()
    return Instruction(
        strategy=Strategy(row.strategy),
        share_ppm=row.share_ppm,
        buy_all_in=_price(row.buy_all_in_micro_per_kwh),
        sell=_price(row.sell_micro_per_kwh),
        wish=Wish.parse(row.wish),
    )


def to_row(point: str, version: int, instruction: Instruction) -> InstructionRow:
    """Return an instruction's row; who enters it when, and from when on, the caller fills in."""
    buy, sell = instruction.buy_all_in, instruction.sell
    return InstructionRow(
        point=point,
        version=version,
        valid_from="",
        known_ms=0,
        entered_by="",
        strategy=instruction.strategy.value,
        share_ppm=instruction.share_ppm,
        buy_all_in_micro_per_kwh=None if buy is None else buy.micro_per_kwh,
        sell_micro_per_kwh=None if sell is None else sell.micro_per_kwh,
        wish=str(instruction.wish),
    )


def _version(point: MeteringPointRow, row: InstructionRow | None) -> Version:
    standing = Standing(place_of(point), bool(point.green), to_instruction(row))
    return Version(standing, row.version if row else None)


def _price(micro_per_kwh: int | None) -> Price | None:
    return None if micro_per_kwh is None else Price(micro_per_kwh)

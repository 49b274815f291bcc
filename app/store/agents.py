"""Standing instructions as rows, and what each metering point brings to an interval's book."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, func, select

from app.store import people, registry
from app.tables import InstructionRow, LinkRow, MeteringPointRow
from market.agents import Instruction, Standing, Strategy
from market.money import Price
from market.place import Wish
from market.registry import Role


@dataclass(frozen=True, slots=True)
class Version:
    """A point's standing in an interval, and the version of its instruction (None: the default)."""

    standing: Standing
    version: int | None


def holding(session: Session, key: str) -> Mapping[str, Version]:
    """Return what holds for every metering point in an interval, by GSRN.

    Of the versions that are valid by then the highest counts, so that a later one also replaces
    what was planned before it. Only those count that were entered for the participant whose the
    point is then, in their present time there: whoever moves in starts with the default.
    """
    newest = (
        select(InstructionRow.point, func.max(InstructionRow.version).label("version"))
        .where(InstructionRow.valid_from <= key, _in_present_time(key))
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
    points = people.points(session)
    return {
        gsrn: _version(held, points[gsrn], found.get(gsrn))
        for gsrn, held in registry.standing(session, key).items()
    }


def _in_present_time(key: str) -> ColumnElement[bool]:
    """Return the condition that a version is of whose the point is in an interval, since then."""
    return (
        select(LinkRow.id)
        .where(LinkRow.role == Role.PARTICIPANT.value, LinkRow.point == InstructionRow.point)
        .where(LinkRow.valid_from <= key, LinkRow.valid_from <= InstructionRow.valid_from)
        .where(col(LinkRow.valid_to).is_(None) | (col(LinkRow.valid_to) > key))
        .where(
            col(InstructionRow.participant).is_(None)
            | (col(InstructionRow.participant) == LinkRow.target)
        )
        .exists()
    )


def versions(session: Session, point: str, key: str) -> Sequence[InstructionRow]:
    """Return the versions of a point's instruction, newest first.

    They are those of the participant whose the point is in the interval ``key``, since it is
    theirs: nobody sees what others wanted there.
    """
    return session.exec(
        select(InstructionRow)
        .where(InstructionRow.point == point, _in_present_time(key))
        .order_by(col(InstructionRow.version).desc())
    ).all()


def next_version(session: Session, point: str) -> int:
    """Return the number that the next version of a point's instruction gets, whoever's it is."""
    newest = select(func.max(InstructionRow.version)).where(InstructionRow.point == point)
    return (session.exec(newest).one() or 0) + 1


def lock_point(session: Session, point: str) -> MeteringPointRow | None:
    """Return a metering point, locked, so that two versions at a time get two numbers."""
    return session.exec(
        select(MeteringPointRow).where(MeteringPointRow.gsrn == point).with_for_update()
    ).first()


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


def _version(
    held: registry.Standing, point: MeteringPointRow, row: InstructionRow | None
) -> Version:
    standing = Standing(held.place, bool(point.green), to_instruction(row))
    return Version(standing, row.version if row else None)


def _price(micro_per_kwh: int | None) -> Price | None:
    return None if micro_per_kwh is None else Price(micro_per_kwh)

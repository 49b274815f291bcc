"""The feeders' loss rows: what heads and points measured, per interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session, col, func, select

from app.tables import FeederRow, LossRow, SettledRow, SlotRow
from market.losses import FeederEnergy


def heads(session: Session) -> Mapping[str, str]:
    """Return the head's metering point of each feeder that has one, by feeder."""
    rows = session.exec(select(FeederRow).where(col(FeederRow.head).is_not(None)))
    return {row.id: row.head for row in rows if row.head is not None}


def measured(session: Session, key: str, heads: Mapping[str, str]) -> Mapping[str, FeederEnergy]:
    """Return what each feeder's head and points measured in a settled interval, as known now.

    A head without a slot in the interval (it had not begun) has no loss.
    """
    slots = session.exec(
        select(SlotRow).where(SlotRow.interval == key, col(SlotRow.point).in_(heads.values()))
    )
    of_head = {slot.point: slot for slot in slots}
    sums = session.exec(
        select(
            SettledRow.feeder,
            func.sum(SettledRow.import_wh),
            func.sum(SettledRow.export_wh),
            func.count().filter(col(SettledRow.estimated)),
        )
        .where(SettledRow.interval == key)
        .group_by(SettledRow.feeder)
    )
    behind = {feeder: (int(drawn), int(fed_in), bool(n)) for feeder, drawn, fed_in, n in sums}
    found = {}
    for feeder, head in heads.items():
        drawn, fed_in, estimated = behind.get(feeder, (0, 0, False))
        if slot := of_head.get(head):
            found[feeder] = FeederEnergy(
                slot.import_wh, slot.export_wh, drawn, fed_in, slot.estimated or estimated
            )
    return found


def save(session: Session, key: str, feeder: str, energy: FeederEnergy) -> None:
    """Write a feeder's loss row, anew where there is one."""
    session.merge(
        LossRow(
            interval=key,
            feeder=feeder,
            head_import_wh=energy.head_import_wh,
            head_export_wh=energy.head_export_wh,
            points_import_wh=energy.points_import_wh,
            points_export_wh=energy.points_export_wh,
            loss_wh=energy.loss_wh,
            estimated=energy.estimated,
        )
    )
    session.flush()


def has_row(session: Session, key: str, feeder: str) -> bool:
    """Return whether a feeder's loss in an interval is known."""
    return session.get(LossRow, (key, feeder)) is not None


def between(session: Session, first: str, after_last: str) -> Sequence[LossRow]:
    """Return the loss rows of all feeders in [first, after_last), in time order."""
    return session.exec(
        select(LossRow)
        .where(LossRow.interval >= first, LossRow.interval < after_last)
        .order_by(LossRow.interval, LossRow.feeder)
    ).all()


def energy_of(row: LossRow) -> FeederEnergy:
    """Return a row as the market's figures."""
    return FeederEnergy(
        row.head_import_wh,
        row.head_export_wh,
        row.points_import_wh,
        row.points_export_wh,
        row.estimated,
    )


def first_and_last(session: Session) -> Sequence[str]:
    """Return the first and the last interval with a loss row; nothing where there is none."""
    query = select(LossRow.interval).limit(1)
    first = session.exec(query.order_by(LossRow.interval)).first()
    last = session.exec(query.order_by(col(LossRow.interval).desc())).first()
    return [first, last] if first and last else []

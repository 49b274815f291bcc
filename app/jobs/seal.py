"""settled -> sealed: one log entry that commits to everything of the interval, and a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from sqlmodel import Session, col, func, select

from app.services.checkpoints import sign_again
from app.services.house import ENGINE_VERSION, House
from app.store import borders, intervals, leaves, log, market
from app.tables import (
    CheckpointRow,
    IntervalRow,
    OrderRow,
    StatementRow,
    TradeRow,
)
from ledger_client.checkpoint import Checkpoint, anchor_data, sign_note
from ledger_client.merkle import root
from ledger_client.verify import Counts, Seal
from metering.interval import Interval

_MODES: Final[Mapping[str | None, Literal["", "forward", "sharing"]]] = {
    "forward": "forward",
    "sharing": "sharing",
}


def seal(house: House, key: str) -> None:
    """Seal one settled interval; does nothing if that was done."""
    with house.database.write() as session:
        row = intervals.lock(session, key, "settled")
        if row is None:
            return
        late = borders.late(session, Interval.parse(key))
        row.late_root = root(late)
        entry = _entry(house, session, row, late_count=len(late))
        row.seal_index = log.append(session, "seal", entry.text)
        row.state = "sealed"
        session.flush()
        make_checkpoint(house, session)


def make_checkpoint(house: House, session: Session) -> None:
    """Sign a note over the whole log and put it into the anchor's outbox."""
    origin = house.settings.origin
    head = Checkpoint(origin=origin, size=log.size(session), root=log.root(session))
    before = session.exec(
        select(CheckpointRow).order_by(col(CheckpointRow.size).desc()).limit(1)
    ).first()
    previous = Checkpoint(origin=origin, size=before.size, root=before.root) if before else None
    note = sign_note(head, house.keyring.log)
    data = anchor_data(note, previous)
    session.add(
        CheckpointRow(size=head.size, root=head.root, note=note, data=data, state="pending")
    )
    session.flush()
    sign_again(house, session, head)


def _entry(house: House, session: Session, row: IntervalRow, late_count: int) -> Seal:
    slots = intervals.slots(session, row.key)
    roster = leaves.roster_hashes(leaves.roster_entries(session, row.key))
    assert row.order_root is not None  # noqa: S101  (set when cleared)
    assert row.settlement_root is not None  # noqa: S101  (set when settled)
    assert row.late_root is not None  # noqa: S101  (set when sealed)
    return Seal(
        clock="simulated" if house.clock.simulated else "real",
        counts=Counts(
            estimated=sum(slot.estimated for slot in slots),
            missing=sum(map(intervals.is_missing, slots)),
            orders=_count(session, OrderRow, row.key),
            readings=sum(slot.count for slot in slots) + late_count,
            statements=_count(session, StatementRow, row.key),
            trades=_count(session, TradeRow, row.key),
        ),
        district=house.settings.origin,
        engine_version=ENGINE_VERSION,
        interval=row.key,
        late_root=row.late_root,
        order_root=row.order_root,
        price=row.price_micro_per_kwh,
        roster_root=root(roster),
        roster_size=len(roster),
        rule=row.rule,
        settlement_root=row.settlement_root,
        tariff_hash=root(leaves.tariff_hashes(slots)),
        tree_root=root([slot.leaf for slot in slots]),
        fallback=1 if row.fallback else 0,
        hub_prices=market.hub_prices(row),
        mode=_MODES.get(row.mode, ""),
    )


def _count(
    session: Session, table: type[OrderRow] | type[StatementRow] | type[TradeRow], key: str
) -> int:
    query = select(func.count()).select_from(table).where(col(table.interval) == key)
    return session.exec(query).one()

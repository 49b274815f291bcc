"""``wattloom export interval``: everything that an interval was cleared from, in one file."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from app.files.interval import (
    Contracted,
    IntervalFile,
    Leaf,
    MemberShare,
    PointTariff,
    SharingKey,
    Traded,
)
from app.services.checkpoints import cosignatures, is_enough
from app.services.house import House
from app.store import forward, intervals, leaves, log, market, registry, sharing
from app.tables import CheckpointRow, IntervalRow
from ledger_client.log import decode_entry
from ledger_client.verify import LogEntry, canonical
from market.money import Price
from optimizer.metered import bounds


class ExportError(Exception):
    """There is nothing to export: name a sealed interval."""


def export_interval(house: House, key: str) -> bytes:
    """Return the file of a sealed interval.

    Raises:
        ExportError: there is no such interval, or it is not sealed yet.
    """
    with house.database.read() as session:
        row = session.get(IntervalRow, key)
        if row is None:
            raise ExportError(
                f"there is no interval {key}: a key is the UTC start of a quarter-hour that the "
                "district has seen, such as 2026-06-23T09:00:00Z"
            )
        if row.seal_index is None:
            raise ExportError(f"{key} is {row.state}: it can be exported once it is sealed")
        return canonical(_file(house, session, row, row.seal_index))


def _file(house: House, session: Session, row: IntervalRow, seal_index: int) -> IntervalFile:
    origin, mode = house.settings.origin, row.mode or "metered"
    book, points = market.open_book(session, row.key), market.metered_points(session, row.key)
    floor, ceiling = bounds(book, points) if mode == "metered" else (None, None)
    checkpoint, beside = _covering(house, session, seal_index)
    held_by = forward.covering(session, row.key) if mode == "forward" else None
    agreed = forward.contracts(session, held_by.first, row.key) if held_by else []
    entry = None if held_by is None else held_by.log_index
    return IntervalFile(
        ceiling_micro_per_kwh=_micro(ceiling),
        contracts=tuple(Contracted(c.buyer, c.seller, c.wh) for c in agreed),
        district=origin,
        floor_micro_per_kwh=_micro(floor),
        interval=row.key,
        mode="forward" if mode == "forward" else "sharing" if mode == "sharing" else "metered",
        note=checkpoint.note,
        orders=tuple(
            Leaf(leaves.order_text(origin, order), order.salt)
            for order in leaves.orders(session, row.key)
        ),
        rule=row.rule,
        seal=_entry(session, seal_index, checkpoint.size),
        session=None if entry is None else _entry(session, entry, checkpoint.size),
        sharing_keys=_sharing_keys(session, row.key) if mode == "sharing" else (),
        statements=tuple(
            Leaf(each.payload.decode(), each.salt) for each in leaves.statements(session, row.key)
        ),
        tariffs=_tariffs(session, row.key),
        tie_key=row.key,
        trades=_trades(session, row.key),
        type="interval",
        version=1,
        alone=_alone(session, row.key),
        cosignatures=tuple(beside),
    )


def _tariffs(session: Session, key: str) -> tuple[PointTariff, ...]:
    """Return the tariff leaves in roster order, with places where local fees go by them."""
    held = registry.standing(session, key)
    found = []
    for slot in intervals.slots(session, key):
        place = str(held[slot.point].place) if leaves.tariff_of(slot).by_level else ""
        found.append(PointTariff(slot.tariff, slot.point, slot.salt, place))
    return tuple(found)


def _alone(session: Session, key: str) -> tuple[str, ...]:
    """Return the roster's points that only measure, in its order."""
    only = registry.alone(session)
    return tuple(slot.point for slot in intervals.slots(session, key) if slot.point in only)


def _covering(
    house: House, session: Session, seal_index: int
) -> tuple[CheckpointRow, Sequence[str]]:
    """Return the first checkpoint over a seal that KEYS can judge to the end, else the first."""
    over = session.exec(
        select(CheckpointRow)
        .where(col(CheckpointRow.size) > seal_index)
        .order_by(col(CheckpointRow.size))
        .limit(_MOST_CHECKPOINTS)
    ).all()
    beside = cosignatures(house, session, [row.size for row in over])
    found = next((row for row in over if is_enough(house, beside[row.size])), over[0])
    return found, beside[found.size]


_MOST_CHECKPOINTS = 96  # a day of them


def _entry(session: Session, position: int, size: int) -> LogEntry:
    path = log.inclusion_path(session, position, size)
    return LogEntry(decode_entry(log.entry(session, position))[1], position, tuple(path))


def _trades(session: Session, key: str) -> tuple[Traded, ...]:
    return tuple(
        Traded(
            amount_micro=trade.amount.micro,
            buyer=trade.buyer,
            level=market.LEVEL_WORDS[trade.level],
            price_micro_per_kwh=trade.price.micro_per_kwh,
            product="green" if trade.product == "green" else "any",
            seller=trade.seller,
            wh=trade.energy.wh,
        )
        for trade in market.trades(session, key)
    )


def _sharing_keys(session: Session, key: str) -> tuple[SharingKey, ...]:
    return tuple(
        SharingKey(
            generator=each.generator,
            members=tuple(MemberShare(share.point, share.ppm) for share in each.shares),
            price_micro_per_kwh=each.price.micro_per_kwh,
            redistribute=1 if each.redistribute else 0,
            rule=each.kind.value,
        )
        for each in sharing.keys(session, key)
    )


def _micro(price: Price | None) -> int | None:
    return None if price is None else price.micro_per_kwh

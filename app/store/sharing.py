"""Versions of sharing keys, and the keys that hold in an interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, func, select

from app.tables import (
    IntervalRow,
    OrderRow,
    SharingMemberRow,
    SharingVersionRow,
    TradeRow,
)
from market.money import Price
from market.order import Side
from market.sharing import Key, Kind, Pair, Share


def versions(session: Session) -> Sequence[SharingVersionRow]:
    """Return every version there ever was, by generating point and midnight."""
    return session.exec(
        select(SharingVersionRow).order_by(
            SharingVersionRow.point, SharingVersionRow.valid_from, col(SharingVersionRow.id)
        )
    ).all()


def members(session: Session, numbers: Collection[int]) -> Mapping[int, Sequence[Share]]:
    """Return the members of some versions, in the order of their points."""
    rows = session.exec(
        select(SharingMemberRow)
        .where(col(SharingMemberRow.version).in_(numbers))
        .order_by(SharingMemberRow.point)
    )
    found: dict[int, list[Share]] = defaultdict(list)
    for row in rows:
        found[row.version].append(Share(row.point, row.ppm))
    return found


def holding(rows: Collection[SharingVersionRow], interval: str) -> Mapping[str, SharingVersionRow]:
    """Return which of ``rows`` holds in an interval (its key), by generating point.

    The latest that is valid by then and was not withdrawn.
    """
    valid = [row for row in rows if row.withdrawn_ms is None and row.valid_from <= interval]
    return {row.point: row for row in sorted(valid, key=lambda row: row.valid_from)}


def keys(session: Session, interval: str) -> Sequence[Key]:
    """Return the keys that hold in an interval, by generating point."""
    found = holding(versions(session), interval)
    shares = members(session, [row.id or 0 for row in found.values()])
    return [key_of(row, shares.get(row.id or 0, ())) for _, row in sorted(found.items())]


def key_of(row: SharingVersionRow, shares: Sequence[Share]) -> Key:
    """Return a version as the market's key."""
    return Key(
        generator=row.point,
        kind=Kind(row.kind),
        shares=tuple(shares),
        redistribute=row.redistribute,
        price=Price(row.price_micro_per_kwh),
    )


def add(
    session: Session, key: Key, valid_from: str, source: str, imported_ms: int
) -> SharingVersionRow:
    """Write a version with its members; return its row, which has a number then."""
    row = SharingVersionRow(
        point=key.generator,
        valid_from=valid_from,
        kind=key.kind.value,
        redistribute=key.redistribute,
        price_micro_per_kwh=key.price.micro_per_kwh,
        source=source,
        imported_ms=imported_ms,
    )
    session.add(row)
    session.flush()
    session.add_all(
        SharingMemberRow(version=row.id or 0, point=share.point, ppm=share.ppm)
        for share in key.shares
    )
    return row


def shared_wh(
    session: Session, first: str, after: str, participant: str | None = None
) -> Mapping[Pair, int]:
    """Return what each pair shared in the intervals from ``first`` to before ``after`` (keys).

    With a ``participant``, only what was shared with or by them.
    """
    query = (
        select(TradeRow.seller_order, TradeRow.buyer_order, func.sum(TradeRow.wh))
        .join(IntervalRow, col(IntervalRow.key) == TradeRow.interval)
        .where(*_shared_in(first, after))
        .group_by(TradeRow.seller_order, TradeRow.buyer_order)
    )
    if participant is not None:
        orders = select(OrderRow.order_id).where(
            OrderRow.participant == participant,
            OrderRow.interval == TradeRow.interval,
            col(OrderRow.order_id).in_((TradeRow.seller_order, TradeRow.buyer_order)),
        )
        query = query.where(orders.exists())
    rows = session.exec(query)
    return {
        Pair(seller.removesuffix(f"-{Side.OFFER}"), buyer.removesuffix(f"-{Side.BID}")): int(wh)
        for seller, buyer, wh in rows
    }


def surplus_wh(
    session: Session, first: str, after: str, participant: str | None = None
) -> Mapping[str, int]:
    """Return what each point (of a participant) had to share out in those intervals."""
    query = (
        select(OrderRow.point, func.sum(OrderRow.wh))
        .join(IntervalRow, col(IntervalRow.key) == OrderRow.interval)
        .where(*_shared_in(first, after), OrderRow.side == Side.OFFER.value)
        .group_by(OrderRow.point)
    )
    if participant is not None:
        query = query.where(OrderRow.participant == participant)
    rows = session.exec(query)
    return {point: int(wh) for point, wh in rows}


def _shared_in(first: str, after: str) -> tuple[ColumnElement[bool], ...]:
    key = col(IntervalRow.key)
    return col(IntervalRow.mode) == "sharing", key >= first, key < after

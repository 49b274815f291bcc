"""Forward sessions as rows: versions of orders, what gate closure gave, what is contracted."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Self

from sqlalchemy import Subquery
from sqlmodel import Session, col, func, select

from app.tables import (
    ForwardFillRow,
    ForwardOrderRow,
    ForwardPriceRow,
    ForwardResultRow,
    ForwardSessionRow,
    ForwardStandingRow,
    ForwardTradeRow,
    IntervalRow,
)
from market.delivery import Contract
from market.order import Side


class Said(NamedTuple):
    """What a version of an order says, whoever entered it when."""

    order_id: str
    state: str  # entered, cancelled
    participant: str
    point: str
    kind: str
    text: str

    @classmethod
    def of(cls, row: ForwardOrderRow) -> Self:
        """Return what a stored version says."""
        return cls(row.order_id, row.state, row.participant, row.point, row.kind, row.text)


def get(session: Session, first: str) -> ForwardSessionRow | None:
    """Return a session by the key of its first interval."""
    return session.get(ForwardSessionRow, first)


def lock(session: Session, first: str, expected: str) -> ForwardSessionRow | None:
    """Return a session's row, locked, or None when it is not in the ``expected`` state.

    Whoever changes an order holds it, too: none is entered while the gate closes.
    """
    query = select(ForwardSessionRow).where(ForwardSessionRow.first == first).with_for_update()
    row = session.exec(query.execution_options(populate_existing=True)).first()
    return row if row is not None and row.state == expected else None


def in_state(session: Session, *states: str) -> Sequence[ForwardSessionRow]:
    """Return the sessions in one of ``states``, oldest first."""
    return session.exec(
        select(ForwardSessionRow)
        .where(col(ForwardSessionRow.state).in_(states))
        .order_by(ForwardSessionRow.first)
    ).all()


def newest(session: Session, limit: int) -> Sequence[ForwardSessionRow]:
    """Return the newest sessions, newest first."""
    return session.exec(
        select(ForwardSessionRow).order_by(col(ForwardSessionRow.first).desc()).limit(limit)
    ).all()


def covering(session: Session, key: str) -> ForwardSessionRow | None:
    """Return the session that holds an interval, if one does."""
    return session.exec(
        select(ForwardSessionRow).where(
            ForwardSessionRow.first <= key, ForwardSessionRow.last >= key
        )
    ).first()


def mark(session: Session) -> None:
    """Fix the mode of the intervals that just got their row: forward is what a session holds.

    Without one, as before the first session of a district, an interval is metered.
    """
    rows = session.exec(select(IntervalRow).where(col(IntervalRow.state).in_(("open", "closed"))))
    for row in rows:
        held_by = covering(session, row.key)
        if held_by is not None:
            row.mode, row.rule = "forward", held_by.rule
        elif row.mode == "forward":
            row.mode = "metered"


def interval_states(session: Session, row: ForwardSessionRow) -> Sequence[str]:
    """Return the states of the intervals of a session that have their row."""
    return session.exec(
        select(IntervalRow.state).where(IntervalRow.key >= row.first, IntervalRow.key <= row.last)
    ).all()


# --- Orders --------------------------------------------------------------------------------------


def versions(session: Session, first: str, order_id: str) -> Sequence[ForwardOrderRow]:
    """Return every version of an order, oldest first."""
    return session.exec(
        select(ForwardOrderRow)
        .where(ForwardOrderRow.session == first, ForwardOrderRow.order_id == order_id)
        .order_by(col(ForwardOrderRow.version))
    ).all()


def final_orders(
    session: Session, first: str, participant: str | None = None
) -> Sequence[ForwardOrderRow]:
    """Return the newest version of each order (of a participant), cancelled ones too, by id."""
    last = _newest(first)
    query = (
        select(ForwardOrderRow)
        .join(
            last,
            (last.c.order_id == ForwardOrderRow.order_id)
            & (last.c.version == ForwardOrderRow.version),
        )
        .where(ForwardOrderRow.session == first)
        .order_by(ForwardOrderRow.order_id)
    )
    if participant is not None:
        query = query.where(ForwardOrderRow.participant == participant)
    return session.exec(query).all()


def counts(session: Session, first: str) -> Mapping[str, int]:
    """Return how many orders of each kind stand in a session, cancelled ones left out."""
    last = _newest(first)
    query = (
        select(ForwardOrderRow.kind, func.count())
        .join(
            last,
            (last.c.order_id == ForwardOrderRow.order_id)
            & (last.c.version == ForwardOrderRow.version),
        )
        .where(ForwardOrderRow.session == first, ForwardOrderRow.state == "entered")
        .group_by(ForwardOrderRow.kind)
    )
    return dict(session.exec(query).all())


def _newest(first: str) -> Subquery:
    """Return the number of the newest version of each order of a session."""
    return (
        select(ForwardOrderRow.order_id, func.max(ForwardOrderRow.version).label("version"))
        .where(ForwardOrderRow.session == first)
        .group_by(ForwardOrderRow.order_id)
        .subquery()
    )


def entered(orders: Iterable[ForwardOrderRow]) -> list[ForwardOrderRow]:
    """Return the orders that are not cancelled."""
    return [row for row in orders if row.state == "entered"]


def add_version(
    session: Session,
    before: ForwardOrderRow | None,
    said: Said,
    first: str,
    known_ms: int,
    entered_by: str,
) -> None:
    """Write what is said now as the version after ``before``, with a fresh salt."""
    session.add(
        ForwardOrderRow(
            session=first,
            version=before.version + 1 if before else 1,
            known_ms=known_ms,
            entered_by=entered_by,
            salt=secrets.token_bytes(32),
            **said._asdict(),
        )
    )
    session.flush()


def standing(session: Session) -> Mapping[str, ForwardStandingRow]:
    """Return each participant's newest word on taking part by forecast."""
    rows = session.exec(select(ForwardStandingRow).order_by(col(ForwardStandingRow.version)))
    return {row.participant: row for row in rows}


# --- Results -------------------------------------------------------------------------------------


def results(session: Session, first: str) -> Sequence[ForwardResultRow]:
    """Return what the auction made of each order, by id."""
    return session.exec(
        select(ForwardResultRow)
        .where(ForwardResultRow.session == first)
        .order_by(ForwardResultRow.order_id)
    ).all()


def fills(session: Session, first: str) -> Sequence[ForwardFillRow]:
    """Return what each order got in which interval, by id and interval."""
    return session.exec(
        select(ForwardFillRow)
        .where(ForwardFillRow.session == first)
        .order_by(ForwardFillRow.order_id, ForwardFillRow.interval, ForwardFillRow.side)
    ).all()


def fills_of(session: Session, first: str, key: str) -> Sequence[ForwardFillRow]:
    """Return what orders got in one interval of a session."""
    return session.exec(
        select(ForwardFillRow)
        .where(ForwardFillRow.session == first, ForwardFillRow.interval == key)
        .order_by(ForwardFillRow.order_id, ForwardFillRow.side)
    ).all()


def prices(session: Session, first: str) -> Sequence[ForwardPriceRow]:
    """Return a cleared session's prices in the order of its intervals."""
    return session.exec(
        select(ForwardPriceRow)
        .where(ForwardPriceRow.session == first)
        .order_by(ForwardPriceRow.interval)
    ).all()


def contracts(session: Session, first: str, key: str) -> list[Contract]:
    """Return what was agreed for one interval, by the points' order ids."""
    points = {row.order_id: row.point for row in final_orders(session, first)}
    rows = session.exec(
        select(ForwardTradeRow)
        .where(ForwardTradeRow.session == first, ForwardTradeRow.interval == key)
        .order_by(col(ForwardTradeRow.number))
    )
    return [
        Contract(
            f"{points[row.seller_order]}-{Side.OFFER}",
            f"{points[row.buyer_order]}-{Side.BID}",
            row.wh,
        )
        for row in rows
    ]

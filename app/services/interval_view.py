"""One interval's page: one's own in full, others by pseudonym and price tick."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from itertools import groupby

from sqlmodel import Session, col, select

from app.services.house import House
from app.store import leaves, log, payments, people
from app.tables import IntervalRow, JournalEntry, OrderRow, PostingRow, StatementRow, TradeRow
from ledger_client.log import decode_entry
from ledger_client.verify import Seal
from metering.interval import Interval
from web.ports import (
    IntervalPage,
    IntervalSummary,
    OrderLine,
    PostingLine,
    SealLine,
    TradeLine,
)

_FEWEST_SHOWN = 5

Names = Callable[[str], str]


def page(
    house: House,
    session: Session,
    row: IntervalRow,
    summary: IntervalSummary,
    own: frozenset[str],
    *,
    hide_prices: bool,
) -> IntervalPage:
    """Return what a viewer may see, ``own`` being the participants that are theirs."""
    names = _names(house, session, row.key, own)
    orders = leaves.orders(session, row.key)
    hidden = hide_prices or len({order.participant for order in orders}) < _FEWEST_SHOWN
    postings = [] if hide_prices else _postings(session, row.key, names)
    interval = Interval.parse(row.key)
    return IntervalPage(
        summary=summary,
        zone=people.district(session).zone,
        clock_ms=house.clock.now_ms(),
        rule=row.rule,
        orders=_orders(orders, own, names, hidden=hidden),
        orders_hidden=hidden,
        trades=[] if hide_prices else _trades(session, row.key, own, names),
        postings=postings,
        postings_sum_micro=sum(posting.micro for posting in postings),
        seal=[] if row.seal_index is None else _seal(session, row.seal_index),
        proof_participants=_provable(session, row, own),
        previous_key=_existing(session, interval.previous().key),
        next_key=_existing(session, interval.next().key),
        prices_hidden=hide_prices,
    )


def pseudonym(secret: bytes, key: str, participant: str) -> str:
    """Return a participant's name for others: it changes every month."""
    message = f"pseudonym/{key[:7]}/{participant}".encode()
    return "P-" + hmac.digest(secret, message, hashlib.sha256).hex()[:6]


def _names(house: House, session: Session, key: str, own: frozenset[str]) -> Names:
    known = {row.id: row.name for row in people.participants(session).values()}
    secret = bytes(house.keyring.receipt)

    def name(participant: str) -> str:
        return known[participant] if participant in own else pseudonym(secret, key, participant)

    return name


def _orders(
    orders: Sequence[OrderRow], own: frozenset[str], names: Names, *, hidden: bool
) -> list[OrderLine]:
    mine = [
        _order_line([order], names(order.participant), own=True)
        for order in orders
        if order.participant in own
    ]
    if hidden:
        return mine
    others = sorted((order for order in orders if order.participant not in own), key=_tick)
    return mine + [
        _order_line(group, f"{len(group)} others" if len(group) > 1 else "1 other", own=False)
        for group in (list(items) for _, items in groupby(others, key=_tick))
    ]


def _tick(order: OrderRow) -> tuple[str, int]:
    return order.side, order.limit_micro_per_kwh


def _order_line(group: Sequence[OrderRow], who: str, *, own: bool) -> OrderLine:
    return OrderLine(
        side=group[0].side,
        who=who,
        limit_micro_per_kwh=group[0].limit_micro_per_kwh,
        quantity_wh=sum(order.wh for order in group),
        cleared_wh=sum(order.cleared_wh for order in group),
        own=own,
    )


def _trades(session: Session, key: str, own: frozenset[str], names: Names) -> list[TradeLine]:
    owners = {order.order_id: order.participant for order in leaves.orders(session, key)}
    rows = session.exec(
        select(TradeRow).where(TradeRow.interval == key).order_by(col(TradeRow.number))
    )
    return [
        TradeLine(
            seller=names(owners[row.seller_order]),
            buyer=names(owners[row.buyer_order]),
            wh=row.wh,
            price_micro_per_kwh=row.price_micro_per_kwh,
            amount_micro=row.amount_micro,
            own=bool({owners[row.seller_order], owners[row.buyer_order]} & own),
        )
        for row in rows
    ]


def _postings(session: Session, key: str, names: Names) -> list[PostingLine]:
    rows = session.exec(
        select(JournalEntry, PostingRow)
        .join(PostingRow, col(PostingRow.entry) == JournalEntry.id)
        .where(JournalEntry.interval == key)
        .order_by(col(PostingRow.id))
    )
    return [
        PostingLine(entry.kind, _account(posting.account, names), posting.micro)
        for entry, posting in rows
    ]


def _account(account: str, names: Names) -> str:
    kind, colon, participant = account.partition(":")
    return f"{kind}: {names(participant)}" if colon else account


def _seal(session: Session, position: int) -> list[SealLine]:
    seal = Seal.read(decode_entry(log.entry(session, position))[1])
    lines = [
        ("place in the log", str(position)),
        ("tree root", seal.tree_root.hex()),
        ("roster root", seal.roster_root.hex()),
        ("order root", seal.order_root.hex()),
        ("settlement root", seal.settlement_root.hex()),
        ("late root", seal.late_root.hex()),
        ("metering points", str(seal.roster_size)),
        ("readings", str(seal.counts.readings)),
        ("estimated points", str(seal.counts.estimated)),
        ("orders", str(seal.counts.orders)),
        ("trades", str(seal.counts.trades)),
        ("tariffs' hash", seal.tariff_hash.hex()),
        ("rule", seal.rule),
        ("clock", seal.clock),
        ("engine", seal.engine_version),
    ]
    return [SealLine(name, value) for name, value in lines]


def _provable(session: Session, row: IntervalRow, own: frozenset[str]) -> list[str]:
    if row.anchor != "confirmed" or row.key in payments.unpaid(session):
        return []
    return list(
        session.exec(
            select(StatementRow.participant)
            .where(StatementRow.interval == row.key, col(StatementRow.participant).in_(own))
            .order_by(StatementRow.participant)
        )
    )


def _existing(session: Session, key: str) -> str | None:
    return key if session.get(IntervalRow, key) is not None else None

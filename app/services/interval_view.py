"""One interval's page: one's own in full, others by pseudonym and price tick."""

from __future__ import annotations

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Callable, Sequence

from sqlmodel import Session, col, select

from app.services.house import House
from app.services.ledger_trace import trace
from app.services.market.bands import side_of
from app.services.privacy import too_few
from app.store import leaves, log, payments, people
from app.tables import IntervalRow, JournalEntry, OrderRow, PostingRow, StatementRow, TradeRow
from ledger_client.log import decode_entry
from ledger_client.verify import Seal
from market.money import round_half_up
from market.order import Side
from metering.interval import Interval
from web.ports import (
    IntervalPage,
    IntervalSummary,
    OrderLine,
    PostingLine,
    SealLine,
    TradeLine,
)

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
    lines, hidden = ([], True) if hide_prices else _orders(orders, own, names)
    postings = [] if hide_prices else _postings(session, row.key, own, names)
    interval = Interval.parse(row.key)
    return IntervalPage(
        summary=summary,
        zone=people.district(session).zone,
        clock_ms=house.clock.now_ms(),
        rule=row.rule,
        orders=lines,
        orders_hidden=hidden,
        trades=[] if hide_prices else _trades(session, row.key, own, names),
        postings=postings,
        postings_sum_micro=sum(posting.micro for posting in postings),
        seal=[] if row.seal_index is None else _seal(session, row.seal_index),
        proof_participants=_provable(session, row, own),
        previous_key=_existing(session, interval.previous().key),
        next_key=_existing(session, interval.next().key),
        prices_hidden=hide_prices,
        trace=trace(session, row.key),
    )


def pseudonym(secret: bytes, key: str, participant: str) -> str:
    """Return a participant's name for others: it changes every month."""
    message = f"pseudonym/{key[:7]}/{participant}".encode()
    return "P-" + hmac.digest(secret, message, hashlib.sha256).hex()[:6]


def _names(house: House, session: Session, key: str, own: frozenset[str]) -> Names:
    known = {row.id: row.name for row in people.participants(session).values()}

    def name(participant: str) -> str:
        if participant in own:
            return known[participant]
        return pseudonym(house.keyring.pseudonym_secret, key, participant)

    return name


def _orders(
    orders: Sequence[OrderRow], own: frozenset[str], names: Names
) -> tuple[list[OrderLine], bool]:
    """Return one's own orders, everybody else's by price tick, and whether some are hidden.

    A side is told where the market page tells it by its very ticks, else not at all: what that
    page joins, less one tick told here, would be the rest.
    """
    lines = [
        _order_line([order], names(order.participant), own=True)
        for order in orders
        if order.participant in own
    ]
    hidden = False
    for side in Side:
        seen = side_of(orders, side, own)
        ticks = [
            others
            for _, group in seen.bands
            if (others := [order for order in group if order.participant not in own])
        ]
        if seen.exact:
            lines += [_order_line(tick, f"{len(tick)} others", own=False) for tick in ticks]
        else:
            hidden |= any(o.side == side and o.participant not in own for o in orders)
    return lines, hidden


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
    """Return one's own trades, partners by pseudonym, and one row for all the others."""
    owners = {order.order_id: order.participant for order in leaves.orders(session, key)}
    rows = session.exec(
        select(TradeRow).where(TradeRow.interval == key).order_by(col(TradeRow.number))
    ).all()

    def parties(row: TradeRow) -> set[str]:
        return {owners[row.seller_order], owners[row.buyer_order]}

    foreign = [row for row in rows if not parties(row) & own]
    lines = [
        TradeLine(
            seller=names(owners[row.seller_order]),
            buyer=names(owners[row.buyer_order]),
            wh=row.wh,
            price_micro_per_kwh=row.price_micro_per_kwh,
            amount_micro=row.amount_micro,
            own=True,
        )
        for row in rows
        if parties(row) & own
    ]
    if not too_few(set().union(*map(parties, foreign))):
        lines.append(
            TradeLine(
                seller="others",
                buyer="others",
                wh=sum(row.wh for row in foreign),
                price_micro_per_kwh=_mean_price(foreign),
                amount_micro=sum(row.amount_micro for row in foreign),
                own=False,
            )
        )
    return lines


def _mean_price(rows: Sequence[TradeRow]) -> int:
    """Return the price of trades, or what their kWh came to where they had several."""
    prices = {row.price_micro_per_kwh for row in rows}
    if len(prices) == 1:
        return prices.pop()
    return round_half_up(sum(row.amount_micro for row in rows) * 1000, sum(row.wh for row in rows))


def _postings(session: Session, key: str, own: frozenset[str], names: Names) -> list[PostingLine]:
    """Return the postings, those on other people's accounts added up by kind of account.

    An entry that concerns fewer than five people (a correction, say) shows one's own accounts
    alone; everything else in it is one line, so that it still sums to 0.
    """
    rows = session.exec(
        select(JournalEntry.kind, PostingRow.account, PostingRow.micro)
        .join(PostingRow, col(PostingRow.entry) == JournalEntry.id)
        .where(JournalEntry.interval == key)
        .order_by(col(PostingRow.id))
    ).all()
    parties: dict[str, set[str]] = defaultdict(set)
    for kind, account, _ in rows:
        parties[kind] |= {_owner(account)} - {""}
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for kind, account, micro in rows:
        veiled = too_few(parties[kind], own) and _owner(account) not in own
        sums[kind, "all other accounts" if veiled else _account(account, own, names)] += micro
    return [PostingLine(kind, account, micro) for (kind, account), micro in sums.items()]


def _owner(account: str) -> str:
    """Return whose account it is, '' for the district's own."""
    return account.partition(":")[2]


def _account(account: str, own: frozenset[str], names: Names) -> str:
    kind, colon, participant = account.partition(":")
    if not colon:
        return account
    return f"{kind}: {names(participant) if participant in own else 'others'}"


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

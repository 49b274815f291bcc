"""cleared -> settled: statements, postings that sum to 0, and the planned payments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session

from app.services import losses, settled
from app.services.certificates.issuing import issue
from app.services.house import House
from app.store import balance, intervals, journal, leaves, market, payments, people, wallets
from app.store.bulk import insert_all
from app.tables import AddressRow, SettlementLine, StatementRow
from ledger_client.merkle import root
from ledger_client.wallet import Wallet
from market.money import Money
from market.parties import MeteredPoint, own_transfers
from market.payout import LedgerAccount, payout
from market.settlement import Settlement, Statement, saving, settle
from metering.interval import LENGTH_MS, Interval


def settle_interval(house: House, key: str) -> None:
    """Settle one cleared interval; does nothing if that was done."""
    with house.database.write() as session:
        row = intervals.lock(session, key, "cleared")
        if row is None:
            return
        points, carried = market.metered_points(session, key), market.carries(session, before=key)
        settlement = settle(
            key,
            points,
            own_transfers(points),
            market.book(session, key),
            market.trades(session, key),
            carried,
            _accounts(house, session, key, points, carried) if pays(house, key) else {},
        )
        _save(house, session, key, settlement)
        settled.record(session, house.settings.tz, key, settlement)
        losses.record(house, session, key)
        balance.record_production(session, house.settings.tz, key)
        issue(house, session, key)
        row.settlement_root = root(leaves.statement_hashes(leaves.statements(session, key)))
        _plan_payment(session, key, row.settlement_root, settlement.statements)
        row.state = "settled"


def pays(house: House, key: str) -> bool:
    """Return whether a payment period ends with this interval (``settle_every``)."""
    return (Interval.parse(key).end_ms // LENGTH_MS) % house.settings.settle_every == 0


def _accounts(
    house: House,
    session: Session,
    key: str,
    points: Sequence[MeteredPoint],
    carried: Mapping[str, Money],
) -> Mapping[str, LedgerAccount]:
    """Return this month's address of each participant, and what planned payments leave where.

    Whoever has no point any more is there, at the address of their last month, while something
    that the ledger can move is still carried for them.
    """
    month = wallets.month_of(session, Interval.parse(key))
    metered = {point.participant for point in points}
    settled = [row for row in people.participants(session).values() if row.id in metered]
    owned = wallets.open_month(session, Wallet(house.keyring.wallet_seed), month, settled)
    waiting = {who for who, carry in carried.items() if carry.micro} - metered
    gone = {who: _account(owned[who]) for who in sorted(waiting)}
    return {row.id: _account(owned[row.id]) for row in settled} | {
        who: account for who, account in gone.items() if payout(carried[who], account.whole).micro
    }


def _account(owned: Sequence[AddressRow]) -> LedgerAccount:
    *older, current = owned
    return LedgerAccount(
        current.address,
        Money(current.planned_micro),
        tuple((old.address, Money(old.planned_micro)) for old in older),
    )


def _save(house: House, session: Session, key: str, settlement: Settlement) -> None:
    savings, origin = saving(settlement), house.settings.origin
    insert_all(
        session,
        StatementRow,
        [
            market.statement_values(key, origin, position, each, savings[each.participant])
            for position, each in enumerate(settlement.statements)
        ],
    )
    insert_all(
        session,
        SettlementLine,
        [
            market.line_values(key, 0, each.participant, line)
            for each in settlement.statements
            for line in each.lines
        ],
    )
    for entry in settlement.entries:
        journal.book(session, entry, interval=key, booked_ms=house.clock.now_ms())
        journal.check_sum(session, entry.ref, entry.kind)


def _plan_payment(
    session: Session, key: str, settlement_root: bytes, statements: Sequence[Statement]
) -> None:
    moves = [
        payments.Move(statement.participant, transfer.address, transfer.micro)
        for statement in statements
        for transfer in statement.transfers
    ]
    groups = payments.groups(moves)
    tagged = [settlement_root + number.to_bytes(2, "big") for number in range(len(groups))]
    payments.plan(session, key, key, tagged, groups)

"""metered -> cleared, for an interval of a forward session: what was agreed meets the meters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session

from app.services.forward.orders import order_limits
from app.services.house import House
from app.store import forward, leaves, market
from app.tables import ForwardPriceRow, ForwardSessionRow, IntervalRow
from ledger_client.merkle import root
from market.delivery import DeliveryError, settle_contracts
from market.money import Price
from market.parties import MeteredPoint, own_transfers
from market.trade import traded_wh


def deliver_interval(
    house: House,
    session: Session,
    row: IntervalRow,
    points: Sequence[MeteredPoint],
    eligible: frozenset[str],
) -> None:
    """Write what a forward interval's meters make of its contracts; the caller sets the state.

    ``eligible`` are the participants whose credit is not used up. Orders, trades, figures and the
    order root are those of metered mode; the price is the session's.

    Raises:
        DeliveryError: the session is not cleared yet, or its contracts do not fit: it stands still.
    """
    held_by = forward.covering(session, row.key)
    if held_by is None or held_by.log_index is None:
        raise DeliveryError(f"the forward session of {row.key} is not cleared: look at its alarm")
    told = session.get_one(ForwardPriceRow, (held_by.first, row.key))
    price = None if told.price_micro_per_kwh is None else Price(told.price_micro_per_kwh)
    found = settle_contracts(
        points,
        own_transfers(points),
        forward.contracts(session, held_by.first, row.key),
        price,
        _limits(session, held_by, row.key, price),
        eligible.__contains__,
        row.key.encode(),
    )
    traded = traded_wh(found.trades)
    orders = market.write_orders(
        session,
        row.key,
        (market.Offered(order, traded[order.order_id]) for order in found.book.orders),
    )
    market.write_trades(session, row.key, ((trade, None) for trade in found.trades))
    row.price_micro_per_kwh = told.price_micro_per_kwh if found.trades else None
    row.price_low_micro_per_kwh = told.price_low_micro_per_kwh
    row.price_high_micro_per_kwh = told.price_high_micro_per_kwh
    row.traded_wh = sum(trade.energy.wh for trade in found.trades)
    row.order_root = root(leaves.order_hashes(house.settings.origin, orders))


def _limits(
    session: Session, held_by: ForwardSessionRow, key: str, price: Price | None
) -> Mapping[str, Price]:
    """Return the strictest limit of each point and side that has a contract in the interval."""
    return {} if price is None else order_limits(session, held_by.first, key, price)

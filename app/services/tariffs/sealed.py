"""What an interval's tariff leaves say: the tariff of each point, settled and sealed as it held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlmodel import Session

from app.services.house import House
from app.store import forward, intervals, people, tariffs
from ledger_client.verify import canonical
from market import spot
from market.tariff import Tariff
from metering.interval import Interval


def tariff_texts(house: House, session: Session, interval: Interval) -> Mapping[str, str]:
    """Return the canonical text of each point's tariff by GSRN, as it is settled on.

    People are told where a price that a tariff goes by is not known; a made-up one is kept.

    Raises:
        UnknownTariffError: a point is on a tariff that has no version.
    """
    held = tariffs.held(session, interval.key, house.settings.tz)
    if held.made_up is not None:
        row = [(interval.key, held.made_up)]
        tariffs.save_prices(session, tariffs.SPOT, row, spot.SOURCE, interval.start_ms)
    for name in held.no_spot:
        text = f"no day-ahead price is known: tariff {name} settles at its fallback price"
        _tell(house, session, interval, f"spot/{name}", text)
    found = dict(held.by_point)
    if house.settings.imbalance == "price":
        found |= _at_imbalance(house, session, interval, found)
    texts = {tariff: canonical(tariff.payload()).decode() for tariff in set(found.values())}
    return {point: texts[tariff] for point, tariff in found.items()}


def _at_imbalance(
    house: House, session: Session, interval: Interval, held: Mapping[str, Tariff]
) -> Mapping[str, Tariff]:
    """Return the tariffs of the points with contracts, residual at the imbalance price."""
    points = _contracted(session, interval.key)
    price = tariffs.price(session, tariffs.IMBALANCE, interval.key) if points else None
    if points and price is None:
        text = "no imbalance price is known: what differs from contracts settles at the own tariff"
        _tell(house, session, interval, "imbalance", text)
    if price is None:
        return {}
    return {point: replace(held[point], imbalance=price) for point in points if point in held}


def _contracted(session: Session, key: str) -> Sequence[str]:
    """Return the points that a forward session gave contracts for an interval."""
    if intervals.get(session, key).mode != "forward":
        return []
    held_by = forward.covering(session, key)
    if held_by is None:
        return []
    found = forward.contracts(session, held_by.first, key)
    orders = {order for contract in found for order in (contract.seller, contract.buyer)}
    return sorted({order.rpartition("-")[0] for order in orders})


def _tell(house: House, session: Session, interval: Interval, what: str, text: str) -> None:
    """Tell people once a local day."""
    start = interval.start.astimezone(house.settings.tz)
    people.notify(
        session,
        ref=f"{what}/{start:%Y-%m-%d}",
        at_ms=interval.end_ms,
        level="warning",
        text=f"From {start:%H:%M} on {start:%d.%m.%Y} {text}: import prices in time",
        point=None,
    )

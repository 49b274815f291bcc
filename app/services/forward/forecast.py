"""Orders by forecast: what takes part for those who asked for it and entered nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from sqlmodel import Session

from app.services.forecasts.prices import expected_price
from app.services.forward.book import Steps, qualified, session_of, text_of
from app.services.house import House
from app.store import agents, forward, registry, tariffs
from app.store.forecasts import forecasts_wh, newest_run, tells_of
from app.store.forward import Said
from app.tables import ForwardSessionRow
from market.agents import net_limits
from market.money import Price
from market.order import Side
from market.parties import MeteredPoint, own_transfers
from market.tariff import Tariff
from metering.quantities import Energy

BY: Final = "forecast"  # who entered them, and what their own ids begin with


class _Step(NamedTuple):
    point: str
    side: Side
    wh: int
    limit: Price


def enter_forecasts(house: House, session: Session, held_by: ForwardSessionRow) -> None:
    """Enter the orders by forecast at gate closure, in the closing's own transaction.

    For everybody who asked for it and has no order standing: per point and interval what is
    forecast, less own energy (the participant's other points serve each other first) and less the
    point's own smaller side; a step each, at the point's standing limits. Without a forecast of an
    interval there is no step in it; a point that changes hands in the session takes no part.
    """
    asked = {who for who, row in forward.standing(session).items() if row.by_forecast}
    rows = forward.final_orders(session, held_by.first)
    asked -= {row.participant for row in forward.entered(rows)}
    if not asked:
        return
    before = {row.order_id: row for row in rows}
    owners = _owners(session, held_by)
    for (point, side), steps in _steps_by_order(house, session, held_by, asked, owners).items():
        said = _said(owners[point], point, side, steps)
        last = before.get(said.order_id)
        forward.add_version(session, last, said, held_by.first, house.clock.now_ms(), BY)


def _owners(session: Session, held_by: ForwardSessionRow) -> Mapping[str, str]:
    """Return whose points are all through a session, where the forecast tells of their own time."""
    run, began = newest_run(session), registry.since(session, held_by.first)
    return {
        point: who
        for point, who in registry.holders(session, held_by.first, held_by.last).items()
        if run is not None and tells_of(run, began[point])
    }


def _said(participant: str, point: str, side: Side, steps: Mapping[int, _Step]) -> Said:
    """Return a row of steps as an order, gaps of 0 Wh between them."""
    start, end = min(steps), max(steps) + 1
    profile = [steps[index].wh if index in steps else 0 for index in range(start, end)]
    limits = [
        steps[index].limit.micro_per_kwh if index in steps else 0 for index in range(start, end)
    ]
    content = Steps(
        side=side.value,
        start=start,
        profile_wh=tuple(profile),
        limits_micro_per_kwh=tuple(limits),
    )
    order_id = qualified(participant, f"{BY}-{point}-{side}")
    return Said(order_id, "entered", participant, point, content.kind, text_of(content))


def _steps_by_order(
    house: House,
    session: Session,
    held_by: ForwardSessionRow,
    asked: set[str],
    owners: Mapping[str, str],
) -> Mapping[tuple[str, Side], dict[int, _Step]]:
    """Return the steps of each point and side by the index of their interval."""
    tick = Price(house.settings.price_tick_micro_per_kwh)
    mine = {point: who for point, who in owners.items() if who in asked}
    found: dict[tuple[str, Side], dict[int, _Step]] = defaultdict(dict)
    keys = session_of(held_by).keys
    expected = forecasts_wh(session, keys)
    held = tariffs.over(session, keys, house.settings.tz)
    for index, (key, on) in enumerate(zip(keys, held, strict=True)):
        standing = {point: each.standing for point, each in agents.holding(session, key).items()}
        limits = net_limits(standing, on, expected_price(session, key), tick)
        for step in _steps(_forecast(expected.get(key, {}), mine, on), limits):
            found[step.point, step.side][index] = step
    return found


def _forecast(
    expected: Mapping[str, tuple[int, int]],
    owners: Mapping[str, str],
    tariffs: Mapping[str, Tariff],
) -> list[MeteredPoint]:
    """Return what the points are expected to draw and feed in, as if it were metered."""
    found = []
    for point, who in owners.items():
        if point in expected:
            drawn, fed_in = map(Energy, expected[point])
            found.append(
                MeteredPoint(point, who, drawn, fed_in, estimated=False, tariff=tariffs[point])
            )
    return found


def _steps(points: Sequence[MeteredPoint], limits: Mapping[str, Price]) -> Iterator[_Step]:
    """Yield each point's larger side, less own energy and less its smaller side."""
    own: Counter[tuple[str, Side]] = Counter()
    for transfer in own_transfers(points):
        own[transfer.from_point, Side.OFFER] += transfer.wh
        own[transfer.to_point, Side.BID] += transfer.wh
    for point in points:
        drawn_wh = point.imported.wh - own[point.point, Side.BID]
        fed_in_wh = point.exported.wh - own[point.point, Side.OFFER]
        if drawn_wh != fed_in_wh:
            side = Side.BID if drawn_wh > fed_in_wh else Side.OFFER
            limit = limits[f"{point.point}-{side}"]
            yield _Step(point.point, side, abs(drawn_wh - fed_in_wh), limit)

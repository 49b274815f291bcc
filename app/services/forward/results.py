"""What a session's auction made of each stored order, in figures and in words; and its leaves."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from app.services.forward.book import Block, Flexible, Steps, Storage, content_of, row_id
from app.tables import ForwardFillRow, ForwardOrderRow, ForwardResultRow
from ledger_client.merkle import leaf_hash, root
from ledger_client.verify import canonical
from market.money import PPM
from market.order import GRID, Side
from market.session_orders import Session
from market.sessions import SessionClearing
from metering.quantities import Energy

ACCEPTED: Final = "accepted"
PARTLY: Final = "partly"
REJECTED: Final = "rejected"
PARADOXICAL: Final = "paradoxical"
LEFT_OUT: Final = "left-out"

_ORDER_LEAF: Final = b"wattloom-leaf-session-order-v1\x00"
_RESULT_LEAF: Final = b"wattloom-leaf-session-result-v1\x00"

_PARADOX: Final = (
    "at these prices it would have gained, but it can only be taken as a whole, and taking it "
    "would have moved the prices so far that somebody lost"
)
_NO_ANSWER: Final = "the engine gave no answer in time, and what it falls back to left this out"
_REASONS: Final = {
    "step": "the price was beyond its limit, or nobody was left to trade with",
    "block": "its average price would have been beyond its limit",
    "flexible": "the price was above its limit whenever it could have taken energy",
    "storage": "the prices lay too close together to pay for storing",
}


class Got(NamedTuple):
    """What an order got in one interval, and what of it other participants contracted."""

    interval: str
    side: str
    wh: int
    local_wh: int


class Outcome(NamedTuple):
    """What became of one stored order, and why where it did not get everything."""

    order_id: str
    outcome: str
    reason: str
    got: tuple[Got, ...]


def outcomes(rows: Iterable[ForwardOrderRow], clearing: SessionClearing) -> Iterable[Outcome]:
    """Return what became of each order that took part, in the order of the rows."""
    got = _got(clearing)
    for row in rows:
        mine = tuple(got.get(row.order_id, ()))
        yield Outcome(row.order_id, *_judged(row, clearing, mine), mine)


def without_contracts(session: Session) -> SessionClearing:
    """Return the outcome of a session that has no answer at all: nothing is traded, and marked."""
    nothing = (Energy(0),) * session.intervals
    return SessionClearing(
        session=session,
        prices=(None,) * session.intervals,
        price_intervals=((None, None),) * session.intervals,
        schedules={},
        trades=((),) * session.intervals,
        grid_import=nothing,
        grid_export=nothing,
        accepted_ppm={},
        paradoxically_rejected={},
        withdrawn=(),
        stored_wh={},
        welfare_micro=0,
        gap_ppm=PPM,
        optimal=False,
        fallback=True,
    )


def _got(clearing: SessionClearing) -> Mapping[str, list[Got]]:
    """Return what each stored order got, by interval and side."""
    keys = clearing.session.keys
    local: Counter[tuple[str, str, str]] = Counter()
    for key, trades in zip(keys, clearing.trades, strict=True):
        for trade in trades:
            if GRID not in (trade.seller, trade.buyer):
                local[row_id(trade.seller), key, Side.OFFER.value] += trade.energy.wh
                local[row_id(trade.buyer), key, Side.BID.value] += trade.energy.wh
    total: Counter[tuple[str, str, str]] = Counter()
    for order_id, schedule in clearing.schedules.items():
        for index, wh in enumerate(schedule.wh, schedule.start):
            if wh:
                side = Side.BID.value if wh > 0 else Side.OFFER.value
                total[row_id(order_id), keys[index], side] += abs(wh)
    found: dict[str, list[Got]] = defaultdict(list)
    for (order_id, key, on), wh in sorted(total.items()):
        found[order_id].append(Got(key, on, wh, local[order_id, key, on]))
    return found


def _judged(row: ForwardOrderRow, clearing: SessionClearing, got: Sequence[Got]) -> tuple[str, str]:
    """Return the outcome of an order and its reason."""
    wh = sum(each.wh for each in got)
    if not wh:
        if row.order_id in clearing.paradoxically_rejected:
            return PARADOXICAL, _PARADOX
        return REJECTED, _NO_ANSWER if clearing.fallback else _REASONS[row.kind]
    match content_of(row):
        case Steps(profile_wh=profile):
            asked = sum(profile)
        case Block(profile_wh=profile):
            asked = sum(profile)
        case Flexible(energy_wh=energy):
            asked = energy
        case Storage():
            asked = wh
    return (ACCEPTED, "") if wh == asked else (PARTLY, "not all of it found a price within limits")


# --- Leaves (docs/protocol.md, "Session entry") --------------------------------------------------


def order_root(district: str, rows: Sequence[ForwardOrderRow]) -> bytes:
    """Return the root over the leaves of a session's final orders, cancelled ones left out."""
    return root([leaf_hash(_ORDER_LEAF + row.salt + order_text(district, row)) for row in rows])


def order_text(district: str, row: ForwardOrderRow) -> bytes:
    """Return the canonical text of an order's leaf."""
    return canonical(
        {
            "district": district,
            "first": row.session,
            "known_ms": row.known_ms,
            "order": content_of(row).model_dump(mode="json"),
            "order_id": row.order_id,
            "participant": row.participant,
            "point": row.point,
            "version": row.version,
        }
    )


def results_root(
    district: str, rows: Sequence[ForwardResultRow], fills: Iterable[ForwardFillRow]
) -> bytes:
    """Return the root over the leaves of a session's results, in order_id order."""
    got: dict[str, list[ForwardFillRow]] = defaultdict(list)
    for fill in sorted(fills, key=lambda each: (each.interval, each.side)):
        got[fill.order_id].append(fill)
    rows = sorted(rows, key=lambda row: row.order_id)
    return root(
        [
            leaf_hash(_RESULT_LEAF + row.salt + result_text(district, row, got[row.order_id]))
            for row in rows
        ]
    )


def result_text(district: str, row: ForwardResultRow, got: Iterable[ForwardFillRow]) -> bytes:
    """Return the canonical text of a result's leaf."""
    return canonical(
        {
            "district": district,
            "fills": [
                {
                    "interval": fill.interval,
                    "local_wh": fill.local_wh,
                    "side": fill.side,
                    "wh": fill.wh,
                }
                for fill in got
            ],
            "first": row.session,
            "order_id": row.order_id,
            "outcome": row.outcome,
            "version": row.version,
        }
    )

"""An interval worked out again: how a point's energy splits up, and what each part costs.

Written from docs/money.md and docs/protocol.md, "Settlement". Energy is Wh; money micro-euros,
> 0 where it is earned; prices micro-euros per kWh.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from app.audit.rates import Rates

LOCAL: Final = ("local-buy", "local-sell")
VAT: Final = "vat"


def half_up(numerator: int, denominator: int) -> int:
    """Return a fraction rounded to the nearest whole number, halves upwards."""
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest >= denominator)


def worth(price: int, wh: int) -> int:
    """Return what so many Wh come to at a price per kWh."""
    return half_up(price * wh, 1000)


class Line(NamedTuple):
    """One line: a price, an energy, an amount."""

    price: int
    wh: int
    micro: int


@dataclass(frozen=True, slots=True)
class Held:
    """What held for a point in the interval."""

    participant: str
    supplier: str
    tariff: str
    feeder: str
    building: str


@dataclass(frozen=True, slots=True)
class Split:
    """How a point's energies split up; ``near`` are the parts from its building and its feeder."""

    import_wh: int
    export_wh: int
    estimated: bool
    local_in: int = 0
    own_in: int = 0
    local_out: int = 0
    own_out: int = 0
    from_building: int = 0
    from_feeder: int = 0
    bought_micro: int = 0  # what its local energy cost

    @property
    def residual_in(self) -> int:
        """What was drawn and is neither local nor own."""
        return self.import_wh - self.local_in - self.own_in

    @property
    def residual_out(self) -> int:
        """What was fed in and is neither local nor own."""
        return self.export_wh - self.local_out - self.own_out


class Deal(NamedTuple):
    """A trade between two points, with its amount worked out."""

    seller: str
    buyer: str
    wh: int
    price: int
    micro: int
    distance: str


def split(
    metered: Mapping[str, Split], held: Mapping[str, Held], deals: Iterable[Deal]
) -> dict[str, Split]:
    """Return each point's split: its trades, then what its owner's points gave each other."""
    found = dict(metered)
    for deal in deals:
        bought = found[deal.buyer]
        bought = replace(
            bought,
            local_in=bought.local_in + deal.wh,
            bought_micro=bought.bought_micro + deal.micro,
        )
        found[deal.buyer] = _nearer(bought, deal.distance, deal.wh)
        seller = found[deal.seller]
        found[deal.seller] = replace(seller, local_out=seller.local_out + deal.wh)
    for giver, taker, wh in _own(metered, held):
        found[giver] = replace(found[giver], own_out=found[giver].own_out + wh)
        taken = replace(found[taker], own_in=found[taker].own_in + wh)
        found[taker] = _nearer(taken, _distance(held[giver], held[taker]), wh)
    return found


def _nearer(one: Split, distance: str, wh: int) -> Split:
    if distance == "building":
        return replace(one, from_building=one.from_building + wh)
    if distance == "feeder":
        return replace(one, from_feeder=one.from_feeder + wh)
    return one


def _distance(one: Held, other: Held) -> str:
    if not one.feeder or one.feeder != other.feeder:
        return "district"
    return "building" if one.building and one.building == other.building else "feeder"


def _own(metered: Mapping[str, Split], held: Mapping[str, Held]) -> list[tuple[str, str, int]]:
    """Return (giver, taker, Wh) between points of one owner, by point; estimates take no part."""
    owners: dict[str, list[str]] = defaultdict(list)
    for point in sorted(metered):
        if not metered[point].estimated:
            owners[held[point].participant].append(point)
    found = []
    for points in owners.values():
        wanted = {point: metered[point].import_wh for point in points}
        for giver in points:
            left = metered[giver].export_wh
            for taker in points:
                wh = 0 if giver == taker else min(left, wanted[taker])
                if wh:
                    left, wanted[taker] = left - wh, wanted[taker] - wh
                    found.append((giver, taker, wh))
    return found


def memo(rates: Rates, one: Split) -> dict[str, Line]:
    """Return a point's lines beside its trades, by kind; those of nothing are left out."""
    return _memo(rates, one, one.residual_in, one.local_in + one.own_in, one.residual_out)


def _memo(
    rates: Rates, one: Split, residual_in: int, inside: int, residual_out: int
) -> dict[str, Line]:
    building, feeder = (one.from_building, one.from_feeder) if rates.by_distance else (0, 0)
    drawn = residual_in + inside
    imbalance = rates.imbalance
    charged = {
        "residual-import": (rates.energy if imbalance is None else imbalance, residual_in),
        "local-fee": (rates.district, inside - building - feeder),
        "local-fee-feeder": (rates.feeder, feeder),
        "local-fee-building": (rates.building, building),
        "grid-fee": (rates.outside, residual_in),
        "levy": (rates.levy, drawn),
        "tax": (rates.tax, drawn if rates.tax else 0),
    }
    lines = {kind: Line(price, wh, -worth(price, wh)) for kind, (price, wh) in charged.items()}
    net = one.bought_micro - sum(line.micro for line in lines.values())
    paid = rates.feed_in if imbalance is None else imbalance
    lines["residual-export"] = Line(paid, residual_out, worth(paid, residual_out))
    lines[VAT] = Line(0, drawn, -half_up(net * rates.vat_ppm, 1_000_000))
    return {kind: line for kind, line in lines.items() if line.wh or line.micro}


def corrected(first: Split, import_wh: int, export_wh: int) -> Split:
    """Return the split of energies known later: local first, then own, the rest residual."""
    local_in, local_out = min(first.local_in, import_wh), min(first.local_out, export_wh)
    return replace(
        first,
        import_wh=import_wh,
        export_wh=export_wh,
        estimated=False,
        local_in=local_in,
        own_in=min(first.own_in, import_wh - local_in),
        local_out=local_out,
        own_out=min(first.own_out, export_wh - local_out),
    )


def memo_after(rates: Rates, first: Split, now: Split) -> dict[str, Line]:
    """Return a corrected point's lines: what it traded and lacks is bought, or sold, back."""
    inside = now.local_in + now.own_in
    short = first.local_out + first.own_out - now.local_out - now.own_out
    over = first.local_in + first.own_in - inside
    building = min(first.from_building, inside)
    near = replace(
        now, from_building=building, from_feeder=min(first.from_feeder, inside - building)
    )
    return _memo(rates, near, now.residual_in + short, inside, now.residual_out + over)


def delta(new: Mapping[str, Line], old: Mapping[str, Line]) -> dict[str, Line]:
    """Return new lines less old ones, kind by kind; what stayed as it was is left out."""
    found = {}
    for kind in (*new, *(kind for kind in old if kind not in new)):
        now, was = new.get(kind), old.get(kind)
        price = now.price if now else was.price if was else 0
        wh = (now.wh if now else 0) - (was.wh if was else 0)
        micro = (now.micro if now else 0) - (was.micro if was else 0)
        if wh or micro:
            found[kind] = Line(price, wh, micro)
    return found


def normal(rates: Rates, import_wh: int, export_wh: int) -> int:
    """Return what a point would earn (< 0: owe) on its normal tariff alone, all-in."""
    parts = (rates.energy, rates.outside, rates.levy, rates.tax)
    net = sum(worth(price, import_wh) for price in parts)
    return worth(rates.feed_in, export_wh) - net - half_up(net * rates.vat_ppm, 1_000_000)


def traded(deals: Iterable[Deal]) -> Counter[tuple[str, str]]:
    """Return what was sold and bought, in Wh, by (side, point)."""
    found: Counter[tuple[str, str]] = Counter()
    for deal in deals:
        found["offer", deal.seller] += deal.wh
        found["bid", deal.buyer] += deal.wh
    return found

"""An order book as others may see it: bands of limits, five participants in each. Pure.

One side of a book is told either whole or not at all. Whoever knows the total (and everybody
does: it is what the district fed in) and all bands but one knows that one, too; so no single band
is ever left out. Bands depend on the book alone and not on who looks, for all who look at their own
account, so that what two viewers see together tells no more than what each sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from app.services.privacy import too_few
from app.tables import OrderRow
from market.order import Side
from web.ports.market import Band
from web.present import MICRO_PER_CENT


@dataclass(frozen=True, slots=True)
class Seen:
    """A side of a book: its bands with the orders in each, or nothing where too few stand there.

    Bands ascend. An empty side is not ``hidden``.
    """

    bands: Sequence[tuple[Band, Sequence[OrderRow]]]
    hidden: bool

    @property
    def exact(self) -> bool:
        """Whether every band is one price tick."""
        return not self.hidden and all(band.exact for band, _ in self.bands)


def side_of(orders: Iterable[OrderRow], side: Side, own: frozenset[str]) -> Seen:
    """Return a side in the finest bands, from the cheapest limit on, that five stand in each.

    What is left over at the dear end joins the last band.
    """
    mine = sorted((o for o in orders if o.side == side), key=_limit)
    if not mine:
        return Seen((), hidden=False)

    def few(group: Iterable[OrderRow]) -> bool:
        return too_few({order.participant for order in group}, own)

    groups: list[list[OrderRow]] = [[]]
    for _, tick in groupby(mine, key=_limit):
        if not few(groups[-1]):
            groups.append([])
        groups[-1] += tick
    if few(groups[-1]) and len(groups) > 1:
        groups[-2:] = [groups[-2] + groups[-1]]
    if few(groups[0]):
        return Seen((), hidden=True)
    return Seen([(_band(group), group) for group in groups], hidden=False)


def _limit(order: OrderRow) -> int:
    return order.limit_micro_per_kwh


def _band(group: Sequence[OrderRow]) -> Band:
    """Return the band of orders in ascending order of limits.

    Several limits are told by the whole cents around them, since the outermost are single orders'.
    """
    low, high = group[0].limit_micro_per_kwh, group[-1].limit_micro_per_kwh
    if low != high:
        low = low // MICRO_PER_CENT * MICRO_PER_CENT
        high = -(-high // MICRO_PER_CENT) * MICRO_PER_CENT
    return Band(
        side=group[0].side,
        low_micro_per_kwh=low,
        high_micro_per_kwh=high,
        quantity_wh=sum(order.wh for order in group),
        traded_wh=sum(order.cleared_wh for order in group),
    )

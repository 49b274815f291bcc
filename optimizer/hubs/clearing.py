"""Clearing a book in which places, products or fees matter: a price for every hub.

``book`` drops the places that make no difference and adds equal orders up to ticks,
``solve`` finds the one optimum that all rules leave (``model`` is the LP), ``network``
certifies it in whole numbers and gives the prices, ``shares`` is fair at the margin, and
``trades`` says who buys from whom. ``rates`` does the rules that fix a rate instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from market.money import Price
from market.order import GRID
from market.place import Place, Product
from market.trade import Trade, traded_wh
from metering.quantities import Energy
from optimizer.hubs.book import hub_book
from optimizer.hubs.network import Face, is_bound, middle, network, pool_node, price_bounds
from optimizer.hubs.rates import at_rates
from optimizer.hubs.solve import settled
from optimizer.hubs.trades import Cleared, Pool, PoolKey, pools, trades
from optimizer.problem import AT_A_RATE, Clearing, Hub, Interval, Problem, welfare_micro

_DISTRICT: Final = (Place(), Product.ANY)


def clear_hubs(problem: Problem) -> Clearing:
    """Clear a book by hubs. The outcome depends on nothing but the problem.

    Raises:
        SolverTimeoutError: the time limit around it (``compiled.time_limit``) is over.
        SolverError: no exact optimum was found: keep the book, tell a person;
            ``optimizer.fallback`` closes the interval.
        PricingError: the rule cannot price this book.
    """
    at_a_rate = problem.rule in AT_A_RATE
    cleared, supplied = at_rates(problem) if at_a_rate else (at_the_margin(problem), [])
    hubs = sorted(
        (pool for pool in cleared if pool.trades),
        key=lambda pool: (pool.place.level, pool.place, pool.product),
    )
    found = (*(trade for hub in hubs for trade in hub.trades), *supplied)
    price, interval = _common(cleared, hubs)
    return Clearing(
        price=price,
        price_interval=interval,
        cleared=_energy(found),
        welfare_micro=welfare_micro(problem, found),
        allocations=_allocations(problem, found),
        trades=found,
        grid_import=_energy([trade for trade in found if trade.seller == GRID]),
        grid_export=_energy([trade for trade in found if trade.buyer == GRID]),
        hubs=tuple(
            Hub(hub.place, hub.product, hub.price, hub.interval, _energy(hub.trades))
            for hub in hubs
        ),
    )


def at_the_margin(problem: Problem) -> list[Cleared]:
    """Clear by the limits, the supplier among them (uniform, pay-as-bid).

    A pool's price is the floor of the middle of its lowest and its highest price.
    """
    book = hub_book(problem)
    net = network(book, problem)
    flow, _ = settled(book, net, problem.tie_key)
    lowest, highest = price_bounds(net, flow, Face(net.most * 0, net.most))
    prices = middle(lowest, highest)
    filled = pools(book, net, flow, problem.tie_key)
    result = []
    for i, place in enumerate(book.places):
        for product in Product:
            node = pool_node(i, product)
            bounds = int(lowest[node]), int(highest[node])
            price = Price(int(prices[node]))
            made = trades(place, product, filled.get(PoolKey(i, product), Pool()), price, problem)
            lo, hi = (Price(bound) if is_bound(bound) else None for bound in bounds)
            result.append(Cleared(place, product, price, (lo, hi), made))
    return result


def _common(cleared: Sequence[Cleared], hubs: Sequence[Cleared]) -> tuple[Price | None, Interval]:
    """Return the price if all hubs with a trade have the same, and its interval.

    The interval is that of the only hub with a trade, of the district's pool where nothing trades,
    and none where several hubs trade.
    """
    prices = {hub.price for hub in hubs}
    price = hubs[0].price if len(prices) == 1 else None
    if len(hubs) == 1:
        return price, hubs[0].interval
    if not hubs:
        for pool in cleared:
            if (pool.place, pool.product) == _DISTRICT:
                return None, pool.interval
    return price, (None, None)


def _allocations(problem: Problem, found: Sequence[Trade]) -> dict[str, int]:
    got = traded_wh(found)
    return {order_id: got[order_id] for order_id in sorted(o.order_id for o in problem.book.orders)}


def _energy(found: Sequence[Trade]) -> Energy:
    return Energy(sum(trade.energy.wh for trade in found))

"""The hubs' slow oracle: every pair of orders a variable, straight from the definition.

Knows nothing of pools, stations or graphs, and shares no code with the engine.
"""

import itertools

import numpy as np
from scipy.optimize import linprog

from market.order import Side
from market.place import Level, Product


def nearest_level(bid, offer):
    """How far energy travels between two orders at the least."""
    if bid.place.building and bid.place == offer.place:
        return Level.BUILDING
    if bid.place.feeder and bid.place.feeder == offer.place.feeder:
        return Level.FEEDER
    return Level.DISTRICT


def pair_value(bid, offer, fees):
    """What a kWh between two orders is worth, fee and limits deducted; None where it is barred."""
    level = nearest_level(bid, offer)
    if level > min(bid.wish.level, offer.wish.level):
        return None
    green = offer.wish.product is Product.GREEN
    if bid.wish.only and not green:
        return None
    worth = bid.limit.micro_per_kwh + (bid.wish.premium.micro_per_kwh if green else 0)
    fee = (fees.building, fees.feeder, fees.district)[level].micro_per_kwh
    return worth - fee - offer.limit.micro_per_kwh


def pairs(problem):
    """All (value, bid or None, offer or None); None stands for the supplier."""
    bids = [o for o in problem.book.orders if o.side is Side.BID]
    offers = [o for o in problem.book.orders if o.side is Side.OFFER]
    found = []
    for bid, offer in itertools.product(bids, offers):
        value = pair_value(bid, offer, problem.fees)
        if value is not None:
            found.append((value, bid, offer))
    for bid in bids:
        if problem.ceiling is not None and bid.wish.level is Level.DISTRICT and not bid.wish.only:
            value = bid.limit.micro_per_kwh - problem.ceiling.micro_per_kwh
            found.append((value, bid, None))
    for offer in offers:
        if problem.floor is not None and offer.wish.level is Level.DISTRICT:
            value = problem.floor.micro_per_kwh - offer.limit.micro_per_kwh
            found.append((value, None, offer))
    return found


def best(problem):
    """The most that all pairs together can be worth (micro-euros per 1000), by HiGHS."""
    found = pairs(problem)
    return _most(problem, found, [value for value, _, _ in found])


def bonus_of(bid, offer):
    """What volume counts, where money does not decide: a local pair 4, the supplier's 1."""
    return 4 if bid and offer else 1


def bonus_at_best(problem, welfare):
    """The most volume of all flows that are worth ``welfare``."""
    found = pairs(problem)
    worth = ([[-value for value, _, _ in found]], [-welfare + 1e-6])
    return _most(problem, found, [bonus_of(bid, offer) for _, bid, offer in found], worth)


def _most(problem, found, gains, more=None):
    if not found:
        return 0
    orders = {o.order_id: i for i, o in enumerate(problem.book.orders)}
    matrix = np.zeros((len(orders), len(found)))
    for column, (_, bid, offer) in enumerate(found):
        for order in (bid, offer):
            if order is not None:
                matrix[orders[order.order_id], column] = 1
    limits = np.array([o.quantity.wh for o in problem.book.orders], dtype=float)
    if more:
        matrix, limits = np.vstack((matrix, more[0])), np.append(limits, more[1])
    costs = [-gain for gain in gains]
    return round(-linprog(costs, A_ub=matrix, b_ub=limits, method="highs").fun)


def most_by_hand(problem):
    """Welfare in eighths and the bonus, by trying every flow of a tiny book, Wh by Wh."""
    found = pairs(problem)
    left = {o.order_id: o.quantity.wh for o in problem.book.orders}

    def search(at):
        if at == len(found):
            return 0
        value, bid, offer = found[at]
        names = [o.order_id for o in (bid, offer) if o is not None]
        result = None
        for wh in range(min(left[name] for name in names) + 1):
            for name in names:
                left[name] -= wh
            rest = wh * (8 * value + bonus_of(bid, offer)) + search(at + 1)
            for name in names:
                left[name] += wh
            result = rest if result is None else max(result, rest)
        return result

    return search(0)


def most_of(problem, welfare, bonus, names):
    """The most that the named orders can get together in any flow of this welfare and volume."""
    found = pairs(problem)
    worth = (
        [
            [-value for value, _, _ in found],
            [-bonus_of(bid, offer) for _, bid, offer in found],
        ],
        [-welfare + 1e-6, -bonus + 1e-6],
    )
    gains = [
        sum(order is not None and order.order_id in names for order in (bid, offer))
        for _, bid, offer in found
    ]
    return _most(problem, found, gains, worth)

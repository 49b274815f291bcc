"""The proof in integers that a session's clearing keeps every promise, whoever made it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from market.money import PPM, Price
from market.order import GRID, Side
from market.session_orders import BlockOrder, FlexibleOrder, StepOrder, StorageOrder
from market.sessions import Schedule, SessionClearing, SessionProblem
from optimizer.compiled import SolverError


def certify_session(problem: SessionProblem, found: SessionClearing) -> None:
    """Check quantities, balance, links, limits and trades of a clearing, in whole Wh and prices.

    Raises:
        SolverError: something does not hold; names the order or the interval.
    """
    if list(found.schedules) != sorted(order.order_id for order in problem.book):
        raise SolverError("the clearing's orders are not the book's")
    prices = [0 if price is None else price.micro_per_kwh for price in found.prices]
    for order in problem.book:
        schedule = found.schedules[order.order_id]
        if isinstance(order, StepOrder):
            holds = _step_holds(order, schedule, prices)
        elif isinstance(order, BlockOrder):
            holds = _block_holds(order, schedule) and _family_gains(problem, found, order, prices)
        elif isinstance(order, FlexibleOrder):
            holds = _flexible_holds(order, schedule, prices)
        else:
            holds = _storage_holds(order, schedule, found.stored_wh[order.order_id], prices)
        if not holds:
            raise SolverError(f"order {order.order_id!r} is not served as it must be: report it")
    _check_links(problem, found)
    _check_intervals(problem, found)


def _step_holds(step: StepOrder, schedule: Schedule, prices: Sequence[int]) -> bool:
    order, (wh,) = step.order, schedule.wh
    sign = 1 if order.side is Side.BID else -1
    gains = sign * (order.limit.micro_per_kwh - prices[step.index]) >= 0
    return (
        schedule.start == step.index and 0 <= sign * wh <= order.quantity.wh and (gains or not wh)
    )


def _block_holds(block: BlockOrder, schedule: Schedule) -> bool:
    """Each interval is within 2 Wh of its part of the block's energy, which is 0 or enough."""
    sign = 1 if block.side is Side.BID else -1
    taken = [sign * wh for wh in schedule.wh]
    energy = sum(taken)
    return (
        (schedule.start, len(taken)) == (block.start, len(block.profile_wh))
        and (energy == 0 or block.least_wh <= energy <= block.energy_wh)
        and all(
            0 <= wh <= most and abs(wh * block.energy_wh - energy * most) < 2 * block.energy_wh
            for wh, most in zip(taken, block.profile_wh, strict=True)
        )
    )


def _family_gains(
    problem: SessionProblem, found: SessionClearing, block: BlockOrder, prices: Sequence[int]
) -> bool:
    """An accepted block and its descendants together do not lose."""
    if not any(found.schedules[block.order_id].wh):
        return True
    family, surplus = [block.order_id], 0
    for order_id in family:
        family += [b.order_id for b in problem.book.blocks if b.parent == order_id]
        limit = problem.book.block_by_id[order_id].limit.micro_per_kwh
        start, taken = found.schedules[order_id]
        surplus += sum(wh * (limit - prices[t]) for t, wh in enumerate(taken, start))
    return surplus >= 0


def _flexible_holds(order: FlexibleOrder, schedule: Schedule, prices: Sequence[int]) -> bool:
    return (
        (schedule.start, len(schedule.wh)) == (order.start, order.deadline - order.start)
        and sum(schedule.wh) <= order.energy.wh
        and all(
            0 <= wh <= order.most_wh and (not wh or prices[t] <= order.limit.micro_per_kwh)
            for t, wh in enumerate(schedule.wh, order.start)
        )
    )


def _storage_holds(
    storage: StorageOrder, schedule: Schedule, stored: Sequence[int], prices: Sequence[int]
) -> bool:
    """Signed quantities cannot charge and discharge at once; the rest is walked through."""
    charged = discharged = gain = 0
    for wh, held, price in zip(schedule.wh, stored, prices, strict=True):
        charged += max(wh, 0)
        discharged += max(-wh, 0)
        gain -= price * wh + storage.least_gain.micro_per_kwh * max(-wh, 0)
        left = storage.initial.wh + charged * storage.efficiency_ppm // PPM - discharged
        if not (
            -storage.most_discharge_wh <= wh <= storage.most_charge_wh
            and 0 <= held <= storage.capacity.wh
            and held == left
        ):
            return False
    return gain >= 0 and stored[-1] >= storage.least_final.wh


def _check_links(problem: SessionProblem, found: SessionClearing) -> None:
    blocks = problem.book.block_by_id
    for block in problem.book.blocks:
        if block.parent:
            parent = blocks[block.parent]
            child_wh = abs(sum(found.schedules[block.order_id].wh))
            parent_wh = abs(sum(found.schedules[parent.order_id].wh))
            if child_wh * parent.energy_wh > parent_wh * block.energy_wh:
                raise SolverError(f"block {block.order_id!r} takes more than its parent's share")


def _check_intervals(problem: SessionProblem, found: SessionClearing) -> None:
    """Every interval balances, and its trades add up to what the orders get, at its price."""
    wanted: Counter[tuple[int, str]] = Counter()
    for order_id, (start, taken) in found.schedules.items():
        for t, wh in enumerate(taken, start):
            wanted[t, order_id] += wh
    owner = {order.order_id: order.participant for order in problem.book}
    for t, trades in enumerate(found.trades):
        if not _supplier_holds(problem, found, t):
            raise SolverError(f"interval {t}: the supplier trades at another price than its own")
        wanted[t, GRID] += found.grid_export[t].wh - found.grid_import[t].wh
        for trade in trades:
            wanted[t, trade.seller] += trade.energy.wh
            wanted[t, trade.buyer] -= trade.energy.wh
            own = owner.get(trade.seller) == owner.get(trade.buyer)
            if trade.price != (Price(0) if own else found.prices[t]) or trade.energy.wh <= 0:
                raise SolverError(f"interval {t}: a trade at another price than its interval's")
    if any(wanted.values()):
        (t, order_id), _ = next(item for item in wanted.items() if item[1])
        raise SolverError(f"interval {t}: the trades of {order_id!r} do not add up: report it")


def _supplier_holds(problem: SessionProblem, found: SessionClearing, t: int) -> bool:
    """Whether the supplier buys at its feed-in price and sells at its retail price, if at all."""
    return all(
        wh.wh == 0 or (wh.wh > 0 and own is not None and found.prices[t] == own[t])
        for wh, own in (
            (found.grid_export[t], problem.floors),
            (found.grid_import[t], problem.ceilings),
        )
    )

"""From the solver's plan to whole watt-hours, interval by interval, exactly balanced.

Without lossy storages and blocks in part, the plan is whole already (a network flow). Otherwise:

- A block takes the nearest whole energy, shared out over its profile by largest remainder.
- By each interval a storage has charged what its plan charges by then, rounded up, and discharged
  what its plan does, rounded down, never more than it holds; its loss is rounded up over the
  session. Where that does not fit, or a storage loses by it, both are rounded to the nearest.
- Everything else is rounded down. What is then missing or left over in an interval is made good by
  the ticks at the margin and the supplier (whom the price suits to the watt-hour), by rounding up
  what storages discharge or flexible orders take, by 1 Wh of a block in part, and then by taking
  back accepted energy of the longer side: the supplier's, that of the worst limit, flexible
  orders, storages. So nobody is made to trade beyond their limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from market.money import PPM, largest_remainder
from market.session_orders import StorageOrder
from optimizer.compiled import Floats, SolverError
from optimizer.session.data import Integers, SessionData, Ticks, block_sign
from optimizer.session.model import Plan

_NEAR_WH = 1e-3
_NOISE_WH = 1e-6
_TRIES = 4


class UnfitError(SolverError):
    """An order that whole watt-hours cannot serve: clear again without it."""

    def __init__(self, order_id: str, why: str) -> None:
        super().__init__(f"order {order_id!r} {why}")
        self.order_id = order_id


@dataclass(frozen=True)
class Whole:
    """A plan in whole Wh, with the meanings of ``Plan``.

    ``blocks``: the energy that each block takes, ``profiles``: the same per interval of its
    profile; ``stored``: what a storage holds at the end of an interval.
    """

    bids: Integers
    offers: Integers
    grid_import: Integers
    grid_export: Integers
    blocks: list[int]
    profiles: list[list[int]]
    flexible: Integers
    charge: Integers
    discharge: Integers
    stored: Integers


class Rounding(NamedTuple):
    """How what storages have charged and discharged by each interval becomes whole."""

    charged: Callable[[Floats], Integers]
    discharged: Callable[[Floats], Integers]


def in_whole_wh(data: SessionData, plan: Plan, rounding: Rounding) -> Whole:
    """Return the plan in whole watt-hours, balanced in every interval.

    Raises:
        UnfitError: an interval cannot be balanced, a block's share falls below its least, or a
            storage would end too empty.
    """
    reserve = [storage.least_final.wh for storage in data.storages]
    for _ in range(_TRIES):
        draft = _walk(data, plan, reserve, rounding)
        short = [s for s, wh in enumerate(reserve) if draft.stored[s, -1] < _least(data, s)]
        if not short:
            return draft
        for s in short:  # what was not charged in the end must not be sold before
            reserve[s] += _least(data, s) - int(draft.stored[s, -1])
    raise UnfitError(data.storages[short[0]].order_id, "would end emptier than it may")


def _least(data: SessionData, s: int) -> int:
    return data.storages[s].least_final.wh


def _walk(data: SessionData, plan: Plan, reserve: Sequence[int], rounding: Rounding) -> Whole:
    """Go through the intervals once; ``reserve`` is what each storage keeps for its end."""
    blocks = _block_energies(data, plan)
    profiles = [
        largest_remainder(wh, block.profile_wh, [bytes([i]) for i in range(len(block.profile_wh))])
        for block, wh in zip(data.blocks, blocks, strict=True)
    ]
    shape = (len(data.storages), data.intervals)
    draft = Whole(
        _down(plan.bids),
        _down(plan.offers),
        _down(plan.grid_import),
        _down(plan.grid_export),
        blocks,
        profiles,
        _down(plan.flexible),
        *(np.zeros(shape, dtype=np.int64) for _ in range(3)),
    )
    from_blocks = _from_blocks(data, profiles)
    targets = rounding.charged(np.cumsum(plan.charge, axis=1))
    sold = rounding.discharged(np.cumsum(plan.discharge, axis=1))
    for t in range(data.intervals):
        spare = []
        for s, storage in enumerate(data.storages):
            _charge(draft, storage, s, t, targets[s])
            planned = int(np.ceil(plan.discharge[s, t] - _NEAR_WH))
            spare.append(min(planned, _spare(draft, storage, s, t, targets[s], reserve[s])))
            wanted = int(sold[s, t] - draft.discharge[s, :t].sum())
            draft.discharge[s, t] = max(0, min(wanted, spare[s]))
        _balance(data, plan, draft, t, int(from_blocks[t]), spare)
        for s, storage in enumerate(data.storages):
            draft.stored[s, t] = _held(storage, draft, s, t + 1)
    return draft


def _block_energies(data: SessionData, plan: Plan) -> list[int]:
    """Return each block's energy: the nearest whole one, at most by its parent's share."""
    place = {block.order_id: b for b, block in enumerate(data.blocks)}
    found: dict[int, int] = {}

    def energy(b: int) -> int:
        if b in found:
            return found[b]
        block = data.blocks[b]
        wh = round(float(plan.shares[b]) * block.energy_wh) if plan.accepted[b] else 0
        wh = min(max(wh, block.least_wh if plan.accepted[b] else 0), block.energy_wh)
        if block.parent:
            parent = data.blocks[place[block.parent]]
            wh = min(wh, energy(place[block.parent]) * block.energy_wh // parent.energy_wh)
        if plan.accepted[b] and wh < block.least_wh:
            raise UnfitError(block.order_id, "would get less than its least share")
        found[b] = wh
        return wh

    return [energy(b) for b in range(len(data.blocks))]


def _from_blocks(data: SessionData, profiles: list[list[int]]) -> Integers:
    """Return what blocks draw less what they feed in, per interval."""
    drawn = np.zeros(data.intervals, dtype=np.int64)
    for block, profile in zip(data.blocks, profiles, strict=True):
        drawn[block.start : block.start + len(profile)] += block_sign(block) * np.array(profile)
    return drawn


def _held(storage: StorageOrder, draft: Whole, s: int, end: int) -> int:
    """Return what a storage holds after ``end`` intervals; its loss so far is rounded up."""
    charged, discharged = int(draft.charge[s, :end].sum()), int(draft.discharge[s, :end].sum())
    return storage.initial.wh + charged * storage.efficiency_ppm // PPM - discharged


def _charge(draft: Whole, storage: StorageOrder, s: int, t: int, targets: Integers) -> None:
    """Set what a storage charges in ``t``: up to its target, as far as it has room."""
    charged, discharged = int(draft.charge[s, :t].sum()), int(draft.discharge[s, :t].sum())
    if targets[t] > (targets[t - 1] if t else 0):
        room = storage.capacity.wh - storage.initial.wh + discharged + 1
        most = (room * PPM - 1) // storage.efficiency_ppm - charged
        wanted = int(targets[t]) - charged  # with what was taken back before
        draft.charge[s, t] = max(0, min(wanted, storage.most_charge_wh, most))


def _spare(
    draft: Whole, storage: StorageOrder, s: int, t: int, targets: Integers, reserve: int
) -> int:
    """Return the most that a storage may discharge in ``t``, now and with a view to its end."""
    charged, discharged = int(draft.charge[s, :t].sum()), int(draft.discharge[s, :t].sum())
    in_the_end = charged + int(targets[-1] - targets[t])
    held = storage.initial.wh + in_the_end * storage.efficiency_ppm // PPM - discharged
    return min(_held(storage, draft, s, t), held - reserve)


def _balance(
    data: SessionData, plan: Plan, draft: Whole, t: int, from_blocks: int, spare: Sequence[int]
) -> None:
    """Make the interval's sums equal; ``spare`` is the most that each storage may discharge.

    Raises:
        UnfitError: blocks alone do not balance.
    """
    bids, offers = _of_interval(data.bids, t), _of_interval(data.offers, t)
    drawn = int(draft.bids[bids].sum() + draft.flexible[:, t].sum() + draft.charge[:, t].sum())
    drawn += int(draft.grid_export[t]) + from_blocks
    fed_in = int(draft.offers[offers].sum() + draft.discharge[:, t].sum() + draft.grid_import[t])
    missing = drawn - fed_in
    here = slice(t, t + 1)
    if missing > 0:
        missing -= _raise(
            draft.offers[offers], plan.offers[offers], data.offers.volume[offers], missing
        )
        if plan.grid_import[t] > _NEAR_WH:
            draft.grid_import[t] += missing
            missing = 0
        missing -= _round_up(draft.discharge[:, t], spare, missing)
        missing = _nudge(data, draft, t, missing)
        for taken in (
            draft.grid_export[here],
            draft.bids[bids],
            draft.flexible[:, t],
            draft.charge[:, t],
        ):
            missing -= _take_back(taken, missing)
    elif missing < 0:
        missing += _raise(draft.bids[bids], plan.bids[bids], data.bids.volume[bids], -missing)
        if plan.grid_export[t] > _NEAR_WH:
            draft.grid_export[t] -= missing
            missing = 0
        missing += _round_up(draft.flexible[:, t], _room(data, plan, draft, t), -missing)
        missing = _nudge(data, draft, t, missing)
        for taken in (draft.grid_import[here], draft.offers[offers][::-1], draft.discharge[:, t]):
            missing += _take_back(taken, -missing)
    if missing:
        raise UnfitError(*_culprit(data, draft, t))


def _round_up(fills: Integers, most: Sequence[int], wh: int) -> int:
    """Give up to ``wh`` more, 1 Wh to each of those that have less than ``most``; the sum given."""
    given = 0
    for i, limit in enumerate(most):
        if given < wh and fills[i] < limit:
            fills[i] += 1
            given += 1
    return given


def _room(data: SessionData, plan: Plan, draft: Whole, t: int) -> list[int]:
    """Return what each flexible order may take in ``t``: its plan rounded up, within its energy."""
    planned = _up(plan.flexible[:, t]).tolist()
    taken = draft.flexible.sum(axis=1) - draft.flexible[:, t]
    return [
        min(wh, order.energy.wh - int(other))
        for wh, order, other in zip(planned, data.flexible, taken, strict=True)
    ]


def _nudge(data: SessionData, draft: Whole, t: int, missing: int) -> int:
    """Let blocks in part take 1 Wh more or less in ``t``, and return what is missing then."""
    for b, block in enumerate(data.blocks):
        here = t - block.start
        if missing and 0 <= here < len(block.profile_wh) and draft.blocks[b]:
            change = -block_sign(block) * (1 if missing > 0 else -1)
            energy, wh = draft.blocks[b] + change, draft.profiles[b][here] + change
            fits = 0 <= wh <= block.profile_wh[here] and block.least_wh <= energy
            if draft.blocks[b] < block.energy_wh and fits and _links_hold(data, draft, b, energy):
                draft.blocks[b], draft.profiles[b][here] = energy, wh
                missing += change * block_sign(block)
    return missing


def _links_hold(data: SessionData, draft: Whole, b: int, energy: int) -> bool:
    """Whether a block may take this energy beside its parent and its children."""
    block = data.blocks[b]
    return all(
        energy * other.energy_wh <= draft.blocks[o] * block.energy_wh
        if other.order_id == block.parent
        else other.parent != block.order_id
        or draft.blocks[o] * block.energy_wh <= energy * other.energy_wh
        for o, other in enumerate(data.blocks)
    )


def _raise(fills: Integers, plan: Floats, volume: Integers, wh: int) -> int:
    """Give up to ``wh`` more to ticks that the plan fills in part; return what was given."""
    given = 0
    for i in np.flatnonzero((plan > _NEAR_WH) & (plan < volume - _NEAR_WH)).tolist():
        more = min(int(volume[i] - fills[i]), wh - given)
        fills[i] += more
        given += more
    return given


def _take_back(fills: Integers, wh: int) -> int:
    """Take up to ``wh`` back, the first fills first; return what was taken."""
    taken = 0
    for i in np.flatnonzero(fills).tolist():
        if taken == wh:
            break
        less = min(int(fills[i]), wh - taken)
        fills[i] -= less
        taken += less
    return taken


def _culprit(data: SessionData, draft: Whole, t: int) -> tuple[str, str]:
    """Return a block of an interval that does not balance, one in part before others, and why."""
    here = [
        (draft.blocks[b] == block.energy_wh, b)
        for b, block in enumerate(data.blocks)
        if draft.blocks[b] and block.start <= t < block.start + len(block.profile_wh)
    ]
    if not here:
        raise SolverError(f"interval {t} does not balance: keep the session's book and report it")
    return data.blocks[min(here)[1]].order_id, f"unbalances interval {t} by its rounding"


def _of_interval(ticks: Ticks, t: int) -> slice:
    first, last = np.searchsorted(ticks.interval, (t, t + 1)).tolist()
    return slice(first, last)


def _down(values: Floats) -> Integers:
    near: NDArray[np.float64] = np.rint(values)
    return np.where(np.abs(values - near) < _NEAR_WH, near, np.floor(values)).astype(np.int64)


def _up(values: Floats) -> Integers:
    return -_down(-values)


def _any_up(values: Floats) -> Integers:
    return np.ceil(values - _NOISE_WH).astype(np.int64)


def _nearest(values: Floats) -> Integers:
    return np.rint(values).astype(np.int64)


# Tried in turn. The second also rounds up what a loss of some millionths asks for.
ROUNDINGS: Final = (
    Rounding(_up, _down),
    Rounding(_any_up, _down),
    Rounding(_nearest, _nearest),
)

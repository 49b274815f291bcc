"""Files of forward orders: the format of ``wattloom session``, for one participant's own orders.

An order of several steps is one row per step, ``ID@INDEX``: so a file that was downloaded, changed
and sent back means the same orders.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from app.files.rows import TableFileError
from app.files.session import OPTIONAL, REQUIRED, read_with_rows
from app.services.forward.book import (
    Block,
    Content,
    Flexible,
    Steps,
    Storage,
    Wanted,
    orders_of,
    own_id_of,
)
from app.services.forward.orders import MAX_ORDERS, ForwardError
from app.tables import ForwardOrderRow
from market.order import Side
from market.session_orders import (
    AnyOrder,
    BlockOrder,
    FlexibleOrder,
    Session,
    SessionError,
    StepOrder,
    StorageOrder,
)

HEADER: Final = (*REQUIRED, *OPTIONAL)
_STEP_ID: Final = re.compile(r"(?P<own>.+)@(?P<index>[0-9]{1,2})")
_SIDES: Final[Mapping[Side, Literal["bid", "offer"]]] = {Side.BID: "bid", Side.OFFER: "offer"}


def read_file(content: bytes, session: Session, participant: str, tick: int) -> list[Wanted]:
    """Return the orders of a participant's file, by the first row of each.

    Raises:
        ForwardError: the file cannot be read, or holds somebody else's order; it names the row.
    """
    try:
        orders, rows = read_with_rows(content, session.first_interval_key, session.intervals, tick)
    except (TableFileError, SessionError) as error:
        raise ForwardError(str(error)) from error
    if len(rows) > MAX_ORDERS * session.intervals:
        raise ForwardError(f"{len(rows)} rows are too many: {MAX_ORDERS} orders are allowed")
    for order in orders:
        if order.participant != participant:
            raise ForwardError(
                f"row {rows[order.order_id]}: participant {order.participant[:40]!r} is not you: "
                f"write {participant!r}"
            )
    steps: dict[str, list[StepOrder]] = defaultdict(list)
    wanted = []
    for order in orders:
        if isinstance(order, StepOrder):
            steps[_own_id(order)].append(order)
        else:
            found = _content(order)
            wanted.append(Wanted(order.order_id, order.point, found, rows[order.order_id]))
    wanted += [_row_of_steps(own, found, rows) for own, found in steps.items()]
    return sorted(wanted, key=lambda item: item.row)


def write_file(rows: Iterable[ForwardOrderRow]) -> bytes:
    """Return stored orders as such a file."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, HEADER, restval="", lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        orders = orders_of(row)
        for order in orders:
            own = own_id_of(row)
            if isinstance(order, StepOrder) and len(orders) > 1:
                own = f"{own}@{order.index}"
            line = {"order_id": own, "participant": row.participant, "point": row.point}
            writer.writerow(line | _fields(order))
    return out.getvalue().encode()


def _own_id(step: StepOrder) -> str:
    found = _STEP_ID.fullmatch(step.order_id)
    return found["own"] if found and int(found["index"]) == step.index else step.order_id


def _row_of_steps(own_id: str, steps: Sequence[StepOrder], rows: Mapping[str, int]) -> Wanted:
    """Return steps of one order, gaps of 0 Wh between them.

    Raises:
        ForwardError: they are of two points, on two sides, or doubled.
    """
    row = min(rows[step.order_id] for step in steps)
    at = {step.index: step.order for step in steps}
    places = {(step.order.point, step.order.side) for step in steps}
    if len(at) != len(steps) or len(places) > 1:
        raise ForwardError(
            f"row {row}: the steps of order {own_id[:40]!r} stand in different intervals of one "
            "point and side, each once"
        )
    (point, side), start, end = places.pop(), min(at), max(at) + 1
    profile = [at[index].quantity.wh if index in at else 0 for index in range(start, end)]
    limits = [at[i].limit.micro_per_kwh if i in at else 0 for i in range(start, end)]
    content = Steps(
        side=_SIDES[side],
        start=start,
        profile_wh=tuple(profile),
        limits_micro_per_kwh=tuple(limits),
    )
    return Wanted(own_id, point, content, row)


def _content(order: BlockOrder | FlexibleOrder | StorageOrder) -> Content:
    match order:
        case BlockOrder():
            return Block(
                side=_SIDES[order.side],
                start=order.start,
                profile_wh=order.profile_wh,
                limit_micro_per_kwh=order.limit.micro_per_kwh,
                min_acceptance_ppm=order.min_acceptance_ppm,
                parent=order.parent,
            )
        case FlexibleOrder():
            return Flexible(
                energy_wh=order.energy.wh,
                power_w=order.power.w,
                start=order.start,
                deadline=order.deadline,
                limit_micro_per_kwh=order.limit.micro_per_kwh,
            )
        case StorageOrder():
            return Storage(
                capacity_wh=order.capacity.wh,
                initial_wh=order.initial.wh,
                least_final_wh=order.least_final.wh,
                charge_w=order.charge.w,
                discharge_w=order.discharge.w,
                efficiency_ppm=order.efficiency_ppm,
                least_gain_micro_per_kwh=order.least_gain.micro_per_kwh,
            )


def _fields(order: AnyOrder) -> dict[str, str | int]:
    match order:
        case StepOrder():
            return {
                "kind": "step",
                "side": str(order.order.side),
                "start": order.index,
                "quantity_wh": order.order.quantity.wh,
                "price_micro_per_kwh": order.order.limit.micro_per_kwh,
            }
        case BlockOrder():
            return {
                "kind": "block",
                "side": str(order.side),
                "start": order.start,
                "quantity_wh": " ".join(map(str, order.profile_wh)),
                "price_micro_per_kwh": order.limit.micro_per_kwh,
                "min_acceptance_ppm": order.min_acceptance_ppm,
                "parent": order.parent.removeprefix(f"{order.participant}."),
            }
        case FlexibleOrder():
            return {
                "kind": "flexible",
                "start": order.start,
                "end": order.deadline,
                "quantity_wh": order.energy.wh,
                "power_w": order.power.w,
                "price_micro_per_kwh": order.limit.micro_per_kwh,
            }
        case StorageOrder():
            return {
                "kind": "storage",
                "quantity_wh": order.capacity.wh,
                "initial_wh": order.initial.wh,
                "final_wh": order.least_final.wh,
                "power_w": order.charge.w,
                "discharge_w": order.discharge.w,
                "efficiency_ppm": order.efficiency_ppm,
                "price_micro_per_kwh": order.least_gain.micro_per_kwh,
            }

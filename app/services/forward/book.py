"""Stored forward orders as the market's: what an order's text says, and the book of a session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from app.store.forward import Said
from app.tables import ForwardOrderRow, ForwardSessionRow
from ledger_client.verify import canonical
from market.money import Price
from market.order import Order, Side
from market.session_orders import (
    AnyOrder,
    BlockOrder,
    FlexibleOrder,
    Session,
    StepOrder,
    StorageOrder,
)
from market.sessions import SessionBook
from metering.quantities import Energy, Power

_PART: Final = "@"  # between an order's id and the index of one of its steps


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Steps(_Content):
    """Energy in each interval from ``start`` on, each with a limit of its own; 0 is no order."""

    kind: Literal["step"] = "step"
    side: Literal["bid", "offer"]
    start: int
    profile_wh: tuple[int, ...]
    limits_micro_per_kwh: tuple[int, ...]


class Block(_Content):
    """A profile at a limit for its average price; ``parent`` is the own id of another block."""

    kind: Literal["block"] = "block"
    side: Literal["bid", "offer"]
    start: int
    profile_wh: tuple[int, ...]
    limit_micro_per_kwh: int
    min_acceptance_ppm: int
    parent: str


class Flexible(_Content):
    """This energy from ``start`` on, before ``deadline``, at that power at most."""

    kind: Literal["flexible"] = "flexible"
    energy_wh: int
    power_w: int
    start: int
    deadline: int
    limit_micro_per_kwh: int


class Storage(_Content):
    """A battery that buys cheap and sells dear over the whole session."""

    kind: Literal["storage"] = "storage"
    capacity_wh: int
    initial_wh: int
    least_final_wh: int
    charge_w: int
    discharge_w: int
    efficiency_ppm: int
    least_gain_micro_per_kwh: int


Content: TypeAlias = Steps | Block | Flexible | Storage
_READ: Final = TypeAdapter[Content](Annotated[Content, Field(discriminator="kind")])


Stored: TypeAlias = ForwardOrderRow | Said


class Wanted(NamedTuple):
    """An order as somebody wants it: its own id ('' for the next number), point and content."""

    own_id: str
    point: str
    content: Content
    row: int = 0  # of the file that it comes from


def text_of(content: Content) -> str:
    """Return the canonical text of an order's content."""
    return canonical(content.model_dump(mode="json")).decode()


def content_of(row: Stored) -> Content:
    """Return what the text of an order says."""
    return _READ.validate_json(row.text)


def session_of(row: ForwardSessionRow) -> Session:
    """Return a session as the market knows it."""
    return Session(row.first, row.intervals)


def qualified(participant: str, own_id: str) -> str:
    """Return an order's id in the session: own ids of two participants never meet."""
    return f"{participant}.{own_id}"


def own_id_of(row: Stored) -> str:
    """Return the id that its participant gave an order."""
    return row.order_id.removeprefix(f"{row.participant}.")


def row_id(order_id: str) -> str:
    """Return the id of the stored order that a market's order is (a step of)."""
    return order_id.partition(_PART)[0]


def buys(row: Stored) -> bool:
    """Return whether an order may buy: all but offers do."""
    content = content_of(row)
    return not isinstance(content, Steps | Block) or content.side == "bid"


def orders_of(row: Stored) -> tuple[AnyOrder, ...]:
    """Return the market's orders of a stored one: several where it is a row of steps.

    Raises:
        SessionError, OrderError, QuantityError: it is none; the message says what to mend.
    """
    content = content_of(row)
    who = (row.order_id, row.participant, row.point)
    match content:
        case Steps():
            return tuple(_steps(row, content))
        case Block():
            return (_block(row, content),)
        case Flexible():
            return (
                FlexibleOrder(
                    *who,
                    Energy(content.energy_wh),
                    Power(content.power_w),
                    content.start,
                    content.deadline,
                    Price(content.limit_micro_per_kwh),
                ),
            )
        case Storage():
            return (
                StorageOrder(
                    *who,
                    Energy(content.capacity_wh),
                    Energy(content.initial_wh),
                    Energy(content.least_final_wh),
                    Power(content.charge_w),
                    Power(content.discharge_w),
                    content.efficiency_ppm,
                    Price(content.least_gain_micro_per_kwh),
                ),
            )


def to_book(rows: Iterable[Stored], held_by: ForwardSessionRow) -> SessionBook:
    """Return the book of a session's orders, in whatever order they stand.

    Raises:
        SessionError: they do not fit together, or one reaches out of the session.
    """
    orders = [order for row in rows for order in orders_of(row)]
    return SessionBook(
        session_of(held_by),
        tuple(order for order in orders if isinstance(order, StepOrder)),
        tuple(order for order in orders if isinstance(order, BlockOrder)),
        tuple(order for order in orders if isinstance(order, FlexibleOrder)),
        tuple(order for order in orders if isinstance(order, StorageOrder)),
    )


def _steps(row: Stored, content: Steps) -> Iterable[StepOrder]:
    steps = zip(content.profile_wh, content.limits_micro_per_kwh, strict=True)
    # A step of 0 Wh is a gap, except where nothing else is there: then it is refused as such.
    for place, (wh, limit) in enumerate(steps):
        if wh or not any(content.profile_wh):
            index = content.start + place
            order_id = f"{row.order_id}{_PART}{index}"
            side, energy = Side(content.side), Energy(wh)
            order = Order(order_id, side, row.participant, row.point, energy, Price(limit))
            yield StepOrder(index, order)


def _block(row: Stored, content: Block) -> BlockOrder:
    return BlockOrder(
        row.order_id,
        Side(content.side),
        row.participant,
        row.point,
        content.start,
        content.profile_wh,
        Price(content.limit_micro_per_kwh),
        content.min_acceptance_ppm,
        qualified(row.participant, content.parent) if content.parent else "",
    )

"""Forward orders: entered, amended, cancelled and undone until the gate closes, in versions."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from sqlmodel import Session

from app.services.forward.book import Wanted, orders_of, own_id_of, qualified, text_of, to_book
from app.services.house import House
from app.store import forward, people, registry
from app.store.forward import Said
from app.tables import ForwardOrderRow, ForwardSessionRow, ForwardStandingRow, MeteringPointRow
from market.money import Price
from market.order import OrderError, Side
from market.session_orders import (
    MAX_INTERVALS,
    AnyOrder,
    BlockOrder,
    SessionError,
    StepOrder,
    StorageOrder,
)
from market.sessions import MAX_BLOCKS, MAX_FLEXIBLE, MAX_STEPS, MAX_STORAGES
from metering.interval import LENGTH_MS, Interval, from_ms
from metering.quantities import QuantityError

MAX_ORDERS: Final = 500  # of one participant in one session
# Of each kind: of one participant, and of all together (a row of steps may hold 96).
_MOST: Final = {
    "step": (MAX_ORDERS, MAX_STEPS // MAX_INTERVALS),
    "block": (50, MAX_BLOCKS),
    "flexible": (50, MAX_FLEXIBLE),
    "storage": (20, MAX_STORAGES),
}
# Which field of the form a refusal of the market is about, by a word of its message.
_FIELD_OF: Final = (
    ("parent", "link"),
    ("descendant", "link"),
    ("both sides", "side"),
    ("least share", "share"),
    ("efficiency", "efficiency"),
    ("capacity", "capacity"),
    ("price", "price"),
    ("limit", "price"),
    ("intervals", "last"),
    ("Wh", "energy"),
)
_ORDER_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")


class ForwardError(ValueError):
    """The order is refused for good: mend ``field`` ('' for the whole) as the message says."""

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.field = field


class GateError(ForwardError):
    """The session takes no orders any more (409): enter it in the next one."""


class NoSuchOrderError(ForwardError):
    """There is no such order of this participant: look at the list."""


def enter(
    house: House, participant: str, entered_by: str, first: str, wanted: Sequence[Wanted]
) -> list[str]:
    """Enter orders, or amend those whose own id stands already: all of them or none.

    ``first`` names the session that they are meant for. An empty own id gets the next number.
    What changes nothing becomes no version. Returns the own ids of what changed.

    Raises:
        GateError: the session takes no orders any more, or never did.
        ForwardError: one cannot be entered so; nothing was written.
    """
    with house.database.write() as session:
        return [
            own_id_of(said)
            for said, changed in _enter(house, session, (participant, entered_by), first, wanted)
            if changed
        ]


def try_out(house: House, participant: str, first: str, wanted: Sequence[Wanted]) -> list[Said]:
    """Return what orders would say if they were entered, and enter none of them.

    Raises:
        GateError, ForwardError: as :func:`enter` would.
    """
    with house.database.write() as session:
        found = _enter(house, session, (participant, participant), first, wanted)
        session.rollback()
    return [said for said, _ in found]


def _enter(
    house: House,
    session: Session,
    who: tuple[str, str],
    first: str,
    wanted: Sequence[Wanted],
) -> list[tuple[Said, bool]]:
    """Enter orders of (participant, who enters them); return each, and whether it changed."""
    participant, entered_by = who
    held_by = _open(house, session, first)
    points, now_ms = people.points(session), house.clock.now_ms()
    theirs = registry.holders(session, held_by.first, held_by.last)
    found = []
    for item in wanted:
        own_id = item.own_id or _next_id(session, first, participant)
        with _row_named(item.row):
            if theirs.get(item.point) != participant:
                raise ForwardError(_not_theirs(session, participant, item.point, held_by), "point")
            said = _checked(house, own_id, participant, points[item.point], item)
        before = next(iter(forward.versions(session, first, said.order_id)[-1:]), None)
        changed = before is None or Said.of(before) != said
        if changed:
            forward.add_version(session, before, said, first, now_ms, entered_by)
        found.append((said, changed))
    _check_book(session, held_by, participant)
    return found


def cancel(house: House, participant: str, entered_by: str, first: str, own_id: str) -> None:
    """Cancel an order; one that is cancelled stays so.

    Raises:
        GateError: the session takes no orders any more.
        NoSuchOrderError: it is not there, or not theirs.
        ForwardError: another block hangs on it.
    """
    with house.database.write() as session:
        held_by = _open(house, session, first)
        before = _versions(session, participant, first, own_id)[-1]
        if before.state == "entered":
            said = Said.of(before)._replace(state="cancelled")
            now_ms = house.clock.now_ms()
            forward.add_version(session, before, said, first, now_ms, entered_by)
        _check_book(session, held_by, participant)


def undo(house: House, participant: str, entered_by: str, first: str, own_id: str) -> None:
    """Take back an order's last change: a further version that repeats the one before it.

    A first version is cancelled. Doing it twice brings the change back.

    Raises:
        GateError: the session takes no orders any more.
        NoSuchOrderError: it is not there, or not theirs.
        ForwardError: the order as it was does not fit the others any more.
    """
    with house.database.write() as session:
        held_by = _open(house, session, first)
        *earlier, last = _versions(session, participant, first, own_id)
        said = Said.of(earlier[-1]) if earlier else Said.of(last)._replace(state="cancelled")
        forward.add_version(session, last, said, first, house.clock.now_ms(), entered_by)
        _check_book(session, held_by, participant)


def set_by_forecast(house: House, participant: str, entered_by: str, *, wanted: bool) -> None:
    """Say whether orders are made by forecast where none stands; a repetition changes nothing."""
    with house.database.write() as session:
        people.district(session, lock=True)  # two at a time get two numbers
        before = forward.standing(session).get(participant)
        if (before.by_forecast if before else False) == wanted:
            return
        session.add(
            ForwardStandingRow(
                participant=participant,
                version=before.version + 1 if before else 1,
                by_forecast=wanted,
                known_ms=house.clock.now_ms(),
                entered_by=entered_by,
            )
        )


def order_limits(session: Session, first: str, key: str, price: Price) -> Mapping[str, Price]:
    """Return the strictest limit of each point and side that got energy in an interval.

    Steps count with their limit; the limit of any other order is an average or depends on other
    intervals, so that the session's price itself stands for it.
    """
    rows = {row.order_id: row for row in forward.final_orders(session, first)}
    interval = Interval.parse(key)
    found: dict[str, list[Price]] = defaultdict(list)
    for fill in forward.fills_of(session, first, key):
        row = rows[fill.order_id]
        found[f"{row.point}-{fill.side}"] += _limits(row, first, interval) or [price]
    return {
        order_id: min(limits) if order_id.endswith(Side.BID) else max(limits)
        for order_id, limits in found.items()
    }


def _limits(row: ForwardOrderRow, first: str, interval: Interval) -> list[Price]:
    """Return the limit of the step that an order has in an interval, if it has one."""
    index = (interval.start_ms - Interval.parse(first).start_ms) // LENGTH_MS
    steps = (order for order in orders_of(row) if isinstance(order, StepOrder))
    return [step.order.limit for step in steps if step.index == index]


def _open(house: House, session: Session, first: str) -> ForwardSessionRow:
    """Return the session, locked, while its gate is open."""
    row = forward.lock(session, first, "open")
    if row is not None and house.clock.now_ms() < row.gate_ms:
        return row
    known = forward.get(session, first)
    if known is None:
        raise GateError("no session takes orders for that time: load the page again")
    closed = from_ms(known.gate_ms).astimezone(house.settings.tz)
    raise GateError(
        f"the gate of this session closed at {closed:%H:%M %Z} on {closed.day} {closed:%B %Y}: "
        "enter the order in the next session"
    )


def _versions(
    session: Session, participant: str, first: str, own_id: str
) -> Sequence[ForwardOrderRow]:
    found = forward.versions(session, first, qualified(participant, own_id))
    if not found or found[0].participant != participant:
        raise NoSuchOrderError(f"there is no order {own_id[:40]!r} of yours in this session")
    return found


def _next_id(session: Session, first: str, participant: str) -> str:
    """Return the first free number."""
    taken = {own_id_of(row) for row in forward.final_orders(session, first, participant)}
    return next(str(n) for n in range(1, len(taken) + 2) if str(n) not in taken)


def _not_theirs(session: Session, participant: str, point: str, held_by: ForwardSessionRow) -> str:
    """Say why a participant cannot order for a point: it is not theirs, or not all the time."""
    ends = (registry.of(session, participant, key) for key in (held_by.first, held_by.last))
    if any(point in end for end in ends):
        return f"{point} changes hands in this session: until then its energy is at the tariff"
    return f"{point[:40]!r} is no metering point of yours"


def _checked(
    house: House, own_id: str, participant: str, point: MeteringPointRow, item: Wanted
) -> Said:
    """Return what an order says once everything that it says by itself is right."""
    if not _ORDER_ID.fullmatch(own_id):
        raise ForwardError(
            f"{own_id[:60]!r} is no order id: 1 to 40 letters, digits, '-' or '_'", "order_id"
        )
    said = Said(
        order_id=qualified(participant, own_id),
        state="entered",
        participant=participant,
        point=point.gsrn,
        kind=item.content.kind,
        text=text_of(item.content),
    )
    with _refusals(participant):
        orders = orders_of(said)
    tick = house.settings.price_tick_micro_per_kwh
    for order in orders:
        _check_tick(order, tick)
        _check_fuse(order, point)
    return said


def _check_tick(order: AnyOrder, tick: int) -> None:
    price = _price(order).micro_per_kwh
    if price % tick:
        raise ForwardError(
            f"{price} micro-euros per kWh are no multiple of the district's price tick of {tick}: "
            f"{price - price % tick} or {price - price % tick + tick} would be",
            "price",
        )


def _price(order: AnyOrder) -> Price:
    if isinstance(order, StepOrder):
        return order.order.limit
    return order.least_gain if isinstance(order, StorageOrder) else order.limit


def _check_fuse(order: AnyOrder, point: MeteringPointRow) -> None:
    """Refuse what the point's fuse could never let through."""
    most_wh = point.max_power_w // 4
    field, wh = _most_wh(order)
    if wh > most_wh:
        raise ForwardError(
            f"{wh} Wh in a quarter-hour are more than {point.name} can take or give: its fuse lets "
            f"{most_wh} Wh through",
            field,
        )


def _most_wh(order: AnyOrder) -> tuple[str, int]:
    """Return the most that an order moves in one interval, and the field that says so."""
    if isinstance(order, StepOrder):
        return "energy", order.order.quantity.wh
    if isinstance(order, BlockOrder):
        return "energy", max(order.profile_wh)
    if isinstance(order, StorageOrder):
        return "power", max(order.most_charge_wh, order.most_discharge_wh)
    return "power", order.most_wh


def _check_book(session: Session, held_by: ForwardSessionRow, participant: str) -> None:
    """Refuse what does not fit together: too many orders, links, both sides of a point.

    A participant's orders hang together with each other alone, so that the others' need no look.
    """
    rows = forward.entered(forward.final_orders(session, held_by.first, participant))
    own = Counter(row.kind for row in rows)
    total = forward.counts(session, held_by.first)
    for kind, (most_own, most) in _MOST.items():
        if own[kind] > most_own:
            raise ForwardError(
                f"{own[kind]} orders of the kind {kind} in one session; {most_own} are allowed"
            )
        if total.get(kind, 0) > most:
            raise ForwardError(f"the session is full: it takes at most {most} orders like this")
    with _refusals(participant):
        to_book(rows, held_by)


@contextmanager
def _row_named(row: int) -> Iterator[None]:
    """Let a refusal name its row of the file, if it comes from one."""
    try:
        yield
    except ForwardError as error:
        if not row:
            raise
        raise ForwardError(f"row {row}: {error}", error.field) from error


@contextmanager
def _refusals(participant: str) -> Iterator[None]:
    """Turn the market's refusals into one that names the field, and ids as they were given."""
    try:
        yield
    except (SessionError, OrderError, QuantityError) as error:
        text = str(error).replace(f"{participant}.", "")
        field = next((field for word, field in _FIELD_OF if word in text), "")
        raise ForwardError(text, field) from error

"""Reads the files of ``wattloom session``, and shapes its result.

One CSV with a ``kind`` column holds all orders of a forward session; a file is taken whole or not
at all, and whatever is wrong is named with its row (the header is row 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from app.files.rows import Source, TableFileError, integer, name_of, once, price, rows_of
from market.money import PPM, Price
from market.order import GRID, Order, OrderError, Side
from market.session_orders import (
    MAX_INTERVALS,
    AnyOrder,
    BlockOrder,
    FlexibleOrder,
    Session,
    SessionError,
    StepOrder,
    StorageOrder,
)
from market.sessions import MAX_STEPS, SessionBook, SessionClearing
from market.trade import Trade
from metering.quantities import Energy, Power

REQUIRED: Final = (
    "kind",
    "order_id",
    "participant",
    "side",
    "start",
    "quantity_wh",
    "price_micro_per_kwh",
)
OPTIONAL: Final = (
    "point",
    "end",
    "min_acceptance_ppm",
    "parent",
    "power_w",
    "discharge_w",
    "initial_wh",
    "final_wh",
    "efficiency_ppm",
)
MAX_ORDERS: Final = MAX_STEPS
MAX_BYTES: Final = 128 * 2**20
MAX_FIELD_CHARACTERS: Final = 11 * MAX_INTERVALS  # a profile of ten digits each

# What a kind has no use for is left empty, so that nothing is said in vain.
_USED: Final = {
    "step": {"side", "start"},
    "block": {"side", "start", "min_acceptance_ppm", "parent"},
    "flexible": {"start", "end", "power_w"},
    "storage": {"power_w", "discharge_w", "initial_wh", "final_wh", "efficiency_ppm"},
}
_ALWAYS: Final = {
    "kind", "order_id", "participant", "point", "quantity_wh", "price_micro_per_kwh"
}  # fmt: skip


def read_session(
    source: Source, first_interval_key: str, intervals: int | None = None, tick: int = 1
) -> SessionBook:
    """Return the book of a CSV file: UTF-8, a header, one order per row, no order is skipped.

    Columns may stand in any order, optional ones may lack. ``start`` and ``end`` are indices from
    0, ``end`` that of the first interval after. A block's ``quantity_wh`` is its profile, one
    number per interval with blanks between. Without ``intervals`` the session ends with its last
    order. Without ``point`` the participant's name stands for it. Every price is a multiple of
    ``tick`` micro-euros per kWh.

    Raises:
        TableFileError: the file or one of its rows cannot be read; names the row and the field.
        SessionError: the session has no such first interval, or another number than 1 to 96.
    """
    return read_with_rows(source, first_interval_key, intervals, tick)[0]


def read_with_rows(
    source: Source, first_interval_key: str, intervals: int | None = None, tick: int = 1
) -> tuple[SessionBook, Mapping[str, int]]:
    """Return what :func:`read_session` does, and the row of each order id.

    Raises:
        TableFileError, SessionError: as there.
    """
    session = Session(first_interval_key, intervals or MAX_INTERVALS)
    taken = _Taken()
    for number, fields in rows_of(
        source, REQUIRED, OPTIONAL, max_bytes=MAX_BYTES, max_characters=MAX_FIELD_CHARACTERS
    ):
        try:
            taken.add(number, _Row(number, fields, tick).order(), session.intervals)
        except (OrderError, SessionError) as error:
            raise TableFileError(f"row {number}: {error}") from error
    try:
        book = taken.book(Session(first_interval_key, intervals or max(1, taken.end)))
    except SessionError as error:
        raise TableFileError(f"{name_of(source)}: {error}") from error
    return book, taken.row_of_id


@dataclass(slots=True)
class _Taken:
    """The orders read so far, where their ids stand, and the end of the last one's window."""

    orders: list[AnyOrder] = field(default_factory=list)
    row_of_id: dict[str, int] = field(default_factory=dict)
    row_of_point: dict[tuple[int, str], tuple[Side, int]] = field(default_factory=dict)
    end: int = 0

    def add(self, number: int, order: AnyOrder, intervals: int) -> None:
        """Take an order in.

        Raises:
            TableFileError: too many, an id that stands already, past the session's end, or both
                sides of one point in one interval.
        """
        if len(self.orders) == MAX_ORDERS:
            raise TableFileError(f"row {number}: more than {MAX_ORDERS} orders; split the session")
        once(number, "order", order.order_id, self.row_of_id)
        end = _end(order)
        if end > intervals:
            raise TableFileError(
                f"row {number}: it reaches index {end - 1}, and the session has indices "
                f"0..{intervals - 1}"
            )
        if isinstance(order, StepOrder):
            here = (order.order.side, number)
            side, row = self.row_of_point.setdefault((order.index, order.order.point), here)
            if side is not order.order.side:
                raise TableFileError(
                    f"row {number}: point {order.order.point!r} stands on the other side of "
                    f"interval {order.index} in row {row}; enter what is left after its own use"
                )
        self.end = max(self.end, end)
        self.orders.append(order)

    def book(self, session: Session) -> SessionBook:
        """Return all orders as a book.

        Raises:
            SessionError: they make none.
        """
        return SessionBook(
            session,
            tuple(o for o in self.orders if isinstance(o, StepOrder)),
            tuple(o for o in self.orders if isinstance(o, BlockOrder)),
            tuple(o for o in self.orders if isinstance(o, FlexibleOrder)),
            tuple(o for o in self.orders if isinstance(o, StorageOrder)),
        )


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    fields: dict[str, str]
    tick: int

    def order(self) -> AnyOrder:
        """Return the order of the row.

        Raises:
            TableFileError: a field cannot be read. OrderError, SessionError: the order is absurd.
        """
        kind = self.fields["kind"]
        if kind not in _USED:
            raise self._wrong("kind", f"is none of {', '.join(_USED)}")
        for name, text in self.fields.items():
            if text and name not in _USED[kind] | _ALWAYS:
                raise self._wrong(name, f"means nothing for a {kind}: leave it empty")
        makers: dict[str, Callable[[], AnyOrder]] = {
            "step": self._step,
            "block": self._block,
            "flexible": self._flexible,
            "storage": self._storage,
        }
        return makers[kind]()

    def _step(self) -> StepOrder:
        quantity, price = Energy(self._integer("quantity_wh")), self._price()
        names = self.fields["order_id"], self._side(), self.fields["participant"], self._point()
        return StepOrder(self._integer("start"), Order(*names, quantity, price))

    def _block(self) -> BlockOrder:
        texts = self.fields["quantity_wh"].split()
        if not texts:
            raise self._wrong("quantity_wh", "is no profile: write 500 500 250")
        return BlockOrder(
            self.fields["order_id"],
            self._side(),
            self.fields["participant"],
            self._point(),
            self._integer("start"),
            tuple(integer(self.number, "quantity_wh", text) for text in texts),
            self._price(),
            self._integer("min_acceptance_ppm", PPM),
            self.fields.get("parent", ""),
        )

    def _flexible(self) -> FlexibleOrder:
        return FlexibleOrder(
            self.fields["order_id"],
            self.fields["participant"],
            self._point(),
            Energy(self._integer("quantity_wh")),
            Power(self._integer("power_w")),
            self._integer("start"),
            self._integer("end"),
            self._price(),
        )

    def _storage(self) -> StorageOrder:
        power_w = self._integer("power_w")
        return StorageOrder(
            self.fields["order_id"],
            self.fields["participant"],
            self._point(),
            Energy(self._integer("quantity_wh")),
            Energy(self._integer("initial_wh", 0)),
            Energy(self._integer("final_wh", 0)),
            Power(power_w),
            Power(self._integer("discharge_w", power_w)),
            self._integer("efficiency_ppm", PPM),
            self._price(),
        )

    def _point(self) -> str:
        return self.fields.get("point") or self.fields["participant"]

    def _side(self) -> Side:
        if self.fields["side"] not in tuple(Side):
            raise self._wrong("side", "is neither bid nor offer")
        return Side(self.fields["side"])

    def _price(self) -> Price:
        name = "price_micro_per_kwh"
        return price(self.number, name, self.fields[name], self.tick)

    def _integer(self, name: str, default: int | None = None) -> int:
        text = self.fields.get(name, "")
        return default if not text and default is not None else integer(self.number, name, text)

    def _wrong(self, name: str, why: str) -> TableFileError:
        return TableFileError(f"row {self.number}: {name} {self.fields[name][:40]!r} {why}")


def session_object(book: SessionBook, found: SessionClearing) -> dict[str, object]:
    """Return the result's object: arrays have one entry per interval of the session.

    ``allocations`` have every order's ``start`` and ``wh``: bought is positive, sold negative.
    """
    owner = {order.order_id: order.participant for order in book} | {GRID: GRID}
    return {
        "intervals": list(found.session.keys),
        "price_micro_per_kwh": [_micro(price) for price in found.prices],
        "price_interval_micro_per_kwh": [
            [_micro(low), _micro(high)] for low, high in found.price_intervals
        ],
        "cleared_wh": [sum(t.energy.wh for t in trades) for trades in found.trades],
        "welfare_micro": found.welfare_micro,
        "gap_ppm": found.gap_ppm,
        "optimal": found.optimal,
        "fallback": found.fallback,
        "allocations": {
            order_id: {"start": start, "wh": list(wh)}
            for order_id, (start, wh) in found.schedules.items()
        },
        "accepted_ppm": dict(found.accepted_ppm),
        "paradoxically_rejected_micro": dict(found.paradoxically_rejected),
        "withdrawn": list(found.withdrawn),
        "stored_wh": {order_id: list(wh) for order_id, wh in found.stored_wh.items()},
        "grid_import_wh": [energy.wh for energy in found.grid_import],
        "grid_export_wh": [energy.wh for energy in found.grid_export],
        "trades": [list(_trade_objects(trades, owner)) for trades in found.trades],
    }


def _trade_objects(trades: Iterable[Trade], owner: dict[str, str]) -> Iterator[dict[str, object]]:
    for trade in trades:
        yield {
            "seller": owner[trade.seller],
            "buyer": owner[trade.buyer],
            "seller_order": trade.seller,
            "buyer_order": trade.buyer,
            "wh": trade.energy.wh,
            "price_micro_per_kwh": trade.price.micro_per_kwh,
            "amount_micro": trade.amount.micro,
        }


def _end(order: AnyOrder) -> int:
    """Return the index after an order's last interval; a storage goes with the session."""
    if isinstance(order, StepOrder):
        return order.index + 1
    if isinstance(order, BlockOrder):
        return order.start + len(order.profile_wh)
    return order.deadline if isinstance(order, FlexibleOrder) else 1


def _micro(price: Price | None) -> int | None:
    return None if price is None else price.micro_per_kwh

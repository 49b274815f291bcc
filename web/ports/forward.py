"""What the pages of forward orders ask of the house: view models and the protocol for them.

Energies are Wh, prices micro-euros per kWh, moments UTC milliseconds of the district clock,
intervals keyed by their UTC start. Who may ask for what is decided by the pages, before they ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from web.ports import RefusedError

# What the form sends, all of it text as typed; which of them an order needs depends on its kind.
FIELDS: Final = (
    "session",
    "kind",
    "order_id",
    "point",
    "side",
    "first",  # key of the first interval
    "last",  # key of the last interval
    "energy",  # kWh
    "price",  # ct/kWh
    "share",  # %
    "link",
    "power",  # kW
    "capacity",  # kWh
    "stored",  # kWh
    "efficiency",  # %
)

Typed = Mapping[str, str]


class GateClosedError(RefusedError):
    """The session takes no orders any more: show when it closed (409)."""


@dataclass(frozen=True, slots=True)
class OpenSession:
    """The session that takes orders now."""

    first: str
    keys: Sequence[str]  # of its intervals
    gate_ms: int


@dataclass(frozen=True, slots=True)
class EnteredOrder:
    """One order of the open session in its newest version; ``fields`` fill the form."""

    order_id: str
    kind: str
    point: str  # name
    text: str  # what it asks for, in words
    state: str  # entered, cancelled
    version: int
    known_ms: int
    entered_by: str  # a name
    fields: Typed


@dataclass(frozen=True, slots=True)
class OrderResult:
    """What the auction made of one order; ``micro`` > 0 is to be earned, < 0 to be paid."""

    order_id: str
    kind: str
    point: str
    text: str
    outcome: str  # accepted, partly, rejected, paradoxical, left-out
    bought_wh: int  # from other participants
    sold_wh: int  # to other participants
    supplier_wh: int  # what of it the supplier is meant to serve or take, at the normal tariff
    micro: int  # at the session's prices, if all that others contracted is delivered
    reason: str


@dataclass(frozen=True, slots=True)
class SessionInterval:
    """One interval of a cleared session: its price (None: no trade), all and one's own energy."""

    key: str
    price_micro_per_kwh: int | None
    traded_wh: int
    bought_wh: int
    sold_wh: int


@dataclass(frozen=True, slots=True)
class ClearedSession:
    """What a session decided.

    ``traded_hidden``: fewer than five took part, so that what all traded is not told (0).
    """

    first: str
    last: str
    state: str
    fallback: bool  # the engine gave no answer: steps were cleared by the interval, all else out
    log_index: int
    intervals: Sequence[SessionInterval]
    orders: Sequence[OrderResult]
    traded_hidden: bool


@dataclass(frozen=True, slots=True)
class OrdersPage:
    """What a participant sees of their own forward orders."""

    participant: str
    name: str
    mode: str  # the district's: metered, forward, sharing
    zone: str
    clock_ms: int
    points: Sequence[tuple[str, str]]  # (GSRN, name)
    tick_micro_per_kwh: int
    ceiling_micro_per_kwh: int  # a local purchase at more costs more than the normal tariff
    floor_micro_per_kwh: int
    open: OpenSession | None
    orders: Sequence[EnteredOrder]
    by_forecast: bool
    cleared: ClearedSession | None  # the one asked for, else the newest
    sessions: Sequence[str]  # cleared ones to choose from, newest first


@dataclass(frozen=True, slots=True)
class FileLine:
    """One row of a file of orders, as it would be entered."""

    order_id: str
    kind: str
    point: str
    text: str
    becomes: str  # new, amended, unchanged


@dataclass(frozen=True, slots=True)
class FilePreview:
    """What a file of orders would change; ``content`` goes back with the confirmation."""

    participant: str
    session: str
    name: str
    content: str
    lines: Sequence[FileLine]


class Forward(Protocol):
    """Forward orders; ``session`` is the first interval's key of the session that is meant.

    A change raises RefusedError with the field that has to be mended, or GateClosedError; then
    nothing was written.
    """

    def page(self, participant: str, session: str | None) -> OrdersPage:
        """Return a participant's own page; NotFoundError for a session that is not cleared."""
        ...

    def enter(self, participant: str, entered_by: str, typed: Typed) -> str:
        """Enter an order, or amend the one whose id it names; return its id."""
        ...

    def cancel(self, participant: str, entered_by: str, session: str, order_id: str) -> None:
        """Cancel one of one's own orders."""
        ...

    def undo(self, participant: str, entered_by: str, session: str, order_id: str) -> None:
        """Take back the last change of an order; a first one is cancelled."""
        ...

    def set_by_forecast(self, participant: str, entered_by: str, *, wanted: bool) -> None:
        """Say whether orders are made by forecast where the participant enters none."""
        ...

    def preview(self, participant: str, name: str, content: bytes) -> FilePreview:
        """Read a file of orders and say what it would change."""
        ...

    def confirm(self, participant: str, entered_by: str, session: str, content: str) -> int:
        """Enter all orders of a file that was shown; return how many changed."""
        ...

    def orders_csv(self, participant: str) -> bytes:
        """Return the orders that stand in the open session, as such a file."""
        ...

"""Forward orders in memory: the home with the solar roof in a session of a summer's day."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from metering.interval import LENGTH_MS, Interval
from tests.web.web_fakes import CLOCK_MS, ZONE
from web.ports import NotFoundError, RefusedError
from web.ports.forward import (
    ClearedSession,
    EnteredOrder,
    FileLine,
    FilePreview,
    OpenSession,
    OrderResult,
    OrdersPage,
    SessionInterval,
    Typed,
)

HOSTILE = "Roof <script>alert(1)</script>"
POINT, SHED = "570000000000000012", "570000000000000029"
NEXT = Interval.parse("2026-06-23T22:00:00Z")
TODAY = Interval.parse("2026-06-22T22:00:00Z")


def keys(first: Interval, count: int) -> list[str]:
    return [Interval.containing_ms(first.start_ms + n * LENGTH_MS).key for n in range(count)]


def interval(n: int) -> SessionInterval:
    """Dear at night, cheap and even negative at noon, and nobody to trade with before dawn."""
    sun = max(0.0, math.sin((n - 24) / 60 * math.pi)) if 24 < n < 84 else 0.0
    traded = 0 if n < 20 else round(2_000 + 9_000 * sun)
    return SessionInterval(
        key=keys(TODAY, 96)[n],
        price_micro_per_kwh=round(210_000 - 230_000 * sun) if traded else None,
        traded_wh=traded,
        bought_wh=700 if 84 <= n < 96 else 0,
        sold_wh=round(2_400 * sun),
    )


ORDERS = (
    EnteredOrder(
        "1",
        "step",
        HOSTILE,
        "sells 0.60\u00a0kWh in each quarter-hour 10:00–16:00 CEST, at 8.00\u00a0ct/kWh or more",
        "entered",
        2,
        CLOCK_MS,
        "Family Weber",
        {
            "kind": "step",
            "order_id": "1",
            "point": POINT,
            "side": "offer",
            "first": keys(NEXT, 96)[40],
            "last": keys(NEXT, 96)[63],
            "energy": "0.6",
            "price": "8",
        },
    ),
    EnteredOrder(
        "2",
        "block",
        "Shed",
        "buys 4.00\u00a0kWh 12:00–13:00 CEST, as a whole, at 20.00\u00a0ct/kWh or less on average",
        "entered",
        1,
        CLOCK_MS,
        "the building manager",
        {},
    ),
    EnteredOrder(
        "car",
        "flexible",
        "Shed",
        "buys 10.00\u00a0kWh 00:00–07:00 CEST, at most 11\u00a0kW, whenever a kWh costs "
        "18.00\u00a0ct/kWh or less",
        "cancelled",
        3,
        CLOCK_MS,
        "Family Weber",
        {},
    ),
)
RESULTS = (
    OrderResult("1", "step", "Roof", ORDERS[0].text, "accepted", 0, 14_400, 0, 1_440_000, ""),
    OrderResult(
        "2",
        "block",
        "Shed",
        ORDERS[1].text,
        "paradoxical",
        0,
        0,
        0,
        0,
        "at these prices it would have gained, but it can only be taken as a whole, and taking it "
        "would have moved the prices so far that somebody lost",
    ),
    OrderResult(
        "car", "flexible", "Shed", ORDERS[2].text, "partly", 6_400, 0, 2_000, -1_088_000, "too dear"
    ),
    OrderResult("bat", "storage", "Shed", "buys cheap", "accepted", 3_000, 2_700, 0, 120_000, ""),
)
CLEARED = ClearedSession(
    first=TODAY.key,
    last=keys(TODAY, 96)[-1],
    state="delivered",
    fallback=False,
    log_index=41,
    intervals=tuple(interval(n) for n in range(96)),
    orders=RESULTS,
    traded_hidden=False,
)
PAGE = OrdersPage(
    participant="weber",
    name="Family Weber",
    mode="forward",
    zone=ZONE,
    clock_ms=CLOCK_MS,
    points=((POINT, HOSTILE), (SHED, "Shed")),
    tick_micro_per_kwh=1_000,
    ceiling_micro_per_kwh=250_000,
    floor_micro_per_kwh=82_000,
    open=OpenSession(NEXT.key, keys(NEXT, 96), NEXT.start_ms - 3_600_000),
    orders=ORDERS,
    by_forecast=False,
    cleared=CLEARED,
    sessions=(TODAY.key, "2026-06-21T22:00:00Z"),
)


@dataclass
class FakeForward:
    """Answers from the constants; ``refuses`` is raised by every change."""

    shown: OrdersPage = PAGE
    refuses: RefusedError | None = None
    asked: list[tuple[object, ...]] = field(default_factory=list)
    changed: int = 2

    def page(self, participant: str, session: str | None) -> OrdersPage:
        if session is not None and session not in self.shown.sessions:
            raise NotFoundError(session)
        return self.shown

    def enter(self, participant: str, entered_by: str, typed: Typed) -> str:
        self._note("enter", participant, entered_by, dict(typed))
        return "4"

    def cancel(self, participant: str, entered_by: str, session: str, order_id: str) -> None:
        self._note("cancel", participant, entered_by, session, order_id)

    def undo(self, participant: str, entered_by: str, session: str, order_id: str) -> None:
        self._note("undo", participant, entered_by, session, order_id)

    def set_by_forecast(self, participant: str, entered_by: str, *, wanted: bool) -> None:
        self._note("forecast", participant, entered_by, wanted)

    def preview(self, participant: str, name: str, content: bytes) -> FilePreview:
        self._note("preview", participant, name, content)
        lines: Sequence[FileLine] = [
            FileLine("1", "step", HOSTILE, ORDERS[0].text, "unchanged"),
            FileLine("9", "block", "Shed", ORDERS[1].text, "new"),
        ]
        return FilePreview(participant, NEXT.key, name, content.decode(), lines)

    def confirm(self, participant: str, entered_by: str, session: str, content: str) -> int:
        self._note("confirm", participant, entered_by, session, content)
        return self.changed

    def orders_csv(self, participant: str) -> bytes:
        return b"kind,order_id\r\n"

    def _note(self, *what: object) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append(what)

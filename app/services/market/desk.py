"""The market pages' view of the house: satisfies :class:`web.ports.market.Market`."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlmodel import Session, col, select

from app.services.house import House
from app.services.market.bands import side_of
from app.services.market.view import market_page, refusal
from app.services.market.whatif import (
    MAX_ORDERS,
    MAX_PERCENT,
    Change,
    Scene,
    less,
    middles,
    seen,
)
from app.services.typed import MICRO_OF_CENT, TypedError, scaled, written
from app.store import leaves, people
from app.store.market import book, metered_points, trades
from app.tables import IntervalRow, OrderRow, SettlementLine, TradeRow
from market.book import Book
from market.order import MAX_PRICE_MICRO_PER_KWH, Side
from market.pricing import PricingError, Rule
from market.settlement import Kind
from market.trade import Trade
from optimizer.compiled import SolverError
from optimizer.metered import metered_problem
from web.ports import NotFoundError, Role, Viewer
from web.ports.market import (
    Asked,
    MarketPage,
    Outcome,
    QuestionError,
    TooManyQuestionsError,
    WhatIfPage,
)

QUESTIONS: Final = 30  # of one participant in a minute
_MINUTE_S: Final = 60.0


@dataclass(slots=True)
class Pace:
    """How fast questions are answered: so many a minute for each asker, and one at a time."""

    now_s: Callable[[], float] = time.monotonic
    answering: threading.Lock = field(default_factory=threading.Lock)
    _counting: threading.Lock = field(default_factory=threading.Lock)
    _asked: dict[str, deque[float]] = field(default_factory=dict)

    def step(self, who: str) -> None:
        """Count a question.

        Raises:
            TooManyQuestionsError: there were as many as are answered in the minute before.
        """
        now = self.now_s()
        with self._counting:
            times = self._asked.setdefault(who, deque())
            while times and times[0] <= now - _MINUTE_S:
                times.popleft()
            if len(times) >= QUESTIONS:
                raise TooManyQuestionsError(
                    f"{QUESTIONS} questions a minute are answered: wait a little and ask again"
                )
            times.append(now)


class MarketDesk:
    """The market of one district. ``managed`` are the participants of the manager."""

    def __init__(self, house: House, managed: Collection[str]) -> None:
        self._house = house
        self._managed = managed
        self.pace = Pace()

    def market(self, viewer: Viewer, key: str) -> MarketPage:
        """Return how an interval was cleared."""
        with self._house.database.read() as session:
            return market_page(session, _interval(session, key), viewer, self._own(viewer))

    def what_if(self, viewer: Viewer, key: str, asked: Asked, *, answer: bool) -> WhatIfPage:
        """Return the form for a question and, with ``answer``, the answer; nothing is changed."""
        if viewer.role is Role.OPERATOR:
            raise NotFoundError("the grid operator sees energy, never prices or balances")
        own = self._own(viewer)
        if answer:
            self.pace.step(viewer.participant or viewer.role.value)
        change = self._change(asked) if answer else None
        with self._house.database.read() as session:
            row = _interval(session, key)
            zone = people.district(session).zone
            names = {each.id: each.name for each in people.participants(session).values()}
            orders = leaves.orders(session, key)
            asking = sorted({order.participant for order in orders if order.participant in own})
            who = _participant(asked.participant, asking)
            no_question = _refusal(row, orders, own)
            others = {} if no_question else middles(orders, own)
            open_to = answer and not no_question
            scene = self._scene(session, row, who, others) if open_to else None
            was = _settled(session, row, who)
        mine = [order for order in orders if order.participant == who]
        return WhatIfPage(
            key=key,
            zone=zone,
            participant=who,
            people=[(each, names[each]) for each in asking],
            rule=row.rule,
            rules=[rule.value for rule in Rule],
            bid_limit_micro_per_kwh=_limit(mine, Side.BID),
            offer_limit_micro_per_kwh=_limit(mine, Side.OFFER),
            was=was,
            same=self._answer(scene, Change()),
            then=self._answer(scene, change),
            exact=not others,
            one_place=bool(row.hub_prices),
            no_question=no_question,
        )

    def _own(self, viewer: Viewer) -> frozenset[str]:
        if viewer.role is Role.MANAGER:
            return frozenset(self._managed)
        return frozenset({viewer.participant}) if viewer.participant else frozenset()

    def _change(self, asked: Asked) -> Change:
        tick = self._house.settings.price_tick_micro_per_kwh
        return Change(
            rule=_rule(asked.rule),
            bid_limit=_price("bid_limit", asked.bid_limit, tick),
            offer_limit=_price("offer_limit", asked.offer_limit, tick),
            bid_percent=_percent("bid_percent", asked.bid_percent),
            offer_percent=_percent("offer_percent", asked.offer_percent),
        )

    def _scene(self, session: Session, row: IntervalRow, who: str, others: dict[str, int]) -> Scene:
        points, whole = metered_points(session, row.key), book(session, row.key)
        agreed = _agreed(session, row.key, whole, who)
        problem = metered_problem(row.key, row.rule, less(whole, agreed), points)
        return Scene(row.key, who, seen(problem, others), whole, points, agreed)

    def _answer(self, scene: Scene | None, change: Change | None) -> Outcome | None:
        if scene is None or change is None:
            return None
        try:
            with self.pace.answering:
                return scene.outcome(change)
        except PricingError as error:
            raise QuestionError(str(error), "rule") from error
        except SolverError as error:
            raise QuestionError("no answer was found: change something and ask again") from error


def _interval(session: Session, key: str) -> IntervalRow:
    row = session.get(IntervalRow, key)
    if row is None:
        raise NotFoundError(f"there is no interval {key!r}")
    return row


def _participant(asked: str, asking: Sequence[str]) -> str:
    if not asked:
        return asking[0] if asking else ""
    if asked not in asking:
        raise NotFoundError(f"there is no participant {asked[:80]!r} among yours here")
    return asked


def _refusal(row: IntervalRow, orders: Sequence[OrderRow], own: frozenset[str]) -> str:
    if len(orders) > MAX_ORDERS:
        return "So large a book is not cleared again on a page."
    bids, offers = (side_of(orders, side, own) for side in (Side.BID, Side.OFFER))
    return refusal(row, orders, bids, offers, own)


def _limit(orders: Sequence[OrderRow], side: Side) -> int | None:
    return next((o.limit_micro_per_kwh for o in orders if o.side == side), None)


def _rule(text: str) -> Rule | None:
    if text and text not in tuple(Rule):
        raise QuestionError("choose one of the rules", "rule")
    return Rule(text) if text else None


def _price(name: str, text: str, tick: int) -> int | None:
    """Return micro-euros per kWh of a price in cents."""
    if not text.strip():
        return None
    try:
        micro = scaled(text, MICRO_OF_CENT, "12.5 ct/kWh")
    except TypedError as error:
        raise QuestionError(str(error), name) from error
    if abs(micro) > MAX_PRICE_MICRO_PER_KWH:
        most = MAX_PRICE_MICRO_PER_KWH // MICRO_OF_CENT
        raise QuestionError(f"a price is at most {most} ct/kWh", name)
    if micro % tick:
        raise QuestionError(f"prices go in steps of {written(tick, MICRO_OF_CENT)} ct/kWh", name)
    return micro


def _percent(name: str, text: str) -> int:
    if not text.strip():
        return 100
    if not re.fullmatch(r"[0-9]{1,4}", text.strip()) or int(text) > MAX_PERCENT:
        raise QuestionError(f"write a percentage from 0 to {MAX_PERCENT}", name)
    return int(text)


def _agreed(session: Session, key: str, whole: Book, who: str) -> list[Trade]:
    """Return the trades under a participant's own contracts."""
    under = select(TradeRow.number).where(
        TradeRow.interval == key, col(TradeRow.contract).is_not(None)
    )
    numbers = set(session.exec(under))
    mine = {order.order_id for order in whole.orders if order.participant == who}
    return [
        trade
        for number, trade in enumerate(trades(session, key))
        if number in numbers and mine & {trade.seller, trade.buyer}
    ]


def _settled(session: Session, row: IntervalRow, who: str) -> Outcome | None:
    """Return what a participant's statement of the interval says, None before there is one."""
    lines = session.exec(
        select(SettlementLine).where(
            SettlementLine.interval == row.key,
            SettlementLine.participant == who,
            col(SettlementLine.version) == 0,
        )
    ).all()

    def wh(kind: Kind) -> int:
        return sum(line.wh for line in lines if line.kind == kind)

    if not lines:
        return None
    return Outcome(
        price_micro_per_kwh=row.price_micro_per_kwh,
        bought_wh=wh(Kind.LOCAL_BUY),
        sold_wh=wh(Kind.LOCAL_SELL),
        drawn_wh=wh(Kind.RESIDUAL_IMPORT),
        fed_in_wh=wh(Kind.RESIDUAL_EXPORT),
        all_in_micro=sum(line.micro for line in lines),
    )

"""What the market pages ask of the house: view models and the protocol that ``app`` satisfies.

Prices are net energy prices at the hub, before fees, levies and VAT, in micro-euros per kWh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from web.ports import PortError, Viewer


class QuestionError(PortError):
    """The question cannot be answered: show the message beside ``field`` ('' for the page)."""

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.field = field


class TooManyQuestionsError(QuestionError):
    """The viewer asks faster than is answered: ask again in a minute."""


@dataclass(frozen=True, slots=True)
class Band:
    """The orders of one side between two limits, of five participants or more.

    One price tick where ``low`` is ``high``; else both are whole cents around the limits.
    """

    side: str  # bid, offer
    low_micro_per_kwh: int
    high_micro_per_kwh: int
    quantity_wh: int  # the viewer's own among it
    traded_wh: int

    @property
    def exact(self) -> bool:
        """Whether all of it has one limit."""
        return self.low_micro_per_kwh == self.high_micro_per_kwh


@dataclass(frozen=True, slots=True)
class MyOrder:
    """One of the viewer's own orders. ``band`` is its place in the page's bands, None if hidden."""

    side: str
    who: str
    point: str  # name of the metering point
    limit_micro_per_kwh: int
    quantity_wh: int
    traded_wh: int
    wish: str  # words of a wish, '' for none
    band: int | None


@dataclass(frozen=True, slots=True)
class MyTrades:
    """What the viewer traded of one kind at one price, all partners together."""

    side: str  # bid (bought), offer (sold)
    level: str  # how far it travelled: building, feeder, district
    product: str  # any, green
    contract: str  # '' in the market
    price_micro_per_kwh: int
    wh: int


@dataclass(frozen=True, slots=True)
class HubLine:
    """The price of one product at one place ('' is the district)."""

    level: str  # building, feeder, district
    place: str
    product: str  # any, green
    price_micro_per_kwh: int


@dataclass(frozen=True, slots=True)
class MarketPage:
    """How one interval was cleared, as far as the viewer may see it.

    For the grid operator, ``prices_hidden``, all prices are None and there are no bands: energy
    sums alone.
    """

    key: str
    zone: str
    previous_key: str | None
    next_key: str | None
    prices_hidden: bool
    cleared: bool
    rule: str
    mode: str  # metered, forward, sharing
    fallback: bool
    price_micro_per_kwh: int | None
    price_interval_micro_per_kwh: tuple[int, int] | None  # None: nothing to show of it
    floor_micro_per_kwh: int | None  # what feeding in earns
    ceiling_micro_per_kwh: int | None  # above it the supplier is cheaper
    offered_wh: int | None  # None: hidden
    wanted_wh: int | None
    traded_wh: int
    bands: Sequence[Band]  # bids, dearest first, then offers, cheapest first
    hidden: Sequence[str]  # the sides of which fewer than five participants stand
    own: Sequence[MyOrder]
    trades: Sequence[MyTrades]
    hubs: Sequence[HubLine]
    no_question: str  # why no "what if" is answered, '' where it is


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody typed into "what if": all text, '' keeps what was."""

    participant: str = ""
    rule: str = ""
    bid_limit: str = ""  # ct/kWh
    offer_limit: str = ""
    bid_percent: str = ""
    offer_percent: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one participant would have traded and paid; ``all_in_micro`` < 0 is owed."""

    price_micro_per_kwh: int | None
    bought_wh: int
    sold_wh: int
    drawn_wh: int  # from the supplier
    fed_in_wh: int
    all_in_micro: int


@dataclass(frozen=True, slots=True)
class WhatIfPage:
    """A question about one interval and its answer.

    ``was`` is what was settled (None before that); of an answer, ``same`` is what this calculation
    gives with nothing changed and ``then`` what it gives with the change. ``exact``: others' orders
    entered with the very limits they had.
    """

    key: str
    zone: str
    participant: str
    people: Sequence[tuple[str, str]]  # (id, name) of whom the viewer may ask for
    rule: str
    rules: Sequence[str]
    bid_limit_micro_per_kwh: int | None  # None: no bid
    offer_limit_micro_per_kwh: int | None
    was: Outcome | None
    same: Outcome | None
    then: Outcome | None
    exact: bool
    one_place: bool  # the real clearing told places or products apart, this one does not
    no_question: str


class Market(Protocol):
    """The market of the district. Raises NotFoundError for what is not the viewer's."""

    def market(self, viewer: Viewer, key: str) -> MarketPage:
        """Return how an interval was cleared."""
        ...

    def what_if(self, viewer: Viewer, key: str, asked: Asked, *, answer: bool) -> WhatIfPage:
        """Return the form for a question of ``asked.participant`` ('' is the first of one's own).

        With ``answer`` it is answered; nothing is ever changed.

        Raises:
            QuestionError: a field has to be mended, or too much is asked.
        """
        ...

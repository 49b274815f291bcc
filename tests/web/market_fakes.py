"""The district's market in memory: curves of a summer noon, and a question about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.web.web_fakes import FEED_IN, NAMES, RATE, ZONE, keys
from web.ports import NotFoundError, Role, Viewer
from web.ports.market import (
    Asked,
    Band,
    HubLine,
    MarketPage,
    MyOrder,
    MyTrades,
    Outcome,
    QuestionError,
    WhatIfPage,
)

CEILING = 152_000
OPEN, SEVERAL, HIDDEN, NEGATIVE = keys()[-1], keys()[1], keys()[3], keys()[4]
OWN_PRICES = keys()[5]
BANDS = (
    Band("bid", CEILING, CEILING, 4_200, 3_900),
    Band("bid", 90_000, 130_000, 1_300, 130),
    Band("offer", FEED_IN, FEED_IN, 3_100, 3_100),
    Band("offer", 100_000, 140_000, 4_400, 930),
)
MINE = (
    MyOrder("bid", "Family Weber", "Roof", CEILING, 640, 600, "green+20000 local-first", 0),
    MyOrder("offer", "Family Weber", "Garage", 125_000, 480, 60, "", 3),
)
MARKET = MarketPage(
    key=keys()[2],
    zone=ZONE,
    previous_key=keys()[1],
    next_key=keys()[3],
    prices_hidden=False,
    cleared=True,
    rule="uniform",
    mode="metered",
    fallback=False,
    price_micro_per_kwh=RATE,
    price_interval_micro_per_kwh=(112_000, 125_000),
    floor_micro_per_kwh=FEED_IN,
    ceiling_micro_per_kwh=CEILING,
    offered_wh=7_500,
    wanted_wh=5_500,
    traded_wh=4_030,
    bands=BANDS,
    hidden=(),
    own=MINE,
    trades=(
        MyTrades("bid", "feeder", "green", "c<1>", 131_000, 200),
        MyTrades("bid", "district", "any", "", RATE, 400),
        MyTrades("offer", "building", "any", "", RATE, 60),
    ),
    hubs=(),
    no_question="",
)
HUBS = (
    HubLine("building", "North/House 5", "any", 109_000),
    HubLine("feeder", "North", "green", 121_500),
    HubLine("district", "", "any", -4_000),
)
PAGES = {
    OWN_PRICES: replace(MARKET, price_micro_per_kwh=None, price_interval_micro_per_kwh=None),
    SEVERAL: replace(MARKET, hubs=HUBS, price_micro_per_kwh=None, fallback=True),
    HIDDEN: replace(
        MARKET,
        bands=BANDS[:2],
        hidden=("offer",),
        offered_wh=None,
        price_interval_micro_per_kwh=None,
        own=(MINE[0], replace(MINE[1], band=None)),
        no_question="Fewer than five participants stand on one side.",
    ),
    NEGATIVE: replace(
        MARKET,
        bands=(
            Band("bid", -20_000, -20_000, 1_200, 1_200),
            Band("offer", -90_000, -40_000, 2_400, 1_200),
        ),
        own=(),
        price_micro_per_kwh=-30_000,
        price_interval_micro_per_kwh=(-41_000, -20_000),
        floor_micro_per_kwh=-95_000,
        traded_wh=1_200,
    ),
    OPEN: replace(
        MARKET, cleared=False, bands=(), own=(), trades=(), price_micro_per_kwh=None, traded_wh=0
    ),
}
WAS = Outcome(RATE, 600, 60, 40, 420, -118_400)
THEN = Outcome(131_000, 0, 60, 640, 420, -151_900)


@dataclass
class FakeMarket:
    """Pages by key; it is careless and tells the operator prices, so that the pages hide them."""

    refuses: QuestionError | None = None
    exact: bool = False
    asked: list[tuple[str, Asked]] = field(default_factory=list)

    def market(self, viewer: Viewer, key: str) -> MarketPage:
        if key not in keys():
            raise NotFoundError(key)
        page = replace(PAGES.get(key, MARKET), key=key)
        own = viewer.role is not Role.OPERATOR
        return page if own else replace(page, prices_hidden=True, own=())

    def what_if(self, viewer: Viewer, key: str, asked: Asked, *, answer: bool) -> WhatIfPage:
        if key not in keys() or asked.participant not in {"", *NAMES}:
            raise NotFoundError(key)
        if answer:
            self.asked.append((key, asked))
            if self.refuses is not None:
                raise self.refuses
        return WhatIfPage(
            key=key,
            zone=ZONE,
            participant=asked.participant or "weber",
            people=tuple(NAMES.items())[: 2 if viewer.role is Role.MANAGER else 1],
            rule="uniform",
            rules=("uniform", "pay-as-bid", "mid-market", "sdr"),
            bid_limit_micro_per_kwh=CEILING,
            offer_limit_micro_per_kwh=125_000,
            was=WAS,
            same=WAS if answer else None,
            then=THEN if answer else None,
            exact=self.exact,
            one_place=not self.exact,
            no_question=PAGES[HIDDEN].no_question if key == HIDDEN else "",
        )

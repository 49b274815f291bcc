"""A small district in memory that satisfies the ports: a summer noon in Lindenhof."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace

from metering.interval import LENGTH_MS, Interval
from tests.web.transparency_fakes import CONSISTENT, transparency_page
from web.ports import (
    District,
    FlowsNow,
    IntervalPage,
    IntervalSummary,
    LedgerTrace,
    NotFoundError,
    Notice,
    OrderLine,
    ParticipantPage,
    PointNow,
    PostingLine,
    QuarterLine,
    Role,
    SealLine,
    TradeLine,
    VerdictPage,
    VerdictStep,
    Viewer,
)
from web.ports.transparency import TransparencyPage

ZONE = "Europe/Berlin"
FIRST = Interval.parse("2026-06-23T09:00:00Z")
COUNT = 9
CLOCK_MS = FIRST.start_ms + (COUNT - 1) * LENGTH_MS + 7 * 60_000
RETAIL, FEED_IN, RATE = 340_300, 82_000, 118_500
LOCAL_ALL_IN = 244_545  # (RATE + LOCAL_FEE + LEVY) * 1.19
GRID_FEE, LOCAL_FEE, LEVY, VAT_PPM = 84_000, 42_000, 45_000, 190_000
OWN = "weber"
NAMES = {"weber": "Family Weber", "bakery": "Bakery Korn"}

# kind, name, watts now (import > 0), online
POINTS = (
    ("home-pv", "Family Weber", -4_320, True),
    ("home-pv", "Family Yilmaz", -2_870, True),
    ("home-pv", "House 5, Lindenweg", -3_110, True),
    ("home", "House 7, Lindenweg", 410, True),
    ("home", "Family Okafor", 1_240, True),
    ("home", "House 11, Lindenweg", None, False),
    ("school", "Lindenhof School", -31_400, True),
    ("office", "Office at the Mill", -20_300, True),
    ("bakery", "Bakery Korn", 9_800, True),
    ("heat-pump", "Heat-pump block North", 2_150, True),
    ("heat-pump", "Heat-pump block South", 1_900, True),
    ("ev-hub", "Charging hub", 2_500, True),
)
IMPORTS_WH = (4_210, 4_630, 5_080, 4_890, 4_420, 4_730, 5_260, 4_510, 0)
EXPORTS_WH = (9_800, 11_420, 12_960, 3_100, 14_870, 15_240, 15_510, 15_390, 0)
STATES = ("final",) * 5 + ("sealed", "sealed", "closed", "open")


def keys() -> list[str]:
    return [Interval.containing_ms(FIRST.start_ms + n * LENGTH_MS).key for n in range(COUNT)]


def summary(n: int) -> IntervalSummary:
    known = STATES[n] not in {"open", "closed"}
    traded = min(IMPORTS_WH[n], EXPORTS_WH[n]) if known else 0
    return IntervalSummary(
        key=keys()[n],
        state=STATES[n],
        payment="confirmed" if n < 5 else "submitted" if known else "none",
        anchor="confirmed" if n < 5 else "pending",
        price_micro_per_kwh=RATE if traded else None,
        traded_wh=traded,
        import_wh=IMPORTS_WH[n] if known else 0,
        export_wh=EXPORTS_WH[n] if known else 0,
        estimated_points=1 if n in {3, 4} else 0,
        corrected_points=2 if n in {2, 4} else 0,
    )


def trace(n: int) -> LedgerTrace:
    """Settled and anchored quarter-hours stand on the ledger."""
    if n >= 5:
        return LedgerTrace()
    anchor, paid = (hashlib.sha256(name).hexdigest() for name in (b"anchor-6", b"tx"))
    return LedgerTrace(anchor, (paid,))


def micro(price: int, wh: int) -> int:
    return (2 * price * wh + 1000) // 2000


def quarter(n: int) -> QuarterLine:
    """A home that buys in the morning, sells at noon, and had its meter away for one quarter."""
    known = STATES[n] not in {"open", "closed"}
    buys, sells = ((640, 0), (310, 120), (0, 870), (295, 0), (0, 990), (0, 1_040), (0, 960))[
        min(n, 6)
    ]
    local_buy, local_sell = (0 if n == 3 else buys), sells // 2
    net = -micro(RATE, local_buy) - micro(120_000, buys - local_buy) + micro(RATE, local_sell)
    net += micro(FEED_IN, sells - local_sell)
    fee = -micro(LOCAL_FEE, local_buy) - micro(GRID_FEE, buys - local_buy)
    levy = -micro(LEVY, buys)
    bought = -micro(RATE, local_buy) - micro(120_000, buys - local_buy)
    return QuarterLine(
        key=keys()[n],
        state=STATES[n],
        import_wh=buys if known else 0,
        export_wh=sells if known else 0,
        local_buy_wh=local_buy,
        local_sell_wh=local_sell,
        residual_import_wh=buys - local_buy,
        residual_export_wh=sells - local_sell,
        price_micro_per_kwh=RATE if known else None,
        energy_micro=net if known else 0,
        grid_fee_micro=fee if known else 0,
        levy_micro=levy if known else 0,
        vat_micro=(bought + fee + levy) * VAT_PPM // 1_000_000 if known else 0,
        saving_micro=9_000,
        estimated=n == 3,
        has_proof=known,
        trace=trace(n),
    )


ORDERS = (
    OrderLine("offer", "Family Weber", FEED_IN, 1_080, 430, own=True),
    OrderLine("offer", "5 others", FEED_IN, 9_000, 3_600, own=False),
    OrderLine("offer", "2 others", 104_000, 4_400, 400, own=False),
    OrderLine("bid", "3 others", 162_000, 3_100, 3_100, own=False),
    OrderLine("bid", "3 others", 140_000, 1_330, 1_330, own=False),
    OrderLine("bid", "1 other", 96_000, 900, 0, own=False),
)
TRADES = (
    TradeLine("you", "amber finch", 430, RATE, micro(RATE, 430), own=True),
    TradeLine("quiet heron", "amber finch", 2_670, RATE, micro(RATE, 2_670), own=False),
    TradeLine("quiet heron", "green wren", 1_330, RATE, micro(RATE, 1_330), own=False),
)
POSTINGS = (
    PostingLine("trade 1", "wallet:weber", micro(RATE, 430)),
    PostingLine("trade 1", "wallet:amber finch", -micro(RATE, 430)),
    PostingLine("trade 2", "wallet:quiet heron", micro(RATE, 2_670)),
    PostingLine("trade 2", "wallet:amber finch", -micro(RATE, 2_670)),
)
SEAL = (
    SealLine("Log position", "17"),
    SealLine(
        "Root of the readings", "8b1d6f0ce3a94f5b2c7d90e1a4f36b58d2c7190ae54b3f6870c1d2e3f4a5b6c7"
    ),
    SealLine(
        "Root of the settlement", "0c44f5e2b19d3a7788c6e1f203b5a49d6e7f8091a2b3c4d5e6f708192a3b4c5d"
    ),
    SealLine("Rule", "mid-market"),
    SealLine("Clock", "simulated"),
)
GOOD = VerdictPage(
    0,
    (
        VerdictStep("reading", ok=True, text="Both readings are signed by the enrolled key."),
        VerdictStep("energy", ok=True, text="The registers differ by 640 Wh, as billed."),
        VerdictStep("seal", ok=True, text="The statement stands in the sealed tree."),
        VerdictStep(
            "milestone", ok=True, text="The checkpoint is anchored and a milestone confirms it."
        ),
    ),
)
BAD = VerdictPage(
    1,
    (
        VerdictStep("reading", ok=True, text="Both readings are signed."),
        VerdictStep("seal", ok=False, text="The statement's leaf hash is not the sealed one."),
    ),
)


@dataclass
class FakeViews:
    """The district; tests change its fields and raise ``number`` to make pages look again.

    It is careless: it hands prices to the grid operator too, so that the pages have to hide them.
    """

    flows: FlowsNow = field(
        default_factory=lambda: FlowsNow(
            exporting_w=62_000, importing_w=18_000, shared_w=18_000, from_grid_w=0, to_grid_w=44_000
        )
    )
    number: int = 1
    empty: bool = False
    simulated: bool = True
    sum_micro: int = 0
    silent: bool = False
    broken: bool = False  # every view of the district fails, as nothing should
    listed_twice: bool = False  # as after a long day: as many quarter-hours as are ever listed
    mode: str = "metered"
    last_traded: int = COUNT  # quarter-hours after this one have no trade
    verified: list[bytes] = field(default_factory=list)

    def transparency(self, before: int | None, limit: int) -> TransparencyPage:
        return transparency_page(before, limit, self.simulated)

    def consistency_file(self, old: int, new: int) -> bytes:
        if (old, new) not in CONSISTENT:
            raise NotFoundError("there is no such checkpoint")
        return b'{"kind":"consistency"}\n'

    def district(self, viewer: Viewer) -> District:
        if self.broken:
            raise RuntimeError("the fake is broken")
        points = tuple(
            PointNow(
                point=f"57000000000000{n:04d}",
                name=name,
                kind=kind,
                power_w=None if self.silent or (viewer.role is Role.PROSUMER and n) else watts,
                at_ms=CLOCK_MS - (0 if online else 35 * 60_000),
                online=online and not self.silent,
                private=viewer.role is Role.PROSUMER and n > 0,
            )
            for n, (kind, name, watts, online) in enumerate(POINTS)
        )
        shown = tuple(
            summary(n)
            if n <= self.last_traded
            else replace(summary(n), price_micro_per_kwh=None, traded_wh=0)
            for n in reversed(range(COUNT))
        )
        return District(
            name="Lindenhof",
            zone=ZONE,
            clock_ms=CLOCK_MS,
            clock_simulated=self.simulated,
            clock_speed="x60",
            flows=self.flows,
            points=() if self.empty else points,
            intervals=() if self.empty else shown * (1 + self.listed_twice),
            notices=()
            if self.empty
            else (
                Notice(
                    CLOCK_MS - 35 * 60_000,
                    "warning",
                    "The meter of House 11, Lindenweg does not answer. Its quarter-hours are "
                    "estimated until it returns.",
                ),
            ),
            retail_micro_per_kwh=RETAIL,
            feed_in_micro_per_kwh=FEED_IN,
            local_all_in_micro_per_kwh=None if self.last_traded < 0 else LOCAL_ALL_IN,
            local_share_ppm=None if self.empty else 913_400,
            saving_micro=0 if self.empty else 4_812_345,
            mode=self.mode,
            idle_devices=(
                "Battery, 200 kWh",
                "Chargers at the charging hub",
                "The grid operator’s limit, 90 kW",
            ),
        )

    def participants(self, viewer: Viewer) -> list[tuple[str, str]]:
        return [(viewer.participant, NAMES[viewer.participant])] if viewer.participant else []

    def participant(self, viewer: Viewer, participant: str) -> ParticipantPage:
        if viewer.participant != participant:
            raise NotFoundError(participant)
        return ParticipantPage(
            participant=participant,
            name=NAMES[participant],
            zone=ZONE,
            clock_ms=CLOCK_MS,
            wallet_micro=0 if self.empty else 148_203,
            ledger_micro=0 if self.empty else 96_130,
            carry_micro=0 if self.empty else 12,
            unconfirmed_micro=0 if self.empty else 52_061,
            saving_micro=0 if self.empty else 81_000,
            address="rms1qp0v5y4qx2d8u6lq9e3k7w0r5t2n8m4c6a1s9d7f3g5h2j4k6l8z0xydemo",
            quarters=() if self.empty else tuple(quarter(n) for n in reversed(range(COUNT))),
            notices=(),
        )

    def intervals(self, viewer: Viewer, before: str | None, limit: int) -> list[IntervalSummary]:
        shown = () if self.empty else tuple(summary(n) for n in reversed(range(COUNT)))
        rows = [row for row in shown if before is None or row.key < before]
        return rows[:limit]

    def interval(self, viewer: Viewer, key: str) -> IntervalPage:
        if key not in keys():
            raise NotFoundError(key)
        n = keys().index(key)
        hidden = viewer.role is Role.OPERATOR
        known = STATES[n] not in {"open", "closed"}
        return IntervalPage(
            summary=summary(n),
            zone=ZONE,
            clock_ms=CLOCK_MS,
            rule="mid-market",
            orders=(ORDERS[:1] if n == 0 else ORDERS) if known else (),
            orders_hidden=n == 0,
            trades=TRADES if known else (),
            postings=POSTINGS if known else (),
            postings_sum_micro=self.sum_micro,
            seal=SEAL if known else (),
            proof_participants=(viewer.participant,) if viewer.participant and known else (),
            previous_key=keys()[n - 1] if n else None,
            next_key=keys()[n + 1] if n + 1 < COUNT else None,
            prices_hidden=hidden,
            trace=trace(n),
        )

    def proof_file(self, viewer: Viewer, key: str, participant: str) -> bytes:
        if viewer.participant != participant or key not in keys():
            raise NotFoundError(key)
        return json.dumps({"interval": key, "participant": participant}).encode() + b"\n"

    def keys_file(self) -> bytes:
        return b'{"version":1}\n'

    def verify(self, proof: bytes) -> VerdictPage:
        self.verified.append(proof)
        return GOOD if b'"interval"' in proof else BAD

    def revision(self) -> int:
        return self.number


@dataclass
class FakeSessions:
    """Sessions in a dictionary; ids are counted so that tests can tell them apart."""

    in_demo: bool = True
    living: dict[str, Viewer] = field(default_factory=dict)
    entered: int = 0

    def viewer(self, cookie: str | None) -> Viewer | None:
        return self.living.get(cookie or "")

    def demo_enter(self, role: Role) -> str:
        if not self.in_demo:
            raise NotFoundError("no demo")
        self.entered += 1
        cookie = f"session-{self.entered}"
        own = OWN if role is Role.PROSUMER else None
        self.living[cookie] = Viewer(role, own, csrf_token=f"token-{cookie}")
        return cookie

    def leave(self, cookie: str) -> None:
        self.living.pop(cookie, None)

    def demo(self) -> bool:
        return self.in_demo

"""The thirteen pitfalls of toy markets as tables with postings: ``pitfalls.txt``, done by hand.

The pure rules alone: the same pitfalls in a running district are in
``tests/app/test_pitfalls_district.py``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from market import journal
from market.agents import Instruction, Standing, with_wishes
from market.book import Book
from market.certificate import Border, Unit, allot
from market.correction import Metered, Settled, correct
from market.delivery import Contract, settle_contracts
from market.estimates import estimate_import, scale_to_difference
from market.losses import FeederEnergy, judge_day
from market.money import Money, Price, largest_remainder
from market.parties import MeteredPoint, metered_book, own_transfers
from market.place import Place
from market.settled import Span, buckets, records
from market.settlement import Direction, Kind, Line, SettledEnergy, Settlement, saving, settle
from market.statement import build
from market.statement_parts import NEIGHBOURS, Billed, Energy, Header, Month, Section
from market.tariff import Tariff
from market.tariffs import Fixed, Part, TariffVersion, Window, Windows, flat
from market.trade import Trade
from metering.interval import Interval, IntervalError
from metering.quantities import Energy as Wh
from optimizer.clearing import clear
from optimizer.metered import fees, metered_problem, payable
from optimizer.problem import Fees

TABLE = Path(__file__).with_name("pitfalls.txt")
USUAL = "energy 200000 grid 90000 local 40000 levy 20000 feed-in 80000 vat 190000"
WORDS = {
    "energy": "energy",
    "grid": "grid_fee",
    "local": "local_grid_fee",
    "levy": "levy",
    "tax": "tax",
    "feed-in": "feed_in",
    "building": "local_fee_building",
    "feeder": "local_fee_feeder",
}
WEEK = tuple(range(7))
MORNING, OSLO = Interval.parse("2026-06-23T09:00:00Z"), ZoneInfo("Europe/Oslo")
FREE = Price(0)
NO_TARIFF = Tariff(FREE, FREE, FREE, FREE, FREE, 0)  # until it is known what is settled when
NOTHING = Energy(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
Told = list[str]  # such as "post grid 4000"


@dataclass
class Step:
    """What is done, and what is to come of it."""

    command: str
    expected: Told = field(default_factory=list)


def sections() -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for text in TABLE.read_text("utf-8").splitlines():
        if text.startswith("== "):
            steps = found.setdefault(text[3:], [])
        elif text.startswith("= "):
            steps[-1].expected.append(text[2:])
        elif text.strip() and not text.startswith("#"):
            steps.append(Step(text))
    return found


def pairs(text: str) -> tuple[int, int]:
    first, second = map(int, text.split("/"))
    return first, second


@dataclass
class World:
    """What a section has said so far, and what was settled in it."""

    backwards: bool  # the meters in the other order: nothing may depend on it
    version: TariffVersion = field(default_factory=lambda: tariff_of(USUAL.split()))
    interval: Interval = MORNING
    zone: ZoneInfo = OSLO
    points: list[MeteredPoint] = field(default_factory=list)
    limits: dict[str, Price] = field(default_factory=dict)
    last: Settlement | None = None
    known: dict[str, Metered] = field(default_factory=dict)  # corrected to, by point
    bills: list[tuple[str, Billed]] = field(default_factory=list)
    feeder: FeederEnergy | None = None

    # --- What is said ----------------------------------------------------------------------------

    def tariff(self, *words: str) -> Told:
        self.version = tariff_of(words)
        return []

    def window(self, begin: str, end: str, price: str) -> Told:
        """Give energy another price between two times of the wall clock."""
        (energy,) = self.version.of(Part.ENERGY)
        assert isinstance(energy.rate, Fixed)
        usual, edges = energy.rate.value, [0, minutes(begin), minutes(end), 1440]
        values = (usual, Price(int(price)), usual)
        windows = [
            Window(WEEK, start, stop, value)
            for start, stop, value in zip(edges, edges[1:], values, strict=False)
            if start < stop
        ]
        changed = replace(energy, rate=Windows(tuple(windows)))
        others = (each for each in self.version.components if each is not energy)
        self.version = replace(self.version, components=(changed, *others))
        return []

    def meter(self, point: str, energies: str = "", *more: str) -> Told:
        if point == "none":
            self.points.clear()
            return []
        words = [word for word in more if word != "estimated"]
        given = dict(zip(words[::2], words[1::2], strict=True))
        drawn, fed_in = pairs(energies)
        self.points.append(
            MeteredPoint(
                point,
                given.get("of", point),
                Wh(drawn),
                Wh(fed_in),
                "estimated" in more,
                NO_TARIFF,
                given.get("with", ""),
                place=Place.parse(given.get("at", "")),
            )
        )
        return []

    meters = meter

    def limit(self, order: str, price: str) -> Told:
        self.limits[order] = Price(int(price))
        return []

    def at(self, key: str, zone: str = "Europe/Oslo") -> Told:
        try:
            self.interval = Interval(datetime.fromisoformat(key))
        except IntervalError as error:
            return [f"refused {error}"]
        self.zone = ZoneInfo(zone)
        return []

    # --- What comes of it ------------------------------------------------------------------------

    def settle(self, how: str, price: str = "", *agreed: str) -> Told:
        tariff = self.version.at(self.interval, self.zone, None)
        points = [replace(p, tariff=tariff) for p in self.points]
        points = points[::-1] if self.backwards else points
        own = own_transfers(points)
        book = metered_book(points, own, {})
        trades: tuple[Trade, ...] = ()
        if how == "contracts":
            contracts = [contract(text) for text in agreed]
            made = settle_contracts(
                points, own, contracts, Price(int(price)), {}, lambda _: True, b"k"
            )
            book, trades = made.book, made.trades
        elif how != "none":
            book, trades = cleared(points, how, self.limits, self.interval.key)
        self.last = settle(self.interval.key, points, own, book, trades, {}, {})
        self.known = {}
        self._bill()
        rows = [row for s in self.last.statements for row in s.metered if row.wh]
        return [
            *map(energy_told, rows),
            *(line_told(line) for s in self.last.statements for line in s.lines),
            *posts_told(self.last.entries),
            *(f"saving {who} {money.micro}" for who, money in saving(self.last).items()),
        ]

    def _bill(self) -> None:
        assert self.last
        month = next(b.start for b in buckets(self.interval, self.zone) if b.span is Span.MONTH)
        for record in records(self.last.points, self.last.statements):
            for key, its in record.bill.items():
                local = key.kind.moves_wallet
                account = NEIGHBOURS if local else "of the kind"
                billed = Billed(
                    key.point, key.supplier, month, key.kind.value, key.vat_ppm, *its, account
                )
                self.bills.append((key.participant, billed))

    def correct(self, point: str, energies: str) -> Told:
        assert self.last
        first = self._settled_at_first(point)
        now = Metered(*pairs(energies))
        found = correct("x", first, now, self.known.get(point))
        self.known[point] = now
        rows = [row for row in (found.drawn, found.fed_in) if row.wh]
        return [
            *map(energy_told, rows),
            *map(line_told, found.lines),
            *posts_told([found.entry]),
        ]

    def _settled_at_first(self, point: str) -> Settled:
        assert self.last
        (p,) = (each for each in self.last.points if each.point == point)
        (s,) = (each for each in self.last.statements if each.participant == p.participant)
        rows = {row.direction: row for row in s.metered if row.point == point}
        bought = -sum(
            line.micro for line in s.lines if (line.kind, line.point) == (Kind.LOCAL_BUY, point)
        )
        drawn, fed_in = rows[Direction.IMPORT], rows[Direction.EXPORT]
        return Settled(p.participant, p.tariff, drawn, fed_in, Money(bought), p.supplier)

    def statement(self, who: str, month: str, *liable: str) -> Told:
        billed = [each for owner, each in self.bills if owner == who and each.origin == month]
        header = Header(
            "d", month, "", "", str(self.zone), "real", "", 0, {}, who, {}, bool(liable), False, {}
        )
        places = {(each.point, each.supplier) for each in billed}
        parts = [Section(point, "", supplier, (), NOTHING) for point, supplier in places]
        built = build(header, Month(parts, billed))
        told = [f"due {built.due_cents}", *posts_told([built.entry])]
        for name, part in (
            ("invoice", built.document["invoice"]),
            ("credit", built.document["credit_note"]),
        ):
            if isinstance(part, dict) and part["vat"]:
                told += [
                    f"{name} {row['vat_ppm']} net {row['net_cents']} VAT {row['vat_cents']}"
                    for row in part["vat"]
                ]
                told.append(f"paid {part['paid_cents']}")
        return told

    def day(self, local_day: str, zone: str) -> Told:
        """Count the quarter-hours of a local day, and those in the tariff's window."""
        tz = ZoneInfo(zone)
        begin = datetime.fromisoformat(local_day)
        key = Interval(begin.replace(tzinfo=tz).astimezone(UTC))
        end = (begin + timedelta(days=1)).replace(tzinfo=tz).astimezone(UTC)
        prices = Counter[int]()
        while key.start < end:
            prices[self.version.at(key, tz, None).energy.micro_per_kwh] += 1
            key = key.next()
        return [f"quarters {prices.total()} of them {prices[300_000]} at 300000"]

    def head(self, energies: str) -> Told:
        drawn = sum(p.imported.wh for p in self.points)
        fed_in = sum(p.exported.wh for p in self.points)
        self.feeder = FeederEnergy(*pairs(energies), drawn, fed_in, False)
        ppm = judge_day([self.feeder], 0).loss_ppm
        return [f"loss {self.feeder.loss_wh} of {self.feeder.entered_wh} ppm {ppm}"]

    def watch(self, quarters: str, _: str, alarm_ppm: str) -> Told:
        assert self.feeder
        return [f"drift {judge_day([self.feeder] * int(quarters), int(alarm_ppm)).drift}"]

    def estimate(self, *before: str) -> Told:
        return [f"share {estimate_import([Wh(int(wh)) for wh in before]).wh}"]

    def split(self, whole: str, _: str, *weights: str) -> Told:
        """Split by largest remainder, as a gap's register difference is."""
        parts = [Wh(int(wh)) for wh in weights]
        keys = [f"{place:04}" for place in range(len(parts))]
        shares = [each.wh for each in scale_to_difference(Wh(int(whole)), parts, keys)]
        ties = [key.encode() for key in keys]
        assert shares == largest_remainder(int(whole), [each.wh for each in parts], ties)
        return [f"share {wh}" for wh in shares]

    def certify(self, what: str, wh: str = "0") -> Told:
        units = [Unit(what, int(wh))] if what != "nothing" else []
        lots = allot([Border(what, what, int(wh), units)], {})
        told = [f"certificates {lot.device} {lot.status} {got}" for lot, got in lots.items()]
        return told or ["certificates none"]


def tariff_of(words: Sequence[str]) -> TariffVersion:
    given = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    prices = {name: Price(given[word]) for word, name in WORDS.items() if word in given}
    return flat(replace(NO_TARIFF, **prices, vat_ppm=given["vat"]))


def minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def contract(text: str) -> Contract:
    names, wh = text.split(":")
    seller, buyer = names.split(">")
    return Contract(f"{seller}-offer", f"{buyer}-bid", int(wh))


def cleared(
    points: Sequence[MeteredPoint], rule: str, limits: dict[str, Price], key: str
) -> tuple[Book, tuple[Trade, ...]]:
    """Clear the meters' book as a district does: fees by level enter before matching."""
    book = metered_book(points, own_transfers(points), limits)
    stands = {p.point: Standing(p.place, False, Instruction()) for p in points}
    book = with_wishes(book, stands, placed=fees(book, rule, points) != Fees())
    return book, clear(metered_problem(key, rule, payable(book, rule, points), points)).trades


def energy_told(row: SettledEnergy) -> str:
    parts = f"{row.local_wh} local {row.own_wh} own {row.residual_wh} residual"
    return f"energy {row.point} {row.direction} {row.wh} is {parts}"


def line_told(line: Line) -> str:
    return f"line {line.point} {line.kind} {line.wh} {line.micro}"


def posts_told(entries: Iterable[journal.Entry]) -> Iterator[str]:
    """Yield the postings, summed by account; those of each entry sum to 0."""
    total: dict[str, int] = defaultdict(int)
    for entry in entries:
        assert sum(posting.micro for posting in entry.postings) == 0
        for posting in entry.postings:
            total[posting.account] += posting.micro
    yield from (f"post {account} {micro}" for account, micro in total.items())


def by_word(told: Told) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for text in told:
        found[text.split()[0]].append(text)
    return {word: sorted(texts) for word, texts in found.items()}


def run(step: Step, world: World) -> None:
    word, *rest = step.command.split()
    action: Callable[..., Told] = partial(getattr(world, word), *rest)
    told, expected = by_word(action()), by_word(step.expected)
    if "refused" in told:
        (reason,) = expected["refused"]
        assert reason.removeprefix("refused ") in told["refused"][0]
        return
    assert {"post"} & told.keys() <= expected.keys(), "a step that posts tells its postings"
    assert {each: told.get(each, []) for each in expected} == expected, step.command


SECTIONS = sections()


def test_each_of_the_thirteen_has_a_table_with_postings() -> None:
    assert [int(name.partition(".")[0]) for name in SECTIONS] == list(range(1, 14))
    for name, steps in SECTIONS.items():
        assert any(text.startswith("post ") for s in steps for text in s.expected), name


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", SECTIONS)
def test_pitfall(name: str, backwards: bool) -> None:
    world = World(backwards)
    for step in SECTIONS[name]:
        run(step, world)

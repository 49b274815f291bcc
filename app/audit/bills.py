"""A participant's month added up again from lines, links and tariffs; docs/money.md, "Statements".

What stands in an issued document is worked out here as plain values under the names of its parts,
so that a difference can be told part by part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from app.audit.monthfile import Bond
from app.audit.rates import Book, Component, Definition
from app.audit.settling import LOCAL, VAT, Held, Line, Split, half_up

SOLD: Final = ("local-sell", "residual-export")
_CENT: Final = 10_000
_PEAKS: Final = 3
Value = int | str | tuple["Value", ...]
"""What parts of a document are compared as."""


class Key(NamedTuple):
    """Which lines stand together on a bill."""

    point: str
    supplier: str
    origin: str
    kind: str
    vat_ppm: int


@dataclass(slots=True)
class Sum:
    """Lines that stand together: their energy, their amount, the lowest and highest price."""

    wh: int = 0
    micro: int = 0
    low: int | None = None
    high: int | None = None

    def add(self, line: Line) -> None:
        """Add one."""
        self.wh += line.wh
        self.micro += line.micro
        self.low = line.price if self.low is None else min(self.low, line.price)
        self.high = line.price if self.high is None else max(self.high, line.price)

    @property
    def value(self) -> Value:
        """The sum as a document says it: micro, Wh, lowest and highest price."""
        return (self.micro, self.wh, self.low or 0, self.high or 0)


@dataclass(slots=True)
class Bill:
    """What a participant's month came to."""

    lines: dict[Key, Sum] = field(default_factory=lambda: defaultdict(Sum))
    energy: dict[tuple[str, str], list[int]] = field(
        default_factory=lambda: defaultdict(lambda: [0] * 10)
    )
    peaks: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    saving: int = 0

    def count(self, point: str, supplier: str, day: str, now: Split) -> None:
        """Count an interval as it is known."""
        sums = self.energy[point, supplier]
        parts = (
            1, int(now.estimated),
            now.import_wh, now.local_in, now.own_in, now.residual_in,
            now.export_wh, now.local_out, now.own_out, now.residual_out,
        )  # fmt: skip
        for place, part in enumerate(parts):
            sums[place] += part
        peaks = self.peaks[point]
        peaks[day] = max(peaks.get(day, 0), now.import_wh)


class Charge(NamedTuple):
    """A standing charge or a capacity fee."""

    point: str
    supplier: str
    kind: str
    name: str
    vat_ppm: int
    price: int
    micro: int
    days: int
    peaks_w: tuple[tuple[str, int], ...]


class Links:
    """Who and what stood behind a point in an interval."""

    def __init__(self, bonds: Iterable[Bond]) -> None:
        self._bonds: dict[tuple[str, str], list[Bond]] = defaultdict(list)
        for bond in bonds:
            self._bonds[bond.point, bond.role].append(bond)

    def target(self, point: str, role: str, key: str) -> str | None:
        """Return to what a point was bound; None where no link of the file holds."""
        for bond in self._bonds.get((point, role), ()):
            if bond.valid_from <= key and (bond.valid_to is None or key < bond.valid_to):
                return bond.target
        return None

    def held(self, point: str, key: str) -> Held:
        """Return all that held; '' where nothing did."""

        def at(role: str) -> str:
            return self.target(point, role, key) or ""

        return Held(at("participant"), at("supplier"), at("tariff"), at("feeder"), at("building"))

    def points(self) -> set[str]:
        """Return every point that somebody was ever behind."""
        return {point for point, role in self._bonds if role == "participant"}


def days_of(month: str) -> list[date]:
    """Return a month's days."""
    first = date.fromisoformat(f"{month}-01")
    return [d for d in (first + timedelta(n) for n in range(31)) if d.month == first.month]


def charges(
    who: str, bill: Bill, links: Links, book: Book, span: tuple[str, str], zone: ZoneInfo
) -> list[Charge]:
    """Return what is due by the day and by the highest peaks.

    A day is theirs in whose last quarter-hour the point was. ``span`` is the month and the key of
    the first interval that does not count any more.
    """
    month, until = span
    days = days_of(month)
    found: list[Charge] = []
    for point in sorted(links.points()):
        spans: dict[tuple[str, str], list[date]] = defaultdict(list)
        known: dict[str, Definition] = {}
        for day in days:
            last = _last_quarter(day, zone)
            if last < until and links.target(point, "participant", last) == who:
                supplier = links.target(point, "supplier", last) or ""
                tariff = links.target(point, "tariff", last) or ""
                digest = book.digest(tariff, day)
                known[digest] = book.definition(tariff, day)
                spans[supplier, digest].append(day)
        highest = sorted(bill.peaks.get(point, {}).items(), key=lambda item: (-item[1], item[0]))
        peaks = tuple((day, 4 * wh) for day, wh in highest[:_PEAKS])
        for (supplier, digest), own in spans.items():
            definition = known[digest]
            for part in definition["components"]:
                due = _charge(part, len(own), len(days), peaks)
                if due is not None:
                    shown = peaks if part["part"] == "capacity" else ()
                    price = _price(part)
                    kind, name, vat = part["part"], part["name"], definition["vat_ppm"]
                    found.append(
                        Charge(point, supplier, kind, name, vat, price, -due, len(own), shown)
                    )
    return found


def _last_quarter(day: date, zone: ZoneInfo) -> str:
    midnight = datetime.combine(day + timedelta(1), time(), zone).astimezone(UTC)
    return f"{midnight - timedelta(minutes=15):%Y-%m-%dT%H:%M:%SZ}"


def _price(part: Component) -> int:
    price = part.get("rate", 0)
    return price if isinstance(price, int) else 0


def _charge(
    part: Component, days: int, of_days: int, peaks: tuple[tuple[str, int], ...]
) -> int | None:
    price = _price(part)
    if part["part"] == "standing" and price:
        return price * days
    if part["part"] == "capacity" and price and peaks:
        return half_up(price * sum(w for _, w in peaks) * days, 1000 * len(peaks) * of_days)
    return None


@dataclass(frozen=True, slots=True)
class Paper:
    """An invoice or a credit note in cents: (rate, net, VAT) by rate, and what was paid."""

    rows: tuple[tuple[int, int, int], ...]
    paid: int

    @property
    def vat(self) -> int:
        """All VAT."""
        return sum(vat for _, _, vat in self.rows)

    @property
    def due(self) -> int:
        """What is left to pay."""
        return sum(net for _, net, _ in self.rows) + self.vat - self.paid


def papers(
    lines: Mapping[Key, Sum], due: Iterable[Charge], *, vat_liable: bool
) -> tuple[Paper, Paper | None]:
    """Return the invoice, and the credit note where something was sold."""
    owed: dict[int, int] = defaultdict(int)
    earned: dict[int, int] = defaultdict(int)
    bought = sold = 0
    for key, line in lines.items():
        if key.kind in SOLD:
            earned[key.vat_ppm if vat_liable else 0] += line.micro
            sold += line.micro if key.kind in LOCAL else 0
        elif key.kind != VAT:
            owed[key.vat_ppm] -= line.micro
            bought -= line.micro if key.kind in LOCAL else 0
    for charge in due:
        owed[charge.vat_ppm] -= charge.micro
    invoice = Paper(_rows(owed), half_up(bought, _CENT))
    return invoice, Paper(_rows(earned), half_up(sold, _CENT)) if earned else None


def _rows(nets: Mapping[int, int]) -> tuple[tuple[int, int, int], ...]:
    found = []
    for vat_ppm, micro in sorted(nets.items()):
        net = half_up(micro, _CENT)
        found.append((vat_ppm, net, half_up(net * vat_ppm, 1_000_000)))
    return tuple(found)


def rounding(
    lines: Mapping[Key, Sum], due: Iterable[Charge], invoice: Paper, credit: Paper | None
) -> int:
    """Return what whole cents leave over: all micro-euros of the month less the cents' ones."""
    memo = sum(line.micro for key, line in lines.items() if key.kind not in LOCAL)
    booked_vat = -sum(line.micro for key, line in lines.items() if key.kind == VAT)
    cents = invoice.due - (credit.due if credit else 0)
    vat = (invoice.vat - (credit.vat if credit else 0)) * _CENT
    return cents * _CENT + memo - (vat - booked_vat) + sum(charge.micro for charge in due)

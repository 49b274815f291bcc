"""What an interval of the file rests on: signed readings, sealed orders and tariffs, trades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from app.audit.meters import Meters
from app.audit.monthfile import IntervalRecord, SlotRecord
from app.audit.rates import Book, Rates, leaf_rates
from app.audit.settling import Deal, Held, Split, traded, worth
from ledger_client.merkle import root
from ledger_client.verify import (
    ClaimError,
    Enrolment,
    Order,
    Reading,
    Seal,
    SignedReading,
    leaf_hash,
    order_leaf,
    parse,
    reading_leaf,
    require,
    roster_leaf,
    slot_leaf,
    tariff_leaf,
)

_BORDER_MS: Final = 10_000
_QUARTER_MS: Final = 900_000
_CLOCKS: Final = ("S", "I")
_LEVELS: Final = {"bid": "import", "offer": "export"}


def start_of(key: str) -> datetime:
    """Return an interval's start."""
    return datetime.fromisoformat(key).astimezone(UTC)


def key_of(at_ms: int) -> str:
    """Return the key of the interval that a moment (UTC milliseconds) lies in."""
    start = datetime.fromtimestamp(at_ms // _QUARTER_MS * _QUARTER_MS // 1000, UTC)
    return f"{start:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(slots=True)
class Readings:
    """Readings that an enrolled meter signed, by their leaf's hash: of this line and before.

    ``erased`` are the leaves of which there is nothing but the hash; ``blind`` counts the slots
    whose energy cannot be checked for want of them.
    """

    meters: Meters
    erased: frozenset[bytes]
    now: dict[bytes, Reading] = field(default_factory=dict)
    before: dict[bytes, Reading] = field(default_factory=dict)
    blind: int = 0

    def take(self, signed: tuple[SignedReading, ...]) -> None:
        """Read a line's readings; those of the line before stay at hand.

        Raises:
            RefusedError: a reading is not one that the enrolled meter signed.
        """
        self.before, self.now = self.now, {}
        for each in signed:
            self.now[leaf_hash(reading_leaf(each))] = self.meters.read(each)

    def at(self, point: str, leaf: bytes, border_ms: int) -> Reading:
        """Return a point's border reading.

        Raises:
            ClaimError: it is not in the file, of another point, or not fit for the border.
        """
        found = self.now.get(leaf) or self.before.get(leaf)
        if found is None:
            raise ClaimError(f"{point}: a border reading is not in the file")
        self.now[leaf] = found
        require(found.point == point, f"{point}: a border reading is of another point")
        late_ms = found.answered_ms - border_ms
        require(
            0 <= late_ms <= _BORDER_MS,
            f"{point}: a border reading lies {late_ms} ms after its border",
        )
        require(found.quality == "measured", f"{point}: a border reading is {found.quality}")
        require(found.clock in _CLOCKS, f"{point}: the meter's clock was not good enough")
        return found


def metered(line: IntervalRecord, readings: Readings, alone: frozenset[str]) -> dict[str, Split]:
    """Return what each point that settles drew and fed in.

    What was estimated, or rests on readings that were erased, is what the slot says.

    Raises:
        RefusedError: a border is missing, runs backwards, or gives another energy than the slot.
    """
    enrolments = [readings.meters.of(slot, line.interval) for slot in line.slots]
    readings.take(line.readings)
    found = {}
    for slot, enrolled in zip(line.slots, enrolments, strict=True):
        ends = set() if slot.borders is None else {slot.borders.opening, slot.borders.closing}
        if not slot.estimated and ends & readings.erased:
            readings.blind += 1
        elif not slot.estimated:
            _check_energy(slot, readings, enrolled, line.interval)
        if slot.point not in alone:
            found[slot.point] = Split(slot.import_wh, slot.export_wh, bool(slot.estimated))
    return found


def _check_energy(slot: SlotRecord, readings: Readings, enrolled: Enrolment, key: str) -> None:
    if slot.borders is None:
        raise ClaimError(f"{slot.point} is measured without two border readings")
    begin_ms = int(start_of(key).timestamp()) * 1000
    opening = readings.at(slot.point, slot.borders.opening, begin_ms)
    closing = readings.at(slot.point, slot.borders.closing, begin_ms + _QUARTER_MS)
    ours = opening.key == enrolled.key and readings.meters.closes(closing, enrolled, key)
    require(ours, f"{slot.point}: a border reading is not by the key that was valid then")
    require(opening.meter == closing.meter, f"{slot.point}: the borders are of two meters")
    for way, first, last, says in (
        ("import", opening.import_wh, closing.import_wh, slot.import_wh),
        ("export", opening.export_wh, closing.export_wh, slot.export_wh),
    ):
        wh = (last or 0) - (first or 0)
        require(wh == says, f"{slot.point}: the readings give {wh} Wh of {way}, the file {says} Wh")


def sealed(line: IntervalRecord, meters: Meters, alone: frozenset[str]) -> Seal | None:
    """Return the interval's seal, which roster, slots, orders and tariffs of the file have to give.

    Raises:
        RefusedError: they do not, or the seal is of another interval.
    """
    if line.seal is None:
        return None
    seal = Seal.read(line.seal.entry)
    require(seal.interval == line.interval, f"the seal is of {seal.interval}")
    roster = [leaf_hash(roster_leaf(each.text)) for each in meters.roster(line.slots)]
    require(root(roster) == seal.roster_root, "the enrolments do not give the sealed roster_root")
    tree = [leaf_hash(slot_leaf(s.point, line.interval, s.salt, s.borders)) for s in line.slots]
    require(root(tree) == seal.tree_root, "the borders do not give the sealed tree_root")
    estimated = sum(slot.estimated for slot in line.slots)
    due = seal.counts.estimated
    require(estimated == due, f"the seal counts {due} estimates, the file has {estimated}")
    leaves = [leaf_hash(order_leaf(each.salt, each.leaf)) for each in line.orders]
    require(root(leaves) == seal.order_root, "the orders do not give the sealed order_root")
    of_points = [slot for slot in line.slots if slot.point not in alone]
    for slots in (line.slots, of_points):
        hashes = [leaf_hash(tariff_leaf(s.point, s.salt, s.tariff)) for s in slots]
        if root(hashes) == seal.tariff_hash:
            return seal
    raise ClaimError("the tariffs do not give the sealed tariff_hash")


def deals(line: IntervalRecord, metered_: Mapping[str, Split]) -> tuple[Deal, ...]:
    """Return the trades between points.

    Raises:
        RefusedError: a trade names no order, has another amount than price and energy give, or
            more is traded than an order or a meter had.
    """
    orders = {each.order_id: each for each in (Order.read(o.leaf) for o in line.orders)}
    found = []
    for trade in line.trades:
        buyer, seller = orders.get(trade.buyer), orders.get(trade.seller)
        if buyer is None or seller is None or (buyer.side, seller.side) != ("bid", "offer"):
            raise ClaimError(f"the trade of {trade.buyer} and {trade.seller} names no such orders")
        micro = worth(trade.price_micro_per_kwh, trade.wh)
        require(
            micro == trade.amount_micro,
            f"the trade of {trade.buyer} and {trade.seller} is {trade.amount_micro} micro-euros, "
            f"price and energy give {micro}",
        )
        price, distance = trade.price_micro_per_kwh, trade.distance
        found.append(Deal(seller.point, buyer.point, trade.wh, price, micro, distance))
    for (side, point), wh in traded(found).items():
        one = metered_.get(point)
        if one is None or one.estimated:
            raise ClaimError(f"{point} was not measured, and trades")
        have = one.import_wh if side == "bid" else one.export_wh
        require(wh <= have, f"{point} trades {wh} Wh of {_LEVELS[side]} and had {have} Wh")
    return tuple(found)


def rates(
    line: IntervalRecord, held: Mapping[str, Held], book: Book, zone: ZoneInfo
) -> dict[str, Rates]:
    """Return each point's rates from its tariff's definition, as its sealed leaf has to say them.

    Raises:
        RefusedError: the leaf says another price, or there is no version of the tariff.
    """
    local = start_of(line.interval).astimezone(zone)
    known: dict[str, Rates] = {}
    found = {}
    for slot in line.slots:
        if slot.point not in held:
            continue
        tariff = held[slot.point].tariff
        if tariff not in known:
            known[tariff] = book.rates(tariff, line.interval, local)
        own, leaf = known[tariff], parse(slot.tariff.encode())
        if not isinstance(leaf, dict):
            raise ClaimError(f"the tariff leaf of {slot.point} is no object")
        for name, says in leaf_rates(leaf).items():
            due = getattr(own, name)
            require(
                says == due, f"{name} of {slot.point} is {says} in its leaf, {due} by its tariff"
            )
        if "imbalance_micro_per_kwh" in leaf:
            price = book.price("imbalance", line.interval)
            says = leaf["imbalance_micro_per_kwh"]
            require(says == price, f"the imbalance price of {slot.point} is {says}, not {price}")
            own = replace(own, imbalance=price)
        found[slot.point] = own
    return found

"""What an interval of the file rests on: signed readings, sealed orders and tariffs, trades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from zoneinfo import ZoneInfo

from app.audit.monthfile import IntervalRecord, MeterKey, Signed, SlotRecord
from app.audit.rates import Book, Rates, leaf_rates
from app.audit.settling import Deal, Held, Split, traded, worth
from ledger_client.merkle import root
from ledger_client.verify import (
    READING_PREFIX,
    ClaimError,
    Order,
    Reading,
    Seal,
    leaf_hash,
    order_leaf,
    parse,
    require,
    signature_holds,
    tariff_leaf,
)

_BORDER_MS: Final = 10_000
_QUARTER_MS: Final = 900_000
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
    """Readings whose signature holds, by SHA-256(payload || signature): of this line and before."""

    district: str
    keys: Mapping[int, MeterKey]
    now: dict[bytes, Reading]
    before: dict[bytes, Reading]

    def take(self, signed: tuple[Signed, ...]) -> None:
        """Read a line's readings; those of the line before stay at hand.

        Raises:
            RefusedError: a signature does not hold, or the reading is of another district.
        """
        self.before, self.now = self.now, {}
        for each in signed:
            reading = Reading.read(each.payload)
            message = READING_PREFIX + each.payload.encode()
            where = f"the reading {reading.seq} of {reading.point}"
            require(
                signature_holds(reading.key, message, each.signature),
                f"{where}: its signature does not hold",
            )
            require(reading.district == self.district, f"{where} is of another district")
            self.now[sha256(each.payload.encode() + each.signature).digest()] = reading

    def at(self, slot: SlotRecord, name: bytes, border_ms: int) -> Reading:
        """Return a border reading.

        Raises:
            ClaimError: it is not in the file, of another point or key, or not at the border.
        """
        found = self.now.get(name) or self.before.get(name)
        if found is None:
            raise ClaimError(f"{slot.point}: a border reading is not in the file")
        self.now[name] = found
        key = self.keys.get(slot.enrolment)
        require(
            key is not None and (key.point, found.point) == (slot.point, slot.point),
            f"{slot.point}: a border reading or its key is of another point",
        )
        late_ms = found.answered_ms - border_ms
        require(
            0 <= late_ms <= _BORDER_MS,
            f"{slot.point}: a border reading lies {late_ms} ms after its border",
        )
        require(found.quality == "measured", f"{slot.point}: a border reading is {found.quality}")
        return found


def metered(line: IntervalRecord, readings: Readings, alone: frozenset[str]) -> dict[str, Split]:
    """Return what each point that settles drew and fed in; an estimate is what the slot says.

    Raises:
        RefusedError: a border is missing, runs backwards, or gives another energy than the slot.
    """
    readings.take(line.readings)
    begin_ms = int(start_of(line.interval).timestamp()) * 1000
    found = {}
    for slot in line.slots:
        if not slot.estimated:
            _check_energy(slot, readings, begin_ms)
        if slot.point not in alone:
            found[slot.point] = Split(slot.import_wh, slot.export_wh, bool(slot.estimated))
    return found


def _check_energy(slot: SlotRecord, readings: Readings, begin_ms: int) -> None:
    if slot.opening is None or slot.closing is None:
        raise ClaimError(f"{slot.point} is measured without two border readings")
    opening = readings.at(slot, slot.opening, begin_ms)
    closing = readings.at(slot, slot.closing, begin_ms + _QUARTER_MS)
    for way, first, last, says in (
        ("import", opening.import_wh, closing.import_wh, slot.import_wh),
        ("export", opening.export_wh, closing.export_wh, slot.export_wh),
    ):
        wh = (last or 0) - (first or 0)
        require(wh == says, f"{slot.point}: the readings give {wh} Wh of {way}, the file {says} Wh")


def sealed(line: IntervalRecord, alone: frozenset[str]) -> Seal | None:
    """Return the interval's seal, which orders and tariffs of the file have to give.

    Raises:
        RefusedError: they do not, or the seal is of another interval.
    """
    if line.seal is None:
        return None
    seal = Seal.read(line.seal.entry)
    require(seal.interval == line.interval, f"the seal is of {seal.interval}")
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

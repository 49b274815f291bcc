"""Granular certificates: what measured production of an interval gives, and to whom.

One certificate is one watt-hour of one device in one interval. ``docs/money.md``, "Certificates";
words and states as in EnergyTag's Granular Certificate Scheme Standard and its API specification.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final, NamedTuple

from market.errors import MarketError
from market.money import PPM, largest_remainder, round_half_up

EXPIRY_YEARS: Final = 2


class CertificateError(MarketError):
    """What was asked of certificates is refused for good: do what the message says."""


class Status(StrEnum):
    """Where a certificate is in its life; the words are EnergyTag's."""

    ACTIVE = "Active"
    CANCELLED = "Cancelled"
    CLAIMED = "Claimed"
    EXPIRED = "Expired"
    WITHDRAWN = "Withdrawn"
    LOCKED = "Locked"
    RESERVED = "Reserved"

    @property
    def held(self) -> bool:
        """Whether it still stands in its account."""
        return self in (Status.ACTIVE, Status.CLAIMED, Status.LOCKED, Status.RESERVED)


class Lot(NamedTuple):
    """Certificates of one device and interval that share account, state and purpose.

    ``beneficiary`` is whose consumption they are for, the storage that holds locked ones, or ''.
    """

    device: str
    account: str
    status: Status
    beneficiary: str


@dataclass(frozen=True, slots=True)
class Unit:
    """What a device gave out in an interval, as far as it may be certified, in Wh."""

    device: str
    wh: int
    is_storage: bool = False


@dataclass(frozen=True, slots=True)
class Sale:
    """Local energy that left a metering point: traded, or own energy (the buyer is the owner)."""

    buyer: str
    point: str  # the buyer's
    wh: int
    green: bool = False  # traded as green


@dataclass(frozen=True, slots=True)
class Border:
    """A metering point behind which devices are certified, in one interval.

    Raises:
        CertificateError: a negative energy.
    """

    point: str
    account: str
    exported_wh: int
    units: Sequence[Unit]
    sales: Sequence[Sale] = ()

    def __post_init__(self) -> None:
        if min((self.exported_wh, *(unit.wh for unit in self.units))) < 0:
            raise CertificateError(f"point {self.point}: measured energy cannot be negative")

    @property
    def exported_green_wh(self) -> int:
        """What of the production left the point: min(export, production)."""
        return min(self.exported_wh, sum(unit.wh for unit in self.units))

    def self_used(self) -> list[int]:
        """Return by unit what was used behind the point, pro-rata by largest remainder."""
        produced = [unit.wh for unit in self.units]
        ties = [unit.device.encode() for unit in self.units]
        return largest_remainder(sum(produced) - self.exported_green_wh, produced, ties)


Charging = Mapping[str, Mapping[str, int]]
"""Wh that storages took in, by metering point and storage."""


def unmetered_production(exported_wh: int, metered_wh: int) -> int:
    """Return what a device without a sub-meter gave, told by its point's export register alone.

    What the metered devices behind the same point gave, discharges included, comes first: the rest
    of the export is its own, and what it gave to the house remains unknown and uncertified.
    """
    return max(0, exported_wh - metered_wh)


def allot(borders: Iterable[Border], charging: Charging) -> dict[Lot, int]:
    """Return how the certificates of an interval are shared out, in Wh.

    Self-used energy is the owner's and claimed at once, exported energy is reserved: for the
    buyer's consumption as far as local trades carry it (those of green first, the others and the
    residual in proportion), else for the owner to have. What a storage behind the point took in is
    locked for it instead, first of what was self-used there, then of what was bought. Neither the
    order of the borders nor of their sales matters.
    """
    free = {point: dict(sorted(rooms.items())) for point, rooms in charging.items()}
    found: Counter[Lot] = Counter()
    borders = sorted(borders, key=lambda border: border.point)
    for border in borders:
        found.update(_self_used(border, free.get(border.point, {})))
    for border in borders:
        found.update(_exported(border, free))
    return {lot: wh for lot, wh in sorted(found.items()) if wh}


def _self_used(border: Border, free: dict[str, int]) -> Counter[Lot]:
    found: Counter[Lot] = Counter()
    owner = border.account
    for unit, used_wh in zip(border.units, border.self_used(), strict=True):
        # What a storage gave out again is not charged into one in the same interval.
        locked = _lock({} if unit.is_storage else free, used_wh)
        for storage, wh in locked:
            found[Lot(unit.device, owner, Status.LOCKED, storage)] += wh
        rest_wh = used_wh - sum(wh for _, wh in locked)
        found[Lot(unit.device, owner, Status.CLAIMED, owner)] += rest_wh
    return found


def _exported(border: Border, free: Mapping[str, dict[str, int]]) -> Counter[Lot]:
    found: Counter[Lot] = Counter()
    for device, sale, wh in _carried(border):
        if sale is None:
            found[Lot(device, border.account, Status.RESERVED, "")] += wh
            continue
        locked = _lock(free.get(sale.point, {}), wh)
        for storage, part_wh in locked:
            found[Lot(device, sale.buyer, Status.LOCKED, storage)] += part_wh
        rest_wh = wh - sum(part_wh for _, part_wh in locked)
        found[Lot(device, sale.buyer, Status.RESERVED, sale.buyer)] += rest_wh
    return found


def _lock(free: dict[str, int], wh: int) -> list[tuple[str, int]]:
    """Fill what storages took in, in the order of their ids; say which one takes how much."""
    locked = []
    for storage, room_wh in free.items():
        part_wh = min(wh, room_wh)
        wh -= part_wh
        free[storage] -= part_wh
        if part_wh:
            locked.append((storage, part_wh))
    return locked


def _carried(border: Border) -> Iterator[tuple[str, Sale | None, int]]:
    """Yield (device, sale, wh) of what is exported green; without a sale it stays with the owner.

    Both sides are walked in order, so that each device's and each sale's sum holds exactly.
    """
    used = border.self_used()
    queue = deque((u.device, u.wh - own) for u, own in zip(border.units, used, strict=True))
    for sale, target_wh in _targets(border):
        left_wh = target_wh
        while left_wh:
            device, there_wh = queue.popleft()
            wh = min(there_wh, left_wh)
            if wh:
                yield device, sale, wh
            left_wh -= wh
            if there_wh > wh:
                queue.appendleft((device, there_wh - wh))


def _targets(border: Border) -> list[tuple[Sale | None, int]]:
    """Split the exported green energy over the sales and what was not sold."""
    sales = sorted(border.sales, key=lambda s: (not s.green, s.point, s.buyer, s.wh))
    green = [sale for sale in sales if sale.green]
    others: list[Sale | None] = [sale for sale in sales if not sale.green]
    others.append(None)
    sold_wh = sum(sale.wh for sale in sales)
    weights = [s.wh if s else max(0, border.exported_wh - sold_wh) for s in others]
    to_green = min(border.exported_green_wh, sum(sale.wh for sale in green))
    parts = [
        *_split(to_green, [sale.wh for sale in green]),
        *_split(border.exported_green_wh - to_green, weights),
    ]
    return [(sale, wh) for sale, wh in zip([*green, *others], parts, strict=True) if wh]


def _split(total_wh: int, weights: Sequence[int]) -> list[int]:
    """Split in proportion; equal remainders in the order of the (sorted) list."""
    return largest_remainder(total_wh, weights, [n.to_bytes(4, "big") for n in range(len(weights))])


# --- Storages ------------------------------------------------------------------------------------


def dischargeable_wh(discharged_wh: int, stock_wh: int, efficiency_ppm: int) -> int:
    """Return how much of a discharge may be certified: at most stock x efficiency, floored."""
    return min(discharged_wh, stock_wh * efficiency_ppm // PPM)


def used_up_wh(certified_wh: int, efficiency_ppm: int) -> int:
    """Return what a certified discharge takes off the stock, losses included, rounded up."""
    return -(-certified_wh * PPM // efficiency_ppm)


# --- Corrections and debts -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall stand open (neither claimed nor used up) per lot, in Wh.

    ``shortfall_wh`` was claimed beyond what was measured; ``deducted_wh`` pays off the debt of
    earlier shortfalls. Fixed + open = wanted + shortfall - deducted.
    """

    open: Mapping[Lot, int]
    shortfall_wh: int
    deducted_wh: int


def plan(owner: str, wanted: Mapping[Lot, int], fixed: Mapping[Lot, int], debt_wh: int) -> Plan:
    """Return what shall be open of one device's interval, given what cannot be undone.

    ``wanted`` is what the readings known now give, ``fixed`` what was claimed or used up, and
    ``debt_wh`` what the device owes from other intervals. What is fixed beyond the wanted is made
    up for by other lots of the same interval, as far as there are; the rest is the shortfall.
    Whatever is deducted is taken from the owner's lots first, then from the buyers' in proportion.
    """
    lots = sorted({*wanted, *fixed})
    rest = {lot: max(0, wanted.get(lot, 0) - fixed.get(lot, 0)) for lot in lots}
    over_wh = sum(max(0, fixed.get(lot, 0) - wanted.get(lot, 0)) for lot in lots)
    rest, made_up_wh = _deduct(owner, rest, over_wh)
    rest, deducted_wh = _deduct(owner, rest, debt_wh)
    return Plan({lot: wh for lot, wh in rest.items() if wh}, over_wh - made_up_wh, deducted_wh)


def _deduct(owner: str, lots: Mapping[Lot, int], wh: int) -> tuple[dict[Lot, int], int]:
    """Take up to ``wh`` off the lots; return what is left of them, and how much was taken."""
    rest = dict(lots)
    # Of the owner's, those that are for nobody's consumption yet ('') go first.
    own = sorted((lot for lot in rest if lot.account == owner), key=lambda lot: lot.beneficiary)
    left_wh = max(0, wh)
    for lot in own:
        part_wh = min(left_wh, rest[lot])
        rest[lot] -= part_wh
        left_wh -= part_wh
    others = sorted(lot for lot in rest if lot.account != owner and rest[lot])
    weights = [rest[lot] for lot in others]
    for lot, part_wh in zip(others, _split(min(left_wh, sum(weights)), weights), strict=True):
        rest[lot] -= part_wh
        left_wh -= part_wh
    return rest, max(0, wh) - left_wh


# --- Figures -------------------------------------------------------------------------------------


def avoided_mg(wh: int, device_mg_per_kwh: int, grid_mg_per_kwh: int) -> int:
    """Return the CO2 that claimed energy avoids against the residual grid mix, in mg, half up.

    Negative for a device that emits more than the grid.
    """
    return round_half_up(wh * (grid_mg_per_kwh - device_mg_per_kwh), 1000)


def expiry_of(produced: date) -> date:
    """Return the last day on which a certificate of this production day (UTC) may be used."""
    try:
        return produced.replace(year=produced.year + EXPIRY_YEARS)
    except ValueError:  # 29 February
        return produced.replace(year=produced.year + EXPIRY_YEARS, day=28)

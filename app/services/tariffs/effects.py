"""What a change of tariff would have come to: the last known month on the old and on the new one.

All drawn from outside and all fed in, by hours and days of the roll-up: a comparison, no bill.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlmodel import Session, col, func, select

from app.services.house import House
from app.store import people, registry, tariffs
from app.tables import RollupRow
from market.money import Money
from market.tariff import Tariff
from market.tariffs import Part, TariffVersion, capacity_charge, daily_charge
from metering.interval import Interval
from metering.localtime import days_of, month_start, next_month
from metering.quantities import Energy

_Hours = Sequence[tuple[Interval, int, int]]  # hour, Wh drawn, Wh fed in


class Effect(NamedTuple):
    """What a change comes to for one point, all-in micro-euros of a month; positive is owed.

    ``month`` is the last one with settled energy (YYYY-MM); '' and None where there is none.
    """

    point: str
    name: str
    participant: str
    month: str
    was_micro: int | None
    becomes_micro: int | None


def effects(
    house: House, session: Session, points: Sequence[str], new: Callable[[str], TariffVersion]
) -> list[Effect]:
    """Return what other tariffs would have cost these points in the last known month.

    ``new`` gives the version that a point is to be on.
    """
    now = Interval.containing_ms(house.clock.now_ms())
    month = session.exec(select(func.max(RollupRow.start)).where(RollupRow.span == "month")).one()
    rows, standing = people.points(session), registry.standing(session, now.key)
    hours = _hours(house, session, points, month) if month else {}
    peaks = _peaks(session, points, month) if month else {}
    keys = sorted({each[0].key for of_point in hours.values() for each in of_point})
    shelf = tariffs.shelf(session, house.settings.tz, keys)
    cost = _Cost(shelf, month or "", {})
    found = []
    for point in points:
        each, energies = standing.get(point), hours.get(point, ())
        was = becomes = None
        if each is not None and energies:
            old = shelf.version(each.tariff, energies[-1][0])
            was = cost.of(old, energies, peaks.get(point, ()))
            becomes = cost.of(new(point), energies, peaks.get(point, ()))
        who = each.participant if each else rows[point].participant
        found.append(
            Effect(point, rows[point].name, who, month or "" if energies else "", was, becomes)
        )
    return found


class _Cost(NamedTuple):
    """Works out what a version costs in a month; what it comes to in an hour is kept."""

    shelf: tariffs.Shelf
    month: str
    known: dict[tuple[str, str], Tariff]

    def of(self, version: TariffVersion, energies: _Hours, peaks_wh: Sequence[int]) -> int:
        """Return all-in micro-euros: energy, fees, levies, charges and VAT, less feed-in."""
        total, digest = Money(0), version.digest
        for hour, drawn_wh, fed_in_wh in energies:
            at = self.known.get((digest, hour.key))
            if at is None:
                spot = self.shelf.spot_price(hour) if version.uses_spot else None
                at = self.known[digest, hour.key] = version.at(hour, self.shelf.zone, spot)
            total += at.cost_of_import(Energy(drawn_wh)) - at.feed_in.of(Energy(fed_in_wh))
        days = len(days_of(self.month))
        charges = [daily_charge(each, days) for each in version.of(Part.STANDING)]
        charges += [capacity_charge(each, peaks_wh) for each in version.of(Part.CAPACITY)]
        net = Money(sum(each.micro for each in charges))
        return (total + net + net.share(version.vat_ppm)).micro


def _hours(
    house: House, session: Session, points: Sequence[str], month: str
) -> Mapping[str, _Hours]:
    """Return what points drew and fed in by hour of a local month."""
    zone = house.settings.tz
    rows = session.exec(
        select(RollupRow.point, RollupRow.start, RollupRow.import_wh, RollupRow.export_wh)
        .where(RollupRow.span == "hour", col(RollupRow.point).in_(points))
        .where(RollupRow.start >= month_start(month, zone).key)
        .where(RollupRow.start < month_start(next_month(month), zone).key)
        .order_by(RollupRow.start)
    )
    found: dict[str, list[tuple[Interval, int, int]]] = defaultdict(list)
    for point, start, import_wh, export_wh in rows:
        found[point].append((Interval.parse(start), import_wh, export_wh))
    return found


def _peaks(session: Session, points: Iterable[str], month: str) -> Mapping[str, list[int]]:
    """Return the highest quarter-hours of the days of a local month, in Wh."""
    rows = session.exec(
        select(RollupRow.point, RollupRow.peak_import_wh)
        .where(RollupRow.span == "day", col(RollupRow.point).in_(list(points)))
        .where(col(RollupRow.start).startswith(month))
    )
    found: dict[str, list[int]] = defaultdict(list)
    for point, peak_wh in rows:
        found[point].append(peak_wh)
    return found

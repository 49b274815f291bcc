"""Versions of tariffs and price series: what each metering point is on in an interval."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlmodel import Session, SQLModel, col, func, select

from app.store import people, registry
from app.store.bulk import insert_once, put
from app.tables import EnrolmentRow, PriceRow, TariffRow, TariffVersionRow
from market import spot, tariff_text, tariffs
from market.money import Price
from market.tariff import Tariff
from market.tariffs import TariffVersion
from metering.interval import Interval
from metering.localtime import day_start

SPOT: Final = "spot"
IMBALANCE: Final = "imbalance"
SERIES: Final = (SPOT, IMBALANCE)


class UnknownTariffError(LookupError):
    """No version of the tariff is known: add one with ``wattloom tariff add``."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """All versions of all tariffs, and the spot prices of a run of intervals, read once.

    ``made_up``: where no spot price was imported the synthetic curve stands in, as in the demo.
    """

    zone: tzinfo
    versions: Mapping[str, Sequence[tuple[str, TariffVersion]]]  # (first day, version), in order
    spot: Mapping[str, Price]
    made_up: bool
    known: dict[tuple[str, str], Tariff] = field(default_factory=dict)

    def version(self, tariff: str, interval: Interval) -> TariffVersion:
        """Return the version that holds in an interval; before all of them, the first.

        Raises:
            UnknownTariffError: the tariff has none.
        """
        return self.version_on(tariff, interval.start.astimezone(self.zone).date())

    def version_on(self, tariff: str, day: date) -> TariffVersion:
        """Return the version that holds on a local day."""
        found = self.versions.get(tariff)
        if not found:
            raise UnknownTariffError(f"tariff {tariff!r} has no version: add one")
        place = bisect_right([first for first, _ in found], day.isoformat())
        return found[max(0, place - 1)][1]

    def spot_price(self, interval: Interval) -> Price | None:
        """Return an interval's day-ahead price, None where it is not known."""
        found = self.spot.get(interval.key)
        return spot.synthetic(interval) if found is None and self.made_up else found

    def at(self, tariff: str, interval: Interval) -> Tariff:
        """Return what a tariff comes to in an interval.

        Raises:
            UnknownTariffError: the tariff has no version.
        """
        found = self.known.get((tariff, interval.key))
        if found is None:
            version = self.version(tariff, interval)
            price = self.spot_price(interval) if version.uses_spot else None
            found = self.known[tariff, interval.key] = version.at(interval, self.zone, price)
        return found


class Held(NamedTuple):
    """What the points of a district are on in an interval.

    ``no_spot`` are the tariffs that follow a spot price which nobody imported, by id; ``made_up``
    is the synthetic price that stood in for it.
    """

    by_point: Mapping[str, Tariff]
    no_spot: Sequence[str]
    made_up: Price | None


def shelf(session: Session, zone: tzinfo, keys: Sequence[str]) -> Shelf:
    """Return the tariffs of these intervals, which follow each other."""
    versions: dict[str, list[tuple[str, TariffVersion]]] = {}
    for row in all_versions(session):
        versions.setdefault(row.tariff, []).append(
            (row.first_day, tariff_text.load(row.definition))
        )
    uses = any(version.uses_spot for found in versions.values() for _, version in found)
    known = prices(session, SPOT, keys[0], keys[-1]) if uses and keys else {}
    return Shelf(zone, versions, known, made_up=people.district(session).simulated)


def holding(session: Session, key: str, zone: tzinfo) -> Mapping[str, Tariff]:
    """Return the tariff of every metering point in an interval, by GSRN.

    Raises:
        UnknownTariffError: a tariff that a point is on has no version.
    """
    return held(session, key, zone).by_point


def held(session: Session, key: str, zone: tzinfo) -> Held:
    """Return what :func:`holding` does, and what is not known of the spot price.

    Raises:
        UnknownTariffError: a tariff that a point is on has no version.
    """
    found, interval = shelf(session, zone, [key]), Interval.parse(key)
    standing = registry.standing(session, key)
    names = sorted({each.tariff for each in standing.values()})
    at = {name: found.at(name, interval) for name in names}
    asks = [name for name in names if found.version(name, interval).uses_spot]
    imported = key in found.spot
    made_up = found.spot_price(interval) if asks and not imported else None
    return Held(
        {point: at[each.tariff] for point, each in standing.items()},
        [] if imported or found.made_up else asks,
        made_up,
    )


def version_on(session: Session, tariff: str, day: date) -> TariffVersion:
    """Return the version of a tariff that holds on a local day.

    Raises:
        UnknownTariffError: the tariff has none.
    """
    return shelf(session, zone(session), []).version_on(tariff, day)


def over(session: Session, keys: Sequence[str], zone: tzinfo) -> Sequence[Mapping[str, Tariff]]:
    """Return :func:`holding` of each interval of a run, with few questions to the database.

    Whatever a point is bound to in the first of them holds for the whole run.
    """
    found = shelf(session, zone, keys)
    standing = registry.standing(session, keys[0]) if keys else {}
    return [
        {point: found.at(each.tariff, Interval.parse(key)) for point, each in standing.items()}
        for key in keys
    ]


def most_common(session: Session, key: str) -> str:
    """Return the tariff that most metering points are on in an interval; of equals the first by id.

    Before any point began it is the first tariff by id.
    """
    count = Counter(each.tariff for each in registry.standing(session, key).values())
    known = count or Counter(session.exec(select(TariffRow.id)).all())
    return min(known, key=lambda tariff: (-known[tariff], tariff))


def versions(session: Session, tariff: str) -> Sequence[TariffVersionRow]:
    """Return a tariff's versions, the first to hold first."""
    return session.exec(
        select(TariffVersionRow)
        .where(TariffVersionRow.tariff == tariff)
        .order_by(TariffVersionRow.first_day)
    ).all()


def all_versions(session: Session) -> Sequence[TariffVersionRow]:
    """Return every version, by tariff, the first to hold first."""
    order = TariffVersionRow.tariff, TariffVersionRow.first_day
    return session.exec(select(TariffVersionRow).order_by(*order)).all()


def zone(session: Session) -> ZoneInfo:
    """Return the district's time zone."""
    return ZoneInfo(people.district(session).zone)


def ensure(session: Session) -> None:
    """Write the first version of each tariff that has none: the six prices of its row, always.

    It holds from the local day of the district's first interval on. Safe to repeat.
    """
    session.flush()
    known = select(TariffVersionRow.tariff)
    missing = session.exec(select(TariffRow).where(col(TariffRow.id).not_in(known))).all()
    if not missing:
        return
    first = session.exec(select(func.min(EnrolmentRow.valid_from))).one()
    district = people.district(session)
    began = Interval.parse(first) if first else Interval.containing_ms(district.clock_ms)
    day = began.start.astimezone(ZoneInfo(district.zone)).date()
    for row in missing:
        add(session, row.id, day, tariffs.flat(people.to_tariff(row)), began.start_ms)


def begin(
    session: Session,
    tariff: str,
    first_day: date,
    version: TariffVersion,
    zone: tzinfo,
    known_ms: int,
) -> None:
    """Write a version; a new tariff's row says what holds at its first midnight."""
    if session.get(TariffRow, tariff) is None:
        at = version.at(Interval(day_start(first_day, zone).start), zone, None)
        session.add(
            TariffRow(
                id=tariff,
                energy_micro_per_kwh=at.energy.micro_per_kwh,
                grid_fee_micro_per_kwh=at.grid_fee.micro_per_kwh,
                local_grid_fee_micro_per_kwh=at.local_grid_fee.micro_per_kwh,
                levy_micro_per_kwh=at.levy.micro_per_kwh,
                feed_in_micro_per_kwh=at.feed_in.micro_per_kwh,
                vat_ppm=at.vat_ppm,
            )
        )
        session.flush()
    add(session, tariff, first_day, version, known_ms)


def add(
    session: Session, tariff: str, first_day: date, version: TariffVersion, known_ms: int
) -> None:
    """Write a version that holds from a local day on, unless one of that day stands already."""
    row = {
        "tariff": tariff,
        "first_day": first_day.isoformat(),
        "definition": version.text,
        "digest": version.digest,
        "known_ms": known_ms,
    }
    insert_once(session, "tariff_version", [row])


def prices(session: Session, series: str, first: str, last: str) -> Mapping[str, Price]:
    """Return a series' prices of the intervals from ``first`` to ``last``, both included."""
    rows = session.exec(
        select(PriceRow.interval, PriceRow.micro_per_kwh).where(
            PriceRow.series == series, PriceRow.interval >= first, PriceRow.interval <= last
        )
    )
    return {key: Price(micro) for key, micro in rows}


def price(session: Session, series: str, key: str) -> Price | None:
    """Return the price of one interval, None where none was imported."""
    return prices(session, series, key, key).get(key)


def price_rows(session: Session, series: str, first: str, last: str) -> Sequence[PriceRow]:
    """Return a series' rows from ``first`` to ``last``, both included, in time order."""
    return session.exec(
        select(PriceRow)
        .where(PriceRow.series == series, PriceRow.interval >= first, PriceRow.interval <= last)
        .order_by(PriceRow.interval)
    ).all()


def save_prices(
    session: Session, series: str, found: Iterable[tuple[str, Price]], source: str, known_ms: int
) -> None:
    """Write prices that are new or others than before; the caller has looked at what changes."""
    rows = [
        {
            "series": series,
            "interval": key,
            "micro_per_kwh": value.micro_per_kwh,
            "source": source,
            "known_ms": known_ms,
        }
        for key, value in found
    ]
    put(session, SQLModel.metadata.tables["price"], rows)

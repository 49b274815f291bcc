"""The page of tariffs: satisfies :class:`web.ports.tariffs.Tariffs`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta

from sqlmodel import Session

from app.services.house import House
from app.services.tariffs.told import lines
from app.store import people, registry, tariffs
from market.tariff import Tariff
from market.tariffs import Part
from metering.interval import Interval, from_ms
from metering.localtime import day_start
from web.ports import Role, Viewer
from web.ports.tariffs import QuarterPrice, TariffCard, TariffsPage


class TariffDesk:
    """Tariffs of one district, for their page; ``managed`` are the manager's participants."""

    def __init__(self, house: House, managed: Iterable[str]) -> None:
        self._house, self._managed = house, managed

    def tariffs(self, viewer: Viewer) -> TariffsPage:
        """Return the page of a viewer; the grid operator sees grid fees alone."""
        zone, now = self._house.settings.tz, Interval.containing_ms(self._house.clock.now_ms())
        day = from_ms(now.start_ms).astimezone(zone).date()
        blind = viewer.role is Role.OPERATOR
        with self._house.database.read() as session:
            keys = _keys_of(day_start(day, zone), day_start(day + timedelta(days=1), zone))
            shelf = tariffs.shelf(session, zone, keys)
            mine = self._mine(session, viewer, now.key)
            shown = sorted(mine) if viewer.role is Role.PROSUMER else sorted(shelf.versions)
            return TariffsPage(
                zone=zone.key,
                day=day.isoformat(),
                fees_only=blind,
                made_up=shelf.made_up,
                tariffs=[
                    _card(shelf, name, day, keys, mine.get(name, ()), blind=blind) for name in shown
                ],
            )

    def _mine(self, session: Session, viewer: Viewer, key: str) -> Mapping[str, Sequence[str]]:
        """Return the names of the viewer's metering points by the tariff they are on now."""
        if viewer.role is Role.OPERATOR:
            return {}
        own = set(self._managed) if viewer.role is Role.MANAGER else {viewer.participant}
        names = {row.gsrn: row.name for row in people.points(session).values()}
        found: dict[str, list[str]] = {}
        for point, each in registry.standing(session, key).items():
            if each.participant in own:
                found.setdefault(each.tariff, []).append(names[point])
        return found


def _keys_of(start: Interval, end: Interval) -> list[str]:
    """Return the keys of a local day's intervals: 92, 96 or 100."""
    found = []
    while start < end:
        found.append(start.key)
        start = start.next()
    return found


def _card(
    shelf: tariffs.Shelf,
    name: str,
    day: date,
    keys: Sequence[str],
    points: Sequence[str],
    *,
    blind: bool,
) -> TariffCard:
    version = shelf.version_on(name, day)
    days = [first for first, _ in shelf.versions[name]]
    since = max((first for first in days if first <= day.isoformat()), default=days[0])
    price: Callable[[str, Tariff], QuarterPrice] = _fee if blind else _all_in
    return TariffCard(
        name=name,
        since=since,
        until=min((first for first in days if first > since), default=""),
        digest="" if blind else version.digest,
        vat_ppm=0 if blind else version.vat_ppm,
        points=points,
        components=[line for line in lines(version) if not blind or line.part == Part.GRID_FEE],
        day=[price(key, shelf.at(name, Interval.parse(key))) for key in keys],
        no_spot=not blind and version.uses_spot and any(key not in shelf.spot for key in keys),
    )


def _all_in(key: str, tariff: Tariff) -> QuarterPrice:
    return QuarterPrice(key, tariff.all_in().micro_per_kwh, tariff.feed_in.micro_per_kwh)


def _fee(key: str, tariff: Tariff) -> QuarterPrice:
    return QuarterPrice(key, tariff.grid_fee.micro_per_kwh, None)

"""The balance as its page and the API show it: satisfies :class:`web.ports.balance.Balance`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from sqlmodel import Session, select

from app.services.balance import months
from app.services.balance.months import MonthView, Place, Sight
from app.services.house import House
from app.store import balance as store
from app.store.balance import Sum
from app.tables import BuildingRow, FeederRow
from market.balance import MONTHS, Flows, Year
from market.settled import Span
from metering.interval import from_ms
from metering.localtime import month_before, month_of, next_month
from web.ports import NotFoundError
from web.ports.balance import BalancePage, Bar, Figures, PlaceLine

FLOWS: Final = (
    "consumption_wh",
    "production_wh",
    "import_wh",
    "import_local_wh",
    "import_own_wh",
    "export_wh",
    "export_local_wh",
    "export_own_wh",
    "self_used_wh",
    "cycled_wh",
    "surplus_wh",
    "self_sufficiency_ppm",
    "self_consumption_ppm",
    "local_share_ppm",
    "ratio_ppm",
)


def figures_of(flows: Flows) -> dict[str, int | None]:
    """Return the energies and shares of flows by their names in files and answers."""
    return {name: getattr(flows, name) for name in FLOWS}


class BalanceDesk:
    """The balance of one district."""

    def __init__(self, house: House) -> None:
        self._house = house

    def page(
        self,
        own: Sequence[tuple[str, str]],
        span: str,
        at: str,
        whose: str,
        *,
        operator: bool,
    ) -> BalancePage:
        """Return the page of a month or year as far as one may see it."""
        if whose and whose not in {each for each, _ in own}:
            raise NotFoundError("there is no such participant among yours")
        sight = Sight(frozenset(each for each, _ in own), operator)
        now = self.month_now()
        at = at or (now if span == "month" else now[:4])
        _check(span, at)
        with self._house.database.read() as session:
            first = store.first_start(session, Span.MONTH)
            book = _Book(session, self._house, sight, whose or None, first or now, now)
            views = book.views(span, at)
            before = book.views(span, _before(span, at))
            money = not operator
            return BalancePage(
                zone=self._house.settings.zone,
                span=span,
                at=at,
                earlier=_before(span, at) if before else None,
                later=_after(span, at) if at < now[: len(at)] else None,
                whose=whose,
                choices=own,
                began=first is not None,
                hidden=any(view.settled for view in views) and _sum(views) is None,
                total=book.figures(span, at, views, money=money),
                before=book.figures(span, _before(span, at), before, money=money),
                bars=book.bars(span, at, views),
                places=[] if whose else book.places(views, money=money),
                year=None if whose else book.year(),
                grid_emissions_mg_per_kwh=self._house.settings.grid_emissions_mg_per_kwh,
            )

    def csv(
        self, own: Sequence[tuple[str, str]], span: str, at: str, whose: str, *, operator: bool
    ) -> bytes:
        """Return the same figures as a CSV file: the time, its bars, its places."""
        page = self.page(own, span, at, whose, operator=operator)
        out = io.StringIO(newline="")
        table = csv.writer(out, lineterminator="\n")
        table.writerow(("level", "name", *FLOWS, "saving_micro", "avoided_mg"))
        if page.total is not None:
            told = (page.total.saving_micro, page.total.avoided_mg)
            table.writerow(_csv_row(span, page.at, page.total.flows, told))
        finer = "day" if span == "month" else "month"
        for bar in page.bars or ():
            table.writerow(_csv_row(finer, bar.start, bar.flows, (None, None)))
        for place in page.places:
            name = place.feeder if place.building is None else f"{place.feeder}/{place.building}"
            level = "feeder" if place.building is None else "building"
            if place.flows is not None:
                told = (place.saving_micro, None)
                table.writerow(_csv_row(level, name, place.flows, told))
        return out.getvalue().encode()

    def year(self, sight: Sight) -> Year:
        """Return the last twelve months as somebody may see them."""
        now = self.month_now()
        with self._house.database.read() as session:
            first = store.first_start(session, Span.MONTH) or now
            return _Book(session, self._house, sight, None, first, now).year()

    def month_now(self) -> str:
        """Return the local month that runs."""
        return month_of(from_ms(self._house.clock.now_ms()), self._house.settings.tz)


def _csv_row(
    level: str, name: str, flows: Flows, told: tuple[int | None, int | None]
) -> Sequence[object]:
    cells = [level, name, *figures_of(flows).values(), *told]
    return ["" if cell is None else cell for cell in cells]


class _Book:
    """The months of one question, each read once."""

    def __init__(
        self, session: Session, house: House, sight: Sight, whose: str | None, first: str, now: str
    ) -> None:
        self._session, self._house, self._sight, self._whose = session, house, sight, whose
        self._first, self._now = first, now
        self._views: dict[str, MonthView] = {}

    def view(self, month: str) -> MonthView:
        """Return a month; one outside the district's life is empty."""
        if month not in self._views:
            zone = self._house.settings.tz
            if self._first <= month <= self._now:
                found = months.view(self._session, zone, month, self._sight, self._whose)
            else:
                whole = months.intervals_of(Span.MONTH, month, zone)
                found = MonthView(month, None, None, {}, 0, whole)
            self._views[month] = found
        return self._views[month]

    def views(self, span: str, at: str) -> Sequence[MonthView]:
        """Return the months of a time that something was settled in."""
        names = [at] if span == "month" else [f"{at}-{n:02}" for n in range(1, MONTHS + 1)]
        return [view for name in names if (view := self.view(name)).settled]

    def figures(
        self, span: str, at: str, views: Sequence[MonthView], *, money: bool
    ) -> Figures | None:
        """Return the sum of a time's months that may be told, None without any."""
        found = _sum(views)
        if found is None:
            return None
        avoided = [view.avoided_mg for view in views if view.avoided_mg is not None]
        names = [at] if span == "month" else [f"{at}-{n:02}" for n in range(1, MONTHS + 1)]
        return Figures(
            flows=found.flows,
            saving_micro=found.saving_micro if money else None,
            avoided_mg=sum(avoided) if avoided else None,
            settled=sum(view.settled for view in views if view.total is not None),
            of=sum(self.view(name).of for name in names),
        )

    def bars(self, span: str, at: str, views: Sequence[MonthView]) -> Sequence[Bar] | None:
        """Return the days of a month or the months of a year."""
        if span == "year":
            return [Bar(each.name, each.total.flows) for each in views if each.total is not None]
        if not views or views[0].total is None:
            return None
        zone = self._house.settings.tz
        found = months.days(self._session, zone, at, self._sight, self._whose)
        if found is None:
            return None
        return [Bar(start, each.flows) for start, each in found.items()]

    def places(self, views: Sequence[MonthView], *, money: bool) -> Sequence[PlaceLine]:
        """Return feeders and buildings; one that is hidden in a month is hidden in its year."""
        found: dict[Place, list[Sum | None]] = {}
        for view in views:
            for place, each in view.places.items():
                found.setdefault(place, []).append(each)
        names, lines = self._names(), []
        divided = {feeder for feeder, building in found if building}
        for place in sorted(found, key=lambda each: (each[0], each[1] is not None, each[1] or "")):
            if place[1] == "" and place[0] not in divided:
                continue  # the feeder itself says the same
            told = [each for each in found[place] if each is not None]
            whole = months.added(told) if len(told) == len(found[place]) else None
            lines.append(
                PlaceLine(
                    feeder=place[0],
                    building=place[1],
                    name=names.get(place, place[1] or place[0]),
                    flows=whole.flows if whole else None,
                    saving_micro=whole.saving_micro if whole and money else None,
                )
            )
        return lines

    def year(self) -> Year:
        """Return the last twelve full months; while they are not complete, those up to now."""
        names = [self._now]
        while len(names) <= MONTHS:
            names.insert(0, month_before(names[0]))
        full = Year([self.view(name).month for name in names[:-1]])
        return full if full.settled == full.of else Year([self.view(n).month for n in names[1:]])

    def _names(self) -> Mapping[Place, str]:
        found: dict[Place, str] = {
            (row.id, None): row.name for row in self._session.exec(select(FeederRow))
        }
        for row in self._session.exec(select(BuildingRow)):
            found[row.feeder, row.id] = row.name
        return found


def _sum(views: Sequence[MonthView]) -> Sum | None:
    told = [view.total for view in views if view.total is not None]
    return months.added(told) if told else None


def _check(span: str, at: str) -> None:
    """Refuse a time that is none.

    Raises:
        NotFoundError: it is no month or year of 2001-2997, so that both neighbours are some.
    """
    text = f"{at}-01" if span == "month" else f"{at}-01-01"
    try:
        fits = span in ("month", "year") and date.fromisoformat(text).isoformat() == text
    except ValueError:
        fits = False
    if not fits or not "2000" < at[:4] < "2998":
        raise NotFoundError(f"{at[:20]!r} is no {span[:20]}")


def _before(span: str, at: str) -> str:
    return month_before(at) if span == "month" else f"{int(at) - 1:04}"


def _after(span: str, at: str) -> str:
    if span == "year":
        return f"{int(at) + 1:04}"
    return next_month(at)

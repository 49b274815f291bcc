"""Collects what happens to certificates in one transaction, and writes it in one go."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final
from zoneinfo import ZoneInfo

from sqlmodel import Session

from app.services.house import House
from app.services.settled import bill_months
from app.store import certificates
from app.store.certificates import Event, Stamp
from market.certificate import avoided_mg
from market.certificate_bundle import Bundle, Change
from metering.interval import Interval
from metering.localtime import month_of

DISTRICT: Final = "district"  # who acts where nobody asked: settlement, corrections, the clock


class Entries:
    """New and changed bundles, their history, and what they add to the months' sums.

    Nothing is in the database before :meth:`write`.
    """

    def __init__(self, house: House, session: Session, by: str = DISTRICT) -> None:
        self._session = session
        self._zone: ZoneInfo = house.settings.tz
        self._grid_mg_per_kwh = house.settings.grid_emissions_mg_per_kwh
        self._stamp = Stamp(house.settings.origin, house.clock.now_ms(), by)
        self._new: list[Bundle] = []
        self._changed: list[Bundle] = []
        self._events: list[Event] = []
        self._claimed: list[Bundle] = []
        self._sums: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def add(self, bundle: Bundle) -> None:
        """Take a bundle into the register."""
        self._new.append(bundle)

    def change(self, change: Change) -> None:
        """Write a bundle that changed, or the part of one and what is left of it."""
        if change.rest is None:
            self._changed.append(change.after)
        else:
            self._changed.append(change.rest)
            self._new.append(change.after)

    def tell(
        self, action: str, bundle: Bundle, source: str | None, target: str | None, note: str = ""
    ) -> None:
        """Put on record what happened to a bundle's certificates."""
        self._events.append(Event(action, bundle, source, target, note))

    def count(self, participant: str, interval: str, **wh: int) -> None:
        """Add Wh to a participant's sums of the interval's month."""
        self._sums[interval, participant].update(wh)

    def claimed(self, bundle: Bundle) -> None:
        """Count a claim, and the CO2 that it avoids."""
        self._claimed.append(bundle)

    def write(self) -> None:
        """Write all of it."""
        bundles = [*self._new, *self._changed, *self._claimed]
        known = certificates.devices(self._session, {each.device for each in bundles})
        certificates.write(self._session, self._stamp, known, self._new, self._changed)
        certificates.record(self._session, self._stamp, self._events)
        for bundle in self._claimed:
            emitted = known[bundle.device].emissions_mg_per_kwh
            mg = avoided_mg(bundle.wh, emitted, self._grid_mg_per_kwh)
            self.count(bundle.account, bundle.interval, claimed_wh=bundle.wh, avoided_mg=mg)
        self._write_sums()

    def _write_sums(self) -> None:
        by_origin: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        for (interval, participant), sums in self._sums.items():
            month = month_of(Interval.parse(interval).start, self._zone)
            by_origin[month][participant].update(sums)
        for origin, own in sorted(by_origin.items()):
            months = bill_months(self._session, own, origin)
            certificates.add_to_months(
                self._session, {(months[name], name): sums for name, sums in own.items()}
            )

"""A district in which some homes feed in green energy, and what their certificates look like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlmodel import Session, select

from app.clock import SimulatedClock
from app.jobs.finalise import finalise
from app.services.certificates import devices
from app.services.certificates.devices import NewDevice
from app.services.certificates.issuing import issue
from app.services.founding import Founding
from app.services.house import House
from app.store import certificates
from app.tables import (
    CertificateDebtRow,
    CertificateEventRow,
    CertificateRow,
    CertifiedRow,
    CorrectionRow,
    DeviceRow,
)
from market.certificate import Status
from market.certificate_bundle import Bundle, overlaps
from tests.app.district_kit import Kit

DAY_MS = 86_400_000


@dataclass
class GreenKit(Kit):
    """``green`` homes get a device at founding; ``behind`` meters (home -> purpose) measure alone.

    The meters of ``behind`` belong to the first home's participant.
    """

    green: tuple[str, ...] = ("solar",)
    behind: Mapping[str, str] = field(default_factory=dict)

    def _founding(self) -> Founding:
        founding = super()._founding()
        first = self.names[0]
        points = {
            person.id: [
                replace(p, green=person.id in self.green, purpose=self.behind.get(person.id))
                for p in person.points
            ]
            for person in founding.participants
        }
        for name in self.behind:
            points[first] += points.pop(name)
        people = [replace(p, points=points[p.id]) for p in founding.participants if p.id in points]
        return replace(founding, participants=people)

    def add_device(self, name: str, kind: str, meter: str, **more: object) -> None:
        """Put a device with a sub-meter behind a home, from the next interval on."""
        point, meter_point = self.homes[name].point, self.homes[meter].point
        given = {"efficiency_ppm": 900_000} if kind == "storage" else {}
        devices.add(self.house, NewDevice(meter, point, kind, meter_point, **{**given, **more}))

    def later(self, days: int) -> House:
        """The house as it will be some days on, without living them."""
        return replace(self.house, clock=SimulatedClock(self.clock.now_ms() + days * DAY_MS))

    def finalise(self) -> None:
        """Let the correction window of all that is sealed pass."""
        finalise(self.later(31))

    def correct(
        self, session: Session, key: str, name: str, import_wh: int, export_wh: int
    ) -> None:
        """Put authorised values in place of what a meter told, and amend the certificates."""
        point = self.homes[name].point
        number = len(
            session.exec(
                select(CorrectionRow.version).where(
                    CorrectionRow.interval == key, CorrectionRow.point == point
                )
            ).all()
        )
        session.add(
            CorrectionRow(
                interval=key,
                point=point,
                version=number + 1,
                import_wh=import_wh,
                export_wh=export_wh,
                reason="the meter was faulty",
                payload=b"{}",
                salt=bytes(32),
                known_ms=self.clock.now_ms(),
                log_index=0,
                source="values",
            )
        )
        issue(self.house, session, key, point)

    def bundles(self, key: str = "") -> list[Bundle]:
        own = [CertificateRow.production_starting_interval == key] if key else []
        return self.ask(lambda session: certificates.bundles(session, *own))

    def states(self, key: str = "") -> dict[str, int]:
        """Wh by 'device account status', a founded device being 'roof'."""
        found: Counter[str] = Counter()
        for each in self.bundles(key):
            device = "roof" if each.device.startswith("production-") else each.device
            found[f"{device} {each.account} {each.status}"] += each.wh
        return dict(found)

    def debt(self) -> int:
        return int(self.ask(self.debt_of))

    def debt_of(self, session: Session) -> int:
        return sum(row.wh for row in session.exec(select(CertificateDebtRow)))

    def live_of(self, session: Session) -> dict[tuple[str, str, str], int]:
        """Wh by (interval, account, status) of what is still held."""
        found: Counter[tuple[str, str, str]] = Counter()
        for each in certificates.bundles(session):
            if each.status.held:
                found[each.interval, each.account, each.status.value] += each.wh
        return dict(found)

    def check_certificates(self) -> None:
        """What holds at any time of all certificates."""
        bundles, events = self.bundles(), self.rows(CertificateEventRow)
        assert overlaps(bundles) is None
        own = {row.id for row in self.rows(DeviceRow)}  # what was taken in, others issued
        stands: Counter[tuple[str, str]] = Counter()
        holdings: Counter[str] = Counter()
        for each in bundles:
            if each.status is not Status.WITHDRAWN and each.device in own:
                stands[each.device, each.interval] += each.wh
            if each.status.held:
                holdings[each.account] += each.wh
        history: Counter[str | None] = Counter()
        for event in events:
            wh = event.range_end - event.range_start + 1
            history[event.target_account] += wh
            history[event.source_account] -= wh
            device, _, place = event.issuance_id.partition("/")
            if event.action == "withdraw" and not event.note and device in own:
                stands[device, place.rpartition("/")[0]] += wh
        del history[None]
        assert +history == holdings
        for row in self.rows(CertifiedRow):
            told = row.measured_wh + row.shortfall_wh - row.deducted_wh
            assert stands.pop((row.device_id, row.interval), 0) == told
        assert not +stands
        owed = sum(row.shortfall_wh - row.deducted_wh for row in self.rows(CertifiedRow))
        assert owed == self.debt() >= 0


def open_kit(folder: Path, **more: object) -> GreenKit:
    return GreenKit(folder, f"sqlite:///{folder / 'district.db'}", **more)

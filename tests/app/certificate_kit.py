"""A district in which some homes feed in green energy, and what their certificates look like."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from app.services.founding import Founding
from app.store import certificates
from app.tables import CertificateRow
from market.certificate_bundle import Bundle
from tests.app.district_kit import Kit


@dataclass
class GreenKit(Kit):
    """``green`` are the homes that get a production device at founding."""

    green: tuple[str, ...] = ("solar",)

    def _founding(self) -> Founding:
        founding = super()._founding()
        people = [
            replace(person, points=[replace(p, green=True) for p in person.points])
            if person.id in self.green
            else person
            for person in founding.participants
        ]
        return replace(founding, participants=people)

    def bundles(self, key: str = "") -> list[Bundle]:
        return self.ask(
            lambda session: certificates.bundles(
                session,
                *([CertificateRow.production_starting_interval == key] if key else []),
            )
        )

    def states(self, key: str = "") -> dict[tuple[str, str], int]:
        """Wh by (account, status)."""
        found: dict[tuple[str, str], int] = {}
        for each in self.bundles(key):
            place = (each.account, each.status.value)
            found[place] = found.get(place, 0) + each.wh
        return found


def open_kit(folder: Path, **more: object) -> GreenKit:
    return GreenKit(folder, f"sqlite:///{folder / 'district.db'}", **more)

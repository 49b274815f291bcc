"""Beacons: milestones whose digest gateways put into what they sign.

Nobody knows a milestone's digest before it is signed. So a reading that holds one was signed
later, as surely as its seal's anchor shows that it was signed before (docs/protocol.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session, col, select

from app.services.house import House
from app.tables import BeaconRow
from ledger_client.verify import parse_milestone


@dataclass(frozen=True, slots=True)
class Beacon:
    """A milestone: its digest, its index, and the moment that it says (UTC seconds)."""

    digest: str
    index: int
    timestamp_s: int


def keep(session: Session, milestone: bytes) -> None:
    """Keep a milestone's payload, so that a proof can show it; once is enough."""
    found = parse_milestone(milestone)
    if session.get(BeaconRow, found.digest) is None:
        session.add(BeaconRow(digest=found.digest, milestone=milestone, index=found.index))


def newest(house: House) -> Beacon | None:
    """Return the newest milestone that anchors something of ours; None before the first."""
    with house.database.read() as session:
        row = session.exec(select(BeaconRow).order_by(col(BeaconRow.index).desc()).limit(1)).first()
        if row is None:
            return None
        found = parse_milestone(row.milestone)
        return Beacon(row.digest.hex(), found.index, found.timestamp_s)

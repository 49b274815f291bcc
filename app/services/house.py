"""What every service and job needs, composed once per process."""

from __future__ import annotations

from dataclasses import dataclass

from app.clock import Clock
from app.db import Database
from app.services.keyring import Keyring
from app.settings import Settings
from ledger_client.ledger import Ledger
from ledger_client.reader import LedgerReader
from ledger_client.verify import Milestones

ENGINE_VERSION = "wattloom-0.2.0"  # in every seal: raised when an interval may clear otherwise


@dataclass(frozen=True, slots=True)
class House:
    """The settings, the database, the keys, the district clock, the ledger and a look at it."""

    settings: Settings
    database: Database
    keyring: Keyring
    clock: Clock
    ledger: Ledger
    reader: LedgerReader | None = None  # None: nothing here can look into the ledger
    pinned: Milestones | None = None  # who signs the milestones; None: the keyring's own keys

    @property
    def milestones(self) -> Milestones:
        """The keys that sign the ledger's milestones, as KEYS pin them."""
        return self.pinned or self.keyring.milestones()

"""Opens a real district for the processes that keep it going: on the real clock, with its ledger.

Whoever works on intervals and payments is alone in the data folder; whoever only serves is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from app.serve.folder import alone
from app.services.house import House
from app.services.ledger import open_ledger, pinned_milestones
from app.services.opening import open_house
from app.settings import Settings


class SimulatedDistrictError(Exception):
    """The folder holds a district on a simulated clock: go on with `wattloom demo` there."""


@contextmanager
def open_real(settings: Settings, *, working: bool) -> Iterator[House]:
    """Yield the house of a real district; ``working`` opens its ledger and keeps others out.

    Raises:
        NoDistrictError: there is no district in the data folder or the database.
        SimulatedDistrictError: its clock is simulated.
        FolderInUseError: another process works on this district.
        LedgerSetupError, LedgerError, DatabaseUnavailableError, KeyringError: see there.
    """
    with ExitStack() as stack:
        house = stack.enter_context(open_house(settings))
        if house.clock.simulated:
            raise SimulatedDistrictError(
                f"{settings.data} holds a district on a simulated clock: run `wattloom demo` "
                "there, or found a real one in another folder with `wattloom init`"
            )
        if not working:
            pinned = pinned_milestones(settings, house.keyring)
            yield replace(house, pinned=pinned)
            return
        stack.enter_context(alone(settings.data))
        opened = open_ledger(settings, house.keyring, settings.treasury_units)
        stack.callback(opened.close)
        yield replace(house, ledger=opened.ledger, reader=opened.reader, pinned=opened.milestones)

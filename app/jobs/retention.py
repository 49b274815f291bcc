"""Once a day: months get their partitions ahead, erasures go on, old readings go."""

from __future__ import annotations

import logging
from typing import Final

from app.db import DatabaseUnavailableError
from app.services.alarms import alarm
from app.services.erasure import erase
from app.services.house import House
from app.services.retention import run
from app.services.retention.removal import RemovalError
from app.store import partitions
from metering.interval import from_ms

_STEPS: Final = 4  # of retention at a time: the worker's other work goes on in between
_log = logging.getLogger(__name__)


class Tidier:
    """Does a little at a time, until nothing is left for the (UTC) day."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._done = ""  # the day on which nothing is left

    def run(self) -> None:
        """Do the next part; a database that is busy is asked again the next time."""
        today = from_ms(self._house.clock.now_ms()).date().isoformat()
        if today == self._done:
            return
        try:
            self._done = today if self._next() else ""
        except DatabaseUnavailableError as error:
            _log.warning("%s", error)
        except RemovalError as error:
            alarm(self._house, f"retention/{today}", str(error))
            self._done = today

    def _next(self) -> bool:
        """Return whether nothing is left."""
        add_partitions(self._house)
        if erase.resume(self._house, _STEPS):
            return False
        month = run.due(self._house)
        for _ in range(_STEPS):
            if month is None:
                return True
            if run.step(self._house, month) is None:
                month = run.due(self._house)
        return False


def add_partitions(house: House) -> None:
    """Give this month and the next two their partitions, and every month with strays."""
    with house.database.read() as session:
        wanted = partitions.missing(session, house.clock.now_ms())
    for month in wanted:
        with house.database.write() as session:
            partitions.add(session, month)

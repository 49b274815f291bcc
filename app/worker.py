"""The worker: on the district clock, brings every interval as far as it can go.

All of it is idempotent and restartable: each step is one transaction that moves an interval from
one state to the next, and finds nothing to do if that happened already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from app.jobs.anchor import anchor
from app.jobs.clear import clear_interval
from app.jobs.correct import correct_estimates
from app.jobs.meter import meter
from app.jobs.pay import pay
from app.jobs.seal import seal
from app.jobs.settle import settle_interval
from app.services.house import House
from app.store import intervals
from metering.interval import Interval

_STEPS: Final[dict[str, Callable[[House, str], None]]] = {
    "closed": meter,
    "metered": clear_interval,
    "cleared": settle_interval,
    "settled": seal,
}


class Worker:
    """Runs the due jobs of one district. ``on_sealed`` is told the key of each sealed interval."""

    def __init__(self, house: House, on_sealed: Callable[[str], None] | None = None) -> None:
        self._house = house
        self._on_sealed = on_sealed

    def run_due(self) -> None:
        """Do everything that is due at the district's time, until nothing moves any more."""
        self._open_and_close()
        for key in self._due():
            self._bring_to_seal(key)
        while pay(self._house) or anchor(self._house):
            pass

    def _open_and_close(self) -> None:
        now_ms = self._house.clock.now_ms()
        with self._house.database.read() as session:
            rows = intervals.newest(session), intervals.in_state(session, "open")
        if rows == (Interval.containing_ms(now_ms).key, [Interval.containing_ms(now_ms).key]):
            return  # nothing to open or to close: spare the writing transaction
        with self._house.database.write() as session:
            intervals.ensure_through(session, now_ms, self._house.settings.rule)
            session.flush()
            for key in intervals.in_state(session, "open"):
                if Interval.parse(key).end_ms <= now_ms:
                    intervals.get(session, key).state = "closed"

    def _due(self) -> list[str]:
        """Return the unsealed intervals whose grace is over, oldest first."""
        deadline_ms = self._house.clock.now_ms() - self._house.settings.grace_s * 1000
        with self._house.database.read() as session:
            keys = intervals.in_state(session, *_STEPS)
        return [key for key in keys if Interval.parse(key).end_ms <= deadline_ms]

    def _bring_to_seal(self, key: str) -> None:
        while True:
            with self._house.database.read() as session:
                state = intervals.get(session, key).state
            if state not in _STEPS:
                break
            _STEPS[state](self._house, key)
            if state == "cleared":
                correct_estimates(self._house)
        if self._on_sealed is not None:
            self._on_sealed(key)

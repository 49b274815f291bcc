"""The worker: on the district clock, brings every interval as far as it can go.

All of it is idempotent and restartable: each step is one transaction that moves an interval from
one state to the next, and finds nothing to do if that happened already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from app.jobs.anchor import anchor
from app.jobs.certificates import expire_daily
from app.jobs.clear import clear_interval
from app.jobs.correct import correct_estimates
from app.jobs.cosign import Cosigner
from app.jobs.dispute import replace_disputed
from app.jobs.finalise import finalise
from app.jobs.forecast import Forecaster
from app.jobs.forward import follow_sessions, run_sessions
from app.jobs.meter import meter
from app.jobs.pay import pay
from app.jobs.reconcile import reconcile_daily
from app.jobs.retention import Tidier
from app.jobs.seal import seal
from app.jobs.settle import settle_interval
from app.jobs.statements import issue_daily
from app.services import settled
from app.services.alarms import alarm
from app.services.house import House
from app.store import forward, intervals, people
from app.store.journal import JournalError
from market.errors import MarketError
from metering.interval import Interval
from metering.quantities import QuantityError
from optimizer.compiled import CompileError, SolverError
from optimizer.session.clearing import clear_session


def _correct_and_seal(house: House, key: str) -> None:
    """Correct before the seal, in the same step, so that a stop in between skips neither."""
    replace_disputed(house)
    correct_estimates(house)
    seal(house, key)


_STEPS: Final[dict[str, Callable[[House, str], None]]] = {
    "closed": meter,
    "metered": clear_interval,
    "cleared": settle_interval,
    "settled": _correct_and_seal,
}

# Each says that money or energy does not add up, or that no exact optimum was found.
_STOPPING: Final = (CompileError, JournalError, MarketError, QuantityError, SolverError)


class Worker:
    """Runs the due jobs of one district. ``on_sealed`` is told the key of each sealed interval."""

    def __init__(
        self,
        house: House,
        on_sealed: Callable[[str], None] | None = None,
        cosigner: Cosigner | None = None,
        forecaster: Forecaster | None = None,
    ) -> None:
        self._house = house
        self._on_sealed = on_sealed
        self._cosigner = cosigner or Cosigner(house)
        self._forecaster = forecaster or Forecaster(house)
        self._filled_in = False  # whether what an older folder lacks was written
        self._reconciled = ""  # day of the last reconciliation
        self._expired = ""  # day of the last look for certificates that are too old
        self._tidier = Tidier(house)
        self._stated = ""  # day on which statements were looked at last

    def run_due(self) -> None:
        """Do everything that is due at the district's time, until nothing moves any more."""
        if not self._filled_in:
            settled.ensure(self._house.database, self._house.settings.tz)
            self._filled_in = True
        run_sessions(self._house, clear_session)
        self._open_and_close()
        for key in self._due("closed"):
            if not self._step(key, "closed"):
                break  # metering goes on in order, and does not wait for the market
        for key in self._due(*_STEPS):
            if not self._bring_to_seal(key):
                break  # carries run from interval to interval: the later ones wait
        finalise(self._house)
        self._stated = issue_daily(self._house, self._stated)
        follow_sessions(self._house)
        while pay(self._house) or anchor(self._house):
            pass
        self._cosigner.run()
        self._forecaster.run()
        self._reconciled = reconcile_daily(self._house, self._reconciled)
        self._expired = expire_daily(self._house, self._expired)
        self._tidier.run()

    def _open_and_close(self) -> None:
        now_ms = self._house.clock.now_ms()
        with self._house.database.read() as session:
            rows = intervals.newest(session), intervals.in_state(session, "open")
        if rows == (Interval.containing_ms(now_ms).key, [Interval.containing_ms(now_ms).key]):
            return  # nothing to open or to close: spare the writing transaction
        with self._house.database.write() as session:
            people.district(session, lock=True)  # one worker at a time opens intervals
            settings = self._house.settings
            intervals.ensure_through(session, now_ms, settings.rule, settings.mode)
            session.flush()
            forward.mark(session)
            for key in intervals.in_state(session, "open"):
                if Interval.parse(key).end_ms <= now_ms:
                    intervals.get(session, key).state = "closed"

    def _due(self, *states: str) -> list[str]:
        """Return the intervals in one of ``states`` whose grace is over, oldest first."""
        deadline_ms = self._house.clock.now_ms() - self._house.settings.grace_s * 1000
        with self._house.database.read() as session:
            keys = intervals.in_state(session, *states)
        return [key for key in keys if Interval.parse(key).end_ms <= deadline_ms]

    def _bring_to_seal(self, key: str) -> bool:
        """Take an interval through its steps; what does not add up stops it, never metering."""
        while (state := self._state(key)) in _STEPS:
            if not self._step(key, state):
                return False
        if self._on_sealed is not None:
            self._on_sealed(key)
        return True

    def _step(self, key: str, state: str) -> bool:
        """Take one step; return whether the interval may go on."""
        try:
            _STEPS[state](self._house, key)
        except _STOPPING as error:
            alarm(self._house, f"{key}/{state}", f"{key} stands still as {state}: {error}")
            return False
        return True

    def _state(self, key: str) -> str:
        with self._house.database.read() as session:
            return intervals.get(session, key).state

"""Clearing a forward session: one call auction over up to 96 intervals, in one solve.

The blocks are chosen by a mixed-integer program, then held fast; the linear program that is left
gives quantities and prices. A block that loses at every price that supports the others (it was
accepted paradoxically) is left out, the worst first, and the choice is made again: the rule of the
European day-ahead auction, that nobody trades at a loss, at the cost of some welfare.
"""

from __future__ import annotations

from time import monotonic
from typing import NamedTuple

import numpy as np

from market.money import PPM
from market.sessions import SessionClearing, SessionProblem
from optimizer.compiled import SolverError, SolverTimeoutError
from optimizer.session.check import certify_session
from optimizer.session.data import SessionData, data_of
from optimizer.session.fallback import clear_steps_alone
from optimizer.session.model import Plan, SessionSolver, Slot
from optimizer.session.prices import Face
from optimizer.session.result import Outcome, session_clearing, welfare_of
from optimizer.session.support import Support, support
from optimizer.session.whole import ROUNDINGS, UnfitError, in_whole_wh

_LEAST_TIME_S = 1.0
_PATIENCE = 3  # rounds in which only the slots that need it get a binary


def clear_session(problem: SessionProblem) -> SessionClearing:
    """Clear a session. The outcome depends on nothing but the problem, not on its rows' places.

    (And, of blocks of nearly equal welfare, on the version of HiGHS; where time ran out, on the
    machine: ``optimal`` says so.) It is certified in integers. Where there is no answer, step
    orders are cleared by the interval and all else is rejected: ``fallback`` says so.

    Raises:
        SolverError: not even that has an answer: keep the book and tell a person.
    """
    data = data_of(problem)
    try:
        clearing = session_clearing(problem, data, _Search(problem, data).run())
        certify_session(problem, clearing)
    except SolverError:
        clearing = clear_steps_alone(problem)
        certify_session(problem, clearing)
    return clearing


class _Choice(NamedTuple):
    """An outcome with the prices found for it."""

    face: Face
    support: Support


class _Search:
    """The rounds of one clearing; every round leaves an order out, or forbids a storage a slot."""

    def __init__(self, problem: SessionProblem, data: SessionData) -> None:
        self._data, self._problem = data, problem
        self._deadline = monotonic() + problem.time_limit_s
        self._solver = SessionSolver(data, problem.gap_ppm)
        self._chosen: Plan | None = None
        self._bound_micro = 0.0
        self._bounded = False
        self._proved = True
        self._out: set[str] = set()
        self._withdrawn: set[str] = set()
        self._narrowed = 0

    def run(self) -> Outcome:
        """Return the first outcome whose prices suit everybody.

        Raises:
            SolverError: there was no answer.
        """
        without_blocks = False
        while True:
            choice = self._round()
            if choice is None:
                continue
            if choice.support.losers:
                self._leave_out_losers(choice)
            elif without_blocks or not self._is_worse_than_no_blocks(choice.face):
                return self._outcome(choice)
            else:
                without_blocks = True
                self._out |= {block.order_id for block in self._data.blocks}

    def _round(self) -> _Choice | None:
        """Return an outcome and its prices, or None where an order had to leave."""
        plan = self._plan()
        slots = _both_directions(self._data, plan)
        if not slots <= set(self._solver.exclusive):
            self._forbid(slots)
            return None
        found = self._rounded(plan)
        if isinstance(found, _Choice):
            return found
        self._leave_out(found.order_id, withdrawn=True)
        return None

    def _rounded(self, plan: Plan) -> _Choice | UnfitError:
        """Return the first rounding that fits and costs no storage its gain, else the first to fit.

        If none fits, why the first one does not.
        """
        charging = dict(zip(self._solver.exclusive, (plan.charging == 1).tolist(), strict=True))
        storages = {storage.order_id for storage in self._data.storages}
        fitting: list[_Choice] = []
        unfit: list[UnfitError] = []
        for rounding in ROUNDINGS:
            try:
                whole = in_whole_wh(self._data, plan, rounding)
            except UnfitError as error:
                unfit.append(error)
                continue
            face = Face(self._data, plan, whole, frozenset(self._out), charging)
            fitting.append(_Choice(face, support(face)))
            if storages.isdisjoint(fitting[-1].support.losers):
                return fitting[-1]
        return fitting[0] if fitting else unfit[0]

    def _plan(self) -> Plan:
        left = self._deadline - monotonic()
        if self._chosen is None or left > 0:
            try:
                chosen = self._solver.choose(self._out, max(left, _LEAST_TIME_S))
            except SolverTimeoutError:
                if self._chosen is None:
                    raise
                self._proved = False
            else:
                self._chosen = chosen
                self._proved &= chosen.proved
                if not self._bounded:
                    self._bounded, self._bound_micro = True, chosen.bound_micro
        else:
            self._proved = False
        return self._solver.fixed(self._chosen, self._out, self._problem.time_limit_s)

    def _forbid(self, slots: set[Slot]) -> None:
        """Let storages that charge and discharge at once do one of both only, in those slots."""
        self._narrowed += 1
        if self._narrowed > _PATIENCE:
            slots = {(s, t) for s, _ in slots for t in range(self._data.intervals)}
        exclusive = slots | set(self._solver.exclusive)
        self._solver = SessionSolver(self._data, self._problem.gap_ppm, exclusive)
        self._chosen = None

    def _leave_out_losers(self, choice: _Choice) -> None:
        """Leave out the worst loser, or all of them once time has run out."""
        late = monotonic() > self._deadline
        storages = {storage.order_id for storage in self._data.storages}
        for order_id in choice.support.losers if late else choice.support.losers[:1]:
            self._leave_out(order_id, withdrawn=order_id in storages)

    def _leave_out(self, order_id: str, *, withdrawn: bool) -> None:
        if order_id in self._out:
            raise SolverError(f"order {order_id!r} was left out and is still there: report it")
        self._out.add(order_id)
        if withdrawn:
            self._withdrawn.add(order_id)

    def _is_worse_than_no_blocks(self, face: Face) -> bool:
        if not any(face.whole.blocks):
            return False
        out = self._out | {block.order_id for block in self._data.blocks}
        bare = self._solver.fixed(face.plan, out, self._problem.time_limit_s)
        return welfare_of(face) < (bare.bound_micro - 1) * 1000

    def _outcome(self, choice: _Choice) -> Outcome:
        welfare_micro = welfare_of(choice.face) / 1000
        missed = max(0.0, self._bound_micro - welfare_micro - 0.5)
        scale = max(abs(self._bound_micro), 1.0)
        known = np.isfinite(self._bound_micro)  # time may run out before there is a bound
        gap_ppm = min(PPM, int(np.ceil(missed / scale * PPM - 1e-6))) if known else PPM
        return Outcome(
            choice.face, choice.support, frozenset(self._withdrawn), gap_ppm, self._proved
        )


def _both_directions(data: SessionData, plan: Plan) -> set[Slot]:
    """Return the slots in which a storage charges and discharges (only losses make it pay)."""
    both = np.minimum(plan.charge, plan.discharge) > 1e-3
    return {(s, t) for s, t in np.argwhere(both).tolist() if s < len(data.storages)}

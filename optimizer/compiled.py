"""A Pyomo model compiled once to solver arrays, then solved again and again with new data.

The model is declared with mutable Params. Its standard form is walked once and every cost, bound
and right-hand side kept as ``base + M p`` (``p`` the values of all Params, ``M`` sparse). A solve
computes these three with numpy, hands them to HiGHS, runs it from the last basis and slices the
result: no Pyomo object is touched, and the model has one source.

Integer and binary variables are solved to a stated gap, from no basis, since what HiGHS finds first
may depend on where it starts; ``relaxed`` solves the same arrays without integrality, which gives
the duals once bounds hold the integers fast.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import highspy
import numpy as np
import pyomo.environ as pyo
from numpy.typing import NDArray
from pyomo.common.numeric_types import native_numeric_types
from pyomo.core.expr import numeric_expr
from pyomo.repn import generate_standard_repn

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int32]
Expression: TypeAlias = Any  # Pyomo expressions carry no types
Affine: TypeAlias = tuple[float, dict[int, float]]  # constant, and factor by place in p

_SEEN: Final = {
    *(pyo.Var, pyo.Param, pyo.Constraint, pyo.Objective),
    *(pyo.Set, pyo.RangeSet, pyo.Expression, pyo.Block),
}
_INFINITY: Final = highspy.kHighsInf
_OPTIMAL: Final = highspy.HighsModelStatus.kOptimal
_OUT_OF_TIME: Final = highspy.HighsModelStatus.kTimeLimit


class CompileError(ValueError):
    """The model is not one that can be compiled: mend the model."""


class ParamInMatrixError(CompileError):
    """A Param multiplies a variable of a constraint, where data must never change: move it."""


class NotAffineError(CompileError):
    """A Param is used otherwise than as base + factor x Param: declare one for the product."""


class SolverError(RuntimeError):
    """HiGHS reached no optimum, or no exact one: keep the book, tell a person, use the fallback."""


class SolverTimeoutError(SolverError):
    """Time ran out before there was an answer to use: give more time, or use the fallback."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Objective value, values by variable name and duals by constraint name.

    ``duals`` are the change of the objective per unit of a row's right-hand side; with integer
    variables there are none. ``bound`` is what no answer's objective passes (+-infinite where
    nothing is known yet): the objective itself without integers. ``proved``: within the gap that
    was asked for; otherwise time ran out, and this is the best answer found by then (feasible, but
    it depends on the machine).
    """

    objective: float
    values: Mapping[str, Floats]
    duals: Mapping[str, Floats]
    bound: float
    proved: bool


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Let all that is solved inside take so long together, in seconds of wall time.

    Nests: the nearest end counts. A solve that begins after it raises SolverTimeoutError.
    """
    end = min(time.monotonic() + seconds, _END.get())
    token = _END.set(end)
    try:
        yield
    finally:
        _END.reset(token)


_END: ContextVar[float] = ContextVar("end", default=math.inf)  # of the time limit, monotonic


class _AffineMap:
    """``base + M p`` for one array, M as coordinates sorted by row."""

    def __init__(self, entries: Iterable[Affine]) -> None:
        entries = list(entries)
        self.base = np.array([constant for constant, _ in entries])
        triples = [(i, j, f) for i, (_, factors) in enumerate(entries) for j, f in factors.items()]
        self._row = np.array([i for i, _, _ in triples], dtype=np.intp)
        self._param = np.array([j for _, j, _ in triples], dtype=np.intp)
        self._factor = np.array([f for _, _, f in triples])

    def at(self, params: Floats) -> Floats:
        terms = self._factor * params[self._param]
        return self.base + np.bincount(self._row, terms, minlength=len(self.base))


class CompiledModel:
    """A linear Pyomo model as HiGHS arrays. Solving is serialised: threads may share one.

    Args:
        model: one objective, linear constraints; what changes between solves is a mutable Param.
            An integer or binary variable with a Param in a bound needs the domain ``Integers``,
            since other domains bound it a second time.
        presolve: leave it off for a model with one balance (15 times faster), on elsewhere.
        mip_rel_gap: how far from the best an answer with integers may be, relative to it.

    Raises:
        CompileError: a Param in the matrix, a non-affine use, a non-linear model, or one with
            something in it that the arrays would not hold (a fixed variable, say).
    """

    def __init__(
        self, model: pyo.ConcreteModel, *, presolve: bool, mip_rel_gap: float = 0.0
    ) -> None:
        _refuse_unseen(model)
        self._lock = threading.Lock()
        self._param_slices, self._place_of = _params(model)
        self._variables = _slices(model, pyo.Var)
        self._constraints = _slices(model, pyo.Constraint)
        columns = [v for c in model.component_objects(pyo.Var) for v in c.values()]
        column_of = {id(v): i for i, v in enumerate(columns)}
        rows = [r for c in model.component_objects(pyo.Constraint) for r in c.values()]
        self._lower = _AffineMap(self._bound(v.lower, -_INFINITY) for v in columns)
        self._upper = _AffineMap(self._bound(v.upper, _INFINITY) for v in columns)
        objective = next(model.component_data_objects(pyo.Objective, active=True))
        self._cost, self._offset = self._objective(objective, column_of)
        start, index, value, shifts = self._matrix(rows, column_of)
        self._row_lower = _AffineMap(
            self._bound(r.lower, -_INFINITY, shift) for r, shift in zip(rows, shifts, strict=True)
        )
        self._row_upper = _AffineMap(
            self._bound(r.upper, _INFINITY, shift) for r, shift in zip(rows, shifts, strict=True)
        )
        self._whole = np.array([not v.is_continuous() for v in columns], dtype=np.bool_)
        self._presolve = "choose" if presolve else "off"
        self._highs = _highs(self._presolve, mip_rel_gap)
        self._pass_model(start, index, value, maximise=objective.sense == pyo.maximize)
        self._all_columns = np.arange(len(columns), dtype=np.int32)
        self._all_rows = np.arange(len(rows), dtype=np.int32)

    def solve(
        self,
        params: Mapping[str, float | Floats],
        *,
        time_limit_s: float | None = None,
        relaxed: bool = False,
    ) -> Solution:
        """Solve with these values, one array (or number) per Param in the order of its index.

        ``time_limit_s`` is wall time for this solve, within the ``time_limit`` around it; HiGHS
        looks at the clock between its steps.
        ``relaxed``: integer variables may take any value within their bounds.

        Raises:
            SolverTimeoutError: time ran out with no answer at all.
            SolverError: HiGHS found no optimum, or none in finite numbers.
            KeyError, ValueError: a Param is missing, has another shape or is NaN.
        """
        p = np.empty(len(self._place_of))
        for name, place in self._param_slices.items():
            p[place] = params[name]
        if np.isnan(p).any():
            raise ValueError("a Param is not a number (NaN): HiGHS would drop the bound it is in")
        with self._lock:
            highs = self._highs
            highs.changeColsCost(len(self._all_columns), self._all_columns, self._cost.at(p))
            highs.changeColsBounds(
                len(self._all_columns), self._all_columns, self._lower.at(p), self._upper.at(p)
            )
            highs.changeRowsBounds(  # type: ignore[attr-defined]  # not in the stubs
                len(self._all_rows), self._all_rows, self._row_lower.at(p), self._row_upper.at(p)
            )
            highs.changeObjectiveOffset(float(self._offset.at(p)[0]))
            whole = bool(self._whole.any()) and not relaxed
            highs.setOptionValue("solve_relaxation", not whole)
            return self._run(whole=whole, time_limit_s=time_limit_s)

    def _run(self, *, whole: bool, time_limit_s: float | None) -> Solution:
        """Run from the last basis; where that led nowhere, once more from none, unpresolved.

        (Presolve may take tiny factors beside large bounds for infeasible.)
        """
        highs = self._highs
        left_s = min(math.inf if time_limit_s is None else time_limit_s, time_left_s())
        highs.setOptionValue("time_limit", highs.getRunTime() + left_s)  # its clock runs on
        if whole:
            highs.clearSolver()
        highs.run()
        if highs.getModelStatus() not in (_OPTIMAL, _OUT_OF_TIME):
            highs.clearSolver()
            highs.setOptionValue("presolve", "off")
            highs.run()
            highs.setOptionValue("presolve", self._presolve)
        status, info = highs.getModelStatus(), highs.getInfo()
        found = (
            whole and info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
        )
        if status == _OUT_OF_TIME and not found:
            highs.clearSolver()
            raise SolverTimeoutError(f"HiGHS found no answer within {left_s:.3g} s")
        if status not in (_OPTIMAL, _OUT_OF_TIME):
            highs.clearSolver()
            raise SolverError(
                f"HiGHS stopped with {highs.modelStatusToString(status)!r}, not at an optimum; "
                "look at the book's quantities and prices"
            )
        solution = highs.getSolution()
        values, duals = np.array(solution.col_value), np.array(solution.row_dual)
        if not np.isfinite(values).all():
            raise SolverError("HiGHS's answer is not in numbers: keep the book and report it")
        objective = highs.getObjectiveValue()
        return Solution(
            objective,
            {name: values[place] for name, place in self._variables.items()},
            {} if whole else {name: duals[place] for name, place in self._constraints.items()},
            info.mip_dual_bound if whole else objective,
            status == _OPTIMAL,
        )

    def _bound(self, expression: Expression, default: float, shift: Affine = (0.0, {})) -> Affine:
        """Return a bound less the constant part ``shift`` of its row's body."""
        if expression is None:
            return default, {}
        return _plus(self._affine(expression), shift, -1.0)

    def _objective(
        self, objective: Expression, column_of: Mapping[int, int]
    ) -> tuple[_AffineMap, _AffineMap]:
        """Return the maps of all costs and of the constant."""
        repn = generate_standard_repn(objective.expr, compute_values=False)
        _refuse_nonlinear(repn, objective.name)
        costs: list[Affine] = [(0.0, {})] * len(column_of)
        for variable, factor in zip(repn.linear_vars, repn.linear_coefs, strict=True):
            costs[column_of[id(variable)]] = self._affine(factor)
        return _AffineMap(costs), _AffineMap([self._affine(repn.constant)])

    def _matrix(
        self, rows: Iterable[Expression], column_of: Mapping[int, int]
    ) -> tuple[Indices, Indices, Floats, list[Affine]]:
        """Return start, index and value of the matrix by rows, and each body's constant part."""
        start, index, value, shifts = [0], list[int](), list[float](), list[Affine]()
        for row in rows:
            repn = generate_standard_repn(row.body, compute_values=False)
            _refuse_nonlinear(repn, row.name)
            for variable, factor in zip(repn.linear_vars, repn.linear_coefs, strict=True):
                constant, factors = self._affine(factor)
                if factors:
                    raise ParamInMatrixError(
                        f"a Param multiplies {variable.name} in {row.name}: put it into a bound, "
                        "a right-hand side or the objective"
                    )
                index.append(column_of[id(variable)])
                value.append(constant)
            start.append(len(index))
            shifts.append(self._affine(repn.constant))
        return (
            np.array(start, dtype=np.int32),
            np.array(index, dtype=np.int32),
            np.array(value, dtype=np.float64),
            shifts,
        )

    def _affine(self, expression: Expression) -> Affine:
        """Return an expression in Params as constant and factors.

        Raises:
            NotAffineError: it is not affine in them.
        """
        if expression.__class__ in native_numeric_types or expression.is_constant():
            return float(pyo.value(expression)), {}
        if expression.is_parameter_type() and id(expression) in self._place_of:
            return 0.0, {self._place_of[id(expression)]: 1.0}
        if isinstance(expression, numeric_expr.SumExpression):
            total: Affine = (0.0, {})
            for argument in expression.args:
                total = _plus(total, self._affine(argument), 1.0)
            return total
        if isinstance(expression, numeric_expr.NegationExpression):
            return _plus((0.0, {}), self._affine(expression.args[0]), -1.0)
        if isinstance(expression, numeric_expr.ProductExpression):
            left, right = (self._affine(argument) for argument in expression.args)
            if not (left[1] and right[1]):
                scale, affine = (right[0], left) if left[1] else (left[0], right)
                return _plus((0.0, {}), affine, scale)
        raise NotAffineError(
            f"{expression} is not affine in this model's Params: give the product one of its own"
        )

    def _pass_model(self, start: Indices, index: Indices, value: Floats, *, maximise: bool) -> None:
        """Hand the structure to HiGHS; the first solve fills in costs and bounds."""
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(self._cost.base), len(self._row_lower.base)
        lp.sense_ = highspy.ObjSense.kMaximize if maximise else highspy.ObjSense.kMinimize
        lp.col_cost_ = np.zeros(lp.num_col_)
        lp.col_lower_ = lp.col_upper_ = np.zeros(lp.num_col_)
        lp.row_lower_ = np.full(lp.num_row_, -_INFINITY)
        lp.row_upper_ = np.full(lp.num_row_, _INFINITY)
        if self._whole.any():
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            lp.integrality_ = [kinds[whole] for whole in self._whole.tolist()]
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = start, index, value
        if self._highs.passModel(lp) == highspy.HighsStatus.kError:
            raise CompileError("HiGHS refuses the model's matrix: look for tiny or huge factors")


def time_left_s() -> float:
    """Return how long the time limit around a solve still is.

    Raises:
        SolverTimeoutError: it is over.
    """
    left_s = _END.get() - time.monotonic()
    if left_s <= 0:
        raise SolverTimeoutError("the time limit was over before the next step could begin")
    return left_s


def _highs(presolve: str, mip_rel_gap: float) -> highspy.Highs:
    highs = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.silent()
    highs.setOptionValue("presolve", presolve)
    highs.setOptionValue("solver", "simplex")
    highs.setOptionValue("threads", 1)
    highs.setOptionValue("mip_rel_gap", mip_rel_gap)
    return highs


def _slices(model: pyo.ConcreteModel, kind: type) -> dict[str, slice]:
    """Return where each component of a kind stands among all data of that kind."""
    slices: dict[str, slice] = {}
    at = 0
    for component in model.component_objects(kind):
        slices[component.name] = slice(at, at + len(component))
        at += len(component)
    return slices


def _params(model: pyo.ConcreteModel) -> tuple[dict[str, slice], dict[int, int]]:
    """Return where each mutable Param stands in p, and the place of each of its data by id."""
    slices: dict[str, slice] = {}
    place_of: dict[int, int] = {}
    for component in model.component_objects(pyo.Param):
        if component.mutable:
            first = len(place_of)
            for data in component.values():
                place_of[id(data)] = len(place_of)
            slices[component.name] = slice(first, len(place_of))
    return slices, place_of


def _plus(left: Affine, right: Affine, scale: float) -> Affine:
    factors = dict(left[1])
    for place, factor in right[1].items():
        factors[place] = factors.get(place, 0.0) + scale * factor
    return left[0] + scale * right[0], factors


def _refuse_unseen(model: pyo.ConcreteModel) -> None:
    """Refuse what the arrays would not hold, so that nothing of a model is dropped unsaid."""
    if strange := sorted(kind.__name__ for kind in model.collect_ctypes(active=True) - _SEEN):
        raise CompileError(f"the model has a {strange[0]}, which the arrays cannot hold")
    if len(list(model.component_data_objects(pyo.Objective, active=True))) != 1:
        raise CompileError("the model needs one active objective, no more and no less")
    for component in model.component_objects((pyo.Var, pyo.Constraint)):
        if component.is_reference():
            raise CompileError(f"{component.name} is a reference: use what it refers to")
        for data in component.values():
            if component.ctype is pyo.Var and data.fixed:
                raise CompileError(f"{data.name} is fixed: hold it by a Param in its bounds")
            if component.ctype is pyo.Constraint and not data.active:
                raise CompileError(f"{data.name} is not active: leave it out of the model")


def _refuse_nonlinear(repn: Expression, name: str) -> None:
    if repn.nonlinear_expr is not None or repn.quadratic_vars:
        raise CompileError(f"{name} is not linear in its variables: HiGHS needs a linear model")

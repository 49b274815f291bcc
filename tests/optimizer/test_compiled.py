"""A compiled model gives what Pyomo's own solve gives, and refuses what it could not update."""

import math
from itertools import product
from types import SimpleNamespace

import highspy
import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.compiled import (
    CompiledModel,
    CompileError,
    NotAffineError,
    ParamInMatrixError,
    SolverError,
    SolverTimeoutError,
    time_limit,
)


def _model() -> pyo.ConcreteModel:
    """Two plants and a store of fixed size meet a demand; every place of a Param is used."""
    m = pyo.ConcreteModel()
    m.plant = pyo.RangeSet(0, 1)
    m.cost = pyo.Param(m.plant, mutable=True, initialize=1)
    m.limit = pyo.Param(m.plant, mutable=True, initialize=1)
    m.demand = pyo.Param(mutable=True, initialize=1)
    m.fixed = pyo.Param(mutable=True, initialize=0)
    m.power = pyo.Var(m.plant, bounds=lambda m, i: (0, 2 * m.limit[i] + 1))
    m.unserved = pyo.Var(bounds=(0, None))
    m.balance = pyo.Constraint(
        expr=sum(m.power[i] for i in m.plant) + m.unserved - 3 == m.demand - m.fixed
    )
    m.share = pyo.Constraint(expr=m.power[0] - 2 * m.power[1] <= -(m.fixed - 4))
    m.total = pyo.Objective(
        expr=sum((3 * m.cost[i] - 1) * m.power[i] for i in m.plant) + 100 * m.unserved + m.fixed + 5
    )
    return m


COMPILED = CompiledModel(_model(), presolve=True)


@settings(max_examples=60, deadline=None)
@given(
    cost=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    limit=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    demand=st.integers(5, 20),
    fixed=st.integers(-3, 3),
)
def test_compiled_and_fresh_pyomo_agree(cost, limit, demand, fixed):
    found = COMPILED.solve(
        {
            "cost": np.array(cost, float),
            "limit": np.array(limit, float),
            "demand": demand,
            "fixed": fixed,
        }
    )
    fresh = _model()
    for i in fresh.plant:
        fresh.cost[i], fresh.limit[i] = cost[i], limit[i]
    fresh.demand, fresh.fixed = demand, fixed
    pyo.SolverFactory("appsi_highs").solve(fresh)
    assert found.objective == pytest.approx(pyo.value(fresh.total))
    power = found.values["power"]
    assert power.sum() + found.values["unserved"][0] == pytest.approx(demand - fixed + 3)
    assert found.duals["balance"].shape == (1,)


def _refused(change) -> pyo.ConcreteModel:
    model = _model()
    change(model)
    return model


def _param_in_matrix(m):
    m.bad = pyo.Constraint(expr=m.cost[0] * m.power[0] <= 1)


def _product_of_params(m):
    m.bad = pyo.Constraint(expr=m.power[0] <= m.cost[0] * m.cost[1])


def _quotient_of_params(m):
    m.bad = pyo.Constraint(expr=m.power[0] <= 1 / m.cost[0])


def _square_of_a_variable(m):
    m.bad = pyo.Constraint(expr=m.power[0] ** 2 <= 1)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (_param_in_matrix, ParamInMatrixError),
        (_product_of_params, NotAffineError),
        (_quotient_of_params, NotAffineError),
        (_square_of_a_variable, CompileError),
    ],
)
def test_what_cannot_be_updated_is_refused(change, error):
    with pytest.raises(error):
        CompiledModel(_refused(change), presolve=False)


def _second_objective(m):
    m.other = pyo.Objective(expr=m.unserved)


def _reference(m):
    m.alias = pyo.Reference(m.power)


def _foreign_param(m):
    other = pyo.ConcreteModel()
    other.p = pyo.Param(mutable=True, initialize=3)
    m.extra = pyo.Constraint(expr=m.unserved <= other.p)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.power[0].fix(1), "power.0. is fixed"),
        (lambda m: m.share.deactivate(), "share is not active"),
        (lambda m: m.total.deactivate(), "one active objective"),
        (_second_objective, "one active objective"),
        (lambda m: m.add_component("one", pyo.SOSConstraint(var=m.power, sos=1)), "SOSConstraint"),
        (_reference, "alias is a reference"),
        (_foreign_param, "not affine in this model's Params"),
    ],
)
def test_what_the_arrays_would_drop_is_refused(change, message):
    with pytest.raises(CompileError, match=message):
        CompiledModel(_refused(change), presolve=False)


def test_a_param_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        COMPILED.solve({"cost": 1, "limit": 1, "demand": float("nan"), "fixed": 0})


def test_a_missing_or_misshapen_param_is_refused():
    good = {"cost": np.ones(2), "limit": np.ones(2), "demand": 5, "fixed": 0}
    with pytest.raises(KeyError):
        COMPILED.solve({name: value for name, value in good.items() if name != "fixed"})
    with pytest.raises(ValueError, match="broadcast"):
        COMPILED.solve(good | {"cost": np.ones(3)})


def test_no_optimum_is_an_error_and_the_next_solve_works():
    good = {"cost": np.ones(2), "limit": np.ones(2), "demand": 5, "fixed": 0}
    with pytest.raises(SolverError, match="Infeasible"):
        COMPILED.solve(good | {"demand": -50})
    assert COMPILED.solve(good).objective > 0


def test_an_answer_that_is_no_number_is_refused(monkeypatch):
    model = CompiledModel(_model(), presolve=True)
    params = {"cost": 1, "limit": 1, "demand": 5, "fixed": 0}
    answer = SimpleNamespace(col_value=[math.nan] * 3, row_dual=[0.0] * 2)
    model.solve(params)
    monkeypatch.setattr(highspy.Highs, "getSolution", lambda _: answer)
    with pytest.raises(SolverError, match="not in numbers"):
        model.solve(params)


def _knapsack(size: int) -> pyo.ConcreteModel:
    """Which blocks to take, whole, and how much of one divisible rest: at most ``room`` in all."""
    m = pyo.ConcreteModel()
    m.block = pyo.RangeSet(0, size - 1)
    m.worth = pyo.Param(m.block, mutable=True, initialize=0)
    m.least = pyo.Param(m.block, mutable=True, initialize=0)
    m.most = pyo.Param(m.block, mutable=True, initialize=1)
    m.room = pyo.Param(mutable=True, initialize=0)
    m.taken = pyo.Var(m.block, domain=pyo.Integers, bounds=lambda m, i: (m.least[i], m.most[i]))
    m.rest = pyo.Var(bounds=(0, None))
    m.fits = pyo.Constraint(expr=sum((7 + i) * m.taken[i] for i in m.block) + m.rest <= m.room)
    m.total = pyo.Objective(
        expr=sum(m.worth[i] * m.taken[i] for i in m.block) + m.rest, sense=pyo.maximize
    )
    return m


BLOCKS = CompiledModel(_knapsack(4), presolve=True)


@settings(max_examples=60, deadline=None)
@given(worth=st.tuples(*[st.integers(-5, 60)] * 4), room=st.integers(0, 40))
def test_blocks_are_whole_and_the_best(worth, room):
    found = BLOCKS.solve({"worth": np.array(worth, float), "least": 0, "most": 1, "room": room})
    sizes = [7 + i for i in range(4)]
    best = max(
        sum(value for value, bit in zip(worth, bits, strict=True) if bit) + room - used
        for bits in product((0, 1), repeat=4)
        if (used := sum(size for size, bit in zip(sizes, bits, strict=True) if bit)) <= room
    )
    assert found.objective == pytest.approx(best)
    assert set(np.rint(found.values["taken"]).tolist()) <= {0.0, 1.0}
    assert (found.proved, found.bound, found.duals) == (True, pytest.approx(best), {})


def test_fixed_blocks_have_duals_and_the_next_solve_is_whole_again():
    worth = np.array([60.0, 50.0, 40.0, 30.0])
    data = {"worth": worth, "least": 0, "most": 1, "room": 18}
    whole = BLOCKS.solve(data)
    taken = np.rint(whole.values["taken"])
    fixed = BLOCKS.solve(data | {"least": taken, "most": taken}, relaxed=True)
    assert fixed.objective == pytest.approx(whole.objective)
    assert fixed.duals["fits"].tolist() == [1.0]  # one more unit of room goes to the rest
    loose = BLOCKS.solve(data, relaxed=True)
    assert loose.objective > whole.objective
    assert BLOCKS.solve(data).objective == pytest.approx(whole.objective)


def _market_split(size: int) -> CompiledModel:
    """Equal parts of many weights, four times at once: no bound helps, a proof takes hours."""
    weights = np.random.default_rng(7).integers(0, 100, (4, size))
    m = pyo.ConcreteModel()
    m.slack = pyo.Param(mutable=True, initialize=0)
    m.take = pyo.Var(range(size), domain=pyo.Binary)
    m.over = pyo.Var(range(4), bounds=(0, m.slack))
    m.under = pyo.Var(range(4), bounds=(0, m.slack))
    m.split = pyo.Constraint(
        range(4),
        rule=lambda m, r: (
            sum(int(weights[r, i]) * m.take[i] for i in range(size)) + m.over[r] - m.under[r]
            == int(weights[r].sum() // 2)
        ),
    )
    m.total = pyo.Objective(expr=sum(m.over[r] + m.under[r] for r in range(4)))
    return CompiledModel(m, presolve=True)


def test_time_that_runs_out_is_told():
    model = _market_split(30)
    found = model.solve({"slack": 10**4}, time_limit_s=0.2)  # taking nothing is an answer
    assert not found.proved
    assert found.bound < found.objective
    for relaxed in (False, True):
        with pytest.raises(SolverTimeoutError, match="within 0 s"):
            model.solve({"slack": 0}, time_limit_s=0.0, relaxed=relaxed)
    assert model.solve({"slack": 10**4}, relaxed=True).objective == pytest.approx(0)


def test_all_that_is_solved_inside_a_time_limit_shares_it():
    good = {"cost": np.ones(2), "limit": np.ones(2), "demand": 5, "fixed": 0}
    with time_limit(3600), time_limit(0), pytest.raises(SolverTimeoutError, match="was over"):
        COMPILED.solve(good)
    with time_limit(0), time_limit(3600), pytest.raises(SolverTimeoutError, match="was over"):
        COMPILED.solve(good)
    with time_limit(3600):
        assert COMPILED.solve(good, time_limit_s=60).objective > 0

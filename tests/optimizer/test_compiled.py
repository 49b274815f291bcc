"""A compiled model gives what Pyomo's own solve gives, and refuses what it could not update."""

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

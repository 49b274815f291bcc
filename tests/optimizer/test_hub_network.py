"""The certificate: what is not an exact optimum is refused, whoever gives it."""

import numpy as np
import pytest
from hypothesis import given, settings

from optimizer.compiled import SolverError
from optimizer.hubs import solve as hub_solve
from optimizer.hubs.book import hub_book
from optimizer.hubs.clearing import clear_hubs
from optimizer.hubs.model import HubSolver
from optimizer.hubs.network import Face, middle, narrowed, network, price_bounds
from optimizer.hubs.solve import is_point, settled
from tests.conftest import LONG
from tests.optimizer.hub_books import problem, problems

BOOK = problem(
    "uniform", "8..30", "1,2,5", "a bid 9 25 F/A green+3; b bid 9 40 G; s offer 12 9 F/A green"
)


def graph(given_problem):
    book = hub_book(given_problem)
    net = network(book, given_problem)
    return book, net, Face(np.zeros_like(net.most), net.most)


def test_the_optimum_is_certified_and_nothing_else():
    book, net, whole = graph(BOOK)
    flow, _ = settled(book, net, BOOK.tie_key)
    narrowed(net, net.eighths, flow, whole)
    with pytest.raises(SolverError, match="not the exact optimum"):
        narrowed(net, net.eighths, flow * 0, whole)
    for arc in range(len(flow)):
        wrong = flow.copy()
        wrong[arc] += 1
        with pytest.raises(SolverError, match="does not balance"):
            narrowed(net, net.eighths, wrong, whole)


def test_a_solver_that_errs_is_not_believed(monkeypatch):
    monkeypatch.setattr(hub_solve, "solve", lambda _book, net, *_: net.most * 0)
    with pytest.raises(SolverError, match="keep the book and report it"):
        clear_hubs(BOOK)


@settings(max_examples=20_000 if LONG else 500)
@given(given_problem=problems())
def test_the_middle_of_all_prices_supports_the_flow(given_problem):
    """lowest, highest and the floor of their middle: no residual arc is worth using."""
    book, net, whole = graph(given_problem)
    flow, _ = settled(book, net, given_problem.tie_key)
    lowest, highest = price_bounds(net, flow, whole)
    assert np.all(lowest <= highest)
    near = np.int64(2**40)
    low, high = np.maximum(lowest, -near), np.minimum(highest, near)
    for prices in (low, high, middle(low, high)):
        gain = prices[net.head] - prices[net.tail] - net.cost
        known = (np.abs(prices[net.head]) < near // 4) & (np.abs(prices[net.tail]) < near // 4)
        assert np.all(gain[known & (flow < net.most)] <= 0)
        assert np.all(gain[known & (flow > 0)] >= 0)


@settings(max_examples=20_000 if LONG else 500)
@given(given_problem=problems(limits=(0, 3), most=7))
def test_one_flow_is_left(given_problem):
    """In the end no circle of open arcs is left: the answer hangs on no solver's choice."""
    book, net, whole = graph(given_problem)
    flow, optima = settled(book, net, given_problem.tie_key)
    assert is_point(net, Face(flow, flow), flow)
    if is_point(net, optima, flow):
        again = hub_solve.solve(book, net, net.eighths, whole)
        assert np.array_equal(again, flow)


def test_a_model_grows_and_is_kept():
    """More ticks and other stations make a larger model, which serves the smaller book too."""
    solver = HubSolver()
    shape = hub_solve.shape_of(graph(BOOK)[0])
    first, model = solver.model(shape)
    assert solver.model(shape)[1] is model
    assert {s.slots for s in (*first.offers, *first.bids)} == {4}
    wanted = shape._replace(offers=(), bids=(shape.bids[0]._replace(slots=9),))
    grown, larger = solver.model(wanted)
    assert larger is not model
    assert sorted(s.slots for s in grown.bids) == [4] * (len(first.bids) - 1) + [16]
    assert len(grown.offers) == len(first.offers)
    assert solver.model(shape)[1] is larger


def test_a_model_much_too_large_is_not_dragged_along():
    solver = HubSolver()
    shape = hub_solve.shape_of(graph(BOOK)[0])
    solver.model(shape._replace(bids=(shape.bids[0]._replace(slots=2000),)))
    small, _ = solver.model(shape)
    assert {s.slots for s in (*small.offers, *small.bids)} == {4}

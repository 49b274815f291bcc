"""Fairness at the margin: max-min fill ratios, against LPs over pairs of orders."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from optimizer.compiled import SolverTimeoutError, time_limit
from optimizer.hubs.book import hub_book
from optimizer.hubs.clearing import clear_hubs
from optimizer.hubs.maxflow import SINK, SOURCE, MaxFlow
from optimizer.hubs.network import Face, narrowed, network
from optimizer.hubs.shares import fair_fills
from optimizer.hubs.solve import settled, solve
from tests.conftest import LONG
from tests.optimizer.hub_books import problem, problems
from tests.optimizer.pairwise_oracle import best, bonus_at_best, most_of


def ratios(given_problem):
    """Ticks with their fair fills, in fractions, and what they got in the end."""
    book = hub_book(given_problem)
    net = network(book, given_problem)
    whole = Face(np.zeros_like(net.most), net.most)
    flow = solve(book, net, net.eighths, whole)
    fair = fair_fills(net, narrowed(net, net.eighths, flow, whole), flow)
    settled_flow, _ = settled(book, net, given_problem.tie_key)
    return [
        (tick, fair.get(arc, Fraction(int(flow[arc]))), int(settled_flow[arc]))
        for ticks, family in ((book.offers, "offer"), (book.bids, "bid"))
        for arc, tick in enumerate(ticks, net.family[family].start)
    ]


@settings(max_examples=2_000 if LONG else 150)
@given(given_problem=problems(limits=(0, 4), most=8))
def test_no_smaller_ratio_could_be_larger(given_problem):
    """Whoever has at most some ratio has, together, all that any optimum could give them.

    That is max-min: another optimum could lift one of them only by taking from another of them.
    """
    welfare = best(given_problem)
    bonus = bonus_at_best(given_problem, welfare)
    found = ratios(given_problem)
    for level in {fill / tick.wh for tick, fill, _ in found} - {0, 1}:
        poor = [(tick, fill) for tick, fill, _ in found if fill <= level * tick.wh]
        names = {order.order_id for tick, _ in poor for order in tick.orders}
        together = sum(fill for _, fill in poor)
        assert abs(most_of(given_problem, welfare, bonus, names) - together) <= Fraction(1, 2)
    for tick, fill, got in found:
        assert fill // 1 <= got <= -(-fill // 1), tick


def test_equal_orders_of_one_tick_share_pro_rata():
    rows = "a bid 10 9 F/A; b bid 20 9 F/A; c bid 33 9 F/A max-feeder; s offer 21 1 F/A"
    found = clear_hubs(problem("uniform", "-..-", "0,0,1", rows)).allocations
    assert found == {"a": 3, "b": 7, "c": 11, "s": 21}


def test_ticks_of_different_places_share_alike():
    """Both feeders matter, one price everywhere: 60 Wh for bids of 90 are two thirds for each."""
    rows = (
        "a bid 30 10 F local-first; b bid 60 10 G local-first; s offer 10 10 F; t offer 20 10 G; "
        "u offer 30 10 H"
    )
    found = clear_hubs(problem("uniform", "-..-", "0,0,0", rows)).allocations
    assert found == {"a": 20, "b": 40, "s": 10, "t": 20, "u": 30}


def test_who_is_held_back_by_place_does_not_hold_others_back():
    """Only b reaches the second offer, so that a takes most of the first: both get as much."""
    rows = "a bid 30 10 F max-feeder; b bid 30 10 F; s offer 20 5 F max-feeder; t offer 18 5 G"
    found = clear_hubs(problem("uniform", "-..-", "0,0,0", rows)).allocations
    assert found == {"a": 19, "b": 19, "s": 20, "t": 18}


def test_fairness_keeps_to_the_time_limit():
    rows = "a bid 30 10 F; b bid 60 10 G; s offer 31 5 H"
    tied = problem("uniform", "-..-", "0,0,1", rows)
    with pytest.raises(SolverTimeoutError, match="time limit"), time_limit(0):
        clear_hubs(tied)
    book = hub_book(tied)
    net = network(book, tied)
    flow, optima = settled(book, net, tied.tie_key)
    with pytest.raises(SolverTimeoutError, match="time limit"), time_limit(0):
        fair_fills(net, optima, flow)


def test_the_maximum_flow_takes_a_way_back():
    """The classic square with a diagonal: the first shortest way must be partly undone."""
    flow = MaxFlow()
    for tail, head, room in (
        (SOURCE, 1, 3),
        (SOURCE, 2, 2),
        (1, 2, 5),
        (1, 3, 2),
        (2, 4, 3),
        (3, SINK, 4),
        (4, SINK, 3),
    ):
        flow.add(tail, head, room)
    assert flow.run() == 5
    assert flow.levels().keys() == {SOURCE}

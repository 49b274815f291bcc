"""The engine beside the oracle that tries every choice of blocks."""

from hypothesis import event, given, settings

from market.money import PPM
from market.sessions import SessionClearing, SessionProblem
from optimizer.session.clearing import clear_session
from tests.conftest import LONG
from tests.optimizer.session_books import problems
from tests.optimizer.session_oracle import best_welfare, choices, prices_exist

EXAMPLES = settings(max_examples=2_000 if LONG else 60, deadline=None)
DEAREST_MICRO_PER_WH = 40


def _best(asked: SessionProblem):
    """The most welfare of all choices, and that choice."""
    found = [(best_welfare(asked, chosen), chosen) for chosen in choices(asked)]
    return max(((w, c) for w, c in found if w is not None), key=lambda pair: pair[0])


def _accepted(asked: SessionProblem, found: SessionClearing) -> frozenset[str]:
    return frozenset(
        b.order_id
        for b in asked.book.blocks
        if found.accepted_ppm[b.order_id] and b.min_acceptance_ppm
    )


@EXAMPLES
@given(asked=problems())
def test_between_no_blocks_and_the_best_choice(asked):
    found = clear_session(asked)
    best, _ = _best(asked)
    # Whole watt-hours cost storages and blocks in part some of theirs in every interval.
    parts = len(asked.book.storages) + len(asked.book.blocks)
    slack = 1 + 2 * DEAREST_MICRO_PER_WH * asked.book.session.intervals * parts
    assert found.welfare_micro <= best + slack
    # A block without a least share may stand in the oracle's answer whatever is chosen.
    all_chosen = not any(b.min_acceptance_ppm == 0 for b in asked.book.blocks)
    if not found.withdrawn and all_chosen and not _burns(asked):
        assert found.welfare_micro >= best_welfare(asked, frozenset()) - slack
    if not found.withdrawn and all_chosen:
        # The blocks being what they are, everybody else is served as well as can be.
        same = best_welfare(asked, _accepted(asked, found))
        assert same is not None
        assert abs(found.welfare_micro - same) <= slack or _burns(asked)
    assert found.gap_ppm >= (best - slack - found.welfare_micro) / max(abs(best), 1) * PPM - 1001


@EXAMPLES
@given(asked=problems(batteries=0, partial=False))
def test_the_best_choice_wins_wherever_prices_support_it(asked):
    found = clear_session(asked)
    best, chosen = _best(asked)
    supported = prices_exist(asked, chosen, best)
    event(f"{len(chosen)} blocks chosen, supported: {supported}")
    if supported:
        assert found.welfare_micro >= best - abs(best) * asked.gap_ppm / PPM - 1
    if abs(found.welfare_micro - best) > abs(best) * asked.gap_ppm / PPM + 1:
        assert not supported


def _burns(asked: SessionProblem) -> bool:
    """Whether energy may be worth less than nothing, so that the oracle's storages may burn it."""
    limits = [s.order.limit.micro_per_kwh for s in asked.book.steps]
    floors = [p.micro_per_kwh for p in asked.floors or ()]
    return min(limits + floors, default=0) < 0

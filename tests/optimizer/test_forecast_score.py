"""Scores on figures that anybody can work out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.forecast.score import Score, score
from tests.conftest import LONG


def test_mean_error_and_bias_of_a_made_up_day() -> None:
    points, district = score(
        [[100, 200, None, 50], [10, 10, 10, 10]],
        [[90, 230, 70, None], [10, 20, 30, 40]],
        [[110, 230, 70, 60], [10, None, 10, 60]],
    )
    # First: errors +10 and -30, yesterday's +20 and 0; the rest is not known in all three.
    assert points[0] == Score(2, 320, 40, -20, 20, 20)
    assert points[1] == Score(3, 80, 0 + 20 + 30, -50, 0 + 20 + 20, 0)
    # Sums by quarter: 110/100, 200/230, 10/30, 10/40 against yesterday's 120, 230, 10, 60.
    assert district == Score(4, 400, 10 + 30 + 20 + 30, -70, 20 + 0 + 20 + 20, 20)


def test_nobody_scores_nothing() -> None:
    assert score([], [], []) == ([], Score(0, 0, 0, 0, 0, 0))
    assert score([[None]], [[1]], [[1]])[1].quarters == 0


cells = st.lists(
    st.tuples(*[st.one_of(st.none(), st.integers(0, 10_000))] * 3), min_size=1, max_size=8
)


@settings(max_examples=20_000 if LONG else 500)
@given(cells)
def test_a_score_is_its_definition(day: list[tuple[int | None, int | None, int | None]]) -> None:
    (found,), district = score(*([list(column)] for column in zip(*day, strict=True)))
    judged = [(f, m, p) for f, m, p in day if f is not None and m is not None and p is not None]
    assert found == district  # of one point
    assert found.quarters == len(judged)
    assert found.abs_wh == sum(abs(f - m) for f, m, _ in judged)
    assert found.bias_wh == sum(f - m for f, m, _ in judged)
    assert found.persistence_abs_wh == sum(abs(p - m) for _, m, p in judged)
    assert found.persistence_bias_wh == sum(p - m for _, m, p in judged)
    assert abs(found.bias_wh) <= found.abs_wh

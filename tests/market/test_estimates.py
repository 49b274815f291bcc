"""Estimates add up to the register difference, whatever they were."""

from hypothesis import given
from hypothesis import strategies as st

from market.estimates import estimate_import, scale_to_difference
from metering.quantities import Energy

amounts = st.integers(min_value=0, max_value=10**6)


def test_mean_is_floored_and_zero_without_history() -> None:
    assert estimate_import([]) == Energy(0)
    assert estimate_import([Energy(100), Energy(101)]) == Energy(100)


@given(amounts, st.lists(amounts, min_size=1, max_size=40))
def test_parts_add_up_to_the_difference(difference: int, estimates: list[int]) -> None:
    keys = [f"{n:04}" for n in range(len(estimates))]
    parts = scale_to_difference(Energy(difference), [Energy(wh) for wh in estimates], keys)
    assert sum(part.wh for part in parts) == difference
    total = sum(estimates) or len(estimates)
    weights = estimates if any(estimates) else [1] * len(estimates)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part.wh - difference * weight / total) < 1


def test_equal_shares_when_nothing_was_estimated() -> None:
    parts = scale_to_difference(Energy(100), [Energy(0)] * 3, ["c", "a", "b"])
    assert [part.wh for part in parts] == [33, 34, 33]

"""The two clocks."""

from __future__ import annotations

import time

import pytest

from app.clock import ClockError, RealClock, SimulatedClock, wall_ms


def test_a_simulated_clock_stands_still_until_it_is_advanced() -> None:
    clock = SimulatedClock(1_000)
    assert (clock.now_ms(), clock.now_ms(), clock.simulated) == (1_000, 1_000, True)
    clock.advance_to(1_000)
    clock.advance_to(5_000)
    assert clock.now_ms() == 5_000
    with pytest.raises(ClockError, match="does not go back"):
        clock.advance_to(4_999)
    assert clock.now_ms() == 5_000


def test_the_real_clock_is_the_walls() -> None:
    before = time.time_ns() // 1_000_000
    seen = [RealClock().now_ms(), wall_ms()]
    after = time.time_ns() // 1_000_000
    assert all(before <= moment <= after for moment in seen)
    assert not RealClock().simulated

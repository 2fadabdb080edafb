"""When replicas have their pulses: all of a server's at the same moments."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from regions.failover.replica import BEAT_SECONDS, IDLE_BEATS, pulse_of_all, until_pulse

moments = st.floats(0, 1e6)
late = st.floats(0, BEAT_SECONDS / 4)  # an agent that is busy


@given(moments)
def test_whenever_a_replica_was_found_its_next_pulse_is_at_the_moment_of_all_others(
    now: float,
) -> None:
    pause = until_pulse(now)
    assert 0 < pause <= 1.1 * BEAT_SECONDS
    assert math.isclose((now + pause) % BEAT_SECONDS % 1, 0, abs_tol=1e-6) or math.isclose(
        (now + pause) % BEAT_SECONDS, BEAT_SECONDS, abs_tol=1e-6
    )


@given(st.integers(1, 10**6), late)
def test_of_those_in_which_nothing_is_written_all_beat_at_the_same_third_pulse(
    number: int, late: float
) -> None:
    beats = [pulse_of_all((number + n) * BEAT_SECONDS + late) for n in range(IDLE_BEATS)]
    assert beats.count(True) == 1
    assert pulse_of_all(number * IDLE_BEATS * BEAT_SECONDS + late)

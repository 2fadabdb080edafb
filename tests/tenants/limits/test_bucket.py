"""The rate, for whatever pattern of requests and whatever the clock does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tenants.limits.bucket import draw

INTERVAL = st.integers(min_value=1, max_value=60_000_000)
BURST = st.integers(min_value=1, max_value=500)
GAPS = st.lists(st.integers(min_value=0, max_value=10_000_000), min_size=1, max_size=200)


def run(times: list[int], *, interval: int, burst: int) -> list[int]:
    """When requests were let in."""
    due, admitted = 0, []
    for now in times:
        drawn = draw(due, now, interval=interval, burst=burst)
        due = drawn.due
        if drawn.admitted:
            admitted.append(now)
    return admitted


@given(gaps=GAPS, interval=INTERVAL, burst=BURST)
def test_no_stretch_of_time_lets_in_more_than_the_burst_and_what_the_rate_brings(
    gaps, interval, burst
):
    times = [10**15 + sum(gaps[:number]) for number in range(len(gaps))]
    admitted = run(times, interval=interval, burst=burst)
    for first, start in enumerate(admitted):
        for last, end in enumerate(admitted[first:], start=first):
            assert last - first + 1 <= burst + (end - start) // interval


@given(interval=INTERVAL, burst=BURST, now=st.integers(min_value=0, max_value=10**16))
def test_a_full_bucket_lets_in_the_burst_and_says_what_is_left(interval, burst, now):
    due = 0
    for number in range(burst):
        drawn = draw(due, now, interval=interval, burst=burst)
        assert (drawn.admitted, drawn.left) == (True, burst - number - 1)
        due = drawn.due
    refused = draw(due, now, interval=interval, burst=burst)
    assert not refused.admitted
    assert draw(refused.due, now + refused.wait, interval=interval, burst=burst).admitted


@given(
    due=st.integers(min_value=0, max_value=2**53),
    now=st.integers(min_value=0, max_value=10**16),
    interval=INTERVAL,
    burst=BURST,
)
def test_whatever_the_clock_and_the_limit_were_nobody_waits_longer_than_one_request_takes(
    due, now, interval, burst
):
    drawn = draw(due, now, interval=interval, burst=burst)
    assert drawn.admitted or (due <= now + interval * burst and 0 < drawn.wait <= interval)

"""How many at once, and when to stop: pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenants.errors import InvalidRequest
from tenants.rollout.waves import Pace, Share, decide, sizes_without_failures

SHARES = st.builds(Share, st.integers(0, 100), st.booleans())
PACES = st.builds(Pace, SHARES, SHARES, SHARES)


@given(PACES, st.integers(0, 3000))
def test_without_failures_everybody_comes_in_waves_that_are_never_empty(pace: Pace, total: int):
    sizes = list(sizes_without_failures(pace, total))
    assert sum(sizes) == total
    assert all(0 < size <= Pace.MOST for size in sizes)


@given(PACES, st.integers(1, 500), st.data())
def test_a_run_ends_whatever_fails_and_halts_only_with_a_reason(pace: Pace, total: int, data):
    done = failed = 0
    while done + failed < total:
        decision = decide(pace, total=total, done=done, failed=failed)
        assert decision.reason
        if decision.halt:
            allowed = pace.canary.of(total) if done < pace.canary.of(total) else 0
            assert failed > min(allowed, pace.halt_after.of(total))
            return
        assert 0 < decision.size <= total - done - failed
        bad = data.draw(st.integers(0, decision.size))
        failed, done = failed + bad, done + decision.size - bad


@given(PACES, st.integers(1, 300), st.data())
def test_nobody_is_begun_early_who_would_not_be_begun_when_all_before_have_ended(
    pace: Pace, total: int, data
):
    done = failed = under_way = 0
    while done + failed + under_way < total:
        decision = decide(pace, total=total, done=done, failed=failed, under_way=under_way)
        if decision.halt:
            return
        if decision.wait:
            assert under_way
            assert not decision.size
            ended = under_way
        else:
            for bad in range(under_way + 1):
                later = decide(pace, total=total, done=done + under_way - bad, failed=failed + bad)
                assert not later.halt
            under_way += decision.size
            ended = data.draw(st.integers(0, under_way))
        bad = data.draw(st.integers(0, ended))
        under_way, failed, done = under_way - ended, failed + bad, done + ended - bad


def test_the_next_wave_waits_for_the_canary_and_for_whoever_could_end_the_run():
    pace = Pace(canary=Share(1), halt_after=Share(2))
    assert decide(pace, total=100, done=0, failed=0, under_way=1).wait
    assert decide(pace, total=100, done=20, failed=1, under_way=2).wait
    assert decide(pace, total=100, done=20, failed=0, under_way=2).size == 25
    assert decide(pace, total=100, done=20, failed=3, under_way=2).halt


def test_the_canary_comes_first_and_must_succeed():
    pace = Pace(canary=Share(2))
    assert decide(pace, total=100, done=0, failed=0).size == 2
    assert decide(pace, total=100, done=1, failed=1).size == 1
    assert decide(pace, total=100, done=2, failed=1).size == 25
    assert decide(pace, total=100, done=0, failed=3).halt


def test_one_that_fails_among_few_does_not_hold_up_the_others():
    assert not decide(Pace(), total=3, done=1, failed=1).halt


@pytest.mark.parametrize("text", ["", "x", "-1", "101%", "1.5", "10 %%"])
def test_nonsense_is_no_share(text: str):
    with pytest.raises(InvalidRequest):
        Share.parse(text)


def test_a_percentage_is_rounded_up():
    assert Share.parse("10%").of(3) == 1
    assert Share.parse("0%").of(3) == 0
    assert Share.parse("7").of(3) == 3

"""Where clients are answered: one that flaps is neither fled at once nor fled to."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from regions.failover.reach import BACK_SECONDS, LOST_SECONDS, Steady

histories = st.lists(
    st.tuples(st.floats(0.5, 4.0), st.booleans()), min_size=1, max_size=60
)  # pauses, and whether there was an answer then


@given(histories)
def test_it_is_given_up_and_counted_on_again_only_after_a_while_of_one_kind(
    history: list[tuple[float, bool]],
) -> None:
    one, now, states = Steady(), 0.0, []
    for pause, answered in history:
        now += pause
        one.saw(answered, now)
        states.append((now, answered, one.up))
    for number, ((_, _, before), (at, answered, after)) in enumerate(pairwise(states), 1):
        if after is before or before is None:
            continue
        assert after is answered
        patience = LOST_SECONDS if before else BACK_SECONDS
        lately = [same for then, same, _ in states[: number + 1] if then >= at - patience]
        assert set(lately) == {answered}


@given(st.lists(st.floats(0.1, 100.0)))
def test_of_one_that_has_never_answered_nothing_is_said(moments: list[float]) -> None:
    one = Steady()
    for at in sorted(moments):
        one.saw(False, at)
    assert one.up is None


def test_one_that_comes_and_goes_every_two_seconds_is_not_given_up() -> None:
    one = Steady()
    for second in range(60):
        one.saw(second // 2 % 2 == 0, float(second))
    assert one.up is True

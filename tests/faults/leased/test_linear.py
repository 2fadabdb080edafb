"""The checker of linearizable histories, against histories whose verdict is known."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.leased.linear import Call, violation

NEVER = math.inf


def w(value: str, called: float, returned: float) -> Call:
    return Call(True, value, called, returned)


def r(value: str, called: float, returned: float) -> Call:
    return Call(False, value, called, returned)


LINEARIZABLE = {
    "nothing": [],
    "one after the other": [w("1", 0, 1), r("1", 2, 3), w("2", 4, 5), r("2", 6, 7)],
    "a read beside a write sees either": [w("1", 0, 9), r("", 1, 2), r("1", 3, 4)],
    "writes beside each other in the other order": [w("1", 0, 9), w("2", 0, 9), r("1", 10, 11)],
    "a write that nobody heard of, seen later": [w("1", 0, NEVER), r("", 1, 2), r("1", 8, 9)],
    "a write that nobody heard of, after others": [
        w("1", 0, NEVER), w("2", 1, 2), r("2", 3, 4), r("1", 5, 6),
    ],
    "a write that nobody heard of, and never seen": [w("1", 0, NEVER), r("", 5, 6)],
}  # fmt: skip
NOT_LINEARIZABLE = {
    "a stale read": [w("1", 0, 1), r("", 2, 3)],
    "an acknowledged write is lost": [w("1", 0, 1), w("2", 2, 3), r("1", 4, 5)],
    "a value goes back": [w("1", 0, 9), r("1", 1, 2), r("", 3, 4)],
    "two clients see two orders": [
        w("1", 0, 9), w("2", 0, 9), r("1", 1, 2), r("2", 3, 4), r("1", 5, 6),
    ],
    "a write before it was called": [r("1", 0, 1), w("1", 2, 3)],
    "a value from nowhere": [r("7", 0, 1)],
    "a write that nobody heard of, done twice": [
        w("1", 0, NEVER), r("1", 1, 2), w("2", 3, 4), r("2", 5, 6), r("1", 7, 8),
    ],
    "two writers, each with its own readers": [
        w("1", 0, 1), w("2", 2, 3), r("2", 4, 5), w("3", 4, 5), r("2", 6, 7), r("3", 6, 7),
        r("2", 8, 9),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", LINEARIZABLE)
def test_what_some_order_explains_passes(name: str) -> None:
    assert violation(LINEARIZABLE[name], "") is None


@pytest.mark.parametrize("name", NOT_LINEARIZABLE)
def test_what_no_order_explains_is_found(name: str) -> None:
    assert violation(NOT_LINEARIZABLE[name], "")


def test_the_sentence_names_what_can_not_be_placed() -> None:
    told = violation([w("1", 0, 1), r("", 2, 3)], "")
    assert told == "No order explains read '' [2.000, 3.000] after write '1' [0.000, 1.000]"


times = st.tuples(st.integers(0, 8), st.integers(1, 4))


@st.composite
def histories(draw: st.DrawFn) -> list[Call]:
    """Up to four writes of different values, some unheard of, and three reads."""
    calls = []
    for n in range(draw(st.integers(0, 4))):
        called, took = draw(times)
        returned = NEVER if draw(st.booleans()) else called + took
        calls.append(w(str(n), called, returned))
    values = st.sampled_from(["", *(call.value for call in calls)])
    for _ in range(draw(st.integers(0, 3))):
        called, took = draw(times)
        calls.append(r(draw(values), called, called + took))
    return calls


def by_trying_all(history: list[Call]) -> bool:
    """The definition itself: some order of some of the unheard and all others."""
    unheard = [call for call in history if math.isinf(call.returned)]
    heard = [call for call in history if not math.isinf(call.returned)]
    for chosen in range(1 << len(unheard)):
        taken = heard + [call for n, call in enumerate(unheard) if chosen >> n & 1]
        if any(_explains(order) for order in permutations(taken)):
            return True
    return False


def _explains(order: tuple[Call, ...]) -> bool:
    value = ""
    for n, call in enumerate(order):
        if any(later.returned < call.called for later in order[n + 1 :]):
            return False
        if not call.writes and call.value != value:
            return False
        value = call.value
    return True


@given(histories())
def test_it_says_what_trying_all_orders_says(history: list[Call]) -> None:
    assert (violation(history, "") is None) == by_trying_all(history)


def test_a_long_history_of_many_clients_is_judged_soon() -> None:
    history = []
    for n in range(300):
        history += [w(str(n), n, n + 2.5), r(str(n), n + 1.5, n + 2.6)]
    assert violation(history, "") is None
    assert violation([*history, r("5", 400, 401)], "")

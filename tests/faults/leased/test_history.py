"""What is a fault of a leased cell, and what is not."""

from __future__ import annotations

from tests.faults.history import Outcome
from tests.faults.leased.history import (
    Event,
    differing,
    failed_and_there,
    lost_local,
    not_linearizable,
)

OK, MAYBE, FAIL = Outcome.OK, Outcome.MAYBE, Outcome.FAIL


def write(value: str, at: float, outcome: Outcome = OK, key: str = "k") -> Event:
    return Event("c", key, True, value, outcome, at, at + 0.5, "a")


def read(value: str, at: float, outcome: Outcome = OK, key: str = "k") -> Event:
    return Event("c", key, False, value, outcome, at, at + 0.5, "a")


def test_keys_are_judged_by_themselves() -> None:
    assert not_linearizable([write("1", 0), write("2", 0, key="l"), read("1", 1)]) == []
    (found,) = not_linearizable([write("1", 0), write("2", 1, key="l"), read("", 2, key="l")])
    assert found.startswith("l: ")


def test_what_was_not_heard_of_may_come_late_and_what_was_refused_may_not_come_at_all() -> None:
    assert not_linearizable([write("1", 0, MAYBE), read("", 2), read("1", 4)]) == []
    late = [write("1", 0, FAIL), read("", 2), read("1", 4)]
    assert not_linearizable(late)
    assert failed_and_there(late) == ["k: 1 was refused by a, and is there"]


def test_a_lost_local_write_needs_a_record() -> None:
    history = [write("1", 0), write("2", 1), write("3", 2, MAYBE), write("4", 3, FAIL)]
    assert lost_local(history, {"k": "2"}, set()) == (0, [])
    assert lost_local(history, {"k": "3"}, set()) == (0, [])
    assert lost_local(history, {"k": "1"}, {"2"}) == (1, [])
    assert lost_local(history, {"k": ""}, {"1"}) == (1, ["k: 2, acknowledged by a, is gone"])


def test_replicas_that_differ_are_named() -> None:
    assert differing({"a": {"k": "1"}, "b": {"k": "1"}}) == []
    assert differing({"a": {"k": "1"}, "b": {}}) == ["k differs: a '1'; b None"]

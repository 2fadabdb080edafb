"""A drill's report: times from the ledger of writes, checks, the change since the last time."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regions.drills.page import render
from regions.drills.report import Ack, Gate, Objectives, Seen, document, judge
from tests.regions.drills.played import (
    CENTRAL,
    DARK,
    EAST,
    MOVED,
    OBJECTIVES,
    STAYED,
    WEST,
    acks,
    planned,
)


def failed(name: str, seen: Seen, objectives: Objectives = OBJECTIVES) -> list[str]:
    checks = judge(planned(name), seen, objectives).checks
    return [check.name for check in checks if not check.passed]


def test_times_count_from_where_acknowledgements_stop() -> None:
    times = judge(planned("kill-region"), MOVED, OBJECTIVES).times
    assert times.detection == pytest.approx(0.5)
    assert times.decision == pytest.approx(3.0)
    assert times.promotion == pytest.approx(3.3)
    assert times.routing == times.rto == pytest.approx(3.6)


@pytest.mark.parametrize(
    ("name", "seen"), [("kill-region", MOVED), ("cut-link", STAYED), ("lose-quorum", DARK)]
)
def test_what_goes_as_it_should_passes(name: str, seen: Seen) -> None:
    assert failed(name, seen) == []


@pytest.mark.parametrize(
    ("name", "seen", "check"),
    [
        ("kill-region", STAYED, "the writer moves"),
        ("kill-region", replace(MOVED, acks=acks(WEST, 9.0, 10.5)), "in time"),
        ("cut-link", MOVED, "the writer stays"),
        ("lose-quorum", STAYED, "nobody writes"),
        ("lose-quorum", replace(DARK, acks=acks(WEST, 9.0, 12.0)), "writes go on once"),
        ("cut-link", replace(STAYED, acks=[Ack(11.0, EAST), *STAYED.acks]), "only lawful"),
        ("kill-region", replace(MOVED, missing_after=1), "nothing is lost"),
        ("kill-region", replace(MOVED, missing_after=None), "nothing is lost"),
        ("kill-region", replace(MOVED, halted="me"), "it ran to its end"),
    ],
)
def test_what_does_not_is_named(name: str, seen: Seen, check: str) -> None:
    assert any(one.startswith(check) for one in failed(name, seen))


def test_a_cell_has_its_time_to_go_dark_from_when_everything_is_broken() -> None:
    """A tool that breaks many links needs a while, and the writer has a majority until the last."""
    cuts = [(10.4, "a link is cut"), (14.0, "the last link is cut"), (20.0, "it is being healed")]
    slow = replace(DARK, done=cuts, acks=[*acks(WEST, 9.0, 17.0), *acks(WEST, 22.0, 29.0)])
    assert failed("lose-quorum", slow) == []
    late = replace(slow, acks=[*acks(WEST, 9.0, 19.6), *acks(WEST, 22.0, 29.0)])
    assert failed("lose-quorum", late) == ["nobody writes"]


def test_a_slower_move_than_the_objective_fails() -> None:
    assert failed("kill-region", MOVED, Objectives(3.0)) == ["in time"]


def test_two_gates_that_are_open_at_one_moment_are_two_writers() -> None:
    early = Gate(12.5, CENTRAL, 5, 15.0)
    both = replace(MOVED, gates=[*MOVED.gates, early])
    (check,) = (
        one for one in judge(planned("kill-region"), both, OBJECTIVES).checks if not one.passed
    )
    assert check.name == "never two writers"
    assert check.found == "eu-central and eu-west at 4.500 s"


def test_a_gate_that_was_closed_before_its_time_is_none() -> None:
    handed = [Gate(12.0, WEST, 4, float("-inf")), Gate(12.1, CENTRAL, 5, 14.0)]
    assert "never two writers" not in failed("kill-region", replace(MOVED, gates=handed))


def test_a_gate_that_was_closed_between_two_looks_is_none_after_the_first() -> None:
    """The watch was busy while a cell was handed over."""
    handed = [
        Gate(12.0, WEST, 4, 15.0),
        Gate(12.4, CENTRAL, 5, 15.4),
        Gate(12.5, WEST, 4, float("-inf")),
    ]
    assert "never two writers" not in failed("kill-region", replace(MOVED, gates=handed))
    still_open = [*handed[:2], Gate(12.5, WEST, 4, 15.0), *handed[2:]]
    assert "never two writers" in failed("kill-region", replace(MOVED, gates=still_open))


moments = st.floats(9.0, 29.0)
regions = st.sampled_from([WEST, CENTRAL])


@given(
    st.lists(st.builds(Ack, moments, regions), max_size=30),
    st.lists(moments, max_size=10),
    st.sampled_from(["kill-region", "cut-link", "lose-quorum"]),
)
def test_whatever_was_seen_has_a_report_whose_times_are_not_negative(
    seen_acks: list[Ack], refusals: list[float], name: str
) -> None:
    seen = replace(MOVED, acks=sorted(seen_acks, key=lambda ack: ack.at), refusals=sorted(refusals))
    report = document("x", planned(name), seen, OBJECTIVES)
    assert all(value is None or value >= 0 for value in report["times"].values())
    assert report["passed"] == all(check["passed"] for check in report["checks"])
    seconds = [one["seconds"] for one in report["timeline"]]
    assert seconds == sorted(seconds)
    render(report)


def test_the_next_run_is_compared_with_the_last() -> None:
    first = document("one", planned("kill-region"), MOVED, OBJECTIVES)
    slower = replace(MOVED, acks=[*acks(WEST, 9.0, 10.5), *acks(CENTRAL, 14.5, 29.0)])
    second = document("two", planned("kill-region"), slower, OBJECTIVES, first)
    assert first["compared"] is None
    assert second["compared"]["with"] == "one"
    assert second["compared"]["rto_seconds"] == pytest.approx(0.5)
    assert second["compared"]["errors"] == 0


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.opened.append(tag)


def test_the_page_shows_everything_and_runs_nothing() -> None:
    report = document("one", planned("kill-region"), MOVED, OBJECTIVES)
    report["timeline"].append({"seconds": 1, "what": "<script>alert(1)</script>"})
    html = render(report)
    tags = Tags()
    tags.feed(html)
    assert "script" not in tags.opened
    for text in ("3.600 s", "never two writers", "eu-central: acquire: Nobody holds eu.", "acme"):
        assert text in html

"""Who tries for a lease, when, and the sentence that says why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from regions.failover.decide import (
    ASIDE_SECONDS,
    PREFERENCE_SECONDS,
    Action,
    Sight,
    decide,
    rest,
    unsettled,
)
from regions.failover.lease import standing_aside
from regions.timetable import Turn
from regions.topology import CellSpec, TenancyMode, WritePolicy

EU = CellSpec("eu", TenancyMode.SHARED, WritePolicy.ACTIVE_PASSIVE, ("eu-west", "eu-central"))
IDLE = Sight(cell=EU, region="eu-west", writable=True)


def test_a_region_without_a_replica_never_acquires() -> None:
    decision = decide(replace(IDLE, region="us-east", open_for=60, asked_to_take=True))
    assert decision.action is Action.WAIT
    assert decision.reason == "Cell eu has no replica in us-east."


def test_an_active_active_cell_has_no_lease() -> None:
    cell = replace(EU, policy=WritePolicy.ACTIVE_ACTIVE)
    assert decide(replace(IDLE, cell=cell, open_for=60)).action is Action.WAIT


def test_the_preferred_region_takes_an_open_lease_at_once() -> None:
    assert decide(replace(IDLE, open_for=0.0)).action is Action.ACQUIRE


def test_the_next_region_gives_the_preferred_one_the_first_try() -> None:
    second = replace(IDLE, region="eu-central")
    assert decide(replace(second, open_for=0.0)).action is Action.WAIT
    assert decide(replace(second, open_for=PREFERENCE_SECONDS)).action is Action.ACQUIRE


def test_over_slow_links_it_has_the_time_that_a_try_takes() -> None:
    second = replace(IDLE, region="eu-central", trip=0.5)
    assert decide(replace(second, open_for=1.4)).action is Action.WAIT
    assert decide(replace(second, open_for=1.5)).action is Action.ACQUIRE


def test_who_has_tried_in_vain_lets_others_try() -> None:
    tried = replace(IDLE, open_for=60.0)
    assert decide(replace(tried, resting=0.1)).action is Action.WAIT
    assert decide(replace(tried, resting=-0.1)).action is Action.ACQUIRE


@given(st.integers(1, 1000), st.floats(0, 5), st.floats(0, 1))
def test_a_rest_is_a_few_tries_long_at_most(tries: int, took: float, chance: float) -> None:
    assert 0 <= rest(tries, took, chance) <= 8 * max(took, 0.1)


def test_a_holder_that_cannot_write_steps_down() -> None:
    decision = decide(replace(IDLE, held=True, writable=False))
    assert decision.action is Action.STEP_DOWN


def test_a_holder_hands_over_only_to_a_replica() -> None:
    held = replace(IDLE, held=True)
    assert decide(replace(held, hand_over_to="eu-central")).action is Action.HAND_OVER
    assert decide(replace(held, hand_over_to="us-east")).action is Action.HOLD


def test_a_reserved_lease_is_left_to_its_successor() -> None:
    reserved = replace(IDLE, open_for=60.0, successor="eu-central")
    assert decide(reserved).action is Action.WAIT
    assert decide(replace(reserved, region="eu-central")).action is Action.ACQUIRE


sights = st.builds(
    Sight,
    cell=st.just(EU),
    region=st.sampled_from(["eu-west", "eu-central", "us-east"]),
    writable=st.booleans(),
    held=st.booleans(),
    holder=st.none() | st.sampled_from(EU.regions),
    open_for=st.none() | st.floats(0, 10),
    trip=st.floats(0, 2),
    resting=st.floats(-1, 1),
    quorum=st.booleans(),
    successor=st.none() | st.sampled_from(EU.regions),
    hand_over_to=st.none() | st.sampled_from(["eu-west", "eu-central", "us-east"]),
    asked_to_take=st.booleans(),
)


@given(sights)
def test_nobody_acquires_without_quorum_a_replica_an_open_lease_and_a_writable_database(
    sight: Sight,
) -> None:
    if decide(sight).action is Action.ACQUIRE:
        assert sight.quorum
        assert sight.region in sight.cell.regions
        assert sight.open_for is not None
        assert sight.writable


@given(sights)
def test_every_decision_has_a_reason_that_is_a_sentence(sight: Sight) -> None:
    reason = decide(sight).reason
    assert reason[0].isupper()
    assert reason.endswith(".")


NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
SUN = replace(EU, policy=WritePolicy.FOLLOW_THE_SUN)
TURN = Turn("eu-central", NINE, NINE + timedelta(hours=8), "eu-west")
EARLIER, LATER = NINE - timedelta(hours=1), NINE + timedelta(hours=1)
OVER = replace(IDLE, cell=SUN, held=True, turn=TURN, gained=EARLIER)


def test_the_writer_hands_over_to_the_region_whose_turn_it_is_and_says_which_turn() -> None:
    decision = decide(OVER)
    assert (decision.action, decision.target) == (Action.HAND_OVER, "eu-central")
    assert decision.reason == TURN.reason


def test_a_hand_over_that_was_missed_is_caught_up_also_by_who_does_not_know_since_when() -> None:
    assert decide(replace(OVER, gained=None)).action is Action.HAND_OVER


def test_who_was_given_the_lease_in_anothers_turn_keeps_it_until_the_next() -> None:
    assert decide(replace(OVER, gained=LATER)).action is Action.HOLD


def test_a_hand_over_that_failed_is_not_tried_at_once_but_an_operators_wish_is() -> None:
    failed = replace(OVER, patient=True)
    assert decide(failed).action is Action.HOLD
    assert decide(replace(failed, hand_over_to="eu-central")).action is Action.HAND_OVER


def test_a_turn_of_a_region_without_a_replica_changes_nothing() -> None:
    nowhere = replace(OVER, turn=replace(TURN, region="us-east"))
    assert decide(nowhere).action is Action.HOLD


def test_the_region_whose_turn_it_is_has_the_first_try_for_an_open_lease() -> None:
    open_now = replace(IDLE, cell=SUN, turn=TURN, open_for=0.0)
    assert decide(open_now).action is Action.WAIT
    assert decide(replace(open_now, region="eu-central")).action is Action.ACQUIRE


def test_a_region_that_is_worked_on_leaves_leases_to_others_as_long_as_there_are_any() -> None:
    aside = replace(IDLE, aside=frozenset({"eu-west"}), open_for=1.0)
    assert decide(aside).action is Action.WAIT
    assert decide(replace(aside, open_for=ASIDE_SECONDS)).action is Action.ACQUIRE
    assert decide(replace(aside, region="eu-central")).action is Action.ACQUIRE


def test_nobody_hands_over_to_a_region_that_is_worked_on_because_it_is_its_turn() -> None:
    assert decide(replace(OVER, aside=frozenset({"eu-central"}))).action is Action.HOLD


@given(
    sight=st.builds(
        Sight,
        cell=st.sampled_from([EU, SUN, replace(EU, policy=WritePolicy.ACTIVE_ACTIVE)]),
        region=st.sampled_from(["eu-west", "eu-central", "us-east"]),
        writable=st.booleans(),
        held=st.booleans(),
        holder=st.sampled_from([None, "eu-west", "eu-central"]),
        open_for=st.sampled_from([None, 0.0, 60.0]),
        resting=st.sampled_from([0.0, 1.0]),
        quorum=st.booleans(),
        successor=st.sampled_from([None, "eu-west", "eu-central"]),
        turn=st.sampled_from([None, TURN]),
        patient=st.booleans(),
        aside=st.sampled_from([frozenset(), frozenset({"eu-west"})]),
        reached=st.sampled_from([frozenset(), frozenset({"eu-west"}), frozenset({"eu-central"})]),
        shaky=st.booleans(),
        hand_over_to=st.sampled_from([None, "eu-central"]),
        asked_to_take=st.booleans(),
    )
)
def test_of_a_cell_that_is_passed_over_nothing_would_have_been_decided(sight: Sight) -> None:
    follows = sight.cell.policy is WritePolicy.FOLLOW_THE_SUN
    sight = sight if follows else replace(sight, turn=None)
    wished = sight.hand_over_to is not None or sight.asked_to_take
    if not unsettled(
        [sight.cell],
        held={sight.cell.name} if sight.held else set(),
        writable=lambda _: sight.writable,
        vacant=lambda _: sight.open_for is not None,
        asked={sight.cell.name} if wished else set(),
        cut_off=sight.region not in sight.reached,
    ):
        assert decide(sight).action in (Action.WAIT, Action.HOLD)


@given(st.permutations([("a", 1.0, True), ("a", 2.0, False), ("b", 5.0, True), ("b", 3.0, False)]))
def test_the_newest_word_about_a_region_counts_whoever_missed_it(
    words: list[tuple[str, float, bool]],
) -> None:
    assert standing_aside(words) == {"b"}


def test_a_writer_that_clients_do_not_reach_hands_over_to_one_that_they_do() -> None:
    unseen = replace(IDLE, held=True, reached=frozenset({"eu-central"}))
    decision = decide(unseen)
    assert (decision.action, decision.target) == (Action.HAND_OVER, "eu-central")
    assert decision.reason == "Clients get no answer in eu-west, and get one in eu-central."
    assert decide(replace(unseen, patient=True)).action is Action.HOLD
    assert decide(replace(unseen, aside=frozenset({"eu-central"}))).action is Action.HOLD
    assert decide(replace(unseen, reached=frozenset())).action is Action.HOLD
    assert decide(replace(unseen, reached=frozenset({"us-east"}))).action is Action.HOLD


@given(
    st.frozensets(st.sampled_from(["eu-west", "eu-central", "us-east"])),
    st.sampled_from(EU.regions),
    st.booleans(),
)
def test_no_two_regions_send_a_cell_to_each_other(
    reached: frozenset[str], region: str, turn: bool
) -> None:
    """Whatever the timetable says, as long as both see the same."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    due = Turn(region, now, now + timedelta(hours=8), region) if turn else None
    sight = replace(IDLE, held=True, reached=reached, turn=due)
    moves = {
        one: decide(replace(sight, region=one)).target
        for one in EU.regions
        if decide(replace(sight, region=one)).action is Action.HAND_OVER
    }
    assert len(moves) < 2


def test_who_is_shaky_or_unseen_lets_all_others_try_first() -> None:
    last = len(EU.regions) * PREFERENCE_SECONDS
    for sight in (
        replace(IDLE, shaky=True),
        replace(IDLE, reached=frozenset({"eu-central"})),
    ):
        assert decide(replace(sight, open_for=last - 0.1)).action is Action.WAIT
        assert decide(replace(sight, open_for=last)).action is Action.ACQUIRE
    alone = replace(EU, regions=("eu-west",))
    assert decide(replace(IDLE, cell=alone, shaky=True, open_for=0.0)).action is Action.ACQUIRE

"""Who may begin a task: decided from its row alone, whatever brokers, workers and regions do."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tenants.celery.claims import MOST_LOST, Action, Seen, decide

PATIENCE = 600.0
HERE, THERE = "eu-west", "eu-central"
regions = st.sampled_from([HERE, THERE])
letters = st.none() | st.sampled_from(["first", "second"])
rows = st.builds(
    Seen,
    claims=st.integers(0, 9),
    lost=st.integers(0, MOST_LOST + 1),
    claimed_for=st.none() | st.floats(0, 2 * PATIENCE),
    letter=letters,
    region=regions,
    epoch=st.integers(0, 5),
    here=st.just(HERE),
    here_epoch=st.integers(0, 5),
    leased=st.booleans(),
)
NEW = Seen(0, 0, None, None, HERE, 3, HERE, 3, True)
RUNNING = replace(NEW, claims=1, claimed_for=5.0, letter="first")


def act(row: Seen | None, back: str | None = None) -> Action:
    return decide(row, back=back, patience=PATIENCE).action


@given(letters)
def test_without_a_row_nothing_is_begun(back: str | None):
    assert act(None, back) is Action.DROP


@given(rows, letters)
def test_who_has_it_under_the_lease_of_now_is_disturbed_by_his_own_message_or_the_clock(
    row: Seen, back: str | None
):
    held = row.claimed_for is not None and row.claimed_for <= PATIENCE
    if held and (row.epoch == row.here_epoch or not row.leased):
        assert (act(row, back) is not Action.DROP) <= (back is not None and back == row.letter)


@given(rows, letters)
def test_nothing_is_begun_that_another_region_has(row: Seen, back: str | None):
    theirs = row.epoch > row.here_epoch if row.leased else row.region != row.here
    if theirs:
        assert act(row, back) is Action.DROP


@given(rows, letters)
def test_what_is_left_by_an_earlier_lease_is_begun_or_parked(row: Seen, back: str | None):
    if row.leased and row.epoch < row.here_epoch:
        assert act(row, back) in (Action.BEGIN, Action.PARK)


@given(rows, letters)
def test_one_that_no_worker_has_come_back_from_is_parked_in_the_end(row: Seen, back: str | None):
    lost = row.lost + (row.claimed_for is not None)
    action = act(row, back)
    assert (action is Action.PARK) <= (lost >= MOST_LOST)
    assert (action is Action.BEGIN) <= (lost < MOST_LOST)


@given(st.lists(st.sampled_from(["told", "told again", "lease", "worker lost", "ended"])))
def test_at_any_time_one_worker_at_most_has_the_newest_claim(events: list[str]):
    """A worker whose claim is not the newest can't commit: so that is the one that runs."""
    row: Seen | None = NEW
    newest: tuple[int, int] | None = None
    for event in events:
        if event == "lease" and row is not None:
            row = replace(row, here_epoch=row.here_epoch + 1)
        elif event == "ended" and row is not None and newest == (row.claims, row.here_epoch):
            row = newest = None
        elif act(row, "it" if event == "worker lost" else None) is Action.BEGIN and row is not None:
            lost = row.lost + (row.claimed_for is not None)
            row = replace(row, claims=row.claims + 1, lost=lost, claimed_for=0.0, letter="it")
            row = replace(row, epoch=row.here_epoch)
            assert newest is None or newest < (row.claims, row.epoch), "a token is used twice"
            assert event == "worker lost" or newest is None or newest[1] < row.epoch
            newest = (row.claims, row.epoch)


def test_the_reason_is_a_sentence_for_the_log():
    assert decide(NEW, back=None, patience=PATIENCE).reason == "nobody has begun it"
    assert decide(RUNNING, back=None, patience=PATIENCE).reason == "a worker does it"
    lost = replace(RUNNING, region=THERE, epoch=2)
    reason = "it was begun in eu-central, under a lease that has ended"
    assert decide(lost, back=None, patience=PATIENCE).reason == reason

"""What becomes of spares: pure, so it is tried with whatever may be true of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regions.topology import TenancyMode, WritePolicy
from tenants.pools import SKEW, Action, Now, Pool, SpareFacts, Verdict, judge, lacking

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
TIMES = st.datetimes(
    min_value=datetime(2026, 11, 25), max_value=datetime(2026, 11, 26), timezones=st.just(UTC)
)
FINGERPRINTS = st.sampled_from(["old", "new"])
SPARES = st.builds(
    SpareFacts,
    id=st.just(uuid4()),
    state=st.sampled_from(["making", "ready", "broken"]),
    error=st.just("no room"),
    fingerprint=FINGERPRINTS,
    epoch=st.integers(1, 3),
    doubted_at=st.none() | TIMES,
)
NOWS = st.builds(Now, FINGERPRINTS, st.integers(1, 3), st.none() | TIMES)


def spare(**changes: object) -> SpareFacts:
    facts = {
        "id": uuid4(),
        "state": "ready",
        "error": "",
        "fingerprint": "new",
        "epoch": 2,
        "doubted_at": None,
    }
    return SpareFacts(**{**facts, **changes})  # type: ignore[arg-type]


@given(SPARES, NOWS, st.booleans())
def test_what_an_earlier_writer_may_have_given_away_is_neither_kept_nor_removed(
    facts: SpareFacts, now: Now, kept: bool
):
    verdict = judge(facts, now, kept=kept)
    assert verdict.reason
    if facts.epoch != now.epoch:
        assert verdict.action not in (Action.KEEP, Action.DISCARD)
        heard = now.heard is not None and facts.doubted_at is not None
        assert (verdict.action is Action.TRUST) == (
            heard and now.heard >= facts.doubted_at + SKEW  # type: ignore[operator]
        )


@given(SPARES, NOWS)
def test_only_what_is_ready_and_made_in_todays_way_is_kept(facts: SpareFacts, now: Now):
    if judge(facts, now, kept=True).action is Action.KEEP:
        assert (facts.state, facts.fingerprint, facts.epoch) == (
            "ready",
            now.fingerprint,
            now.epoch,
        )


@pytest.mark.parametrize(
    ("facts", "kept", "action", "word"),
    [
        (spare(), True, Action.KEEP, "ready"),
        (spare(), False, Action.DISCARD, "No pool"),
        (spare(state="making"), True, Action.DISCARD, "stopped"),
        (spare(state="broken", error="no room"), True, Action.DISCARD, "no room"),
        (spare(fingerprint="old"), True, Action.DISCARD, "another way"),
        (spare(epoch=1), True, Action.DOUBT, "writer has changed"),
        (spare(epoch=1, doubted_at=NOON), True, Action.WAIT, "not heard"),
        (spare(epoch=1, doubted_at=NOON - timedelta(minutes=1)), True, Action.TRUST, "heard"),
    ],
)
def test_each_verdict_says_why(facts: SpareFacts, kept: bool, action: Action, word: str):
    verdict = judge(facts, Now("new", 2, NOON), kept=kept)
    assert verdict.action is action
    assert word in verdict.reason


@given(st.integers(0, 5), st.lists(st.sampled_from(Action)))
def test_a_pool_lacks_what_it_has_not_ready(wanted: int, actions: list[Action]):
    pool = Pool(TenancyMode.SCHEMA, "eu-schema", ("a",), WritePolicy.ACTIVE_ACTIVE, wanted)
    missing = lacking(pool, [Verdict(action, "so") for action in actions])
    assert missing == max(0, wanted - actions.count(Action.KEEP) - actions.count(Action.TRUST))


def test_a_pools_key_says_where_it_is():
    policy = WritePolicy.ACTIVE_PASSIVE
    assert Pool(TenancyMode.SCHEMA, "eu-schema", ("a",), policy, 1).key == "schema:eu-schema"
    assert (
        Pool(TenancyMode.DEDICATED, None, ("a", "b"), policy, 1).key
        == "dedicated:a,b:active_passive"
    )

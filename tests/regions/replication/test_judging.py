"""Which version of a row is the right one: the same whoever asks, in whichever order."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regions.replication.verification.judging import (
    DELETED,
    MOST,
    NEWEST,
    WRITER,
    Version,
    as_buried,
    judge,
    possible,
)
from regions.replication.verification.schedule import due

NODES = {"eu-west": 1, "eu-central": 2, "us-east": 3}
REGIONS = tuple(NODES)


def row(title: str, at: int | None = None) -> dict[str, str | None]:
    """A version with one field, written `at` that stamp; None: when the row was made."""
    return {
        "id": "5",
        "title": title,
        "_born": "257",
        "_stamp": str(at or 257),
        "_fields": json.dumps({"title": at}) if at else None,
        "_base": None,
    }


def judged(*rows: dict[str, str | None] | None, dead: int | None = None, joined: int = 0):
    versions = dict(zip(REGIONS, (Version(each, dead) for each in rows), strict=False))
    living = [each for each in rows if each]
    return judge(versions, living[joined], key=("id",), rules={}, nodes=NODES)


def test_of_equal_stamps_the_majority_is_believed() -> None:
    found = judged(row("x"), row("y"), row("y"))
    assert found.state is not None
    assert (found.state["title"], found.reason) == ("y", MOST)


@pytest.mark.parametrize("writer", [1, 2])
def test_of_two_the_writers_region_is_believed(writer: int) -> None:
    found = judged(row("a", at=512 + writer), row("b", at=512 + writer))
    assert found.state is not None
    assert (found.state["title"], found.reason) == ("ab"[writer - 1], WRITER)


def test_where_the_writer_has_no_say_nothing_is_decided() -> None:
    found = judged(row("a", at=515), row("b", at=515), None)
    assert (found.undecided, found.reason) == (
        ("title",), "no replica is better than another about title",
    )  # fmt: skip


def test_a_stale_version_has_no_vote() -> None:
    """Two that missed the write are no majority against the two that have it."""
    found = judged(row("old"), row("new", at=514), row("forged", at=514), joined=1)
    assert found.state is not None
    assert (found.state["title"], found.reason) == ("new", WRITER)


def test_a_deletion_counts_from_its_stamp_on() -> None:
    assert judged(row("a"), dead=257).reason == DELETED
    alive = judged(row("a", at=514), dead=513)
    assert (alive.reason, alive.dead) == (NEWEST, None)


def test_a_stamp_that_no_clock_gave_is_not_listened_to_unless_there_is_nothing_else() -> None:
    forged, honest = Version(row("x", at=1 << 50)), Version(row("y"))
    versions = {"eu-west": forged, "eu-central": honest}
    assert possible(versions, 1 << 40) == {"eu-central": honest}
    assert possible({"eu-west": forged}, 1 << 40) == {"eu-west": forged}


@given(
    st.lists(
        st.none() | st.tuples(st.sampled_from("abc"), st.sampled_from([257, 513, 514, 515])),
        min_size=3,
        max_size=3,
    ).filter(any),
    st.none() | st.sampled_from([256, 513, 600]),
)
def test_the_judgement_is_the_same_in_whichever_order_regions_are_asked(
    seen: list[tuple[str, int] | None], dead: int | None
) -> None:
    versions = {
        region: Version(row(each[0], at=each[1]) if each else None, dead)
        for region, each in zip(REGIONS, seen, strict=True)
    }
    newest = max(v.state["_stamp"] or "" for v in versions.values() if v.state)
    # Of those that carry the newest stamp the merge keeps whichever came first.
    ways = {
        json.dumps([found.state if not found.undecided else None, found.reason, found.dead])
        for order in permutations(REGIONS)
        for first in (r for r in order if (versions[r].state or {}).get("_stamp") == newest)
        for found in [
            judge(
                {region: versions[region] for region in order},
                versions[first].state or {},
                key=("id",), rules={}, nodes=NODES,
            )
        ]
        if found.dead is None
    }  # fmt: skip
    assert len(ways) <= 1


@pytest.mark.parametrize(
    ("hours_ago", "turn", "expected"),
    [(23, 0, False), (24, 0, True), (24, 1, False), (24.2, 1, True), (None, 0, False)],
)
def test_the_home_compares_when_it_is_time_and_others_when_nobody_has(
    hours_ago: float | None, turn: int, expected: bool
) -> None:
    now = datetime(2026, 11, 30)
    last = None if hours_ago is None else now - timedelta(hours=hours_ago)
    since = now - timedelta(hours=1)
    assert due(timedelta(days=1), last, now, since=since, turn=turn) is expected
    assert not due(None, last, now, since=since, turn=turn)


def test_a_row_that_only_an_old_backup_has_was_deleted_if_the_others_collected_later() -> None:
    old = row("x", 1000)
    alone = {"eu-west": Version(None), "eu-central": Version(old), "us-east": Version(None)}
    buried = as_buried(alone, "eu-central", 1000)
    assert {region: v.dead for region, v in buried.items()} == {
        "eu-west": 1000, "eu-central": None, "us-east": 1000
    }  # fmt: skip
    found = judge(buried, old, key=("id",), rules={}, nodes=NODES)
    assert (found.reason, found.dead) == (DELETED, 1000)


def test_a_newer_row_or_one_that_somebody_else_has_is_there() -> None:
    old = row("x", 1000)
    alone = {"eu-west": Version(None), "eu-central": Version(old), "us-east": Version(None)}
    assert as_buried(alone, "eu-central", 999) == alone
    assert as_buried(alone, "us-east", 1000) == alone
    shared = {**alone, "us-east": Version(old)}
    assert as_buried(shared, "eu-central", 1000) == shared

"""A region stands aside, or not any more, as it was said last."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from regions.deployment import AGENT_ROLE, CONTROL_DATABASE, Deployment
from regions.failover import aside
from regions.failover.aside import aside_now, stand_aside
from testkit.control import prepare_control

REGION = "us-east"


@pytest.fixture
def control(deployment: Deployment) -> Iterator[Deployment]:
    """Nobody has ever said anything about the region."""
    prepare_control(deployment)
    forget(deployment)
    yield deployment
    forget(deployment)


def forget(deployment: Deployment) -> None:
    for region in deployment.regions:
        dsn = deployment.dsn(region, CONTROL_DATABASE, AGENT_ROLE)
        with psycopg.connect(dsn, autocommit=True) as session:
            session.execute("DELETE FROM lease.aside WHERE region = %s", (REGION,))


def test_it_ends_from_a_machine_whose_clock_is_behind_that_of_the_one_that_died(
    control: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = time.time() + 3600
    monkeypatch.setattr(aside.time, "time", lambda: ahead)
    stand_aside(control, REGION, True, by="ann")
    monkeypatch.undo()
    assert REGION in aside_now(control)
    stand_aside(control, REGION, False, by="bob")
    assert REGION not in aside_now(control)


def test_what_only_one_region_had_heard_when_its_operator_was_killed_is_ended_or_done_whole(
    control: Deployment,
) -> None:
    for then in (False, True):
        dsn = control.dsn("eu-west", CONTROL_DATABASE, AGENT_ROLE)
        with psycopg.connect(dsn, autocommit=True) as session:
            session.execute(aside._SAY, (REGION, True, time.time(), "killed"))
        assert REGION in aside_now(control), "it is said, so that somebody can go on"
        stand_aside(control, REGION, then, by="bob")
        assert (REGION in aside_now(control)) is then

"""How old an answer is at most is in every answer that is not the writer's."""

from __future__ import annotations

import time

import psycopg
import pytest

from gateway import consistency
from regions.deployment import OWNER_ROLE, Deployment
from regions.mapfile import publish_document
from tests.gateway import live
from tests.gateway.test_transactions import CUSTOMERS, client_of

pytestmark = pytest.mark.postgres
STALENESS = "X-Staleness"
APPLIED = (
    "INSERT INTO fabric.watermark (origin, region, stamp, at)"
    " VALUES (%(node)s, %(region)s, %(stamp)s, clock_timestamp())"
    " ON CONFLICT (origin) DO UPDATE SET stamp = %(stamp)s, at = clock_timestamp()"
)


@pytest.fixture
def heard(served: None, deployment: Deployment) -> None:
    until = {live.LAB.name: time.time() - 60, live.FENCED.name: time.time() - 60}
    folder = deployment.region(live.HERE).map_dir
    publish_document(folder / "heard.json", {"cells": until})


def test_it_is_there_without_being_asked_for_and_grows(heard: None) -> None:
    first, second = (float(client_of("acme").get(CUSTOMERS)[STALENESS]) for _ in range(2))
    assert 60 <= first <= second < 3600


def test_a_leased_cells_writer_does_not_say_it(heard: None) -> None:
    answer = client_of("beta").get(CUSTOMERS)
    assert answer.status_code == 200
    assert STALENESS not in answer


def test_no_database_is_asked(heard: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consistency, "position", pytest.fail)
    assert STALENESS in client_of("acme").get(CUSTOMERS)


def test_as_long_as_nothing_was_heard_nothing_is_said(heard: None, deployment: Deployment) -> None:
    publish_document(deployment.region(live.HERE).map_dir / "heard.json", {"cells": {}})
    assert STALENESS not in client_of("acme").get(CUSTOMERS)


def test_a_region_that_is_catching_up_does_not_say_that_it_is_fresh(
    heard: None, deployment: Deployment
) -> None:
    """It has applied something just now, that was written an hour ago."""
    stamp = int((time.time() - 3600 - 1577836800) * 1_000_000) << 8
    node = deployment.region(live.PEER).node
    with psycopg.connect(deployment.dsn(live.HERE, live.LAB.database, OWNER_ROLE)) as owner:
        owner.execute(APPLIED, {"node": node, "region": live.PEER, "stamp": stamp})
    answer = client_of("acme").get(CUSTOMERS, headers={"X-Consistency": "session"})
    assert float(answer[STALENESS]) >= 3600

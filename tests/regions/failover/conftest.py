"""The control database of one region, and an etcd cluster of three members."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from regions.deployment import AGENT_ROLE, CONTROL_DATABASE, Deployment
from testkit.control import prepare_control
from testkit.debian import NotToBeHad
from tests.etcd import Cluster, programs, running
from tests.settings import TEST_GUARD


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        programs()
    except NotToBeHad as reason:
        pytest.skip(f"NO LEASE IN ETCD IS TESTED ON THIS MACHINE: {reason}")
    with running(tmp_path_factory.mktemp("etcd"), TEST_GUARD) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def dsn(deployment: Deployment) -> str:
    """The control database in eu-west, as its agent sees it."""
    prepare_control(deployment)
    return deployment.dsn("eu-west", CONTROL_DATABASE, AGENT_ROLE)


@pytest.fixture
def session(request: pytest.FixtureRequest, dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """There; of the module's `CELLS` nothing is left in its journal."""
    with psycopg.connect(dsn, autocommit=True) as session:
        yield session
        cells = [list(request.module.CELLS)]
        session.execute("DELETE FROM lease.event WHERE cell = ANY (%s)", cells)
        session.execute("DELETE FROM lease.request WHERE cell = ANY (%s)", cells)

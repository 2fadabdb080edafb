"""An etcd cluster of three members, for the tests of leases that are kept in one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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

"""Runs that start at the same time."""

from __future__ import annotations

from infra.fleet.ports import is_free
from testkit.grounds import Grounds
from testkit.ports import reserve


def test_ports_are_a_runs_own_before_anything_listens_there():
    grounds = Grounds(regions=1)
    try:
        port = grounds.plan.edge_admin_port
        assert not is_free(port)
        assert reserve(port) is None
    finally:
        grounds.end()

"""Runs that start at the same time."""

from __future__ import annotations

from infra.fleet.plan import PORT_SPAN
from infra.fleet.ports import is_free
from testkit.grounds import Grounds
from testkit.ports import BASES, FLEETS, SINGLE, free_ports, reserve


def test_ports_are_a_runs_own_before_anything_listens_there():
    grounds = Grounds(regions=1)
    try:
        port = grounds.plan.edge_admin_port
        assert not is_free(port)
        assert reserve(port) is None
    finally:
        grounds.end()


def test_a_single_port_is_none_of_those_on_which_a_run_will_start_its_servers():
    bases = [*BASES, *FLEETS]
    fleets = {port for base in bases for port in range(base, base + PORT_SPAN)}
    assert len(fleets) == len(bases) * PORT_SPAN
    assert not fleets & {next(free_ports()) for _ in range(100)}
    assert not fleets & set(SINGLE)

"""Port bases that are free now, so that test runs and a running fleet don't meet."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import SystemRandom

from infra.fleet.plan import HOST, PORT_SPAN, make_plan
from infra.fleet.ports import is_free

# A run has chosen its base long before its servers listen there: what takes single ports looks for
# them above (etcd, PgBouncer), and the system gives connections those above these.
# Fleets, whose servers listen later still, have bases of their own.
FLEETS = range(10_000, 20_000, PORT_SPAN)
BASES = range(20_000, 31_000, PORT_SPAN)
SINGLE = range(31_000, 32_000)


def free_port_base(regions: int = 3, *, among: Sequence[int] = BASES) -> int:
    """A base from which every port of a fleet of so many regions can be bound."""
    for base in SystemRandom().sample(among, len(among)):
        plan = make_plan(Path("/"), regions=regions, port_base=base)
        if all(is_free(port) for port, _ in plan.ports()):
            return base
    raise RuntimeError("No range of free ports is left.")


def free_ports() -> Iterator[int]:
    """Single ones that are free now; runs at the same time do not look at the same ones first."""
    return filter(is_free, SystemRandom().sample(SINGLE, len(SINGLE)))


def reserve(port: int) -> socket.socket | None:
    """Nobody else finds the port free while this process lives, and nobody is answered there; None
    if it is taken."""
    kept = socket.socket()
    try:
        kept.bind((HOST, port))
    except OSError:
        kept.close()
        return None
    return kept

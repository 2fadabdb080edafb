"""Port bases that are free now, so that test runs and a running fleet don't meet."""

from __future__ import annotations

import random
import socket
from pathlib import Path

from infra.fleet.plan import HOST, PORT_SPAN, make_plan
from infra.fleet.ports import is_free


def free_port_base(regions: int = 3) -> int:
    """A base from which every port of a fleet of so many regions can be bound."""
    bases = list(range(20_000, 32_000, PORT_SPAN))
    random.shuffle(bases)
    for base in bases:
        plan = make_plan(Path("/"), regions=regions, port_base=base)
        if all(is_free(port) for port, _ in plan.ports()):
            return base
    raise RuntimeError("No range of free ports is left.")


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

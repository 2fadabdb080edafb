"""`python -m bench.fabric.applier DOCUMENT REGION REGIONS…`: what the region's agent does for the
cell `bench`, in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from regions.deployment import load
from regions.failover.replica import ReplicaWorker
from regions.topology import CellSpec, TenancyMode, WritePolicy

if __name__ == "__main__":
    document, here, *every = sys.argv[1:]
    spec = CellSpec("bench", TenancyMode.DEDICATED, WritePolicy.ACTIVE_ACTIVE, tuple(every))
    asyncio.run(ReplicaWorker(load(Path(document)), here, spec).run())

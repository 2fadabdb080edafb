"""Looks at the gates of cells while a drill runs, from outside, without ever waiting for a server
that does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType

import psycopg

from regions.deployment import AGENT_ROLE, Deployment
from regions.drills.report import Gate
from regions.failover.link import Link, Unreachable
from regions.topology import CellSpec

LOOK_SECONDS = 0.1
ANSWER_SECONDS = 1.0
_GATE = """
SELECT extract(epoch FROM clock_timestamp())::float8, epoch,
       extract(epoch FROM valid_until)::float8 FROM fabric.gate
"""


class Watch:
    """Within the block: `gates` of each cell as they were seen, by the servers' own clocks."""

    def __init__(
        self, deployment: Deployment, cells: Iterable[CellSpec], tell: Callable[[str], None]
    ) -> None:
        self.gates: dict[str, list[Gate]] = {spec.name: [] for spec in cells}
        self._specs = tuple(cells)
        self._deployment = deployment
        self._tell = tell
        self._writers: dict[str, str | None] = {}
        self._written_at = dict.fromkeys(self.gates, time.time())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._look()), daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def silent_for(self, cell: str) -> float:
        """Since when no region's gate of the cell has been seen open, in seconds."""
        return time.time() - self._written_at[cell]

    async def _look(self) -> None:
        looks = [
            asyncio.create_task(self._look_at(spec, region))
            for spec in self._specs
            for region in spec.regions
        ]
        while not self._stop.is_set():
            await asyncio.sleep(LOOK_SECONDS)
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    async def _look_at(self, spec: CellSpec, region: str) -> None:
        dsn = self._deployment.dsn(region, spec.database, AGENT_ROLE)
        link = Link(f"{spec.name} in {region}", dsn, timeout=ANSWER_SECONDS)
        try:
            while True:
                with contextlib.suppress(Unreachable, psycopg.Error):
                    ((at, epoch, until),) = await link.fetch(_GATE)
                    self._saw(spec.name, Gate(at, region, epoch, until))
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await link.close()

    def _saw(self, cell: str, gate: Gate) -> None:
        self.gates[cell].append(gate)
        if gate.until > gate.at:
            self._written_at[cell] = time.time()
            if self._writers.get(cell) != gate.region:
                self._tell(f"{cell}: {gate.region} may write, epoch {gate.epoch}")
            self._writers[cell] = gate.region
        elif self._writers.get(cell) == gate.region:
            self._writers[cell] = None
            self._tell(f"{cell}: {gate.region} may not write any more")

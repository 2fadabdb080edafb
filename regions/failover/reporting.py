"""Writes how this region's replicas are into its map folder, where metrics are read from.

`fabric.json`: {"region", "at" (seconds since 1970), "cells": {name: the document of `health`}}. A
replica that does not answer is left out. Whoever reads it adds its age.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import psycopg

from regions.failover.link import Unreachable
from regions.mapfile import replace
from regions.topology import CellSpec

log = logging.getLogger("meridian.agent")

REPORT_SECONDS = 5.0
FILE = "fabric.json"


class Reporting(Protocol):
    @property
    def spec(self) -> CellSpec: ...
    async def health(self) -> Mapping[str, Any]: ...


async def report_forever(
    folder: Path, region: str, workers: Callable[[], Iterable[Reporting]]
) -> None:
    """Until cancelled."""
    while True:
        try:
            await asyncio.to_thread(replace, folder / FILE, await report(region, workers()))
        except OSError as error:
            log.warning("The state of the fabric is not published: %s", error)
        await asyncio.sleep(REPORT_SECONDS)


async def report(region: str, workers: Iterable[Reporting]) -> dict[str, Any]:
    """One document of all replicas."""
    cells = {}
    for worker in workers:
        try:
            cells[worker.spec.name] = dict(await worker.health())
        except (Unreachable, psycopg.Error) as error:
            log.debug("%s: no health: %s", worker.spec.name, error)
    return {"region": region, "at": time.time(), "cells": cells}

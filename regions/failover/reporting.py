"""Writes how this region's replicas are into its map folder, where metrics are read from.

`fabric.json`: {"region", "at" (seconds since 1970), "cells": {name: the document of `health`}}. A
replica that does not answer is left out. Whoever reads it adds its age.

`heard.json`: {"cells": {name: seconds since 1970}}, for requests: until when all that the cell's
other regions wrote is here. Guarantees that it is never later than the truth by the clocks of those
who wrote: what is not known now stays as it was.
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
from regions.mapfile import publish_document, replace
from regions.topology import CellSpec

log = logging.getLogger("meridian.agent")

REPORT_SECONDS = 5.0
FILE = "fabric.json"
HEARD = "heard"


class Reporting(Protocol):
    @property
    def spec(self) -> CellSpec: ...
    async def health(self) -> Mapping[str, Any]: ...


async def report_forever(
    folder: Path, region: str, workers: Callable[[], Iterable[Reporting]]
) -> None:
    """Until cancelled."""
    known: dict[str, float] = {}
    while True:
        try:
            found = await report(region, workers())
            known = heard(found, known)
            await asyncio.to_thread(replace, folder / FILE, found)
            document = {"cells": known}
            await asyncio.to_thread(publish_document, folder / f"{HEARD}.json", document)
        except OSError as error:
            log.warning("The state of the fabric is not published: %s", error)
        await asyncio.sleep(REPORT_SECONDS)


async def report(region: str, workers: Iterable[Reporting]) -> dict[str, Any]:
    """One document of all replicas."""
    at, cells = time.time(), {}
    for worker in workers:
        try:
            cells[worker.spec.name] = dict(await worker.health())
        except (Unreachable, psycopg.Error) as error:
            log.debug("%s: no health: %s", worker.spec.name, error)
    return {"region": region, "at": at, "cells": cells}


def heard(report: Mapping[str, Any], before: Mapping[str, float]) -> dict[str, float]:
    """Of each replica that has peers: by the one of which least is here. Where a region's log has a
    gap, or nothing was ever heard of one, it is not known."""
    known = dict(before)
    for name, cell in report["cells"].items():
        ages = [origin["seconds"] for origin in cell["from"].values()]
        if ages and None not in ages and not cell["reseeding"]:
            known[name] = report["at"] - max(ages)
    return known


def parse_heard(document: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(until) for name, until in document["cells"].items()}

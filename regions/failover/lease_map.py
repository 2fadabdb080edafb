"""Who writes which cell, as this region saw it last: `leases.json` in its map folder; and since
when this region writes what follows the sun, so that an agent that was killed knows it again.

Written by a thread: to replace a file may take as long as the disk is busy, and who asks for it
renews leases.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Container, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from regions.failover.lease import View
from regions.mapfile import publish_document

log = logging.getLogger("meridian.agent")


class LeaseMap:
    """What was seen only gives way to the same epoch or a newer one."""

    def __init__(self, folder: Path, region: str) -> None:
        self._file = folder / "leases.json"
        self._region = region
        self._writers: dict[str, dict[str, Any]] = {}
        self._changed = True
        self._gained: dict[str, tuple[str, datetime]] = self._gained_before()
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="lease map")

    def remember(self, views: Mapping[str, View], majority: int, held: Container[str]) -> None:
        """What a majority said; a cell that is held here is not without a writer."""
        for name, view in views.items():
            if view.answered < majority:
                continue
            if view.holder is not None:
                self.writes(name, view.holder, view.epoch)
            elif view.open and name not in held:
                self.writes(name, None, view.epoch)

    def epochs(self) -> dict[str, int]:
        """The newest that was published of each cell, by this process or one before it."""
        try:
            cells = json.loads(self._file.read_bytes())["cells"]
            return {name: int(entry["epoch"]) for name, entry in cells.items()}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def gains(self, name: str, timetable: str, at: datetime) -> None:
        """This region got the cell from another, under this timetable."""
        self._gained[name] = timetable, at
        self._changed = True

    def gained(self, name: str, timetable: str) -> datetime | None:
        """When it did; a new timetable is in force at once, whoever got the lease how before."""
        under, at = self._gained.get(name, ("", None))
        return at if under == timetable else None

    def _gained_before(self) -> dict[str, tuple[str, datetime]]:
        try:
            gained = json.loads(self._file.read_bytes())["gained"]
            return {cell: (text, datetime.fromisoformat(at)) for cell, (text, at) in gained.items()}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def writes(self, name: str, writer: str | None, epoch: int) -> None:
        known = self._writers.get(name)
        if known is None or epoch >= known["epoch"]:
            new = {"writer": writer, "epoch": epoch}
            self._changed = self._changed or new != known
            self._writers[name] = new

    def publish(self) -> None:
        """Have the file written if anything has changed; one after the other."""
        if self._changed:
            document = {
                "region": self._region,
                "cells": dict(self._writers),
                "gained": {cell: (text, str(at)) for cell, (text, at) in self._gained.items()},
            }
            written = self._writing.submit(publish_document, self._file, document)
            written.add_done_callback(_tell)
            self._changed = False


def _tell(written: Future[None]) -> None:
    if error := written.exception():
        log.warning("The leases are not published: %s", error)

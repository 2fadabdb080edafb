"""Who writes which cell, as this region saw it last: `leases.json` in its map folder."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from regions.failover.lease import View
from regions.mapfile import publish_document


class LeaseMap:
    """What was seen only gives way to the same epoch or a newer one."""

    def __init__(self, folder: Path, region: str) -> None:
        self._file = folder / "leases.json"
        self._region = region
        self._writers: dict[str, dict[str, Any]] = {}
        self._published = ""

    def remember(self, views: Mapping[str, View], majority: int, held: Container[str]) -> None:
        """What a majority said; a cell that is held here is not without a writer."""
        for name, view in views.items():
            if view.answered < majority:
                continue
            if view.holder is not None:
                self.writes(name, view.holder, view.epoch)
            elif view.open and name not in held:
                self.writes(name, None, view.epoch)

    def writes(self, name: str, writer: str | None, epoch: int) -> None:
        known = self._writers.get(name)
        if known is None or epoch >= known["epoch"]:
            self._writers[name] = {"writer": writer, "epoch": epoch}

    def publish(self) -> None:
        """Write the file if anything has changed."""
        document = {"region": self._region, "cells": self._writers}
        if self._published != repr(document):
            self._published = repr(document)
            publish_document(self._file, document)

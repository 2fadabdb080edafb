"""Writes the region's map folder: what edge, gateway and commands route by.

Every function without arguments in schema `publish` of the local control database is a document,
`<name>.json`. Files are replaced by rename, so a reader sees the old or the new one, whole.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from psycopg import sql

from regions.failover.link import Link


def write(folder: Path, name: str, document: Any) -> None:
    """Replace `<folder>/<name>.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{name}.json.new"
    beside.write_text(json.dumps(document))
    beside.rename(folder / f"{name}.json")


class Publisher:
    """Publishes the control cell's documents when it has changed."""

    def __init__(self, control: Link, folder: Path) -> None:
        self._control = control
        self._folder = folder
        self._seen: object = None
        self._written: dict[str, Any] = {}

    async def publish(self, applied: int) -> dict[str, Any]:
        """Write what changed; returns all documents by name. `applied` grows with each apply."""
        rows = await self._control.fetch("SELECT last_value FROM fabric.change_seq")
        position = (rows[0][0], applied)
        if position == self._seen:
            return self._written
        functions = await self._control.fetch(
            "SELECT proname FROM pg_proc"
            " WHERE pronamespace = to_regnamespace('publish') AND pronargs = 0"
        )
        for (name,) in functions:
            call = sql.SQL("SELECT {}()").format(sql.Identifier("publish", name))
            ((document,),) = await self._control.fetch(call)
            if self._written.get(name) != document:
                write(self._folder, name, document)
                self._written[name] = document
        self._seen = position
        return self._written

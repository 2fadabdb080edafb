"""Writes the region's map folder: what edge, gateway and commands route by.

Every function `publish.<name>()` of the local control database that returns jsonb is a document,
`<name>.json`. Triggers (`publish.touch`) note what a commit, here or in a peer, has changed, and
ring: it is in the folder some milliseconds later. A document that has a view
`publish.<name>_entries (key, entry)` changes entry by entry, by lines of its log; the others are
written anew. After an error, or a restart, everything is. Threads write: a busy disk, or a large
document, keeps nothing else waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from regions.failover.link import Link
from regions.mapfile import MapWriter

CHANNEL = "publish"
RECONNECT_SECONDS = 1.0

_DOCUMENTS = """
SELECT proname, to_regclass('publish.' || proname || '_entries') IS NOT NULL FROM pg_proc
 WHERE pronamespace = to_regnamespace('publish') AND pronargs = 0
   AND prorettype = 'jsonb'::regtype
"""


class Publisher:
    """Publishes the control cell's documents as they change. `documents`: those last written
    whole, by name."""

    def __init__(self, control: Link, folder: Path) -> None:
        self.documents: dict[str, Any] = {}
        self._control = control
        self._folder = folder
        self._writers: dict[str, MapWriter] = {}
        self._by_entry: set[str] = set()
        self._whole = True

    async def publish(self) -> None:
        """Write what has changed since the last call. Raises Unreachable, or the database's own
        error; the next call then writes everything."""
        whole, self._whole = self._whole, True
        touched: dict[str, set[str | None]] = defaultdict(set)
        for name, key in await self._control.fetch(
            "DELETE FROM publish.touched RETURNING document, key"
        ):
            touched[name].add(key)
        if whole:
            found = await self._control.fetch(_DOCUMENTS)
            self._by_entry = {name for name, by_entry in found if by_entry}
            touched = defaultdict(set, {name: {None} for name, _ in found})
        for name, keys in touched.items():
            await self._write(name, keys)
        self._whole = False

    async def _write(self, name: str, keys: set[str | None]) -> None:
        writer = self._writers.setdefault(name, MapWriter(self._folder, name))
        if None not in keys and name in self._by_entry:
            entries: dict[str, Any] = dict.fromkeys(key for key in keys if key)
            entries |= await self._control.fetch(
                sql.SQL("SELECT key::text, entry FROM {} WHERE key IN ({})").format(
                    sql.Identifier("publish", f"{name}_entries"),
                    sql.SQL(", ").join(map(sql.Literal, entries)),
                )
            )
            if await asyncio.to_thread(writer.append, entries):
                return
        call = sql.SQL("SELECT {}()").format(sql.Identifier("publish", name))
        ((document,),) = await self._control.fetch(call)
        if name in self._by_entry or document != self.documents.get(name):
            await asyncio.to_thread(writer.replace, document)
        self.documents[name] = document


class Bell:
    """Rings when the control database announces a change, and when it begins to listen: until then
    it has heard of none. Without it, those who wait look at the end of their patience."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._rung = asyncio.Event()

    async def listen_forever(self) -> None:
        while True:
            with contextlib.suppress(psycopg.Error):
                async with await psycopg.AsyncConnection.connect(
                    self._dsn, autocommit=True, connect_timeout=2
                ) as connection:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                    self._rung.set()
                    async for _ in connection.notifies():
                        self._rung.set()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def wait(self, patience: float) -> None:
        """Return when it rings, or after `patience` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._rung.wait()
        self._rung.clear()

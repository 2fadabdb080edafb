"""Lets this region's replica serve only after somebody has looked whether it went back in time.

Each start of the server may be on an old backup. Guarantees that after a start nobody commits, and
no entry of the log is made, before this replica's log was compared with what its peers, and this
agent's note, remember of it. One that is behind is barred, the application's sessions end, its
links begin anew, the cell's replicas are compared and repaired, and then it serves again. Whoever
is interrupted goes on: the state is in `fabric.gate`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg

from regions.deployment import AGENT_ROLE, CONTROL_CELL
from regions.errors import RegionsError
from regions.failover.keeping import Kept
from regions.failover.link import Link, Unreachable
from regions.replication import rewound
from regions.replication.position import (
    BEGUN,
    CLOSE_GAPS,
    DISTRUST,
    OLDEST,
    OWN,
    REMEMBERED,
    Sight,
    Trust,
    judge,
)
from regions.replication.verify import verify

log = logging.getLogger("meridian.replica")

LOOK_SECONDS = 0.2  # until it is clear what to do
RETRY_SECONDS = 10.0
TRUSTED_SECONDS = 60.0  # a heartbeat that is not taken calls sooner
ENDED_SECONDS = 5.0
ANSWER_SECONDS = 1.0  # so much later a replica serves when a peer is silent
NOTE_BYTES = 200  # of any note: the next one covers it
REWOUND = "went back in time and is being repaired"
EXPELLED = "was lost, and taken out of the cell"

_STATE = """
SELECT pg_postmaster_start_time(), nullif(trusted_start, '-infinity'), barred = %s,
       (SELECT system_identifier::text FROM pg_control_system()) || '/' ||
       (SELECT oid::text FROM pg_database WHERE datname = current_database())
  FROM fabric.gate
"""
# The start that was looked at: meanwhile there may have been another.
_TRUST = "UPDATE fabric.gate SET trusted_start = %s"
_BAR = "UPDATE fabric.gate SET trusted_start = '-infinity', barred = %s"
_OPEN = "UPDATE fabric.gate SET barred = NULL WHERE barred = %s"


async def until_ended(link: Link) -> None:
    """Waits for the transactions that are under way now, if they don't take long."""
    ((edge,),) = await link.fetch(BEGUN)
    deadline = time.monotonic() + ENDED_SECONDS
    while time.monotonic() < deadline:
        ((oldest,),) = await link.fetch(OLDEST)
        if oldest >= edge:
            return
        await asyncio.sleep(LOOK_SECONDS / 10)


class Vetter:
    """Of the cell's replica in `region`. Runs until cancelled."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._deployment, self._region, self._spec = kept.deployment, kept.region, kept.spec
        self._link = kept.link
        site = kept.deployment.region(kept.region)
        self._node = site.node
        self._note = site.map_dir / "positions" / f"{kept.spec.name}.json"
        self._database = ""
        self._noted: int | None = None
        self._since: float | None = None
        self._said = ""
        self._called = asyncio.Event()
        self._trusted = False

    async def run(self) -> None:
        while True:
            self._called.clear()
            try:
                pause = await self._look()
            except Unreachable:
                pause = LOOK_SECONDS
            except (RegionsError, psycopg.Error, OSError) as error:
                self._say(f"The replica in {self._region} does not serve yet: {error}")
                pause = RETRY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._called.wait()

    def call(self) -> None:
        """Look now: the server was started since it was trusted."""
        if self._trusted:
            self._trusted = False
            self._called.set()

    async def note(self, beat: int) -> None:
        """A heartbeat with this number is committed. Numbers grow: one that does not is of a
        database that somebody has put another one's content into."""
        if not self._database:
            return  # nobody knows yet which database that was
        if self._noted is not None and beat <= self._noted:
            await self._link.fetch(DISTRUST)
            self.call()
            return
        self._noted = beat
        self._write_note(beat)

    async def _look(self) -> float:
        """How long until the next look."""
        ((start, trusted, rewound_before, database),) = await self._link.fetch(_STATE, (REWOUND,))
        if database != self._database:
            self._database, self._noted = database, self._read_note(database)
        if start == trusted and rewound_before:
            return await self._compare()
        if start == trusted:
            self._since, self._trusted = None, True
            return TRUSTED_SECONDS
        self._since = self._since or time.monotonic()
        known, expelled = await self._ask_peers()
        ((own,),) = await self._link.fetch(OWN)
        waited = time.monotonic() - self._since
        sight = Sight(self._region, own, self._noted, known, waited, expelled)
        trust, reason = judge(sight)
        if trust is Trust.REPAIR:
            # A commit is sent to the peers a moment before others see it here.
            await until_ended(self._link)
            ((own,),) = await self._link.fetch(OWN)
            trust, reason = judge(replace(sight, own=own))
        if trust is Trust.STAY_OUT:
            await self._link.fetch(_BAR, (EXPELLED,))
            await self._announce(reason)
            return RETRY_SECONDS
        if trust is Trust.REPAIR or rewound_before:
            await self._realign(reason, start)
        elif trust is Trust.SERVE:
            await self._link.fetch(_TRUST, (start,))
        else:
            self._say(reason)
        return LOOK_SECONDS

    async def _realign(self, reason: str, start: datetime) -> None:
        await self._link.fetch(_BAR, (REWOUND,))
        await self._announce(reason)
        await asyncio.to_thread(rewound.turn_away, self._deployment, self._spec, self._region)
        if len(self._spec.regions) > 1:
            await asyncio.to_thread(rewound.relink, self._deployment, self._spec, self._region)
        if self._spec.name == CONTROL_CELL:
            # By then nobody may propose any more on a promise that this acceptor has forgotten, nor
            # count its vote; what came of either is known to another.
            await asyncio.sleep(self._deployment.lease_ttl_seconds)
            await asyncio.to_thread(
                rewound.learn_promises, self._deployment, self._spec, self._region
            )
        self._noted = None
        await self._link.fetch(_TRUST, (start,))

    async def _compare(self) -> float:
        repaired = 0
        if len(self._spec.regions) > 1:
            verdict = await verify(
                self._deployment,
                self._spec,
                repair=True,
                by=f"reseed:{self._region}",
                seen_from=self._region,
                rewound=self._region,
            )
            if verdict.refusal:
                await self._announce(
                    f"The replica in {self._region} does not serve yet: {verdict.refusal}. If"
                    " tables were made or changed since its backup, have it made anew: `cell"
                    " remove-region`, `cell add-region`."
                )
                return RETRY_SECONDS
            repaired = verdict.repaired
        await asyncio.to_thread(rewound.let_in, self._deployment, self._spec, self._region)
        await self._link.fetch(CLOSE_GAPS, (list(self._spec.regions),))
        await self._link.fetch(_OPEN, (REWOUND,))
        await self._announce(
            f"The replica in {self._region} is no longer behind and serves again:"
            f" {repaired} rows were brought over."
        )
        return LOOK_SECONDS

    async def _ask_peers(self) -> tuple[dict[str, int | None], datetime | None]:
        """What each remembers, and when one of them was told to expel this region."""
        peers = self._kept.peers
        answers = await asyncio.gather(*map(self._ask, peers))
        expelled = [answer[1] for answer in answers if answer is not None and answer[1] is not None]
        known = {
            name: None if answer is None else int(answer[0])
            for name, answer in zip(peers, answers, strict=True)
        }
        return known, min(expelled, default=None)

    async def _ask(self, peer: str) -> tuple[Any, ...] | None:
        dsn = self._deployment.dsn(peer, self._spec.database, AGENT_ROLE, seen_from=self._region)
        link = Link(f"{self._spec.name} in {peer}", dsn, timeout=ANSWER_SECONDS)
        try:
            (answer,) = await link.fetch(REMEMBERED, (self._node,))
        except (Unreachable, psycopg.Error):
            return None
        finally:
            await link.close()
        return answer

    def _read_note(self, database: str) -> int | None:
        """What was noted of this database; nothing if it is another one of the same name."""
        try:
            found: dict[str, Any] = json.loads(self._note.read_bytes())
            return int(found["seq"]) if found["database"] == database else None
        except (OSError, ValueError, KeyError):
            return None

    def _write_note(self, beat: int) -> None:
        """In its place: to replace a file each time would make this wait for the disk."""
        note = json.dumps({"database": self._database, "seq": beat}).ljust(NOTE_BYTES)
        self._note.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._note, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(file, note.encode(), 0)
        finally:
            os.close(file)

    async def _announce(self, sentence: str) -> None:
        if self._say(sentence) and self._kept.tell is not None:
            await self._kept.tell(sentence)

    def _say(self, sentence: str) -> bool:
        """Once, not at every look."""
        if sentence == self._said:
            return False
        self._said = sentence
        log.warning("%s: %s", self._spec.name, sentence)
        return True

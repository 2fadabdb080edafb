"""Does what a replica keeps for its peers have an end, and is it near?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from tenants.doctor.findings import Finding, Severity

Connection = psycopg.Connection[Any]
NAME = "room"

# The setting's unit is megabytes; -1: no limit.
_ROOM = """
SELECT s.setting::bigint, m.log_budget >> 20, g.pressed,
       (SELECT string_agg(region, ', ') FROM fabric.watermark WHERE paused IS NOT NULL)
  FROM pg_settings s, fabric.member m, fabric.gate g WHERE s.name = 'max_slot_wal_keep_size'
"""


def check(administrator: Connection, where: str) -> Iterator[Finding]:
    def warning(what: str, step: str) -> Finding:
        return Finding(NAME, Severity.WARNING, what, step, where)

    for kept, budget, pressed, paused in administrator.execute(_ROOM):
        if kept < 0:
            yield warning(
                "A peer that is away fills the disk with what is kept for it.",
                "Set max_slot_wal_keep_size to what the disk can bear.",
            )
        elif kept < budget:
            yield warning(
                f"The log's budget is {budget} MB, and the server keeps no more than {kept} MB.",
                "Lower it with `cell budget`, or raise max_slot_wal_keep_size.",
            )
        if pressed:
            yield warning(
                f"Writers are held back: {pressed}.",
                "Mend the link or the agent there, or let it go with `cell budget`.",
            )
        if paused:
            yield warning(
                f"What {paused} wrote is not taken: too much of it waits to be applied.",
                "Look at this region's agent: does it run, and what does it wait for?",
            )

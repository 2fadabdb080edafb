"""Are a cell's replicas equal? Finds each row that is not, and on demand makes them equal again.

Works while the cell is written: what is under way between regions is no difference. Each replica
computes a hash tree of its own rows (`verification.digests`); they are compared at a common
watermark (`verification.cut`); a row that differs is judged by its stamps
(`verification.judging`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext

import psycopg

from regions.deployment import AGENT_ROLE, Deployment
from regions.errors import RegionsError, ReplicaDown
from regions.replication.session import Session, open_session
from regions.replication.verification.asking import everywhere
from regions.replication.verification.record import keep
from regions.replication.verification.repair import alone
from regions.replication.verification.run import LivedIn, Run, Tell
from regions.replication.verification.verdict import Verdict
from regions.topology import CellSpec

PATIENCE_SECONDS = 30.0
CONNECT_SECONDS = 5


async def verify(
    deployment: Deployment,
    spec: CellSpec,
    *,
    repair: bool = False,
    by: str = "somebody",
    tell: Tell = lambda _: None,
    patience: float = PATIENCE_SECONDS,
    seen_from: str | None = None,
    rewound: str | None = None,
    is_lived_in: LivedIn = lambda schema: True,
) -> Verdict:
    """Compare the replicas of a cell, as reached from region `seen_from` (None: on the spot).

    With a region down the others are compared, and the verdict is not `equal`; a repair needs all.
    `patience`: seconds that a replica may take to apply what another has committed. `is_lived_in`:
    whether a schema is anybody's; one that is being made may be in some regions only. `rewound`: a
    region whose database is an old backup: it may have rows whose tombstones are collected. Raises
    ReplicaDown, NotSettled, RepairRunning.
    """
    began = time.monotonic()
    async with replicas(deployment, spec, seen_from) as sessions:
        unreachable = tuple(region for region in spec.regions if region not in sessions)
        verdict = Verdict(spec.name, tuple(sessions), unreachable)
        if len(sessions) < min(2, len(spec.regions)) or (repair and unreachable):
            raise ReplicaDown(
                f"{spec.name} in {', '.join(unreachable)} does not answer, so it cannot be"
                f" {'repaired' if repair else 'compared'}: bring that region back first"
            )
        nodes = {region: deployment.region(region).node for region in spec.regions}
        run = Run(
            sessions=sessions,
            nodes=nodes,
            down=frozenset(nodes[region] for region in unreachable),
            patience=patience,
            repair=repair,
            tell=tell,
            verdict=verdict,
            is_lived_in=is_lived_in,
            collected=await _collected_by_others(sessions, rewound),
        )
        try:
            async with alone(sessions) if repair else nullcontext():
                await run.everything()
        except (RegionsError, psycopg.Error) as error:
            verdict.seconds = time.monotonic() - began
            await keep(sessions, verdict, by=by, problem=str(error).splitlines()[0])
            raise
        verdict.seconds = time.monotonic() - began
        await keep(sessions, verdict, by=by)
    return verdict


async def _collected_by_others(
    sessions: Mapping[str, Session], rewound: str | None
) -> tuple[str, int] | None:
    """The rewound region, and up to which stamp all the others had collected tombstones."""
    if rewound is None:
        return None
    found = await everywhere(sessions, lambda s: s.fetch("SELECT collected FROM fabric.member"))
    return rewound, min((rows[0][0] for name, rows in found.items() if name != rewound), default=0)


@asynccontextmanager
async def replicas(
    deployment: Deployment, spec: CellSpec, seen_from: str | None
) -> AsyncIterator[dict[str, Session]]:
    """Sessions on the replicas that answer, the home's first."""

    async def opened(region: str) -> Session | None:
        dsn = deployment.dsn(region, spec.database, AGENT_ROLE, seen_from=seen_from)
        try:
            return await open_session(f"{dsn}?connect_timeout={CONNECT_SECONDS}")
        except psycopg.OperationalError:
            return None

    found = await asyncio.gather(*map(opened, spec.regions))
    sessions = {r: s for r, s in zip(spec.regions, found, strict=True) if s is not None}
    try:
        yield sessions
    finally:
        await asyncio.gather(*(session.close() for session in sessions.values()))

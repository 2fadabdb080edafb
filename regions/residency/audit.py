"""Facts against policy: what exists in a region's PostgreSQL and should not.

Pure: the caller reads the servers, this module judges. Every database of a cluster must be
explained by a registered replica that all of the cell's tenants allow; every slot and every
subscription must belong to such a replica and speak the fabric's plugin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from regions.residency.decisions import decide, denial
from regions.residency.model import Decision, Destination, Operation, ResidencyPolicy

PLUGIN = "pgoutput"
SYSTEM_DATABASES = frozenset({"postgres", "template0", "template1"})


@dataclass(frozen=True, slots=True)
class Channel:
    """A slot (`kind` "slot") or a subscription of one database."""

    kind: str
    name: str
    database: str | None
    plugin: str | None = PLUGIN


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What one region's cluster holds; `error` when it could not be asked."""

    region: Destination
    databases: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class CellFacts:
    """What the registry says of a cell, with its tenants' policies by slug.

    `channels` are the slots and subscriptions that the fabric makes in each region.
    """

    name: str
    database: str
    regions: tuple[str, ...]
    policies: Mapping[str, ResidencyPolicy]
    channels: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation: the rule, what is wrong, in which region, what to do about it."""

    rule: str
    what: str
    where: str
    remedy: str


def audit(
    clusters: Iterable[ClusterFacts], cells: Iterable[CellFacts], *, at: date | datetime
) -> tuple[Finding, ...]:
    """Everything that contradicts a policy, or that no policy explains."""
    by_database = {cell.database: cell for cell in cells}
    findings: list[Finding] = []
    for cluster in clusters:
        if cluster.error is not None:
            findings.append(
                Finding(
                    "G01",
                    f"the cluster could not be asked: {cluster.error}",
                    cluster.region.region,
                    "bring the region back and run the audit again",
                )
            )
        else:
            findings += _databases(cluster, by_database, at)
            findings += _channels(cluster, by_database, at)
        findings += _registered(cluster, by_database.values(), at)
    return tuple(findings)


def _databases(
    cluster: ClusterFacts, cells: Mapping[str, CellFacts], at: date | datetime
) -> Iterator[Finding]:
    where = cluster.region.region
    for database in sorted(set(cluster.databases) - SYSTEM_DATABASES):
        cell = cells.get(database)
        remedy = f"find out who made it, then drop the database {database} in {where}"
        if cell is None:
            yield Finding("P01", f"no cell explains the database {database}", where, remedy)
            continue
        refused = _refusal(cell, Operation.REPLICATE, cluster.region, at)
        if refused is not None:
            slug, decision = refused
            what = f"the database {database} holds tenant {slug}: {denial(decision)}"
            yield Finding("P01", what, where, remedy)
        elif where not in cell.regions:
            what = f"the database {database} is no registered replica of cell {cell.name}"
            yield Finding("P01", what, where, remedy)


def _channels(
    cluster: ClusterFacts, cells: Mapping[str, CellFacts], at: date | datetime
) -> Iterator[Finding]:
    where = cluster.region.region
    for channel in cluster.channels:
        cell = cells.get(channel.database or "")
        drop = f"drop the {channel.kind} {channel.name} in {where}"
        about = f"the {channel.kind} {channel.name} of database {channel.database}"
        if channel.plugin is None:
            what = f"the physical slot {channel.name} copies the whole cluster"
            yield Finding("P01", what, where, drop)
        elif channel.plugin != PLUGIN:
            yield Finding("P02", f"{about} reads the log with {channel.plugin}", where, drop)
        elif cell is None or where not in cell.regions:
            yield Finding("P02", f"{about} belongs to no replica of this region", where, drop)
        else:
            refused = _refusal(cell, Operation.REPLICATE, cluster.region, at)
            if refused is not None:
                what = f"{about} carries tenant {refused[0]}: {denial(refused[1])}"
                yield Finding("P02", what, where, drop)
            elif channel.name not in cell.channels[where]:
                yield Finding("P02", f"{about} serves no peer of cell {cell.name}", where, drop)


def _registered(
    cluster: ClusterFacts, cells: Iterable[CellFacts], at: date | datetime
) -> Iterator[Finding]:
    """Replicas that the registry itself has where a policy (perhaps tightened since) forbids."""
    where = cluster.region.region
    for cell in cells:
        refused = _refusal(cell, Operation.PLACE, cluster.region, at)
        if where in cell.regions and refused is not None:
            slug, decision = refused
            yield Finding(
                "M05",
                f"cell {cell.name} is registered here with tenant {slug}: {denial(decision)}",
                where,
                f"move tenant {slug} to a cell without {where}, or loosen its policy",
            )


def _refusal(
    cell: CellFacts, operation: Operation, region: Destination, at: date | datetime
) -> tuple[str, Decision] | None:
    """The first tenant of the cell that must not be in the region, with the decision."""
    for slug, policy in sorted(cell.policies.items()):
        decision = decide(policy, operation, region, at=at)
        if not decision.allowed:
            return slug, decision
    return None

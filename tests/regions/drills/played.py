"""Three regions, two of them under one law, and what is seen while something is broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from regions.drills.plan import Plan, plan, stage_of
from regions.drills.report import Ack, Gate, Objectives, Said, Seen
from regions.drills.scenarios import find
from regions.topology import CellSpec, Lease, TenancyMode, Topology, WritePolicy

WEST, CENTRAL, EAST = "eu-west", "eu-central", "us-east"
LAWS = {WEST: "EU", CENTRAL: "EU", EAST: "US"}
EU = CellSpec("eu", TenancyMode.SHARED, WritePolicy.ACTIVE_PASSIVE, (WEST, CENTRAL))
US = CellSpec("us", TenancyMode.DEDICATED, WritePolicy.ACTIVE_PASSIVE, (EAST,))
WIDE = CellSpec("wide", TenancyMode.SHARED, WritePolicy.ACTIVE_ACTIVE, (WEST, CENTRAL, EAST))
TOPOLOGY = Topology(cells={spec.name: spec for spec in (EU, US, WIDE)})
LEASES = {"eu": Lease(WEST, 4), "us": Lease(EAST, 2)}
TENANTS: Mapping[str, Sequence[str]] = {"eu": ["acme", "drill-1"], "us": ["initech"]}
OBJECTIVES = Objectives(rto_seconds=5.0)


def planned(
    name: str,
    cell: str | None = "eu",
    synthetic: Sequence[str] = ("*",),
    *,
    etcd: bool = False,
) -> Plan:
    stage = stage_of(TOPOLOGY, LEASES, LAWS, cell, etcd=etcd)
    scenario = find(name)
    return plan(
        scenario, stage, TOPOLOGY, LEASES, up=LAWS, tenants=TENANTS, synthetic=synthetic
    )  # fmt: skip


def acks(region: str, since: float, until: float, step: float = 0.1) -> list[Ack]:
    return [Ack(since + step * number, region) for number in range(round((until - since) / step))]


# The writer is broken at second 10, and the other one takes over at 14; healed from 20 on.
MOVED = Seen(
    began=8.0,
    broken=10.0,
    healing=20.0,
    ended=30.0,
    done=[(10.4, "eu-west loses its power"), (20.0, "everything is being healed")],
    acks=[*acks(WEST, 9.0, 10.5), *acks(CENTRAL, 14.0, 29.0)],
    refusals=[10.9, 12.0],
    gates=[Gate(9.9, WEST, 4, 12.6), Gate(13.7, CENTRAL, 5, 16.0)],
    said=[
        Said(13.4, CENTRAL, "acquire", "Nobody holds eu."),
        Said(13.8, CENTRAL, "acquire", "eu-central writes eu now."),
    ],
    missing_then=2,
    missing_after=0,
)
STAYED = replace(
    MOVED, acks=acks(WEST, 9.0, 29.0), refusals=[], said=[], gates=[Gate(9.9, WEST, 4, 12.6)]
)
DARK = replace(MOVED, acks=[*acks(WEST, 9.0, 12.0), *acks(WEST, 22.0, 29.0)], said=[])

"""The live state of one cell: writer, epoch and, per replica, lag and dead letters.

Reads the document of `cell show` and drops its connection strings at once: they hold passwords.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from console.live.probing import Answer
from regions.topology import CellSpec, Lease


@dataclass(frozen=True, slots=True)
class LagLive:
    """How far a replica is behind one origin. None means: not known now."""

    origin: str
    seconds: float | None
    rows: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class ComparedLive:
    """How the cell's replicas last compared; `problem`: why there is no result."""

    at: datetime
    equal: bool
    left: int
    problem: str


@dataclass(frozen=True, slots=True)
class ReplicaLive:
    """One replica. None means: not known now."""

    region: str
    database: str
    writable: bool | None = None
    lag_seconds: float | None = None
    dead_letters: int | None = None
    conflicts: int | None = None
    lags: tuple[LagLive, ...] = ()


@dataclass(frozen=True, slots=True)
class CellLive:
    """One cell. `problem` says why live facts are missing, `turn` what its timetable says."""

    name: str
    mode: str
    policy: str
    writer: str | None
    epoch: int | None
    replicas: tuple[ReplicaLive, ...]
    problem: str = ""
    compared: ComparedLive | None = None
    turn: str = ""

    @property
    def leased(self) -> bool:
        return self.policy != "active_active"

    @property
    def dead_letters(self) -> int:
        return sum(replica.dead_letters or 0 for replica in self.replicas)

    @property
    def worst_lag(self) -> float | None:
        known = [r.lag_seconds for r in self.replicas if r.lag_seconds is not None]
        return max(known, default=None)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The regions whose replica did not answer."""
        return tuple(r.region for r in self.replicas if r.writable is None)

    @property
    def state(self) -> str:
        """`no writer`, `attention`, `unknown` or `ok`."""
        if self.leased and self.writer is None and not self.problem:
            return "no writer"
        if self.problem:
            return "unknown"
        differs = self.compared is not None and self.compared.left > 0
        return "attention" if self.dead_letters or self.unknown or differs else "ok"


def read_cell(
    spec: CellSpec, answer: Answer[dict[str, Any]], leases: Mapping[str, Lease]
) -> CellLive:
    """The cell from its status document, or from the last known lease when there is none."""
    if answer.value is None:
        lease = leases.get(spec.name)
        return CellLive(
            name=spec.name,
            mode=spec.mode.value,
            policy=spec.policy.value,
            writer=lease.writer if lease else None,
            epoch=lease.epoch if lease else None,
            replicas=tuple(ReplicaLive(region, spec.database) for region in spec.regions),
            problem=answer.problem,
        )
    document = answer.value
    return CellLive(
        name=spec.name,
        mode=spec.mode.value,
        policy=spec.policy.value,
        writer=document.get("writer"),
        epoch=document.get("epoch"),
        turn=(document.get("turn") or {}).get("reason", ""),
        replicas=tuple(
            ReplicaLive(
                region=entry["region"],
                database=entry.get("database", spec.database),
                writable=entry.get("writable") if entry.get("up", True) else None,
                lag_seconds=entry.get("lag_seconds"),
                dead_letters=entry.get("dead_letters"),
                conflicts=entry.get("conflicts"),
                lags=tuple(
                    LagLive(one["from"], one["seconds"], one["rows"], one["bytes"])
                    for one in entry.get("lag", ())
                ),
            )
            for entry in document["replicas"]
        ),
        compared=_compared(document["replicas"]),
    )


def _compared(replicas: Iterable[Mapping[str, Any]]) -> ComparedLive | None:
    """The newest comparison that any of the replicas knows of."""
    known = [entry["verified"] for entry in replicas if entry.get("verified")]
    if not known:
        return None
    newest = max(known, key=lambda one: datetime.fromisoformat(one["at"]))
    return ComparedLive(
        at=datetime.fromisoformat(newest["at"]),
        equal=newest["equal"],
        left=newest["differing_rows"] - newest["repaired_rows"],
        problem=newest["problem"] or "",
    )

"""The fabric's state in this region as metrics, from what the region's agent has written last.

A report that grows old makes lags grow: a dead agent must not look like a healthy fabric.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from regions.failover.reporting import FILE

STALE_SECONDS = 15.0  # a lease is shorter: whoever is silent for so long may not write
_ORIGIN = ["region", "cell", "origin"]
_PEER = ["region", "cell", "peer"]
_CELL = ["region", "cell"]

GAUGES: Mapping[str, tuple[str, list[str]]] = {
    "meridian_fabric_lag_seconds": ("Age of the newest applied change of an origin", _ORIGIN),
    "meridian_fabric_waiting_rows": ("Rows of an origin that arrived, not applied", _ORIGIN),
    "meridian_fabric_waiting_bytes": ("Bytes of an origin that arrived, not applied", _ORIGIN),
    "meridian_fabric_unconfirmed_bytes": ("Bytes of log that a peer has not confirmed", _PEER),
    "meridian_fabric_log_budget_bytes": ("Bytes of log that may be kept for a peer", _CELL),
    "meridian_fabric_slowed_seconds": ("By how much each writing transaction is slowed", _CELL),
    "meridian_fabric_refusing": ("Whether writers are refused: over the log's budget", _CELL),
    "meridian_fabric_dead_letters": ("Changes that could not be applied", _CELL),
    "meridian_fabric_conflicts": ("Discarded values in the ledger", _CELL),
    "meridian_fabric_tombstones": ("Deleted rows that are remembered, about", _CELL),
    "meridian_fabric_collected_timestamp_seconds": ("When tombstones were last collected", _CELL),
    "meridian_tasks_open": ("Tasks of tenants that have not ended", _CELL),
    "meridian_cell_verified_timestamp_seconds": ("When replicas were last compared", _CELL),
    "meridian_cell_equal": ("Whether the last comparison found them equal", _CELL),
    "meridian_cell_differing_rows": ("Rows that differed and were not repaired", _CELL),
    "meridian_cell_writable": ("Whether the region may write the cell", _CELL),
    "meridian_fabric_report_timestamp_seconds": ("When the agent wrote these", ["region"]),
}


class FabricCollector(Collector):
    """Nothing where there is no region, or its agent has not written yet."""

    def collect(self) -> Iterator[Metric]:
        gauges = {
            name: GaugeMetricFamily(name, text, labels=labels)
            for name, (text, labels) in GAUGES.items()
        }
        region = settings.MERIDIAN_REGION
        if region is not None and settings.MERIDIAN_DEPLOYMENT is not None:
            report = _read(settings.MERIDIAN_DEPLOYMENT.region(region).map_dir / FILE)
            for name, labels, value in _samples(region, report, time.time()):
                gauges[name].add_metric(labels, value)
        yield from gauges.values()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found


def _samples(
    region: str, report: Mapping[str, Any] | None, now: float
) -> Iterator[tuple[str, list[str], float]]:
    if report is None:
        return
    yield "meridian_fabric_report_timestamp_seconds", [region], report["at"]
    age = max(0.0, now - report["at"])
    for cell, known in report["cells"].items():
        for origin, lag in known["from"].items():
            of = [region, cell, origin]
            if lag["seconds"] is not None:
                yield "meridian_fabric_lag_seconds", of, lag["seconds"] + age
            yield "meridian_fabric_waiting_rows", of, lag["rows"]
            yield "meridian_fabric_waiting_bytes", of, lag["bytes"]
        for peer, waiting in known["to"].items():
            yield "meridian_fabric_unconfirmed_bytes", [region, cell, peer], waiting
        if (budget := known.get("budget")) is not None:
            pressed = known["pressed"] or {"slowed_ms": 0}
            slowed = pressed["slowed_ms"]
            yield "meridian_fabric_log_budget_bytes", [region, cell], budget["bytes"]
            yield "meridian_fabric_slowed_seconds", [region, cell], (slowed or 0) / 1000
            yield "meridian_fabric_refusing", [region, cell], float(slowed is None)
        if "writable" in known:
            writable = known["writable"] and age < STALE_SECONDS
            yield "meridian_cell_writable", [region, cell], float(writable)
        yield "meridian_fabric_dead_letters", [region, cell], known["dead_letters"]
        yield "meridian_fabric_conflicts", [region, cell], known["conflicts"]
        if (tasks := known.get("tasks")) is not None:
            yield "meridian_tasks_open", [region, cell], tasks["open"]
        if (kept := known.get("tombstones")) is not None:
            yield "meridian_fabric_tombstones", [region, cell], kept["about"]
            if kept["collected_at"] is not None:
                at = datetime.fromisoformat(kept["collected_at"]).timestamp()
                yield "meridian_fabric_collected_timestamp_seconds", [region, cell], at
        verified = known["verified"]
        if verified is not None:
            at = datetime.fromisoformat(verified["at"]).timestamp()
            yield "meridian_cell_verified_timestamp_seconds", [region, cell], at
            yield "meridian_cell_equal", [region, cell], float(verified["equal"])
            left = verified["differing_rows"] - verified["repaired_rows"]
            yield "meridian_cell_differing_rows", [region, cell], left

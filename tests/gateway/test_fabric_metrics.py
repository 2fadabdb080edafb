"""The fabric's metrics are what the region's agent wrote, and grow old with it."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from gateway import fabric
from regions.current import deployment
from regions.failover.reporting import FILE
from regions.mapfile import replace

REPORT: dict[str, Any] = {
    "region": "eu-west",
    "cells": {
        "eu": {
            "from": {"eu-central": {"seconds": 0.5, "rows": 7, "bytes": 900}},
            "to": {"eu-central": 4096},
            "budget": {"bytes": 1000, "over": "refuse"},
            "pressed": {"reason": "eu-central is behind", "slowed_ms": None},
            "dead_letters": 1,
            "conflicts": 2,
            "tombstones": {"about": 40, "collected_at": "2026-11-30T08:00:00+00:00"},
            "verified": {
                "at": "2026-11-30T08:00:00+00:00",
                "equal": False,
                "differing_rows": 3,
                "repaired_rows": 1,
            },
        },
        "new": {"from": {}, "to": {}, "dead_letters": 0, "conflicts": 0, "verified": None},
    },
}


def metrics() -> dict[str, float]:
    text = Client(headers={"host": "localhost"}).get("/metrics").content.decode()
    lines = [
        line for line in text.splitlines() if line.startswith(("meridian_fabric", "meridian_c"))
    ]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_lag_dead_letters_and_the_last_comparison_are_metrics(publish: Callable[..., None]) -> None:
    publish()
    replace(deployment().region("eu-west").map_dir / FILE, {**REPORT, "at": time.time() - 60})
    found = metrics()
    lag = 'meridian_fabric_lag_seconds{cell="eu",origin="eu-central",region="eu-west"}'
    assert 60.5 <= found.pop(lag) < 3600
    found.pop('meridian_fabric_report_timestamp_seconds{region="eu-west"}')
    of = 'cell="eu",origin="eu-central",region="eu-west"'
    assert (
        found.items()
        >= {
            f"meridian_fabric_waiting_rows{{{of}}}": 7.0,
            f"meridian_fabric_waiting_bytes{{{of}}}": 900.0,
            f"meridian_fabric_unconfirmed_bytes{{{of.replace('origin', 'peer')}}}": 4096.0,
            'meridian_fabric_log_budget_bytes{cell="eu",region="eu-west"}': 1000.0,
            'meridian_fabric_slowed_seconds{cell="eu",region="eu-west"}': 0.0,
            'meridian_fabric_refusing{cell="eu",region="eu-west"}': 1.0,
            'meridian_fabric_dead_letters{cell="eu",region="eu-west"}': 1.0,
            'meridian_fabric_conflicts{cell="eu",region="eu-west"}': 2.0,
            'meridian_fabric_tombstones{cell="eu",region="eu-west"}': 40.0,
            'meridian_fabric_collected_timestamp_seconds{cell="eu",region="eu-west"}': 1796025600.0,
            'meridian_cell_equal{cell="eu",region="eu-west"}': 0.0,
            'meridian_cell_differing_rows{cell="eu",region="eu-west"}': 2.0,
            'meridian_cell_verified_timestamp_seconds{cell="eu",region="eu-west"}': 1796025600.0,
            'meridian_fabric_dead_letters{cell="new",region="eu-west"}': 0.0,
        }.items()
    )


def test_a_cell_that_nobody_may_write_can_be_alarmed_on(
    publish: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fabric, "STALE_SECONDS", 1800)
    publish()
    name = 'meridian_cell_writable{cell="eu",region="eu-west"}'
    cell = REPORT["cells"]["eu"]
    for writable, age, shown in ((True, 0, 1.0), (False, 0, 0.0), (True, 3600, 0.0)):
        cells = {"eu": cell | {"writable": writable}}
        document = {"region": "eu-west", "cells": cells, "at": time.time() - age}
        replace(deployment().region("eu-west").map_dir / FILE, document)
        assert metrics()[name] == shown


def test_without_a_report_there_is_no_sample(publish: Callable[..., None]) -> None:
    publish()
    (deployment().region("eu-west").map_dir / FILE).unlink(missing_ok=True)
    assert not any(name.startswith("meridian_fabric") for name in metrics())

"""`leases.json`: written beside what renews leases, and only ever newer."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from regions import mapfile
from regions.failover import lease_map
from regions.failover.lease_map import LeaseMap


def told(folder: Path) -> dict[str, Any]:
    cells: dict[str, Any] = json.loads((folder / "leases.json").read_bytes())["cells"]
    return cells


def test_who_publishes_does_not_wait_for_a_busy_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = threading.Event()

    def busy(path: Path, document: Any) -> None:
        disk.wait(60)
        mapfile.publish_document(path, document)

    monkeypatch.setattr(lease_map, "publish_document", busy)
    leases = LeaseMap(tmp_path, "a")
    leases.writes("cell", "a", 1)
    leases.publish()
    leases.writes("cell", "b", 2)
    leases.publish()
    assert not (tmp_path / "leases.json").exists()
    disk.set()
    while not (tmp_path / "leases.json").exists() or told(tmp_path)["cell"]["epoch"] < 2:
        time.sleep(0.01)
    assert told(tmp_path) == {"cell": {"writer": "b", "epoch": 2}}


def test_an_older_epoch_does_not_come_back(tmp_path: Path) -> None:
    leases = LeaseMap(tmp_path, "a")
    leases.writes("cell", "b", 2)
    leases.writes("cell", "a", 1)
    leases.publish()
    while not (tmp_path / "leases.json").exists():
        time.sleep(0.01)
    assert LeaseMap(tmp_path, "a").epochs() == {"cell": 2}

"""Lag by origin in time, rows and bytes: at the receiver, and what a sender keeps for its peers."""

from __future__ import annotations

from typing import Any

from regions.replication import health
from regions.replication.status import cell_status
from tests.regions.replication.mesh import Mesh

EU, DE, US = "eu-west", "eu-central", "us-east"


def of(mesh: Mesh, region: str) -> dict[str, Any]:
    return health.document(mesh.spec, mesh.rows(region, health.HEALTH)[0][0])


def test_what_has_arrived_and_is_not_applied_is_counted_by_origin(mesh: Mesh) -> None:
    mesh.settle()
    mesh.write(EU, "INSERT INTO note (id, title) SELECT n, repeat('x', 500) FROM"
                   " generate_series(1, 40) n")  # fmt: skip
    mesh.write(DE, "INSERT INTO note (id, title) VALUES (100, 'y')")
    mesh.await_inbox(EU, US)
    mesh.await_inbox(DE, US)
    found = of(mesh, US)["from"]
    assert {origin: lag["rows"] for origin, lag in found.items()} == {EU: 40, DE: 1}
    assert found[EU]["bytes"] > 40 * 500 > found[DE]["bytes"] > 0
    mesh.settle()
    found = of(mesh, US)["from"]
    assert [(lag["rows"], lag["bytes"]) for lag in found.values()] == [(0, 0), (0, 0)]
    assert all(lag["seconds"] >= 0 for lag in found.values())


def test_a_sender_knows_how_much_of_its_log_a_peer_lacks(mesh: Mesh) -> None:
    mesh.settle()
    with mesh.administrator(US) as admin:
        (name,) = admin.execute(
            "SELECT subname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid"
            " WHERE datname = current_database() AND subname LIKE '%from_eu_west'"
        ).fetchone() or ("",)
        admin.execute(f"ALTER SUBSCRIPTION {name} DISABLE".encode())
        try:
            mesh.write(EU, "INSERT INTO note (id, title) SELECT n, repeat('x', 1000) FROM"
                           " generate_series(1, 100) n")  # fmt: skip
            mesh.await_inbox(EU, DE)
            owed = of(mesh, EU)["to"]
            status = cell_status(mesh.deployment, mesh.spec)
        finally:
            admin.execute(f"ALTER SUBSCRIPTION {name} ENABLE".encode())
    assert owed.keys() == {DE, US}
    assert owed[US] > 100_000
    lag = {one["from"]: one for one in status["replicas"][2]["lag"]}
    assert lag.keys() == {EU, DE}
    assert lag[EU]["bytes"] > 100_000
    assert status["replicas"][2]["lag_seconds"] == max(one["seconds"] for one in lag.values())
    mesh.settle()

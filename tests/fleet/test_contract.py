"""The commands, documents and addresses that are called from outside keep their shapes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fleet.conftest import Fleet
from tests.fleet.test_story import eventually

TENANT = {
    "id", "slug", "mode", "cell", "host", "regions", "writer", "policy", "residency", "state",
}  # fmt: skip
REPLICA = {
    "region", "database", "dsn_app", "dsn_admin", "writable", "lag_seconds", "dead_letters",
}  # fmt: skip
MOVED = {"cell", "from", "to", "rto_seconds", "rpo_writes", "pause_ms", "events"}
TICKET = {
    "id", "title", "body", "status", "priority", "customer", "votes", "tags", "updated_at",
}  # fmt: skip


@pytest.fixture(scope="module")
def tenant(fleet: Fleet) -> dict[str, Any]:
    document: dict[str, Any] = fleet.json(
        "tenant", "create", "contract", "--mode", "shared", "--residency", "EU"
    )
    return document


def call(fleet: Fleet, tenant: dict[str, Any], method: str, path: str, **options: Any) -> Any:
    return fleet.request(method, path, host=tenant["host"], token=tenant["api_token"], **options)


def in_order(fleet: Fleet, cell: str, writable: list[bool]) -> Any:
    """The cell's document if so many of its replicas are."""
    shown = fleet.json("cell", "show", cell)
    found = [replica["writable"] for replica in shown["replicas"]]
    return sorted(found) == sorted(writable) and shown


def all_up(fleet: Fleet) -> Any:
    """The fleet's document. A busy machine's web may be late with saying that it is well."""
    document = fleet.status()
    return all(region["up"] is True for region in document["regions"]) and document


def test_fleet_status(fleet: Fleet) -> None:
    document = eventually(lambda: all_up(fleet))
    assert document["edge"] == f"http://127.0.0.1:{fleet.port_base}"
    assert document["console"].startswith(document["edge"])
    for region in document["regions"]:
        assert {"name", "country", "jurisdiction", "up", "web", "postgres", "valkey"} <= set(region)
        assert region["postgres"].startswith("postgresql://")
    pairs = {(link["from"], link["to"]) for link in document["links"]}
    assert len(pairs) == 6
    assert all({"state", "latency_ms"} <= set(link) for link in document["links"])


def test_a_second_up_changes_nothing_and_says_so(fleet: Fleet) -> None:
    again = fleet.run("up", "--dir", str(fleet.folder), "--port-base", str(fleet.port_base))
    assert "already" in (again.stdout + again.stderr)


def test_tenant_documents(fleet: Fleet, tenant: dict[str, Any]) -> None:
    assert TENANT | {"api_token"} <= set(tenant)
    shown = fleet.json("tenant", "show", "contract")
    assert set(shown) >= TENANT
    assert "api_token" not in shown
    assert shown["id"] == tenant["id"]
    assert fleet.json("tenant", "token", "contract")["api_token"] != tenant["api_token"]
    assert "contract" in [entry["slug"] for entry in _list(fleet.json("tenant", "list"))]


def test_suspend_and_resume(fleet: Fleet, tenant: dict[str, Any]) -> None:
    assert fleet.json("tenant", "suspend", "contract")["state"] == "suspended"
    assert fleet.json("tenant", "resume", "contract")["state"] == "active"


def test_a_command_can_run_inside_a_tenant(fleet: Fleet, tenant: dict[str, Any]) -> None:
    done = fleet.manage("tenant", "exec", "contract", "--", "check")
    assert done.returncode == 0


def test_cell_documents(fleet: Fleet, tenant: dict[str, Any]) -> None:
    shown = eventually(lambda: in_order(fleet, tenant["cell"], [True, False]))
    assert {"name", "mode", "policy", "writer", "epoch", "replicas"} <= set(shown)
    assert isinstance(shown["epoch"], int)
    assert {replica["region"] for replica in shown["replicas"]} == {"eu-west", "eu-central"}
    for replica in shown["replicas"]:
        assert set(replica) >= REPLICA
    verdict = fleet.json("cell", "verify", tenant["cell"])
    assert (verdict["equal"], verdict["differences"], verdict["unreachable"]) == (True, [], [])
    for replica in fleet.json("cell", "show", tenant["cell"])["replicas"]:
        (lag,) = replica["lag"]
        assert {"from", "seconds", "rows", "bytes"} == set(lag)
        assert replica["verified"]["equal"] is True
        # Agents write what metrics are read from every five seconds.
        sample = f'meridian_fabric_lag_seconds{{cell="{tenant["cell"]}",origin="{lag["from"]}"'
        web = fleet.region(replica["region"])["web"]
        eventually(
            lambda web=web, sample=sample: (
                sample in fleet.request("GET", "/metrics", host="localhost", at=web).text
            )
        )
    assert tenant["cell"] in [entry["name"] for entry in _list(fleet.json("cell", "list"))]


def test_a_cell_can_be_made_by_hand(fleet: Fleet) -> None:
    made = fleet.json(
        "cell", "create", "byhand", "--mode", "schema", "--regions", "eu-central,eu-west",
        "--policy", "active_active",
    )  # fmt: skip
    assert (made["name"], made["mode"], made["policy"]) == ("byhand", "schema", "active_active")
    assert eventually(lambda: in_order(fleet, "byhand", [True, True]))


def test_region_documents(fleet: Fleet, tenant: dict[str, Any]) -> None:
    regions = _list(fleet.json("region", "list"))
    assert {region["name"] for region in regions} == {"eu-west", "eu-central", "us-east"}
    writer = fleet.json("tenant", "show", "contract")["writer"]
    other = {"eu-west": "eu-central", "eu-central": "eu-west"}[writer]
    moved = fleet.json("region", "switchover", tenant["cell"], "--to", other)
    assert set(moved) >= MOVED
    assert moved["events"]


def test_residency_documents(fleet: Fleet, tenant: dict[str, Any]) -> None:
    allowed = fleet.json(
        "residency", "check", "contract", "--region", "eu-west", "--operation", "place"
    )
    assert allowed["allowed"] is True
    denied = fleet.manage(
        "residency", "check", "contract", "--region", "us-east", "--operation", "place", "--json",
        check=False,
    )  # fmt: skip
    assert denied.returncode == 1
    assert json.loads(denied.stdout)["rules"]
    assert fleet.json("residency", "audit")["findings"] == []


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["tenant", "create", "x1", "--mode", "weird"], 2, "invalid choice"),
        (["tenant", "create", "contract", "--mode", "shared"], 1, "contract"),
        (["tenant", "create", "Bad Slug", "--mode", "shared"], 1, "slug"),
        (["tenant", "create", "x2", "--mode", "shared", "--residency", "XX"], 1, "XX"),
        (["tenant", "create", "x3", "--mode", "shared", "--regions", "mars"], 1, "mars"),
        (["tenant", "show", "nobody"], 1, "nobody"),
        (["cell", "show", "nowhere"], 1, "nowhere"),
        (
            [
                "cell",
                "create",
                "x4",
                "--mode",
                "shared",
                "--regions",
                "mars",
                "--policy",
                "active_passive",
            ],
            1,
            "mars",
        ),
        (["region", "failover", "mars"], 1, "mars"),
        (["region", "switchover", "nowhere", "--to", "eu-west"], 1, "nowhere"),
        (["region"], 2, "VERB"),
    ],
)
def test_bad_input_gets_one_clear_line(
    fleet: Fleet, tenant: dict[str, Any], arguments: list[str], status: int, words: str
) -> None:
    refused = fleet.manage(*arguments, "--json", check=False)
    assert refused.returncode == status
    assert refused.stdout == ""
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    if status == 1:
        assert len([line for line in refused.stderr.splitlines() if "Error" in line]) == 1


def test_bad_input_changed_nothing(fleet: Fleet, tenant: dict[str, Any]) -> None:
    names = {entry["slug"] for entry in _list(fleet.json("tenant", "list"))}
    cells = {entry["name"] for entry in _list(fleet.json("cell", "list"))}
    assert not {"x1", "x2", "x3", "bad slug"} & names
    assert "x4" not in cells


def test_the_help_desk_api(fleet: Fleet, tenant: dict[str, Any]) -> None:
    made = call(fleet, tenant, "POST", "/api/desk/tickets", json={"title": "one"})
    assert made.status_code == 201
    assert set(made.json()) >= TICKET
    assert made.headers["x-region"] in {"eu-west", "eu-central"}
    path = f"/api/desk/tickets/{made.json()['id']}"
    assert call(fleet, tenant, "POST", f"{path}/vote").json()["votes"] == 1
    assert call(fleet, tenant, "PUT", f"{path}/tags/urgent").status_code in (200, 201, 204)
    # A read is answered by the nearest region, which need not be the one that was written in.
    eventually(lambda: call(fleet, tenant, "GET", path).json().get("tags") == ["urgent"])
    assert call(fleet, tenant, "DELETE", f"{path}/tags/urgent").status_code in (200, 204)
    assert (
        call(fleet, tenant, "PATCH", path, json={"status": "closed"}).json()["status"] == "closed"
    )
    customer = {"email": "a@example.org", "name": "A"}
    assert call(fleet, tenant, "POST", "/api/desk/customers", json=customer).status_code == 201
    assert call(fleet, tenant, "POST", "/api/desk/customers", json=customer).status_code == 409
    assert call(fleet, tenant, "DELETE", path).status_code in (200, 204)
    eventually(lambda: call(fleet, tenant, "GET", path).status_code == 404)
    described = call(fleet, tenant, "GET", "/api/openapi.json").json()
    assert any(path.endswith("/vote") for path in described["paths"])


def test_without_a_token_nothing_is_served(fleet: Fleet, tenant: dict[str, Any]) -> None:
    answer = fleet.request("GET", "/api/desk/tickets", host=tenant["host"])
    assert answer.status_code == 401


def test_health_and_metrics(fleet: Fleet) -> None:
    for region in fleet.status()["regions"]:
        for path in ("/healthz/live", "/healthz/ready", "/metrics"):
            answer = fleet.request("GET", path, host="127.0.0.1", at=region["web"])
            assert answer.status_code == 200, (path, answer.text)


def test_the_console_asks_for_a_login(fleet: Fleet) -> None:
    answer = fleet.request("GET", "/console/", host="127.0.0.1", follow_redirects=True)
    assert answer.status_code == 200
    assert "password" in answer.text


def test_a_killed_process_is_started_again(fleet: Fleet) -> None:
    fleet.run("break", "process", "us-east:worker", "--how", "kill")
    assert fleet.status()["edge"]


def _list(document: Any) -> list[dict[str, Any]]:
    """Lists may come alone or under one name."""
    return document if isinstance(document, list) else next(iter(document.values()))

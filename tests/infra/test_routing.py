"""What the edge routes by, from the regions' maps alone."""

from __future__ import annotations

from pathlib import Path

from gateway import durability
from infra.envoy.maps import MapFolders, RoutingMap, route
from infra.envoy.routes import route_table

REGIONS = ("eu-west", "eu-central", "us-east")
EU = ("eu-west", "eu-central")


def topology(version: int = 1, policy: str = "active_passive") -> dict:
    return {
        "version": version,
        "cells": [
            {
                "name": "control",
                "mode": "control",
                "policy": "active_passive",
                "regions": list(REGIONS),
            },
            {"name": "eu1", "mode": "shared", "policy": policy, "regions": list(EU)},
        ],
    }


def directory(*hosts: str, version: int = 1, state: str = "active") -> dict:
    return {
        "version": version,
        "tenants": [{"slug": "acme", "cell": "eu1", "state": state, "hosts": list(hosts)}],
    }


def leases(writer: str | None, epoch: int, cell: str = "eu1") -> dict:
    return {"cells": {cell: {"writer": writer, "epoch": epoch}}}


def decide(*, topologies=(), directories=(), leases=()) -> RoutingMap:
    return route(topologies, directories, leases, REGIONS, "{}.cell.test".format)


def tenants(routing: RoutingMap) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The tenants' hosts by the order of their regions, without the cells' own hosts."""
    own = {
        order: tuple(host for host in hosts if not host.endswith(".cell.test"))
        for order, hosts in routing.hosts.items()
    }
    return {order: hosts for order, hosts in own.items() if hosts}


def test_without_any_map_everything_goes_to_the_console_in_the_deployments_order() -> None:
    assert decide() == RoutingMap(hosts={}, console=REGIONS, orders=(REGIONS,))


def test_the_writer_comes_first_and_the_other_lawful_regions_follow() -> None:
    routing = decide(
        topologies=[topology()],
        directories=[directory("acme.localhost")],
        leases=[leases("eu-central", 1)],
    )
    assert tenants(routing) == {("eu-central", "eu-west"): ("acme.localhost",)}


def test_the_highest_epoch_names_the_writer_whatever_an_old_region_says() -> None:
    routing = decide(
        topologies=[topology()],
        directories=[directory("acme.localhost")],
        leases=[leases("eu-west", 4), leases("eu-central", 5), leases("eu-west", 3)],
    )
    assert list(tenants(routing)) == [("eu-central", "eu-west")]


def test_a_region_that_knows_no_writer_does_not_overrule_one_that_does() -> None:
    routing = decide(
        topologies=[topology()],
        directories=[directory("acme.localhost")],
        leases=[leases("eu-central", 5), leases(None, 6)],
    )
    assert list(tenants(routing)) == [("eu-central", "eu-west")]


def test_active_active_keeps_the_cells_own_order() -> None:
    routing = decide(
        topologies=[topology(policy="active_active")],
        directories=[directory("acme.localhost")],
        leases=[leases("eu-central", 1)],
    )
    assert list(tenants(routing)) == [EU]


def test_the_newest_version_wins() -> None:
    routing = decide(
        topologies=[topology()],
        directories=[
            directory("new.localhost", version=7),
            directory("old.localhost", version=6),
        ],
    )
    assert tenants(routing) == {EU: ("new.localhost",)}


def test_a_suspended_tenant_is_still_routed_so_that_its_region_can_explain() -> None:
    routing = decide(
        topologies=[topology()], directories=[directory("acme.localhost", state="suspended")]
    )
    assert tenants(routing) == {EU: ("acme.localhost",)}


def test_each_cell_has_a_host_of_its_own_for_probes() -> None:
    routing = decide(topologies=[topology()], leases=[leases("eu-central", 1)])
    assert routing.hosts == {
        REGIONS: ("control.cell.test",),
        ("eu-central", "eu-west"): ("eu1.cell.test",),
    }


def test_hosts_that_envoy_would_refuse_are_left_out() -> None:
    routing = decide(
        topologies=[topology()],
        directories=[directory("Acme.localhost", "acme.localhost", "*", "a b", "")],
    )
    assert tenants(routing) == {EU: ("acme.localhost",)}


def test_the_clusters_of_every_possible_writer_are_ready_beforehand() -> None:
    orders = decide(topologies=[topology()]).orders
    assert {EU, EU[::-1]} <= set(orders)
    assert sum(len(order) == 3 for order in orders) == 3


def test_a_broken_file_leaves_the_last_good_copy_in_force(tmp_path: Path) -> None:
    maps = MapFolders((tmp_path,))
    (tmp_path / "topology.json").write_text('{"version": 1, "cells": []}')
    assert maps.changed()
    assert not maps.changed()
    (tmp_path / "topology.json").write_text('{"version": 2, "ce')
    assert not maps.changed()
    assert maps.documents("topology") == [{"version": 1, "cells": []}]


def test_a_write_with_a_key_that_waits_for_its_peer_is_not_cut_off_and_asked_again() -> None:
    (console,) = route_table(decide())["virtual_hosts"]
    keyed = next(route for route in console["routes"] if route["name"] == "keyed")["route"]
    one_try = float(keyed["retry_policy"]["per_try_timeout"].removesuffix("s"))
    assert durability.WAIT_SECONDS + 2 < one_try < float(keyed["timeout"].removesuffix("s"))

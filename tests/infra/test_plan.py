"""The plan: what follows from the options, without touching the machine."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

import pytest

from infra.errors import PlanError, UnknownTarget
from infra.fleet.faults import break_store
from infra.fleet.plan import DEFAULT_PORT_BASE, deployment_document, make_plan
from infra.fleet.processes import MARK, Stage, Tools, processes
from infra.fleet.state import save, settle_plan
from infra.fleet.supervisord import render
from regions.deployment import parse

STATE = Path("/srv/fleet")
SECRETS = {"passwords": {}, "master_key": "k", "operator_password": "p"}
TOOLS = Tools(
    repository=Path("/srv/meridian"),
    python=Path("/srv/python"),
    postgres=Path("/srv/postgres"),
    valkey=Path("/srv/valkey"),
    envoy=Path("/srv/envoy"),
    postgres_user="nobody",
)


def test_three_regions_by_default_two_of_them_in_the_eu() -> None:
    plan = make_plan(STATE)
    assert [(region.name, region.country, region.jurisdiction) for region in plan.regions] == [
        ("eu-west", "IE", "EU"),
        ("eu-central", "DE", "EU"),
        ("us-east", "US", "US"),
    ]
    assert plan.port_base == DEFAULT_PORT_BASE


@pytest.mark.parametrize("regions", range(1, 9))
def test_no_two_servers_share_a_port_and_none_leaves_the_span(regions: int) -> None:
    ports = [port for port, _ in make_plan(STATE, regions=regions, port_base=8000).ports()]
    assert len(set(ports)) == len(ports)
    assert all(8000 <= port < 8200 for port in ports)


def test_more_regions_change_nothing_for_the_first_ones() -> None:
    assert make_plan(STATE, regions=8).regions[:3] == make_plan(STATE, regions=3).regions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regions": 0}, "A local fleet has 1 to 8 regions, not 0."),
        ({"regions": 9}, "A local fleet has 1 to 8 regions, not 9."),
        ({"port_base": 80}, "The port base must be within 1024..65335, not 80."),
    ],
)
def test_senseless_options_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        make_plan(STATE, **options)


def test_an_unknown_region_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownTarget, match="Regions: eu-west, eu-central, us-east"):
        make_plan(STATE).region("mars")


def test_the_deployment_document_is_one_that_the_regions_plane_accepts() -> None:
    deployment = parse(deployment_document(make_plan(STATE)), SECRETS, base=STATE)
    assert len(deployment.links) == 6
    assert deployment.regions["us-east"].node == 3
    assert deployment.regions["us-east"].map_dir == STATE / "regions/us-east/map"


def test_a_fleet_with_leases_in_etcd_keeps_them_there(tmp_path: Path) -> None:
    members = ["http://127.0.0.1:2379", "http://127.0.0.1:2381"]
    chosen: dict[str, Any] = {"regions": None, "port_base": None}
    plan = settle_plan(tmp_path, tmp_path, **chosen, etcd=members)
    document = deployment_document(plan, through_wan=False)
    assert parse(document, SECRETS, base=tmp_path).lease_store.etcd == tuple(members)
    save(plan)
    assert settle_plan(tmp_path, tmp_path, **chosen) == plan
    with pytest.raises(PlanError, match=f"leases in {members[0]}"):
        settle_plan(tmp_path, tmp_path, **chosen, etcd=members[:1])


def test_agents_reach_etcds_members_through_the_wan_but_those_with_tls() -> None:
    plan = make_plan(STATE, regions=8, etcd=["http://etcd.example:2379", "https://safe:2379"])
    document = deployment_document(plan)
    near = f"http://127.0.0.1:{DEFAULT_PORT_BASE + 2}"
    assert parse(document, SECRETS, base=STATE).lease_store.etcd == (near, "https://safe:2379")
    (link,) = document["store_links"]
    assert link["at"] == {"host": "etcd.example", "port": 2379}
    ports = [port for port, _ in plan.ports()]
    assert DEFAULT_PORT_BASE + 2 in ports
    assert len(set(ports)) == len(ports)
    with pytest.raises(PlanError, match="8 members"):
        make_plan(STATE, etcd=["http://etcd.example:2379"] * 9)


@pytest.mark.parametrize(
    ("members", "reason"), [([], "cut links"), (["https://safe:2379"], "is not the fleet's")]
)
def test_a_store_that_the_fleet_can_not_break_is_named(members: list[str], reason: str) -> None:
    with pytest.raises(UnknownTarget, match=reason):
        break_store(make_plan(STATE, etcd=members))


def test_links_lead_through_the_wan_unless_there_is_none() -> None:
    plan = make_plan(STATE)
    through = parse(deployment_document(plan), SECRETS, base=STATE)
    direct = parse(deployment_document(plan, through_wan=False), SECRETS, base=STATE)
    server = direct.regions["eu-central"].postgres
    assert through.postgres_endpoint("eu-central", seen_from="eu-west") != server
    assert direct.postgres_endpoint("eu-central", seen_from="eu-west") == server


def test_every_region_has_the_same_processes_and_an_environment_of_its_own() -> None:
    planned = processes(make_plan(STATE), TOOLS)
    for region in ("eu-west", "eu-central", "us-east"):
        mine = [process for process in planned if process.group == region]
        assert {process.name for process in mine} == {
            *("postgres", "valkey", "web", "worker", "beat", "agent")
        }
        assert {process.environment["MERIDIAN_REGION"] for process in mine} == {region}
    assert all(process.environment[MARK] == str(STATE) for process in planned)


def test_storage_starts_first_and_the_edge_last() -> None:
    stages = {process.id: process.stage for process in processes(make_plan(STATE), TOOLS)}
    assert stages["eu-west:postgres"] is Stage.STORAGE
    assert stages["shared:wan"] is Stage.STORAGE
    assert stages["eu-west:agent"] is Stage.AGENTS
    assert stages["shared:envoy"] is Stage.SERVING


def test_the_supervisors_configuration_says_the_same() -> None:
    plan = make_plan(STATE)
    text = render(STATE, STATE / "s.sock", processes(plan, TOOLS), as_root=True)
    parsed = configparser.ConfigParser()
    parsed.read_string(text)
    assert parsed["group:eu-west"]["programs"].split(",")[0] == "eu-west-postgres"
    assert parsed["program:eu-west-postgres"]["user"] == "nobody"
    assert parsed["program:eu-west-postgres"]["stopsignal"] == "INT"
    assert "user" not in parsed["program:eu-west-web"]
    assert parsed["supervisord"]["user"] == "root"

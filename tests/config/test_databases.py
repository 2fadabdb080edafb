import json
from pathlib import Path

import pytest

from config.databases import control_database, home_site
from regions.deployment import Deployment, parse
from regions.errors import UnknownRegion

REGIONS = ("eu-west", "eu-central", "us-east")


@pytest.fixture
def three_regions(tmp_path: Path) -> Deployment:
    regions = [
        {
            "name": name,
            "country": "IE",
            "jurisdiction": "EU",
            "node": node,
            "web": {"host": "127.0.0.1", "port": 1000 + node},
            "postgres": {"host": "127.0.0.1", "port": 2000 + node},
            "valkey": {"host": "127.0.0.1", "port": 3000 + node},
            "map_dir": name,
        }
        for node, name in enumerate(REGIONS, 1)
    ]
    links = [
        {"from": a, "to": b, "host": "127.0.0.1", "port": 1}
        for a in REGIONS
        for b in REGIONS
        if a != b
    ]
    return parse(
        {
            "domain": "localhost",
            "lease_ttl_seconds": 3,
            "edge": {"host": "127.0.0.1", "port": 1},
            "regions": regions,
            "links": links,
        },
        {"passwords": {"meridian_app": "p"}, "master_key": "k", "operator_password": "o"},
        base=tmp_path,
    )


def publish_lease(deployment: Deployment, region: str, *, writer: str, epoch: int) -> None:
    folder = deployment.region(region).map_dir
    folder.mkdir()
    cells = {"control": {"writer": writer, "epoch": epoch}}
    (folder / "leases.json").write_text(json.dumps({"region": region, "at": "", "cells": cells}))


def test_a_process_of_a_region_uses_its_own_servers(three_regions: Deployment) -> None:
    publish_lease(three_regions, "eu-west", writer="eu-west", epoch=9)
    entry = control_database(three_regions, "us-east")
    assert (entry["PORT"], entry["USER"], entry["NAME"]) == ("2003", "meridian_app", "control")


def test_an_operator_works_at_the_control_cells_newest_writer(three_regions: Deployment) -> None:
    publish_lease(three_regions, "eu-west", writer="eu-west", epoch=1)
    publish_lease(three_regions, "us-east", writer="eu-central", epoch=2)
    assert home_site(three_regions, None).name == "eu-central"


def test_before_the_first_lease_an_operator_works_in_the_first_region(
    three_regions: Deployment,
) -> None:
    assert home_site(three_regions, None).name == "eu-west"


def test_a_region_that_does_not_exist_is_named_with_those_that_do(
    three_regions: Deployment,
) -> None:
    with pytest.raises(UnknownRegion, match=r"'mars'.*eu-west, eu-central, us-east"):
        home_site(three_regions, "mars")


def test_without_a_deployment_the_entry_has_no_server() -> None:
    entry = control_database(None, None)
    assert entry["ENGINE"] == "tenants.backend"
    assert "HOST" not in entry

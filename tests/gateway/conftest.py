from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.db import connections

from regions.deployment import Deployment
from tests.gateway import live, maps


@pytest.fixture
def publish(settings, tmp_path: Path) -> Callable[..., None]:
    """Puts this process into eu-west with a map of its own; each call publishes a new map."""
    deployment = settings.MERIDIAN_DEPLOYMENT
    settings.MERIDIAN_REGION = "eu-west"
    settings.MERIDIAN_DEPLOYMENT = replace(
        deployment,
        regions={
            name: replace(site, map_dir=tmp_path / name)
            for name, site in deployment.regions.items()
        },
    )
    return lambda **content: maps.publish(tmp_path / "eu-west", **content)


@pytest.fixture
def served(deployment: Deployment, settings) -> Iterator[None]:
    """This process is eu-west's; `acme.localhost` and `beta.localhost` have real cells there."""
    settings.MERIDIAN_REGION = live.HERE
    live.make_cells()
    live.empty_tables()
    with live.serving(deployment.region(live.HERE).map_dir):
        yield
    connections.close_all()

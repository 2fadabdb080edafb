"""Who takes a lost region's cells: lawful and there, the preferred first, who is worked on last."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.fleet.plan import deployment_document, make_plan
from regions.deployment import Deployment, parse
from regions.errors import ResidencyDenied
from regions.failover import plan as planning
from regions.failover.plan import await_writers, plan_failover, writer_of
from regions.mapfile import publish_document
from regions.topology import CellSpec, TenancyMode, Topology, WritePolicy

WEST, CENTRAL, EAST = "eu-west", "eu-central", "us-east"
WIDE = CellSpec(
    "wide", TenancyMode.SHARED, WritePolicy.ACTIVE_PASSIVE, (WEST, CENTRAL, EAST)
)  # fmt: skip
TOPOLOGY = Topology(cells={"wide": WIDE})
SECRETS = {"passwords": {}, "master_key": "key", "operator_password": "word"}


@pytest.fixture
def where(tmp_path: Path) -> Deployment:
    """Three regions that nobody has started."""
    return parse(deployment_document(make_plan(tmp_path)), SECRETS, base=tmp_path)


@pytest.mark.parametrize(
    ("aside", "down", "target"),
    [
        ((), (), CENTRAL),
        ((CENTRAL,), (), EAST),
        ((), (CENTRAL,), EAST),
        ((CENTRAL,), (EAST,), CENTRAL),
        ((), (CENTRAL, EAST), None),
    ],
)
def test_who_is_worked_on_takes_a_lost_writers_place_only_if_nobody_else_can(
    where: Deployment, aside: tuple[str, ...], down: tuple[str, ...], target: str | None
) -> None:
    (plan,) = plan_failover(
        where, TOPOLOGY, WEST, reachable=lambda region: region not in down, aside=aside
    )
    assert plan.target == target


def test_nobody_fails_over_to_where_the_cell_may_not_be(where: Deployment) -> None:
    eu = Topology(cells={"eu": CellSpec("eu", WIDE.mode, WIDE.policy, (WEST, CENTRAL))})
    with pytest.raises(ResidencyDenied, match="B05"):
        plan_failover(where, eu, WEST, to=EAST, reachable=lambda _: True, aside=())


def test_a_cell_that_is_between_two_writers_is_waited_for(
    where: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish(writer: str | None) -> None:
        folder = where.region(CENTRAL).map_dir
        folder.mkdir(parents=True, exist_ok=True)
        cells = {"wide": {"writer": writer, "epoch": 2}}
        publish_document(folder / "leases.json", {"region": CENTRAL, "cells": cells})

    looks = iter([None, None, EAST])
    publish(None)
    # Its own clock: threads of other tests sleep as they did.
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: publish(next(looks)))
    monkeypatch.setattr(planning, "time", clock)
    await_writers(where, [WIDE])
    assert writer_of(where, WIDE) == EAST


def test_a_cell_that_stays_dark_is_not_waited_for_any_longer(
    where: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "SUCCESSION_SECONDS", -where.lease_ttl_seconds)
    await_writers(where, [WIDE])
    assert writer_of(where, WIDE) is None

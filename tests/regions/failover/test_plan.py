"""Who takes a lost region's cells: lawful and there, the preferred first, who is worked on last."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.fleet.plan import deployment_document, make_plan
from regions.deployment import Deployment, parse
from regions.errors import ResidencyDenied
from regions.failover.plan import plan_failover
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

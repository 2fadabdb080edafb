"""Emptying a region and filling it again: who moves where, in steps, and again after a failure."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from regions.errors import SwitchoverFailed
from regions.failover.draining import carry_out, plan_evacuation, plan_failback
from regions.failover.plan import Plan
from regions.topology import CellSpec, Lease, TenancyMode, Topology, WritePolicy
from tenants.management.commands.region import Command

REGIONS = ("eu-west", "eu-central", "us-east")


def cell(name: str, *regions: str, policy: WritePolicy = WritePolicy.ACTIVE_PASSIVE) -> CellSpec:
    return CellSpec(name, TenancyMode.SHARED, policy, regions)


def topology(*cells: CellSpec) -> Topology:
    return Topology(cells={spec.name: spec for spec in cells})


def moved(plan: Plan) -> dict[str, Any]:
    return {"cell": plan.spec.name, "to": plan.target}


def test_what_the_region_writes_goes_to_the_preferred_lawful_region_that_answers() -> None:
    cells = topology(
        cell("a", "eu-west", "eu-central"),
        cell("b", "eu-west", "us-east", "eu-central"),
        cell("c", "eu-central", "eu-west"),
        cell("d", "eu-west"),
        cell("e", "eu-west", "eu-central", policy=WritePolicy.ACTIVE_ACTIVE),
    )
    leases = {name: Lease("eu-west", 1) for name in "abd"} | {"c": Lease("eu-central", 1)}
    plans = plan_evacuation(cells, leases, "eu-west", lambda region: region != "us-east")
    assert [(plan.spec.name, plan.target) for plan in plans] == [
        ("a", "eu-central"),
        ("b", "eu-central"),
        ("d", None),
    ]
    assert plans[-1].reason.startswith("B06: it stays in eu-west, and goes dark")


def test_a_region_is_asked_once_whether_it_is_there_however_many_cells_could_go_there() -> None:
    cells = topology(*(cell(name, "eu-west", "us-east", "eu-central") for name in "abcdef"))
    leases = {name: Lease("eu-west", 1) for name in "abcdef"}
    asked: list[str] = []

    def reachable(region: str) -> bool:
        asked.append(region)
        return region != "us-east"

    plans = plan_evacuation(cells, leases, "eu-west", reachable)
    assert {plan.target for plan in plans} == {"eu-central"}
    assert asked == ["us-east", "eu-central"]


def test_only_what_is_at_home_there_comes_back_and_only_if_it_is_there() -> None:
    cells = topology(cell("a", "eu-west", "eu-central"), cell("b", "eu-central", "eu-west"))
    leases = {name: Lease("eu-central", 2) for name in "ab"}
    back = plan_failback(cells, leases, "eu-west", lambda _: True)
    assert [(plan.spec.name, plan.source, plan.target) for plan in back] == [
        ("a", "eu-central", "eu-west")
    ]
    assert plan_failback(cells, leases, "eu-west", lambda _: False)[0].target is None


def test_after_a_failure_no_other_step_begins_and_it_is_said_what_is_left() -> None:
    cells = topology(*(cell(name, "eu-west", "eu-central") for name in "abcdef"))
    leases = {name: Lease("eu-west", 1) for name in "abcdef"}

    def move(plan: Plan) -> dict[str, Any]:
        if plan.spec.name == "c":
            raise SwitchoverFailed("eu-central did not catch up.")
        return moved(plan)

    plans = plan_evacuation(cells, leases, "eu-west", lambda _: True)
    done = carry_out(plans, move, step=2)
    assert [one["cell"] for one in done.moved] == ["a", "b", "d"]
    assert done.failed == [{"cell": "c", "reason": "eu-central did not catch up."}]
    assert done.left == ["e", "f"]
    assert done.refusal == (
        "c could not be moved: eu-central did not catch up. 2 were not tried. "
        "Repeat the command to go on."
    )


cells_of = st.dictionaries(
    st.sampled_from("abcdefgh"), st.permutations(REGIONS).flatmap(
        lambda order: st.integers(1, 3).map(lambda number: tuple(order[:number]))
    )
)  # fmt: skip


@given(cells_of, st.sampled_from(REGIONS), st.sets(st.sampled_from(REGIONS)), st.integers(1, 9))
def test_evacuating_twice_is_evacuating_once_and_nothing_goes_where_it_may_not(
    found: dict[str, tuple[str, ...]], region: str, up: set[str], step: int
) -> None:
    cells = topology(*(cell(name, *regions) for name, regions in found.items()))
    leases = {name: Lease(regions[0], 1) for name, regions in found.items()}
    plans = plan_evacuation(cells, leases, region, up.__contains__)
    done = carry_out(plans, moved, step=step)
    for one in done.moved:
        assert one["to"] in found[one["cell"]]
        assert one["to"] in up - {region}
        leases[one["cell"]] = Lease(one["to"], 2)
    again = plan_evacuation(cells, leases, region, up.__contains__)
    assert carry_out(again, moved, step=step).moved == []
    assert {plan.spec.name for plan in again} == {
        plan.spec.name for plan in plans if plan.target is None
    }


def test_where_nothing_moves_the_command_says_so() -> None:
    for document, said in (
        ({"cells": []}, "Nothing to move.\n"),
        ({"cells": [], "failed": [{"cell": "a", "reason": "It is far."}]}, "a: It is far.\n"),
    ):
        out = io.StringIO()
        Command(stdout=out, no_color=True).show_drain(document)
        assert out.getvalue() == said

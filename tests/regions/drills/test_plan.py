"""What a drill would do and who would notice, before anything is broken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from infra.fleet.arguments import parser
from regions.drills.plan import NO_MAJORITY, require_synthetic, stage_of
from regions.drills.scenarios import HEAL, SCENARIOS, Expect
from regions.errors import DrillRefused, UnknownCell, UnknownScenario
from regions.topology import Lease
from tests.regions.drills.played import CENTRAL, EAST, LAWS, LEASES, TOPOLOGY, WEST, planned


@pytest.mark.parametrize("etcd", [False, True])
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_fleets_command_understands_every_step_of_every_scenario(name: str, etcd: bool) -> None:
    steps = planned(name, etcd=etcd).steps
    assert steps
    assert [step.after for step in steps] == sorted(step.after for step in steps)
    for words in (*(step.words for step in steps), HEAL):
        assert parser().parse_args([*words, "--dir", "/x"]).verb in ("break", "heal")


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_outside_the_writers_law_is_killed(name: str) -> None:
    killed = {word for step in planned(name).steps for word in step.words if "region" in step.words}
    assert EAST not in killed


def test_the_radius_names_who_moves_and_who_stays() -> None:
    found = planned("kill-region").document()
    assert found["expects"] == "moves"
    assert [(one["cell"], one["to"]) for one in found["moves"]] == [("eu", CENTRAL)]
    assert [one["cell"] for one in found["stays"]] == ["wide"]
    assert found["dark"] == []


def test_a_cell_with_one_lawful_region_goes_dark_and_no_other_is_named() -> None:
    found = planned("kill-region", "us")
    assert found.expects is Expect.DARK
    assert [one.cell for one in found.radius.dark] == ["us"]
    assert "only region that its tenants' law allows" in found.radius.dark[0].reason


@pytest.mark.parametrize("name", ["lose-quorum", "lose-jurisdiction"])
def test_without_a_majority_every_cell_under_a_lease_goes_dark_wherever_it_is(name: str) -> None:
    found = planned(name)
    assert found.expects is Expect.DARK
    assert {one.cell: one.tenants for one in found.radius.dark}["us"] == ("initech",)
    assert NO_MAJORITY in {one.reason for one in found.radius.dark}
    assert "wide" not in {one.cell for one in found.radius.dark}


def test_where_etcd_grants_leases_the_quorum_that_is_lost_is_etcds() -> None:
    lost = planned("lose-quorum", etcd=True)
    assert [step.words for step in lost.steps] == [("break", "store")]
    assert lost.expects is Expect.DARK
    assert {one.cell for one in lost.radius.dark} == {"eu", "us"}


def test_where_etcd_grants_leases_regions_that_are_lost_or_cut_off_take_no_vote_away() -> None:
    law = planned("lose-jurisdiction", etcd=True)
    assert {one.cell for one in law.radius.dark} == {"eu"}
    alone = planned("split-brain", etcd=True)
    assert alone.expects is Expect.STAYS
    assert not alone.radius.moves
    assert planned("split-brain").expects is Expect.MOVES


def test_a_standby_that_does_not_answer_now_is_not_counted_on() -> None:
    leases = {**LEASES, "eu": Lease(CENTRAL, 9)}
    assert stage_of(TOPOLOGY, leases, LAWS, "eu").peer == WEST


def test_customers_are_not_drilled_unless_somebody_says_so() -> None:
    found = planned("kill-region", synthetic=["drill-*"])
    assert found.real == ("acme",)
    with pytest.raises(DrillRefused, match=r"1 real tenants would notice: acme\."):
        require_synthetic(found, real_tenants=False)
    require_synthetic(found, real_tenants=True)
    require_synthetic(replace(found, real=()), real_tenants=False)


def test_a_drill_that_makes_no_sense_is_refused_with_what_to_do() -> None:
    with pytest.raises(UnknownScenario, match="kill-region"):
        planned("kill-everybody")
    with pytest.raises(UnknownCell):
        planned("kill-region", "mars")
    with pytest.raises(DrillRefused, match="active_active"):
        planned("kill-region", "wide")
    with pytest.raises(DrillRefused, match="no writer now"):
        stage_of(TOPOLOGY, {}, LAWS, "eu")
    with pytest.raises(DrillRefused, match="three regions"):
        stage_of(TOPOLOGY, LEASES, {WEST: "EU", CENTRAL: "EU"}, "eu")


def test_without_a_name_the_leased_cell_with_most_regions_is_taken() -> None:
    assert stage_of(TOPOLOGY, LEASES, LAWS, None).cell.name == "eu"

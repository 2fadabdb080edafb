"""The preview of a failover: pure, shown before anything is done."""

from regions.failover.preview import preview
from regions.topology import CellSpec, Lease, TenancyMode, Topology, WritePolicy

ALL = {"eu-west", "eu-central", "us-east"}


def cell(name: str, *regions: str, policy: WritePolicy = WritePolicy.ACTIVE_PASSIVE) -> CellSpec:
    return CellSpec(name, TenancyMode.SHARED, policy, regions)


def topology(*cells: CellSpec) -> Topology:
    return Topology(version=1, cells={spec.name: spec for spec in cells})


def test_the_writer_moves_to_the_next_lawful_region_that_answers() -> None:
    seen = preview(
        topology(cell("eu", "eu-west", "eu-central")),
        {"eu": Lease("eu-west", 3)},
        "eu-west",
        up=ALL,
        tenants={"eu": ["acme", "blue"]},
    )
    assert [(move.cell, move.to, move.tenants) for move in seen.moves] == [
        ("eu", "eu-central", ("acme", "blue"))
    ]
    assert seen.tenants_moving == 2
    assert seen.dark == ()


def test_a_cell_never_moves_to_a_region_that_has_no_replica_of_it() -> None:
    seen = preview(
        topology(cell("de", "eu-central")),
        {"de": Lease("eu-central", 1)},
        "eu-central",
        up=ALL,
        tenants={"de": ["bank"]},
    )
    assert seen.moves == ()
    assert seen.tenants_dark == 1
    assert "only region" in seen.dark[0].reason


def test_candidates_that_do_not_answer_leave_the_cell_dark_and_are_named() -> None:
    seen = preview(
        topology(cell("eu", "eu-west", "eu-central")),
        {"eu": Lease("eu-west", 3)},
        "eu-west",
        up={"eu-west", "us-east"},
        tenants={},
    )
    assert seen.moves == ()
    assert "eu-central" in seen.dark[0].reason


def test_a_cell_that_is_written_elsewhere_stays_and_loses_its_standby() -> None:
    seen = preview(
        topology(cell("eu", "eu-west", "eu-central")),
        {"eu": Lease("eu-west", 3)},
        "eu-central",
        up=ALL,
        tenants={},
    )
    assert seen.moves == ()
    assert seen.dark == ()
    assert "last standby" in seen.stays[0].note


def test_an_active_active_cell_goes_on_in_its_other_regions() -> None:
    seen = preview(
        topology(cell("aa", "eu-west", "eu-central", policy=WritePolicy.ACTIVE_ACTIVE)),
        {},
        "eu-west",
        up=ALL,
        tenants={"aa": ["acme"]},
    )
    assert seen.moves == ()
    assert "eu-central" in seen.stays[0].note


def test_an_active_active_cell_with_no_other_region_up_goes_dark() -> None:
    seen = preview(
        topology(cell("aa", "eu-west", "eu-central", policy=WritePolicy.ACTIVE_ACTIVE)),
        {},
        "eu-west",
        up={"eu-west"},
        tenants={},
    )
    assert [dark.cell for dark in seen.dark] == ["aa"]


def test_cells_without_a_replica_in_the_region_are_not_mentioned() -> None:
    seen = preview(
        topology(cell("us", "us-east")), {"us": Lease("us-east", 1)}, "eu-west", up=ALL, tenants={}
    )
    assert (seen.moves, seen.dark, seen.stays) == ((), (), ())


def test_a_leased_cell_with_no_known_writer_is_offered_to_the_other_regions() -> None:
    seen = preview(topology(cell("eu", "eu-west", "eu-central")), {}, "eu-west", up=ALL, tenants={})
    assert seen.moves[0].to == "eu-central"

from hypothesis import given
from hypothesis import strategies as st

from regions.topology import CellSpec, Lease, TenancyMode, WritePolicy
from regions.writers import Action, decide

REGIONS = ("eu-west", "eu-central", "us-east", "ap-south")
CELL = CellSpec("eu", TenancyMode.SHARED, WritePolicy.ACTIVE_PASSIVE, ("eu-west", "eu-central"))

cells = st.builds(
    CellSpec,
    name=st.just("cell"),
    mode=st.sampled_from(TenancyMode),
    policy=st.sampled_from(WritePolicy),
    regions=st.lists(st.sampled_from(REGIONS), min_size=1, unique=True).map(tuple),
)
leases = st.none() | st.builds(Lease, writer=st.sampled_from(REGIONS), epoch=st.integers(0, 99))


@given(cell=cells, lease=leases)
def test_a_leased_cell_is_never_written_in_two_regions(cell: CellSpec, lease: Lease | None) -> None:
    allowed = [r for r in REGIONS if decide(cell, lease, r).action is Action.ALLOW]
    if cell.policy.leased:
        assert len(allowed) <= 1
    else:
        assert set(allowed) == set(cell.regions)


@given(cell=cells, lease=leases, region=st.sampled_from(REGIONS))
def test_a_write_goes_only_where_the_cell_has_a_replica(
    cell: CellSpec, lease: Lease | None, region: str
) -> None:
    decision = decide(cell, lease, region)
    if decision.action is Action.ALLOW:
        assert region in cell.regions
    if decision.action is Action.HAND_OFF:
        assert decision.writer in cell.regions
        assert decision.writer != region
        assert decide(cell, lease, decision.writer).action is Action.ALLOW


@given(cell=cells, lease=leases, region=st.sampled_from(REGIONS))
def test_the_reason_is_a_sentence_that_names_the_cell(
    cell: CellSpec, lease: Lease | None, region: str
) -> None:
    reason = decide(cell, lease, region).reason
    assert reason.endswith(".")
    assert "cell" in reason


def test_the_lease_holder_writes() -> None:
    decision = decide(CELL, Lease("eu-west", 7), "eu-west")
    assert decision.action is Action.ALLOW
    assert "epoch 7" in decision.reason


def test_the_standby_hands_off_to_the_writer() -> None:
    decision = decide(CELL, Lease("eu-west", 7), "eu-central")
    assert (decision.action, decision.writer) == (Action.HAND_OFF, "eu-west")


def test_without_a_lease_nobody_writes() -> None:
    assert decide(CELL, None, "eu-west").action is Action.UNAVAILABLE


def test_a_region_without_a_replica_refuses_even_as_the_lease_says_otherwise() -> None:
    assert decide(CELL, Lease("us-east", 8), "us-east").action is Action.REFUSE
    assert decide(CELL, Lease("us-east", 8), "eu-west").action is Action.UNAVAILABLE

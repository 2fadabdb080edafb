"""When a drill that nobody watches is passed over."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from regions.drills.readiness import CAUGHT_UP_SECONDS, unready

FINE: dict[str, Any] = {
    "region": "eu-west",
    "up": True,
    "barred": None,
    "reseeding": [],
    "dead_letters": 0,
    "lag": [{"from": "eu-central"}],
    "lag_seconds": 0.4,
}
TROUBLES: list[dict[str, Any]] = [
    {"up": False},
    {"barred": "went back in time"},
    {"reseeding": ["eu-central"]},
    {"dead_letters": 1},
    {"lag_seconds": None},
    {"lag_seconds": CAUGHT_UP_SECONDS + 1},
]


def status(*replicas: dict[str, Any], writer: str | None = "eu-west") -> dict[str, Any]:
    return {"name": "eu", "writer": writer, "replicas": list(replicas)}


def test_a_healthy_cell_that_nobody_works_on_is_fit() -> None:
    assert unready(status(FINE, FINE)) is None
    alone = FINE | {"lag": [], "lag_seconds": None}
    assert unready(status(alone)) is None


def test_work_and_maintenance_come_first_and_are_named() -> None:
    broken = status(FINE | {"up": False}, writer=None)
    assert "tenant acme moves" in (unready(broken, under_way=["tenant acme moves"]) or "")
    assert "us-east stands aside" in (unready(broken, aside={"us-east"}) or "")
    assert "no writer" in (unready(broken) or "")


@given(
    st.lists(st.sampled_from([{}, *TROUBLES]), min_size=1, max_size=4),
)
def test_one_replica_in_trouble_is_enough_and_none_is_needed(
    troubles: list[dict[str, Any]],
) -> None:
    found = unready(status(*(FINE | trouble for trouble in troubles)))
    assert (found is not None) == any(troubles)

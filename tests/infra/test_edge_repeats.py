"""Through a real Envoy: whom the edge asks again for a client, and whom it does not."""

from __future__ import annotations

from tests.infra.test_edge import CENTRAL, WEST, Edge, edge, patient, running

__all__ = ["edge", "patient", "running"]  # fixtures


def test_a_write_is_asked_again_only_where_it_has_a_key(edge: Edge) -> None:
    edge.regions[WEST].status = 0
    assert edge.ask("POST", content=b"x").status_code == 503
    assert edge.regions[CENTRAL].seen == []
    keyed = edge.ask("POST", content=b"x", headers={"idempotency-key": "k-1"})
    assert (keyed.status_code, keyed.headers["x-region"]) == (200, CENTRAL)
    assert edge.regions[CENTRAL].seen[-1]["idempotency-key"] == "k-1"


def test_a_write_that_was_refused_for_now_is_asked_again_where_it_has_a_key(edge: Edge) -> None:
    edge.regions[WEST].status = 503
    assert edge.ask("POST", content=b"x").headers["x-region"] == WEST
    keyed = edge.ask("POST", content=b"x", headers={"idempotency-key": "k-2"})
    assert (keyed.status_code, keyed.headers["x-region"]) == (200, CENTRAL)

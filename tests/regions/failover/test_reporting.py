"""How far a region has heard of the others is told, and never as more than is known."""

from __future__ import annotations

from typing import Any

from regions.failover.reporting import heard


def report(at: float, *seconds: float | None, gap: bool = False) -> dict[str, Any]:
    origins = {f"region-{n}": {"seconds": age} for n, age in enumerate(seconds)}
    return {"at": at, "cells": {"eu": {"from": origins, "reseeding": ["x"] if gap else []}}}


def test_the_region_of_which_least_is_here_counts() -> None:
    assert heard(report(1000.0, 0.5, 30.0), {}) == {"eu": 970.0}


def test_what_is_not_known_now_stays_as_it_was() -> None:
    before = {"eu": 970.0}
    assert heard({"at": 1000.0, "cells": {}}, before) == before, "it does not answer"
    assert heard(report(1000.0, 0.5, gap=True), before) == before
    assert heard(report(1000.0, 0.5, None), before) == before
    assert heard(report(1000.0, 60.0), before) == {"eu": 940.0}, (
        "its server was started on a backup"
    )


def test_nothing_is_said_of_a_replica_that_has_no_peer_or_never_heard_of_one() -> None:
    assert heard(report(1000.0), {}) == {}
    assert heard(report(1000.0, None), {}) == {}

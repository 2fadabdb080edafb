"""A cell changes its write policy while clients write: nothing they were told is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from tests.fleet.conftest import Fleet
from tests.fleet.test_story import Writer, eventually, post


def whose_turn(region: str, other: str) -> str:
    """A timetable by which it is this region's turn, for the next hours."""
    now = datetime.now(UTC)
    begins, ends = (now + timedelta(hours=hours) for hours in (-3, 9))
    return f"{region} {begins:%H}:00 UTC, {other} {ends:%H}:00 UTC"


def change(fleet: Fleet, cell: str, policy: str, *more: str) -> dict[str, Any]:
    document: dict[str, Any] = fleet.json("cell", "policy", cell, "--to", policy, *more)
    assert document["policy"] == policy
    return document


def test_a_region_whose_agent_hangs_does_not_go_on_writing_beside_the_leases_holder(
    fleet: Fleet,
) -> None:
    tenant = fleet.json("tenant", "create", "deaf", "--mode", "dedicated", "--residency", "EU")
    cell, deaf = tenant["cell"], tenant["regions"][1]
    change(fleet, cell, "active_active")
    fleet.run("break", "process", f"{deaf}:agent", "--how", "freeze")
    try:
        change(fleet, cell, "active_passive")
        (there,) = (
            replica
            for replica in fleet.json("cell", "show", cell)["replicas"]
            if replica["region"] == deaf
        )
        with psycopg.connect(there["dsn_admin"]) as admin:
            assert admin.execute("SELECT fabric.may_write()").fetchone() == (False,)
    finally:
        fleet.run("heal", "process", f"{deaf}:agent")


def test_each_policy_gives_way_to_each_other_under_load(fleet: Fleet) -> None:
    tenant = fleet.json("tenant", "create", "sunny", "--mode", "dedicated", "--residency", "EU")
    home, away = tenant["regions"]
    cell = tenant["cell"]

    def writer_is(region: str) -> bool:
        return bool(fleet.json("cell", "show", cell)["writer"] == region)

    with Writer(fleet, tenant) as writes:
        change(fleet, cell, "active_active")
        for region in (home, away):
            door = fleet.region(region)["web"]
            eventually(lambda at=door: post(fleet, tenant, "here", at=at).status_code == 201)
        change(fleet, cell, "active_passive")
        shown = fleet.json("cell", "show", cell)
        assert sum(replica["writable"] for replica in shown["replicas"]) <= 1
        writer = eventually(lambda: fleet.json("cell", "show", cell)["writer"])
        there = {home: away, away: home}
        moved = change(
            fleet, cell, "follow_the_sun", "--timetable", whose_turn(there[writer], writer)
        )
        assert moved["turn"]["region"] == there[writer]
        eventually(lambda: writer_is(there[writer]))
        change(fleet, cell, "active_passive")
    assert fleet.json("cell", "verify", cell)["equal"]
    with psycopg.connect(fleet.json("cell", "show", cell)["replicas"][0]["dsn_admin"]) as admin:
        kept = {title for (title,) in admin.execute("SELECT title FROM desk_ticket")}
    assert [title for title, _ in writes.acknowledged if title not in kept] == []

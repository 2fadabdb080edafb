"""Changing the directory entry by entry ends where reading it whole does."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from regions.mapfile import Change
from tenants.directory import apply_changes, parse_directory
from tests.gateway.maps import tenant

HOSTS = ["a.localhost", "b.localhost", "c.localhost", "d.localhost"]


@st.composite
def directories(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """Tenants by id; a host and a slug belong to one of them at a time."""
    numbers = draw(st.lists(st.integers(1, 4), unique=True))
    slugs = draw(st.permutations(["red", "green", "blue", "grey"]))
    owners = draw(st.lists(st.sampled_from([None, *numbers]), min_size=4, max_size=4))
    entries = [
        tenant(
            slug,
            "eu",
            id=UUID(int=number),
            hosts=[host for host, owner in zip(HOSTS, owners, strict=True) if owner == number],
            state=draw(st.sampled_from(["active", "suspended"])),
        )
        for number, slug in zip(numbers, slugs, strict=False)
    ]
    return {entry["id"]: entry for entry in entries}


@given(directories(), directories(), st.randoms())
def test_changes_lead_to_the_same_directory_as_the_whole_document(before, after, chance) -> None:
    changed = [key for key in {*before, *after} if before.get(key) != after.get(key)]
    chance.shuffle(changed)
    changes = [
        Change(10 + number, key, after.get(key)) for number, key in enumerate(sorted(changed))
    ]
    start = parse_directory({"version": 9, "tenants": list(before.values())})
    found = apply_changes(start, changes)
    wanted = parse_directory({"version": 9, "tenants": list(after.values())})
    assert found.by_host == wanted.by_host
    assert found.by_slug == wanted.by_slug
    assert found.by_id == wanted.by_id
    assert found.version == 9 + len(changes)

"""Resolvers of the tests: they run where the agent does."""

from __future__ import annotations

import json
from collections.abc import Sequence

from regions.replication.resolving import resolver

broken: set[str] = set()  # values that the function can't stand


@resolver(version=3)
def together(values: Sequence[str | None]) -> str | None:
    """Neither commutative nor associative."""
    if broken.intersection(value or "" for value in values):
        raise KeyError("a secret")
    return " then ".join(value or "nothing" for value in values)


@resolver(version=1)
def union(values: Sequence[str | None]) -> str | None:
    joined: dict[str, object] = {}
    for value in values:
        joined |= json.loads(value or "{}")
    return json.dumps(joined)


@resolver(version=1)
def endless(values: Sequence[str | None]) -> str | None:
    while values:
        pass
    return None

"""The state of each directed link, in `links.json`: a pure document, replaced by rename.

The condition of a→b governs the bytes that flow from a to b, in every connection between the
two regions, whichever side opened it. A link that the document doesn't name is healthy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

FILE = "links.json"
IN_FORCE = "links.in_force"  # which of these documents the proxy has put in force
Link = tuple[str, str]
AGENTS = "agents"  # of all regions, at the near end of a link to a member of etcd


class LinkState(StrEnum):
    """`cut` refuses and kills connections; `black_hole` lets them open but delivers nothing."""

    UP = "up"
    CUT = "cut"
    BLACK_HOLE = "black_hole"


@dataclass(frozen=True, slots=True)
class Condition:
    """How one directed link behaves. `kilobytes_per_second` 0 means: no limit."""

    state: LinkState = LinkState.UP
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    kilobytes_per_second: float = 0.0

    @property
    def label(self) -> str:
        """The state for people: a delayed link is up, but not as usual."""
        delayed = self.state is LinkState.UP and self != HEALTHY
        return "slow" if delayed else self.state.value


HEALTHY = Condition()


def parse(document: Mapping[str, Any]) -> dict[Link, Condition]:
    """The conditions of a `links.json` document."""
    return {
        (entry["from"], entry["to"]): Condition(
            state=LinkState(entry.get("state", "up")),
            latency_ms=float(entry.get("latency_ms", 0)),
            jitter_ms=float(entry.get("jitter_ms", 0)),
            kilobytes_per_second=float(entry.get("kilobytes_per_second", 0)),
        )
        for entry in document["links"]
    }


def render(conditions: Mapping[Link, Condition]) -> dict[str, Any]:
    """The document of the links that aren't healthy."""
    return {
        "links": [
            {"from": source, "to": target, **asdict(condition)}
            for (source, target), condition in sorted(conditions.items())
            if condition != HEALTHY
        ]
    }


def read(state: Path) -> dict[Link, Condition]:
    """The conditions in force: {} when nobody has changed any."""
    try:
        return parse(json.loads((state / FILE).read_text()))
    except FileNotFoundError:
        return {}


def write(state: Path, conditions: Mapping[Link, Condition]) -> None:
    """Put new conditions in force; the proxy sees the old or the new ones, never a mix."""
    beside = state / f"{FILE}.tmp"
    beside.write_text(json.dumps(render(conditions), indent=2))
    beside.rename(state / FILE)


def identity(state: Path) -> str:
    """Of the document that is there now: another one each time it is written."""
    try:
        status = (state / FILE).stat()
    except FileNotFoundError:
        return "none"
    return f"{status.st_mtime_ns} {status.st_ino}"


def put_in_force(state: Path, which: str) -> None:
    """The proxy's word about a document's `identity`."""
    (state / IN_FORCE).write_text(which)


def are_in_force(state: Path) -> bool:
    """Whether the proxy does what the document that is there now says."""
    try:
        return (state / IN_FORCE).read_text() == identity(state)
    except FileNotFoundError:
        return False

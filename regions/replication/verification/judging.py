"""Which content of a row is the right one, when replicas have different ones. Pure.

The stamps decide, by the merge rules themselves: `joined` is what the merge makes of all versions.
Where versions carry the same stamp and yet differ, no writer made the difference, so the stamps
can't tell: then most replicas are believed, or else the region that the stamp says wrote the value.
Where neither helps nothing is decided. A row that some replicas lack is there, unless a tombstone
that any of them has is at least as new.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

State = Mapping[str, str | None]  # a row's columns as texts

STAMPS = ("_born", "_stamp", "_fields")
_WITH_STATE = frozenset(
    {"counter", "bounded", "set", "keep_both", "resolve", "enable_wins", "disable_wins"}
)
_OF_THE_ROW = frozenset({"max", "min"})

NEWEST = "the newest write"
DELETED = "its deletion is the newest write"
MOST = "most replicas have it"
WRITER = "the region that wrote it has it"


@dataclass(frozen=True, slots=True)
class Version:
    """One replica's: the row (None: not there), its tombstone's stamp and what that kept, and why
    a change of it is parked (None: none is)."""

    state: State | None
    dead: int | None = None
    buried: State | None = None
    parked: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """`state`: the right content (None: deleted, at `dead`); `reason` is a sentence. `undecided`:
    fields that nothing speaks for; then nothing may be repaired."""

    state: State | None
    reason: str
    dead: int | None = None
    undecided: tuple[str, ...] = ()


def possible(versions: Mapping[str, Version], horizon: int) -> dict[str, Version]:
    """Without the rows whose stamps no clock can have given yet, unless there is nothing else."""
    sound = {
        region: version
        for region, version in versions.items()
        if version.state is None or newest(version.state) <= horizon
    }
    return sound if any(version.state for version in sound.values()) else dict(versions)


def as_buried(versions: Mapping[str, Version], rewound: str, collected: int) -> dict[str, Version]:
    """With the tombstone that the others had of a row which only an old backup has: everybody had
    applied every write up to `collected`, so who lacks a row of before has seen it deleted."""
    old = versions[rewound].state
    others = [version for region, version in versions.items() if region != rewound]
    if old is None or newest(old) > collected or any(v.state or v.dead for v in others):
        return dict(versions)
    return {
        region: version if region == rewound else replace(version, dead=newest(old), buried=old)
        for region, version in versions.items()
    }


def judge(
    versions: Mapping[str, Version],
    joined: State,
    *,
    key: tuple[str, ...],
    rules: Mapping[str, str],
    nodes: Mapping[str, int],
) -> Judgement:
    """`joined`: the merge of all versions and what tombstones kept. `nodes` by region."""
    dead = max((v.dead for v in versions.values() if v.dead is not None), default=None)
    if dead is not None and dead >= int(joined["_stamp"] or 0):
        return Judgement(dict(joined), DELETED, dead=dead)
    living = {region: v.state for region, v in versions.items() if v.state is not None}
    right = dict(joined)
    reasons: set[str] = set()
    undecided = []
    for field in sorted(joined.keys() - {*key, *STAMPS}):
        proof = _proof(joined, field, rules.get(field))
        tied = {
            r: s[field] for r, s in living.items() if _proof(s, field, rules.get(field)) == proof
        }
        if len(set(tied.values())) < 2:
            if tied and (rules.get(field) or "").startswith("resolve:"):
                # What the application's function made of it; the merge alone can't.
                right[field] = next(iter(tied.values()))
            continue
        settled = _settle(tied, nodes, _writer(joined, field))
        if settled is None:
            undecided.append(field)
        else:
            right[field], reason = settled
            reasons.add(reason)
    reason = " and ".join(sorted(reasons)) or NEWEST
    if undecided:
        reason = f"no replica is better than another about {', '.join(undecided)}"
    return Judgement(right, reason, undecided=tuple(undecided))


def differing(one: State | None, other: State | None) -> list[str]:
    """The columns in which two versions differ."""
    if one is None or other is None:
        return []
    return sorted(name for name in one.keys() & other.keys() if one[name] != other[name])


def newest(state: State) -> int:
    """The newest stamp that the row carries."""
    noted = json.loads(state["_fields"] or "{}").values()
    return max(int(state["_stamp"] or 0), int(state["_born"] or 0), *map(_stamp_of, noted), 0)


def stamp_of(state: State, field: str) -> int:
    """The stamp of a field; of the whole row for `*` and for what the platform keeps."""
    if field in ("*", "_base", *STAMPS):
        return int(state["_stamp"] or 0)
    noted = json.loads(state["_fields"] or "{}").get(field)
    return int(state["_born"] or 0) if noted is None else _stamp_of(noted)


def stamps_of(state: State) -> set[int]:
    """Every stamp that the row carries."""
    noted = json.loads(state["_fields"] or "{}")
    return {stamp_of(state, "*"), int(state["_born"] or 0), *map(_stamp_of, noted.values())}


def _stamp_of(noted: Any) -> int:
    """Of a field by what `_fields` has: a stamp, or a rule's parts by node."""
    if isinstance(noted, dict):
        return max((int(part[0]) for part in noted.values()), default=0)
    return int(noted)


def _proof(state: State, field: str, rule: str | None) -> Hashable:
    """What must be the same for two versions to have the same value."""
    if rule in _OF_THE_ROW:
        return tuple(state[name] for name in STAMPS)
    if rule and rule.partition(":")[0] in _WITH_STATE:
        noted = json.loads(state["_fields"] or "{}").get(field)
        return state["_born"], state["_stamp"], json.dumps(noted, sort_keys=True)
    return stamp_of(state, field)


def _writer(state: State, field: str) -> int:
    """The node that the newest write of the field was made by."""
    return stamp_of(state, field) & 255


def _settle(
    tied: Mapping[str, str | None], nodes: Mapping[str, int], writer: int
) -> tuple[str | None, str] | None:
    """The value that one of the sources which we believe has, and why; None if none does."""
    ranked = Counter(tied.values()).most_common(2)
    if ranked[0][1] > ranked[1][1]:
        return ranked[0][0], MOST
    for region, value in tied.items():
        if nodes[region] == writer:
            return value, WRITER
    return None

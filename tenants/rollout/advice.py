"""What an operator does next about a run of `cell migrate`: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenants.rollout.models import Rollout, RolloutUnit

State = RolloutUnit.State


@dataclass(frozen=True, slots=True)
class Advice:
    """`command` is what to type, or empty when there is nothing to be done."""

    sentence: str
    command: str = ""


def advise(
    state: str, options: Mapping[str, Any], counts: Mapping[str, int], left_for_later: Sequence[str]
) -> Advice:
    """`options` as the run was begun with; `counts` of units by state; `left_for_later` are the
    regions that some of them lack."""
    if state == Rollout.State.RUNNING:
        return Advice(
            "It is under way. If its process is gone, take it up again: what is done stays done.",
            _command(options, "--resume"),
        )
    if state == Rollout.State.HALTED:
        return Advice(
            "It was halted; whoever was not reached is as before. Mend the cause, then take it up "
            "again: those in quarantine are left alone.",
            _command(options, "--resume"),
        )
    if failed := counts.get(State.FAILED, 0):
        return Advice(
            f"{failed} in quarantine: as they were before, and served. Mend the cause, then try "
            "them again.",
            _command(options, "--retry-quarantined"),
        )
    if busy := sum(counts.get(each, 0) for each in (State.BLOCKED, State.SKIPPED, State.PENDING)):
        return Advice(
            f"{busy} could not be reached or were busy. The next run tries them again.",
            _command(options),
        )
    if left_for_later:
        return Advice(
            f"Left for later in {', '.join(left_for_later)}. When that is back, run it again.",
            _command(options),
        )
    return Advice("Every tenant came to this version.")


def _command(options: Mapping[str, Any], *more: str) -> str:
    contract = ["--contract"] if options.get("contract") else []
    return " ".join(["manage.py cell migrate", *options.get("cells", []), *contract, *more])

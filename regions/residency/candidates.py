"""Which regions are lawful: to place in, to fail over to, to send a request to.

Residency beats availability: an unlawful region is never a candidate, however alone it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime

from regions.residency.decisions import decide
from regions.residency.model import Decision, Destination, Operation, ResidencyPolicy, Verdict


@dataclass(frozen=True, slots=True)
class Candidates:
    """Names of regions in the order given, and the decision that explains an empty list."""

    regions: tuple[str, ...]
    decision: Decision


def lawful_regions(
    policies: ResidencyPolicy | Iterable[ResidencyPolicy],
    operation: Operation,
    destinations: Iterable[Destination],
    at: date | datetime,
) -> tuple[str, ...]:
    """The regions that every policy allows, in the order given.

    One policy or, for a cell, those of all its tenants.
    """
    together = (policies,) if isinstance(policies, ResidencyPolicy) else tuple(policies)
    return tuple(
        destination.region
        for destination in destinations
        if all(decide(policy, operation, destination, at=at).allowed for policy in together)
    )


def failover_candidates(
    policy: ResidencyPolicy,
    destinations: Iterable[Destination],
    *,
    usable: Collection[str],
    at: date | datetime,
) -> Candidates:
    """Lawful regions among the `usable` (healthy and fresh) ones (B05).

    None lawful: refused (B07). Lawful but none usable: unavailable (B06), nobody else is promoted.
    """
    decisions = {d.region: decide(policy, Operation.FAILOVER, d, at=at) for d in destinations}
    lawful = {name: decision for name, decision in decisions.items() if decision.allowed}
    names = tuple(name for name in lawful if name in usable)
    if names:
        return Candidates(names, lawful[names[0]])
    if lawful:
        return Candidates((), _unavailable(next(iter(lawful.values())), tuple(lawful)))
    return Candidates((), _refused(decisions, policy))


def route(
    policy: ResidencyPolicy,
    here: Destination,
    others: Iterable[Destination],
    *,
    usable: Collection[str],
    operation: Operation = Operation.ROUTE,
    at: date | datetime,
) -> Decision:
    """Serve a request (or a task) here, send it to a lawful region, or say that none is up."""
    decision = decide(policy, operation, here, at=at)
    if decision.allowed:
        return decision
    lawful = lawful_regions(policy, operation, others, at)
    target = next((name for name in lawful if name in usable), None)
    if target is not None:
        return replace(decision, verdict=Verdict.REDIRECT, redirect_to=target)
    return _unavailable(decision, lawful) if lawful else decision


def _unavailable(decision: Decision, lawful: tuple[str, ...]) -> Decision:
    return replace(
        decision,
        verdict=Verdict.DENY_UNAVAILABLE,
        rules=tuple(dict.fromkeys((*decision.rules, "B06"))),
        reason=f"Every lawful region ({', '.join(lawful)}) is down, and no other may take over.",
    )


def _refused(decisions: dict[str, Decision], policy: ResidencyPolicy) -> Decision:
    if decisions:
        return next(iter(decisions.values()))
    nowhere = Destination(region="nowhere", country="", jurisdiction="")
    return decide(policy, Operation.FAILOVER, nowhere, at=date.max)
